// When the watchdog is kicked: the decision for any loops and tests, and the kicks that follow from it on a virtual clock.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import {
  judge,
  type LoopState,
  STOP_TEST_PERIODS,
  type StopTestState,
  Watchdog,
} from '../../../src/bin/watchdog.ts';

const time = fc.integer({ min: 0, max: 1_000_000 });
const loops = fc.array(
  fc.record({
    name: fc.constantFrom('one', 'two', 'three'),
    turned: fc.boolean(),
    turnedMs: time,
    limitMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 100_000 })),
  }),
  { maxLength: 6 },
);
const stopTest = fc.option(
  fc.record({
    last: fc.option(fc.record({ ok: fc.boolean(), atMs: time })),
    periodMs: fc.integer({ min: 1, max: 100_000 }),
    possibleSinceMs: fc.option(time),
  }),
);
const now = fc.integer({ min: 0, max: 2_000_000 });

const dead = (nowMs: number, { turned, turnedMs, limitMs }: LoopState) =>
  !turned && nowMs - turnedMs >= limitMs;

describe('the decision', () => {
  it('is to kick exactly when no loop is stuck and no test of the stop failed or is overdue', () => {
    fc.assert(
      fc.property(now, loops, stopTest, (nowMs, states, test) => {
        const stuck = states.some((state) => dead(nowMs, state));
        const testable = test !== null && test.possibleSinceMs !== null;
        const failed = testable && test.last?.ok === false;
        const sinceMs = Math.max(test?.possibleSinceMs ?? 0, test?.last?.atMs ?? 0);
        const overdue = testable && nowMs - sinceMs >= STOP_TEST_PERIODS * test.periodMs;
        const { alive, finding } = judge(nowMs, states, test);
        expect(alive).toBe(!stuck && !failed && !overdue);
        expect(finding === '').toBe(alive);
      }),
    );
  });

  it('never becomes better by waiting while nothing comes round', () => {
    fc.assert(
      fc.property(now, fc.nat(), loops, stopTest, (nowMs, laterMs, states, test) => {
        if (judge(nowMs, states, test).alive) return;
        expect(judge(nowMs + laterMs, states, test).alive).toBe(false);
      }),
    );
  });

  it('names every loop that is stuck, and no other', () => {
    fc.assert(
      fc.property(now, loops, (nowMs, states) => {
        const named = states.map((state, index) => ({ ...state, name: `loop-${index};` }));
        const { finding } = judge(nowMs, named, null);
        for (const state of named) expect(finding.includes(state.name)).toBe(dead(nowMs, state));
      }),
    );
  });
});

interface Bench {
  readonly clock: VirtualClock;
  readonly watchdog: Watchdog;
  readonly told: string[];
  kicks(): number;
}

const PATIENCE_MS = 8_000;

function bench(
  options: {
    readonly stopTest?: () => StopTestState;
    readonly environment?: Readonly<Record<string, string>>;
  } = {},
): Bench {
  const clock = new VirtualClock();
  const told: string[] = [];
  const watchdog = new Watchdog({
    clock,
    log: { error: () => undefined, info: () => undefined },
    environment: options.environment ?? {
      NOTIFY_SOCKET: '/nowhere',
      WATCHDOG_USEC: String(PATIENCE_MS * 1_000),
      WATCHDOG_PID: String(process.pid),
    },
    notify: (text) => told.push(text) > 0,
    ...(options.stopTest === undefined ? {} : { stopTest: options.stopTest }),
  });
  return {
    clock,
    watchdog,
    told,
    kicks: () => told.filter((text) => text === 'WATCHDOG=1').length,
  };
}

/** Time goes on in steps in which immediates and promises of this process come to their turn. */
async function pass(clock: VirtualClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 500) {
    await clock.advance(500);
    await new Promise((done) => setImmediate(done));
  }
}

describe('the watchdog', () => {
  it('kicks at least twice within the time in which the manager loses patience', async () => {
    const { clock, watchdog, kicks } = bench();
    watchdog.start();
    await pass(clock, PATIENCE_MS);
    expect(kicks()).toBeGreaterThanOrEqual(3);
    await pass(clock, 10 * PATIENCE_MS);
    expect(kicks()).toBeGreaterThanOrEqual(43);
  });

  it('ceases for a loop that stands still, says which, and goes on when it does', async () => {
    const { clock, watchdog, told, kicks } = bench();
    const turned = watchdog.loop('the pump');
    let pumping = true;
    watchdog.probe(() => {
      if (pumping) turned();
    });
    watchdog.start();
    await pass(clock, PATIENCE_MS);
    expect(kicks()).toBeGreaterThanOrEqual(3);
    pumping = false;
    await pass(clock, PATIENCE_MS / 2);
    const before = kicks();
    await pass(clock, 3 * PATIENCE_MS);
    expect(kicks()).toBe(before);
    expect(told.at(-1)).toMatch(/^STATUS=the pump has not come round for [\d.]+ s$/);
    pumping = true;
    await pass(clock, PATIENCE_MS);
    expect(kicks()).toBeGreaterThan(before);
    expect(told).toContain('STATUS=every loop comes round');
  });

  it('gives a slow loop its own time, and no more', async () => {
    const { clock, watchdog, kicks } = bench();
    const turned = watchdog.loop('the slow one', 4 * PATIENCE_MS);
    watchdog.start();
    await pass(clock, 3 * PATIENCE_MS);
    const alive = kicks();
    expect(alive).toBeGreaterThanOrEqual(11);
    turned();
    await pass(clock, 3 * PATIENCE_MS);
    expect(kicks()).toBeGreaterThanOrEqual(alive + 11);
    await pass(clock, 2 * PATIENCE_MS);
    const before = kicks();
    await pass(clock, 2 * PATIENCE_MS);
    expect(kicks()).toBe(before);
  });

  it('ceases when a test of the stop failed', async () => {
    let ok = true;
    const { clock, watchdog, told, kicks } = bench({
      stopTest: () => ({ last: { ok, atMs: clock.nowMs() }, periodMs: 10_000, possibleSinceMs: 0 }),
    });
    watchdog.start();
    await pass(clock, PATIENCE_MS);
    ok = false;
    const before = kicks();
    await pass(clock, 2 * PATIENCE_MS);
    expect(before).toBeGreaterThanOrEqual(3);
    expect(kicks()).toBe(before);
    expect(told.at(-1)).toBe('STATUS=the last test of the stop path failed');
  });

  it('tells that the process ends, and kicks no more', async () => {
    const { clock, watchdog, told, kicks } = bench();
    watchdog.start();
    await pass(clock, PATIENCE_MS);
    watchdog.stopping('closing');
    const before = kicks();
    await pass(clock, 2 * PATIENCE_MS);
    expect([kicks(), told.at(-1)]).toEqual([before, 'STOPPING=1\nSTATUS=closing']);
  });

  it.each([
    ['nobody waits', { NOTIFY_SOCKET: '/nowhere' }],
    ['no manager is there', { WATCHDOG_USEC: '1000000' }],
    [
      'another process is meant',
      { NOTIFY_SOCKET: '/nowhere', WATCHDOG_USEC: '1000000', WATCHDOG_PID: '1' },
    ],
    ['the time is no number', { NOTIFY_SOCKET: '/nowhere', WATCHDOG_USEC: 'soon' }],
  ])('does nothing where %s', async (_why, environment) => {
    const { clock, watchdog, told } = bench({ environment });
    watchdog.start();
    await pass(clock, 2 * PATIENCE_MS);
    expect(told).toEqual([]);
  });
});
