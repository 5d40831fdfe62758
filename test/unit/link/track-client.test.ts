import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { MessageType } from '#link/link';
import { type LoopbackPair, loopbackPair } from '#link/loopback';
import { kernelTrackClient, trackClient } from '#link/track-client';
import { serveKernelTrack } from '#link/track-server';
import type { Authorization } from '#model/authorization';
import { type Intent, NO_REQUIREMENTS, OperationType } from '#model/operation';
import { planOf } from '#model/plan';
import { RiskLevel } from '#model/risk';
import type { KernelTrack } from '#model/track';
import { kernelSnapshot, stopCause } from '../../support/unified-states.ts';

const intent: Intent = {
  operationId: 'op-1',
  type: OperationType.WRITE,
  targets: [{ device: 3, registers: [{ register: 'duty', value: 55n }] }],
  requirements: NO_REQUIREMENTS,
  justification: 'a longer reason',
  confirmedRisk: RiskLevel.LOW,
  dryRun: false,
  involved: ['kernel', 'security'],
};

const plan = planOf(
  OperationType.WRITE,
  [
    {
      kind: 'write',
      device: 3,
      register: 'duty',
      widthBits: 32,
      mask: 0xffff_ffffn,
      value: 55n,
      settleUs: 10,
      expect: { mask: 0xffn, value: 55n },
      irreversible: false,
    },
  ],
  12.5,
);

const authorization: Authorization = {
  operationId: 'op-1',
  planDigest: plan.digest,
  basis: plan.basis,
  grantedTo: ['alice'],
  expiresAtMs: 1e6,
  keyId: '0123456789abcdef',
  signature: 'c2ln',
};

const commit = { operationId: 'op-1', planDigest: plan.digest, authorization, deadlineMs: 1e6 };

/** A kernel track that records what reached it and answers with fixed values. */
class RecordingTrack implements KernelTrack {
  readonly name = 'kernel';
  readonly seen: unknown[] = [];

  #note<T>(body: unknown, value: T): Promise<Outcome<T>> {
    this.seen.push(body);
    return Promise.resolve(succeed(value));
  }

  assess: KernelTrack['assess'] = (request) =>
    this.#note(request, { track: 'kernel', level: RiskLevel.LOW, reasons: ['base risk LOW'] });
  prepare: KernelTrack['prepare'] = (request) =>
    this.#note(request, { priors: [{ device: 3, register: 'duty', value: 40n }] });
  commit: KernelTrack['commit'] = (request) => {
    this.seen.push(request);
    return new Promise(() => undefined);
  };
  abort: KernelTrack['abort'] = (operationId) => this.#note(operationId, undefined);
  stop: KernelTrack['stop'] = () =>
    Promise.resolve(refuse(fault('BUS_IO', { place: 'bus', finding: 'EIO', metal: 'unknown' })));
  snapshot: KernelTrack['snapshot'] = () => this.#note('snapshot', kernelSnapshot({ version: 1 }));
  plan: KernelTrack['plan'] = (given) => this.#note(given, plan);
  trust: KernelTrack['trust'] = (keys) => this.#note(keys, undefined);
  select: KernelTrack['select'] = (request) => this.#note(request, undefined);
  supervise: KernelTrack['supervise'] = (order) => this.#note(order, order.holds);
  lift: KernelTrack['lift'] = (request) => this.#note(request, undefined);
  recover: KernelTrack['recover'] = (request) =>
    this.#note(request, { effect: 'rolled-back', readings: request.priors, durationMs: 1 });
  observe: KernelTrack['observe'] = (devices) => this.#note(devices, kernelSnapshot());
  testStop: KernelTrack['testStop'] = () => this.#note('testStop', 'bus i2c-0 is not open');
  releaseStop: KernelTrack['releaseStop'] = (given) => this.#note(given, undefined);
}

describe('a track over a link', () => {
  let pair: LoopbackPair;
  afterEach(() => pair.left.close());

  function serve(): { readonly track: RecordingTrack; readonly client: KernelTrack } {
    const onError = (error: unknown) => {
      throw error;
    };
    pair = loopbackPair('kernel', 'security', { clock: systemClock, onError });
    const track = new RecordingTrack();
    serveKernelTrack(pair.left, track);
    return { track, client: kernelTrackClient(pair.right) };
  }

  const within = (ms: number) => Deadline.after(systemClock, ms);

  it('hands every call over as it was made', async () => {
    const { track, client } = serve();
    const principal = {
      id: 'alice',
      name: 'Alice',
      kind: 'person',
      clearance: 3,
      compartments: ['MAINT'],
      devices: null,
      underReview: false,
    } as const;
    expect(await client.plan(intent, within(1000))).toEqual(succeed(plan));
    expect(await client.assess({ intent, plan, principal }, within(1000))).toMatchObject({
      ok: true,
    });
    expect(
      await client.prepare(
        { operationId: 'op-1', planDigest: plan.digest, authorization },
        within(1000),
      ),
    ).toEqual(succeed({ priors: [{ device: 3, register: 'duty', value: 40n }] }));
    expect(await client.abort('op-1', within(1000))).toEqual(succeed(undefined));
    expect(await client.snapshot(within(1000))).toMatchObject({ ok: true, value: { version: 1 } });
    const priors = [{ device: 3, register: 'duty', value: 40n }];
    const key = { keyId: authorization.keyId, publicKeyPem: 'PEM', untilMs: null };
    const keys = { life: 'life-1', keys: [key, { ...key, untilMs: 5000 }] };
    const selection = { operationId: 'op-1', planDigest: plan.digest, untilMs: 5000 };
    const kept = { device: 3, kind: 'in-doubt', reason: 'crash', sinceWallMs: 5 } as const;
    const order = {
      holds: [kept],
      writes: 'hold',
      accounted: [{ device: 3, changeCount: 4 }],
    } as const;
    const lift = { device: 3, kind: 'in-doubt', authorization } as const;
    const recovery = { operationId: 'op-1', plan, priors, authorization };
    expect(await client.trust(keys, within(1000))).toEqual(succeed(undefined));
    expect(await client.select(selection, within(1000))).toEqual(succeed(undefined));
    expect(await client.supervise(order, within(1000))).toEqual(succeed([kept]));
    expect(await client.lift(lift, within(1000))).toEqual(succeed(undefined));
    expect(await client.recover(recovery, within(1000))).toEqual(
      succeed({ effect: 'rolled-back', readings: priors, durationMs: 1 }),
    );
    expect(await client.observe([3], within(1000))).toEqual(succeed(kernelSnapshot()));
    expect(await client.testStop(within(1000))).toEqual(succeed('bus i2c-0 is not open'));
    expect(await client.releaseStop(authorization, within(1000))).toEqual(succeed(undefined));
    expect(track.seen).toEqual([
      intent,
      { intent, plan, principal },
      { operationId: 'op-1', planDigest: plan.digest, authorization },
      'op-1',
      'snapshot',
      keys,
      selection,
      order,
      lift,
      recovery,
      [3],
      'testStop',
      authorization,
    ]);
  });

  it('says unknown of the metal when a commit is lost, and untouched when a plan is', async () => {
    const { track, client } = serve();
    track.plan = () => new Promise(() => undefined);
    const planned = client.plan(intent, within(5000));
    const committed = client.commit(commit, within(5000));
    await systemClock.sleep(5);
    pair.part();
    expect(await planned).toMatchObject({
      ok: false,
      fault: { code: 'TRACK_UNAVAILABLE', metal: 'untouched' },
    });
    expect(await committed).toMatchObject({
      ok: false,
      fault: { code: 'TRACK_UNAVAILABLE', metal: 'unknown' },
    });
  });

  it('gives DEADLINE_EXCEEDED and unknown metal when a commit does not end', async () => {
    const { client } = serve();
    expect(await client.commit(commit, within(30))).toMatchObject({
      ok: false,
      fault: { code: 'DEADLINE_EXCEEDED', place: 'kernel track', metal: 'unknown' },
    });
  });

  it("keeps the track's own faults", async () => {
    const { client } = serve();
    const cause = stopCause({ source: 'security', reason: 'test' });
    expect(await client.stop({ cause }, within(1000))).toMatchObject({
      ok: false,
      fault: { code: 'BUS_IO', metal: 'unknown' },
    });
  });

  it.each<[string, string, unknown]>([
    [
      'a device that no board has',
      'track.plan',
      { ...intent, targets: [{ device: 84, registers: [] }] },
    ],
    ['a fractional device', 'track.plan', { ...intent, targets: [{ device: 1.5, registers: [] }] }],
    [
      'a number for a word',
      'track.plan',
      { ...intent, targets: [{ device: 1, registers: [{ register: 'a', value: 1 }] }] },
    ],
    [
      'a word of 65 bits',
      'track.plan',
      { ...intent, targets: [{ device: 1, registers: [{ register: 'a', value: 1n << 64n }] }] },
    ],
    [
      'a negative word',
      'track.plan',
      { ...intent, targets: [{ device: 1, registers: [{ register: 'a', value: -1n }] }] },
    ],
    ['an unknown operation', 'track.plan', { ...intent, type: 8 }],
    ['too many targets', 'track.plan', { ...intent, targets: Array(85).fill(intent.targets[0]) }],
    ['a member too many', 'track.plan', { ...intent, isAdmin: true }],
    ['a missing member', 'track.plan', { operationId: 'op-1' }],
    ['no object', 'track.plan', [intent]],
    [
      'a digest that is none',
      'track.prepare',
      { operationId: 'op-1', planDigest: 'x', authorization },
    ],
    [
      'a signature of any length',
      'track.commit',
      { ...commit, authorization: { ...authorization, signature: 'x'.repeat(257) } },
    ],
    ['a deadline that is none', 'track.commit', { ...commit, deadlineMs: 'soon' }],
    ['an empty operation id', 'track.abort', ''],
  ])('refuses %s and does nothing', async (_what, method, body) => {
    const { track } = serve();
    const outcome = await pair.right.request(MessageType.TRANSACTION, method, body, within(1000));
    expect(outcome).toMatchObject({
      ok: false,
      fault: { code: 'LINK_PROTOCOL', place: `link ${method}` },
    });
    expect(track.seen).toEqual([]);
  });

  it('does not believe an answer that does not fit', async () => {
    const { track, client } = serve();
    track.assess = () =>
      Promise.resolve(succeed({ track: 'kernel', level: 99 as RiskLevel, reasons: [] }));
    track.commit = () =>
      Promise.resolve(succeed({ effect: 'perfect' as 'none', readings: [], durationMs: 1 }));
    const principal = {
      id: 'a',
      name: 'a',
      kind: 'person',
      clearance: 1,
      compartments: [],
      devices: null,
      underReview: false,
    } as const;
    expect(await client.assess({ intent, plan, principal }, within(1000))).toMatchObject({
      fault: { code: 'LINK_PROTOCOL', finding: expect.stringContaining('.level') },
    });
    expect(await client.commit(commit, within(1000))).toMatchObject({
      fault: { code: 'LINK_PROTOCOL', metal: 'unknown' },
    });
  });

  it('is a kernel track only at the other end of a link to kernel', () => {
    serve();
    expect(() => kernelTrackClient(pair.left)).toThrow();
    expect(trackClient(pair.left).name).toBe('security');
  });
});
