// Token buckets: the burst, the steady rate, and floods of keys.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { RateLimiter } from '#tracks/interface/rate-limiter';

it('never lets through more than the burst and the rate allow', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 40 }),
      async (burst, perSecond, pausesMs) => {
        const clock = new VirtualClock();
        const limiter = new RateLimiter(clock, { perSecond, burst });
        let admitted = 0;
        for (const pauseMs of pausesMs) {
          await clock.advance(pauseMs);
          if (limiter.take('key').admitted) admitted += 1;
        }
        expect(admitted).toBeLessThanOrEqual(burst + (clock.nowMs() * perSecond) / 1000 + 1e-6);
        expect(limiter.refused).toBe(pausesMs.length - admitted);
      },
    ),
    { numRuns: 25 },
  );
});

it('limits each key by itself and recovers with time', async () => {
  const clock = new VirtualClock();
  const limiter = new RateLimiter(clock, { perSecond: 2, burst: 1 });
  expect(limiter.take('a').admitted).toBe(true);
  expect(limiter.take('a')).toEqual({ admitted: false, occurrence: 'first' });
  expect(limiter.take('a')).toEqual({ admitted: false, occurrence: 'repeated' });
  expect(limiter.take('b').admitted).toBe(true);
  await clock.advance(500);
  expect(limiter.take('a').admitted).toBe(true);
});

it('says how long to wait: then the key has a token, and a moment before it has none', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 50 }),
      async (burst, perSecond) => {
        const clock = new VirtualClock();
        const limiter = new RateLimiter(clock, { perSecond, burst });
        expect(limiter.waitMs('key')).toBe(0);
        for (let taken = 0; taken < burst; taken++) {
          expect(limiter.waitMs('key')).toBe(0);
          limiter.take('key');
        }
        const waitMs = limiter.waitMs('key');
        expect(waitMs).toBeCloseTo(1000 / perSecond);
        await clock.advance(waitMs - 1);
        expect(limiter.exhausted('key')).toBe(true);
        await clock.advance(2);
        expect(limiter.exhausted('key')).toBe(false);
      },
    ),
    { numRuns: 25 },
  );
});

it('keeps the empty bucket of a flooder when others come in crowds', () => {
  const clock = new VirtualClock();
  const limiter = new RateLimiter(clock, { perSecond: 0.001, burst: 2 }, 8);
  limiter.take('flooder');
  limiter.take('flooder');
  for (let turn = 0; turn < 100; turn++) limiter.take(`other ${turn}`);
  expect(limiter.size).toBeLessThanOrEqual(8);
  expect(limiter.take('flooder').admitted).toBe(false);
});
