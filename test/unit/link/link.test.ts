// The same behaviour of a link inside one process and over shared memory.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  type Link,
  MESSAGE_BYTES_MAX,
  MessageType,
  OUTSTANDING_MAX,
  type PeerState,
} from '#link/link';
import { loopbackPair } from '#link/loopback';
import { SharedLink, SILENT_AFTER_MS } from '#link/shared-link';

interface Pair {
  readonly security: Link;
  readonly interface: Link;
  readonly errors: unknown[];
  readonly remove: () => void;
}

function overLoopback(): Promise<Pair> {
  const errors: unknown[] = [];
  const pair = loopbackPair('security', 'interface', {
    clock: systemClock,
    onError: (error) => errors.push(error),
  });
  return Promise.resolve({
    security: pair.left,
    interface: pair.right,
    errors,
    remove: () => pair.left.close(),
  });
}

async function overMemory(): Promise<Pair> {
  const errors: unknown[] = [];
  const directory = mkdtempSync(join(tmpdir(), 'link-'));
  const options = {
    directory,
    clock: systemClock,
    onError: (error: unknown) => errors.push(error),
  };
  const security = new SharedLink({ ...options, self: 'security', peer: 'interface' });
  const other = new SharedLink({ ...options, self: 'interface', peer: 'security' });
  await Promise.all([reach(security, 'up'), reach(other, 'up')]);
  const remove = () => {
    security.close();
    other.close();
    rmSync(directory, { recursive: true });
  };
  return { security, interface: other, errors, remove };
}

function reach(link: Link, wanted: PeerState): Promise<void> {
  if (link.peerState === wanted) return Promise.resolve();
  return new Promise((resolve) => {
    const stop = link.onPeer((state) => {
      if (state !== wanted) return;
      stop();
      resolve();
    });
  });
}

const within = (ms: number) => Deadline.after(systemClock, ms);

function code(outcome: Outcome<unknown>): string {
  return outcome.ok ? 'ok' : outcome.fault.code;
}

describe.each([
  ['loopback', overLoopback],
  ['shared memory', overMemory],
])('a link over %s', (_name, make) => {
  let pair: Pair | undefined;
  afterEach(() => pair?.remove());

  const ask = (
    method: string,
    body: unknown,
    ms = 2_000,
    type: MessageType = MessageType.OPERATION_REQUEST,
  ) => (pair as Pair).interface.request(type, method, body, within(ms));

  it('answers a request with a copy of the body, words and all', async () => {
    pair = await make();
    const body = {
      value: 0xffff_ffff_ffff_ffffn,
      list: [1, undefined, '#x'],
      text: 'Grüße \u0000',
    };
    pair.security.serve('echo', async (given) => succeed(given));
    const outcome = await ask('echo', body);
    expect(outcome).toStrictEqual({ ok: true, value: body });
    expect(outcome.ok && outcome.value).not.toBe(body);
  });

  it('carries 300 KB both ways', async () => {
    pair = await make();
    pair.security.serve('echo', async (given) => succeed(given));
    const body = 'äb'.repeat(100_000);
    expect(await ask('echo', body)).toEqual({ ok: true, value: body });
  });

  it('carries faults whole but for what is for this machine only', async () => {
    pair = await make();
    const given = fault('INTERLOCK_OPEN', {
      place: 'door',
      finding: 'open',
      metal: 'touched',
      internal: 'ENOENT: /x',
    });
    pair.security.serve('open', async () => refuse(given));
    const { internal: _internal, ...wanted } = given;
    expect(await ask('open', null)).toEqual({ ok: false, fault: wanted });
  });

  it('keeps the internal part of a fault between security and kernel side', async () => {
    pair = await make();
    pair.interface.serve('open', async () =>
      refuse(fault('INTERLOCK_OPEN', { place: 'door', finding: 'open', internal: 'EIO' })),
    );
    const outcome = await pair.security.request(MessageType.RAW, 'open', null, within(2_000));
    expect(outcome.ok ? '' : outcome.fault.internal).toBe('EIO');
  });

  it('turns a fault outside the catalogue into LINK_PROTOCOL', async () => {
    pair = await make();
    const made = { ...fault('BUSY', { place: 'a', finding: 'b' }), code: 'MADE_UP' as 'BUSY' };
    pair.security.serve('odd', async () => refuse(made));
    expect(code(await ask('odd', null))).toBe('LINK_PROTOCOL');
  });

  it('answers INTERNAL for a handler that throws, and tells this process why', async () => {
    pair = await make();
    const error = new Error('inner detail');
    pair.security.serve('throw', async () => {
      throw error;
    });
    const outcome = await ask('throw', null);
    expect(code(outcome)).toBe('INTERNAL');
    expect(JSON.stringify(outcome)).not.toContain('inner detail');
    expect(pair.errors).toEqual([error]);
  });

  it('refuses a method that nobody serves', async () => {
    pair = await make();
    expect(code(await ask('nobody', null))).toBe('LINK_PROTOCOL');
    expect(pair.security.counters().protocolErrors).toBe(1);
  });

  it('gives up at the deadline, says that nobody knows, and drops the late answer', async () => {
    pair = await make();
    let answer = () => {};
    pair.security.serve(
      'slow',
      () =>
        new Promise((resolve) => {
          answer = () => resolve(succeed(1));
        }),
    );
    const outcome = await ask('slow', null, 50);
    expect(outcome.ok ? null : [outcome.fault.code, outcome.fault.metal]).toEqual([
      'DEADLINE_EXCEEDED',
      'unknown',
    ]);
    answer();
    pair.security.serve('echo', async (given) => succeed(given));
    expect(code(await ask('echo', 1))).toBe('ok');
    expect(pair.interface.counters()).toMatchObject({ timeouts: 1, strayAnswers: 1 });
  });

  it('does not send what is already too late', async () => {
    pair = await make();
    const outcome = await ask('any', null, -1);
    expect(outcome.ok ? null : [outcome.fault.code, outcome.fault.metal]).toEqual([
      'DEADLINE_EXCEEDED',
      'untouched',
    ]);
    expect(pair.interface.counters().messagesSent).toBe(0);
  });

  it('takes a deadline without end as the longest one', async () => {
    pair = await make();
    pair.security.serve('echo', async (given) => succeed(given));
    const endless = new Deadline(systemClock, Number.POSITIVE_INFINITY);
    expect(await pair.interface.request(MessageType.RAW, 'echo', 1, endless)).toEqual(succeed(1));
  });

  it('hands the deadline over and never lengthens it', async () => {
    pair = await make();
    const deadline = within(1_500);
    const seen = new Promise<number>((resolve) => {
      pair?.security.serve('when', async (_body, given) => {
        resolve(given.atMs);
        return succeed(null);
      });
    });
    await pair.interface.request(MessageType.RAW, 'when', null, deadline);
    expect(await seen).toBe(deadline.atMs);
  });

  it('refuses a body too large or not plain, and an answer too large', async () => {
    pair = await make();
    pair.security.serve('large', async () => succeed('x'.repeat(MESSAGE_BYTES_MAX)));
    expect(code(await ask('large', 'x'.repeat(MESSAGE_BYTES_MAX)))).toBe('REQUEST_TOO_LARGE');
    expect(code(await ask('large', new Map()))).toBe('INTERNAL');
    expect(code(await ask('large', null))).toBe('REQUEST_TOO_LARGE');
  });

  it('bounds the open requests, keeping places for stops', async () => {
    pair = await make();
    pair.security.serve('never', () => new Promise(() => undefined));
    pair.security.serve('stop', async () => succeed('stopped'));
    const open = [];
    for (let index = 0; index < OUTSTANDING_MAX; index++) {
      open.push(ask('never', index, 10_000));
      if (index % 64 === 63) await systemClock.sleep(5);
    }
    expect(code(await ask('never', null))).toBe('LINK_OVERRUN');
    expect(pair.interface.counters().overruns).toBe(1);
    expect(await ask('stop', null, 2_000, MessageType.EMERGENCY_STOP)).toEqual(succeed('stopped'));
    pair.security.close();
    expect(new Set((await Promise.all(open)).map(code))).toEqual(new Set(['TRACK_UNAVAILABLE']));
  });

  it('delivers notices in order', async () => {
    pair = await make();
    const seen: unknown[] = [];
    const done = new Promise<void>((resolve) => {
      pair?.security.onNotice('count', (body) => seen.push(body) === 100 && resolve());
    });
    for (let index = 0; index < 100; index++) {
      expect(pair.interface.notify(MessageType.EVENT, 'count', index).ok).toBe(true);
    }
    await done;
    expect(seen).toEqual(Array.from({ length: 100 }, (_, index) => index));
  });

  it('counts an overrun when more is sent in one turn than there is room for', async () => {
    pair = await make();
    pair.security.onNotice('flood', () => undefined);
    const outcomes = [];
    for (let index = 0; index < 400; index++) {
      outcomes.push(pair.interface.notify(MessageType.EVENT, 'flood', index));
    }
    expect(outcomes.filter((outcome) => outcome.ok).length).toBe(256);
    expect(code(outcomes[399] ?? succeed(null))).toBe('LINK_OVERRUN');
    expect(pair.interface.counters().overruns).toBe(144);
    pair.security.serve('echo', async (given) => succeed(given));
    await systemClock.sleep(50);
    expect(code(await ask('echo', 1))).toBe('ok');
  });

  it('tells when the peer closes, fails what was open, and refuses from then on', async () => {
    pair = await make();
    pair.security.serve('never', () => new Promise(() => undefined));
    const states: PeerState[] = [];
    pair.interface.onPeer((state) => states.push(state));
    const open = ask('never', null);
    await systemClock.sleep(30);
    pair.security.close();
    const outcome = await open;
    expect(outcome.ok ? null : outcome.fault).toMatchObject({
      code: 'TRACK_UNAVAILABLE',
      place: 'security track',
      finding: 'closed the link while never was open',
      metal: 'unknown',
    });
    expect(states).toEqual(['absent']);
    const refused = await ask('never', null);
    expect(refused.ok ? null : refused.fault).toMatchObject({
      code: 'TRACK_UNAVAILABLE',
      metal: 'untouched',
    });
    expect(code(pair.interface.notify(MessageType.EVENT, 'x', 1))).toBe('TRACK_UNAVAILABLE');
    expect(pair.interface.counters().peerLosses).toBe(1);
  });
});

it('a link over shared memory calls nobody silent because both sides stood still with the machine', async () => {
  const pair = await overMemory();
  const states: PeerState[] = [];
  for (const end of [pair.security, pair.interface]) end.onPeer((state) => states.push(state));
  const untilMs = systemClock.nowMs() + 2 * SILENT_AFTER_MS;
  while (systemClock.nowMs() < untilMs) Math.sqrt(untilMs);
  await systemClock.sleep(100);
  pair.remove();
  expect(states.filter((state) => state !== 'absent')).toEqual([]);
});
