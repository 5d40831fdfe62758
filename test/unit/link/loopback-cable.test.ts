// A line whose ends are killed and replaced inside one process.

import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import { succeed } from '#foundation/outcome';
import { type Link, MessageType } from '#link/link';
import { LoopbackCable } from '#link/loopback-cable';

let clock: VirtualClock;
let cable: LoopbackCable;
let latencies: number[];
let security: Link;
let kernel: Link;

beforeEach(async () => {
  clock = new VirtualClock();
  latencies = [];
  cable = new LoopbackCable('security', 'kernel', {
    clock,
    latencyMs: () => latencies.shift() ?? 1,
    onError: (error) => {
      throw error;
    },
    onSent: () => undefined,
    onReceived: () => undefined,
  });
  security = cable.attach('security', clock);
  kernel = cable.attach('kernel', clock);
  await clock.advance(1);
});

function ask(): { readonly outcomes: Outcome<unknown>[] } {
  const outcomes: Outcome<unknown>[] = [];
  const deadline = Deadline.after(clock, 1_000);
  void security
    .request(MessageType.TRANSACTION, 'double', 21, deadline)
    .then((outcome) => outcomes.push(outcome));
  return { outcomes };
}

describe('a cable inside one process', () => {
  it('carries a request and its answer after their latency', async () => {
    kernel.serve('double', async (body) => succeed(Number(body) * 2));
    const asked = ask();
    await clock.advance(1.5);
    expect(asked.outcomes).toEqual([]);
    await clock.advance(1);
    expect(asked.outcomes).toEqual([succeed(42)]);
  });

  it('keeps the order of messages whatever each of them takes', async () => {
    const heard: unknown[] = [];
    kernel.onNotice('number', (body) => heard.push(body));
    latencies = [9, 1, 5];
    for (const number of [1, 2, 3]) security.notify(MessageType.EVENT, 'number', number);
    await clock.advance(20);
    expect(heard).toEqual([1, 2, 3]);
  });

  it('tells the survivor at once, and never answers the dead', async () => {
    let served = 0;
    kernel.serve('double', async () => {
      served += 1;
      return succeed(0);
    });
    const fromDead = ask();
    cable.cut('security');
    expect(kernel.peerState).toBe('lost');
    await clock.advance(5_000);
    expect([fromDead.outcomes, served]).toEqual([[], 0]);
    expect(security.notify(MessageType.EVENT, 'number', 1).ok).toBe(false);
  });

  it('fails what the survivor had asked, and goes on with the next life', async () => {
    kernel.serve('double', () => new Promise(() => undefined));
    const open = ask();
    await clock.advance(2);
    cable.cut('kernel');
    await clock.advance(0);
    expect(open.outcomes).toMatchObject([{ ok: false, fault: { code: 'TRACK_UNAVAILABLE' } }]);
    const next = cable.attach('kernel', clock);
    next.serve('double', async (body) => succeed(Number(body) * 2));
    await clock.advance(1);
    expect(security.peerState).toBe('up');
    const again = ask();
    await clock.advance(5);
    expect(again.outcomes).toEqual([succeed(42)]);
  });

  it('parts and mends with both ends alive', async () => {
    kernel.serve('double', async (body) => succeed(Number(body) * 2));
    cable.part();
    expect([security.peerState, kernel.peerState]).toEqual(['lost', 'lost']);
    const refused = ask();
    await clock.advance(5);
    expect(refused.outcomes).toMatchObject([{ ok: false, fault: { code: 'TRACK_UNAVAILABLE' } }]);
    cable.mend();
    const asked = ask();
    await clock.advance(5);
    expect(asked.outcomes).toEqual([succeed(42)]);
  });
});
