import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { MessageType } from '#link/link';
import { type LoopbackPair, loopbackPair } from '#link/loopback';
import { orchestratorClient } from '#link/orchestrator-client';
import { serveOrchestrator } from '#link/orchestrator-server';
import type { AgentEvent } from '#model/event';
import {
  type Intent,
  NO_REQUIREMENTS,
  type OperationReceipt,
  OperationType,
} from '#model/operation';
import type { OrchestratorPort, SessionsEnded } from '#model/orchestrator-port';
import { RiskLevel } from '#model/risk';
import type { KernelSnapshot } from '#model/snapshot';
import type { UnifiedDeviceState } from '#model/unified-state';
import { unifiedState } from '../../support/unified-states.ts';

const origin = { transport: 'rest', peer: '127.0.0.1:4000' } as const;
const lost = fault('BUS_IO', {
  place: 'fan.duty',
  finding: 'EIO',
  metal: 'unknown',
  internal: 'EIO: /dev/x',
});

const intent: Intent = {
  operationId: 'op-1',
  type: OperationType.READ,
  targets: [{ device: 3, registers: [] }],
  requirements: NO_REQUIREMENTS,
  justification: '',
  confirmedRisk: RiskLevel.UNKNOWN,
  dryRun: false,
  involved: [],
};

const selection = { sessionId: 's', operationId: 'op-1', confirmedRisk: 4, origin };
const hold = { sessionId: 's', device: 3, reason: 'odd readings', origin };
const resolution = { sessionId: 's', conflictId: 7, answer: 'INHIBIT', reason: 'seen', origin };

const asked = { sessionId: 's', key: 'revokeSession', request: { handle: 'h' }, origin };

const receipt: OperationReceipt = {
  operationId: 'op-1',
  type: OperationType.READ,
  state: 'FAILED',
  result: 3,
  risk: RiskLevel.SAFE,
  reasons: [],
  effect: 'in-doubt',
  planDigest: 'a'.repeat(64),
  readings: [{ device: 3, register: 'duty', fault: lost }],
  tracks: [{ track: 'kernel', ok: false, fault: lost, durationMs: 1 }],
  fault: lost,
  auditSequence: 9,
  durationMs: 2,
};

const snapshot: KernelSnapshot = {
  track: 'kernel',
  life: 'first',
  version: 4,
  stopEngaged: false,
  held: false,
  devices: [],
  buses: [],
};

/** A port that records its calls and answers everything but `operate` with a refusal. */
class RecordingPort implements OrchestratorPort {
  readonly seen: [string, ...unknown[]][] = [];
  ended: (ended: SessionsEnded) => void = () => undefined;
  event: (event: AgentEvent) => void = () => undefined;
  snapshot: (snapshot: KernelSnapshot) => void = () => undefined;
  unified: (states: readonly UnifiedDeviceState[]) => void = () => undefined;

  #refused<T>(method: string, ...given: unknown[]): Promise<Outcome<T>> {
    this.seen.push([method, ...given]);
    return Promise.resolve(refuse(fault('NOT_PERMITTED', { place: method, finding: 'refused' })));
  }

  authenticate: OrchestratorPort['authenticate'] = (credential, from) =>
    this.#refused('authenticate', credential, from);
  administer: OrchestratorPort['administer'] = (id, key, request, from) =>
    this.#refused('administer', id, key, request, from);
  onSessionsEnded: OrchestratorPort['onSessionsEnded'] = (listen) => {
    this.ended = listen;
    return () => undefined;
  };
  endSession: OrchestratorPort['endSession'] = (id) => this.#refused('endSession', id);
  signOut: OrchestratorPort['signOut'] = (id) => this.#refused('signOut', id);
  operate: OrchestratorPort['operate'] = (id, given, from) => {
    this.seen.push(['operate', id, given, from]);
    return Promise.resolve(succeed(receipt));
  };
  operation: OrchestratorPort['operation'] = (id, operationId) =>
    this.#refused('operation', id, operationId);
  operations: OrchestratorPort['operations'] = async () => succeed([receipt]);
  stop: OrchestratorPort['stop'] = (id, request, from) => this.#refused('stop', id, request, from);
  resetStop: OrchestratorPort['resetStop'] = (id, reason, from) =>
    this.#refused('resetStop', id, reason, from);
  operateSelected: OrchestratorPort['operateSelected'] = (id, operationId, risk, from) => {
    this.seen.push(['operateSelected', id, operationId, risk, from]);
    return Promise.resolve(succeed(receipt));
  };
  releaseSelected: OrchestratorPort['releaseSelected'] = (id, operationId, from) =>
    this.#refused('releaseSelected', id, operationId, from);
  acknowledgeStop: OrchestratorPort['acknowledgeStop'] = (id, from) =>
    this.#refused('acknowledgeStop', id, from);
  releaseDevice: OrchestratorPort['releaseDevice'] = (id, device, reason, from) =>
    this.#refused('releaseDevice', id, device, reason, from);
  quarantineDevice: OrchestratorPort['quarantineDevice'] = (id, device, reason, from) =>
    this.#refused('quarantineDevice', id, device, reason, from);
  synchronize: OrchestratorPort['synchronize'] = (id, devices) =>
    this.#refused('synchronize', id, devices);
  conflicts: OrchestratorPort['conflicts'] = (id) => this.#refused('conflicts', id);
  resolveConflict: OrchestratorPort['resolveConflict'] = (id, conflict, answer, reason, from) =>
    this.#refused('resolveConflict', id, conflict, answer, reason, from);
  history: OrchestratorPort['history'] = (id, device, limit) =>
    this.#refused('history', id, device, limit);
  approvals: OrchestratorPort['approvals'] = (id) => this.#refused('approvals', id);
  approve: OrchestratorPort['approve'] = (id, digest, from) =>
    this.#refused('approve', id, digest, from);
  status: OrchestratorPort['status'] = () => this.#refused('status');
  audit: OrchestratorPort['audit'] = (id, sequence, limit) =>
    this.#refused('audit', id, sequence, limit);
  verifyAudit: OrchestratorPort['verifyAudit'] = (id) => this.#refused('verifyAudit', id);
  reportRefusal: OrchestratorPort['reportRefusal'] = (...given) => {
    this.seen.push(['reportRefusal', ...given]);
  };
  onEvent: OrchestratorPort['onEvent'] = (listen) => {
    this.event = listen;
    return () => undefined;
  };
  onKernelSnapshot: OrchestratorPort['onKernelSnapshot'] = (listen) => {
    this.snapshot = listen;
    return () => undefined;
  };
  onUnifiedState: OrchestratorPort['onUnifiedState'] = (listen) => {
    this.unified = listen;
    return () => undefined;
  };
  onAvailable: OrchestratorPort['onAvailable'] = () => () => undefined;
}

describe('the orchestrator over a link', () => {
  let pair: LoopbackPair;
  let errors: unknown[];
  afterEach(() => pair.left.close());

  function serve(): { readonly port: RecordingPort; readonly client: OrchestratorPort } {
    errors = [];
    const onError = (error: unknown) => errors.push(error);
    pair = loopbackPair('security', 'interface', { clock: systemClock, onError });
    const port = new RecordingPort();
    serveOrchestrator(pair.left, port);
    return { port, client: orchestratorClient(pair.right) };
  }

  const within = () => Deadline.after(systemClock, 1000);

  it('hands every call over as it was made, and brings refusals back', async () => {
    const { port, client } = serve();
    const credential = { kind: 'local', uid: 0, gid: 0, pid: 7 } as const;
    const request = { reason: 'smoke', priority: 4, devices: [3], groups: [2] } as const;
    const digest = 'b'.repeat(64);
    const outcomes: Outcome<unknown>[] = [
      await client.authenticate(credential, origin, within()),
      await client.administer('s', 'revokeSession', { handle: 'h' }, origin, within()),
      await client.administer(null, 'enrol', { invitation: 'i', password: 'p' }, origin, within()),
      await client.endSession('s', within()),
      await client.signOut('s', within()),
      await client.operation('s', 'op-1', within()),
      await client.stop('s', request, origin, within()),
      await client.resetStop('s', 'clear', origin, within()),
      await client.releaseSelected('s', 'op-1', origin, within()),
      await client.acknowledgeStop('s', origin, within()),
      await client.releaseDevice('s', 3, 'repaired', origin, within()),
      await client.quarantineDevice('s', 3, 'odd readings', origin, within()),
      await client.synchronize('s', [3, 4], within()),
      await client.conflicts('s', within()),
      await client.resolveConflict('s', 7, 'INHIBIT', 'seen on site', origin, within()),
      await client.history('s', 3, 20, within()),
      await client.approvals('s', within()),
      await client.approve('s', digest, origin, within()),
      await client.status(within()),
      await client.audit('s', 5, 10, within()),
      await client.verifyAudit('s', within()),
    ];
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({ ok: false, fault: { code: 'NOT_PERMITTED' } });
    client.reportRefusal(null, origin, 'DEVICE_QUARANTINED', 'probe', [9]);
    await systemClock.sleep(1);
    expect(port.seen).toEqual([
      ['authenticate', credential, origin],
      ['administer', 's', 'revokeSession', { handle: 'h' }, origin],
      ['administer', null, 'enrol', { invitation: 'i', password: 'p' }, origin],
      ['endSession', 's'],
      ['signOut', 's'],
      ['operation', 's', 'op-1'],
      ['stop', 's', request, origin],
      ['resetStop', 's', 'clear', origin],
      ['releaseSelected', 's', 'op-1', origin],
      ['acknowledgeStop', 's', origin],
      ['releaseDevice', 's', 3, 'repaired', origin],
      ['quarantineDevice', 's', 3, 'odd readings', origin],
      ['synchronize', 's', [3, 4]],
      ['conflicts', 's'],
      ['resolveConflict', 's', 7, 'INHIBIT', 'seen on site', origin],
      ['history', 's', 3, 20],
      ['approvals', 's'],
      ['approve', 's', digest, origin],
      ['status'],
      ['audit', 's', 5, 10],
      ['verifyAudit', 's'],
      ['reportRefusal', null, origin, 'DEVICE_QUARANTINED', 'probe', [9]],
    ]);
  });

  it('brings receipts without what is for the log of this machine only', async () => {
    const { port, client } = serve();
    const outcomes = [
      await client.operate('s', intent, origin, within()),
      await client.operations('s', 10, within()),
      await client.operateSelected('s', 'op-1', RiskLevel.HIGH, origin, within()),
    ];
    expect(port.seen).toEqual([
      ['operate', 's', intent, origin],
      ['operateSelected', 's', 'op-1', RiskLevel.HIGH, origin],
    ]);
    expect(JSON.stringify(outcomes)).not.toContain('/dev/x');
    const { internal: _internal, ...kept } = lost;
    expect(outcomes[0]).toEqual(
      succeed({
        ...receipt,
        fault: kept,
        readings: [{ ...receipt.readings[0], fault: kept }],
        tracks: [{ ...receipt.tracks[0], fault: kept }],
      }),
    );
  });

  it.each<[string, string, unknown]>([
    [
      'a credential of an unknown kind',
      'port.authenticate',
      { credential: { kind: 'root' }, origin },
    ],
    [
      'an endless token',
      'port.authenticate',
      { credential: { kind: 'token', token: 'x'.repeat(5000) }, origin },
    ],
    [
      'a negative user id',
      'port.authenticate',
      { credential: { kind: 'local', uid: -1, gid: 0, pid: 1 }, origin },
    ],
    [
      'an unknown transport',
      'port.authenticate',
      { credential: { kind: 'token', token: 'x' }, origin: { ...origin, transport: 'x' } },
    ],
    ['no session', 'port.operate', { intent, origin }],
    [
      'an endless justification',
      'port.operate',
      { sessionId: 's', intent: { ...intent, justification: 'x'.repeat(5000) }, origin },
    ],
    [
      'a clearance that does not exist',
      'port.operate',
      {
        sessionId: 's',
        intent: { ...intent, requirements: { ...NO_REQUIREMENTS, requiredClearance: 9 } },
        origin,
      },
    ],
    [
      'a stop of a device that no board has',
      'port.stop',
      {
        sessionId: 's',
        request: { reason: '', priority: 4, devices: [0x8009], groups: [] },
        origin,
      },
    ],
    [
      'a stop of a group that no board has',
      'port.stop',
      { sessionId: 's', request: { reason: '', priority: 4, devices: [], groups: [7] }, origin },
    ],
    ['a risk that does not exist', 'port.operate-selected', { ...selection, confirmedRisk: 9 }],
    ['a selection without an operation', 'port.release-selected', { sessionId: 's', origin }],
    ['an acknowledgment from nowhere', 'port.acknowledge-stop', { sessionId: 's' }],
    ['a release of a token', 'port.release-device', { ...hold, device: 0x8001 }],
    ['an endless reason', 'port.quarantine-device', { ...hold, reason: 'x'.repeat(5000) }],
    ['a synchronization of no list', 'port.synchronize', { sessionId: 's', devices: 3 }],
    ['an answer that no conflict has', 'port.resolve-conflict', { ...resolution, answer: 'SHRUG' }],
    ['a history without end', 'port.history', { sessionId: 's', device: 3, limit: 1e9 }],
    ['a page without end', 'port.audit', { sessionId: 's', fromSequence: 0, limit: 1e9 }],
    ['a body where there is none', 'port.status', {}],
    ['a row that security has not', 'port.administer', { ...asked, key: 'constructor' }],
    ['a row of interface alone', 'port.administer', { ...asked, key: 'metrics' }],
    ['a request of another row', 'port.administer', { ...asked, request: { id: 'bob' } }],
    ['a surplus member', 'port.administer', { ...asked, request: { handle: 'h', all: true } }],
    [
      'an account without end',
      'port.administer',
      { ...asked, key: 'unlockAccount', request: { id: 'x'.repeat(64), reason: '' } },
    ],
  ])('refuses %s and does nothing', async (_what, method, body) => {
    const { port } = serve();
    const outcome = await pair.right.request(MessageType.OPERATION_REQUEST, method, body, within());
    expect(outcome).toMatchObject({ ok: false, fault: { code: 'LINK_PROTOCOL' } });
    expect(port.seen).toEqual([]);
  });

  it('drops a malformed report and says so', async () => {
    const { port } = serve();
    pair.right.notify(MessageType.EVENT, 'port.report-refusal', { sessionId: 1 });
    await systemClock.sleep(1);
    expect(port.seen).toEqual([]);
    expect(errors).toMatchObject([{ fault: { code: 'LINK_PROTOCOL' } }]);
  });

  it('brings events, kernel snapshots and unified states to all who listen, until they stop', async () => {
    const { port, client } = serve();
    const event: AgentEvent = {
      sequence: 1,
      type: 1,
      severity: 1,
      source: 'kernel',
      wallMs: 1,
      data: { a: 'b' },
    };
    const seen: unknown[] = [];
    const stop = client.onEvent((given) => seen.push(given));
    client.onKernelSnapshot((given) => seen.push(given));
    client.onUnifiedState((given) => seen.push(given));
    const states = [unifiedState(3)];
    port.event(event);
    port.snapshot(snapshot);
    port.unified(states);
    await systemClock.sleep(1);
    stop();
    port.event(event);
    await systemClock.sleep(1);
    // Events of one turn travel together, so they may arrive after a snapshot of that turn.
    expect(seen).toHaveLength(3);
    expect(seen).toEqual(expect.arrayContaining([event, snapshot, states]));
  });

  it('sends an emergency at once, with what waited before it and in order', async () => {
    const { port, client } = serve();
    const event = (sequence: number, severity: 1 | 5): AgentEvent => ({
      sequence,
      type: 5,
      severity,
      source: 'orchestrator',
      wallMs: 1,
      data: {},
    });
    const seen: number[] = [];
    client.onEvent((given) => seen.push(given.sequence));
    port.event(event(1, 1));
    port.event(event(2, 5));
    port.event(event(3, 1));
    await systemClock.sleep(2);
    expect(seen).toEqual([1, 2, 3]);
  });

  it('tells of every session that ended, in order, also when there is no room for all at once', async () => {
    const { port, client } = serve();
    const seen: SessionsEnded[] = [];
    client.onSessionsEnded((ended) => seen.push(ended));
    const many = Array.from({ length: 400 }, (_, index) => `session-${index}`);
    for (const id of many) port.ended({ sessionIds: [id], reason: 'the account was disabled' });
    await expect.poll(() => seen.flatMap(({ sessionIds }) => sessionIds)).toEqual(many);
    seen.length = 0;
    port.ended({ sessionIds: many, reason: 'the key was rotated' });
    await expect.poll(() => seen.flatMap(({ sessionIds }) => sessionIds)).toEqual(many);
    expect(new Set(seen.map(({ reason }) => reason))).toEqual(new Set(['the key was rotated']));
  });

  it('tells when security goes and comes back, and says unknown of what was open', async () => {
    const { port, client } = serve();
    port.operate = () => new Promise(() => undefined);
    const seen: boolean[] = [];
    client.onAvailable((available) => seen.push(available));
    const open = client.operate('s', intent, origin, within());
    const plan = client.operate('s', { ...intent, dryRun: true }, origin, within());
    await systemClock.sleep(1);
    pair.part();
    pair.restart();
    expect(seen).toEqual([false, true]);
    expect(await open).toMatchObject({ fault: { code: 'TRACK_UNAVAILABLE', metal: 'unknown' } });
    expect(await plan).toMatchObject({ fault: { code: 'TRACK_UNAVAILABLE', metal: 'untouched' } });
  });
});
