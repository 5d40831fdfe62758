// Time under test: order of timers, and deadlines that only virtual time moves.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { settleUntilQuiet, systemClock, VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';

describe('the virtual clock', () => {
  it('runs timers in order of time, and in order of asking where times are equal', async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    clock.after(20, () => seen.push(`late at ${clock.nowMs()}`));
    clock.after(10, () => seen.push(`first at ${clock.nowMs()}`));
    clock.after(10, () => seen.push(`second at ${clock.nowMs()}`));
    await clock.advance(30);
    expect(seen).toEqual(['first at 10', 'second at 10', 'late at 20']);
    expect(clock.nowMs()).toBe(30);
  });

  it('does not move by itself, and never runs what lies ahead', async () => {
    const clock = new VirtualClock(5_000);
    let ran = false;
    clock.after(10, () => {
      ran = true;
    });
    await clock.advance(9);
    expect([ran, clock.nowMs(), clock.wallMs()]).toEqual([false, 9, 5_009]);
    await clock.advance(1);
    expect(ran).toBe(true);
  });

  it('does not run a timer that was cancelled, not even by one that is due at the same time', async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    let cancel = () => undefined as unknown;
    clock.after(5, () => {
      seen.push('one');
      cancel();
    });
    cancel = clock.after(5, () => seen.push('two'));
    await clock.advance(10);
    expect(seen).toEqual(['one']);
  });

  it('lets whoever slept go on, and sleep again, within one advance', async () => {
    const clock = new VirtualClock();
    const wokeAt: number[] = [];
    const sleeper = (async () => {
      for (let turn = 0; turn < 3; turn++) {
        await clock.sleep(10);
        wokeAt.push(clock.nowMs());
      }
    })();
    await clock.advance(100);
    await sleeper;
    expect(wokeAt).toEqual([10, 20, 30]);
  });
});

describe('the virtual clock of a simulation', () => {
  it('waits for everything that turns of the event loop bring, however many they are', async () => {
    const clock = new VirtualClock(0, settleUntilQuiet);
    const seen: number[] = [];
    clock.after(5, () => {
      void (async () => {
        for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
        seen.push(clock.nowMs());
      })();
    });
    clock.after(6, () => seen.push(clock.nowMs()));
    await clock.advance(10);
    expect(seen).toEqual([5, 6]);
  });

  it('sets the wall clock back without moving a timer', async () => {
    const clock = new VirtualClock(100_000);
    let ranAtMs = 0;
    clock.after(50, () => {
      ranAtMs = clock.nowMs();
    });
    clock.jumpWall(-60_000);
    expect(clock.wallMs()).toBe(40_000);
    await clock.advance(100);
    expect([ranAtMs, clock.wallMs()]).toEqual([50, 40_100]);
  });

  it('keeps the order of many timers, whatever the order of asking', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(20), { maxLength: 60 }), async (delays) => {
        const clock = new VirtualClock(0, settleUntilQuiet);
        const seen: (readonly [number, number])[] = [];
        for (const [index, delay] of delays.entries()) {
          clock.after(delay, () => seen.push([delay, index]));
        }
        await clock.advance(20);
        const wanted = delays.map((delay, index) => [delay, index] as const);
        expect(seen).toEqual(wanted.sort(([a, i], [b, j]) => a - b || i - j));
      }),
    );
  });
});

describe('the system clock', () => {
  it('never goes back and calls a timer only after its delay', async () => {
    const before = systemClock.nowMs();
    await systemClock.sleep(5);
    // Timers of the event loop round down by up to a millisecond.
    expect(systemClock.nowMs() - before).toBeGreaterThanOrEqual(4);
  });

  it('does not call a cancelled timer', async () => {
    let ran = false;
    const cancel = systemClock.after(1, () => {
      ran = true;
    });
    cancel();
    await systemClock.sleep(20);
    expect(ran).toBe(false);
  });

  it('lets an answer be heard that was there before a timer, although the process was held up over both', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'clock-'));
    const server = createServer().listen(join(directory, 'socket'));
    await once(server, 'listening');
    const accepted = once(server, 'connection');
    const near = connect(join(directory, 'socket'));
    const [far] = (await accepted) as [Socket];
    try {
      for (const answered of ['goes on', 'is cancelled'] as const) {
        const heard: string[] = [];
        const cancel = systemClock.after(1, () => heard.push('time is up'));
        near.once('data', () => {
          heard.push('the answer');
          if (answered === 'is cancelled') cancel();
        });
        far.write('answer');
        const untilMs = systemClock.nowMs() + 20;
        while (systemClock.nowMs() < untilMs) Math.sqrt(untilMs);
        await new Promise<void>((resolve) => systemClock.after(20, resolve));
        const after = answered === 'goes on' ? ['time is up'] : [];
        expect(heard).toEqual(['the answer', ...after]);
      }
    } finally {
      near.destroy();
      far.destroy();
      server.close();
      rmSync(directory, { recursive: true });
    }
  });
});

describe('a deadline', () => {
  it('counts down to zero, is expired exactly at its time, and stays so', async () => {
    const clock = new VirtualClock();
    const deadline = Deadline.after(clock, 100);
    await clock.advance(99);
    expect([deadline.remainingMs(), deadline.expired()]).toEqual([1, false]);
    await clock.advance(1);
    expect([deadline.remainingMs(), deadline.expired()]).toEqual([0, true]);
    await clock.advance(50);
    expect([deadline.remainingMs(), deadline.expired()]).toEqual([0, true]);
  });

  it('can be made earlier for one attempt and never later', async () => {
    const clock = new VirtualClock();
    const deadline = Deadline.after(clock, 100);
    expect(deadline.within(10).atMs).toBe(10);
    expect(deadline.within(1_000).atMs).toBe(100);
    await clock.advance(95);
    expect(deadline.within(10).atMs).toBe(100);
  });
});
