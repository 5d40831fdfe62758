// The statistics of timing: quantiles, and a test that finds a shift and does not find one where there is none.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compare, summaryOf } from '../../../../src/bin/chaos/statistics.ts';

/** A fixed row of numbers that looks like chance (Numerical Recipes, the quick and dirty generator). */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
}

/** Latencies: a floor, and a long tail. */
function times(count: number, seed: number, shift = 0): readonly number[] {
  const next = chance(seed);
  return Array.from({ length: count }, () => 2 + shift - 0.5 * Math.log(next()));
}

describe('a summary', () => {
  it('has values of the series, in order', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: true }), { minLength: 1 }), (values) => {
        const { count, p50, p95, most } = summaryOf(values);
        expect(count).toBe(values.length);
        expect(values).toContain(p50);
        expect(p50).toBeLessThanOrEqual(p95);
        expect(p95).toBeLessThanOrEqual(most);
        expect(most).toBe(values.reduce((left, right) => Math.max(left, right)));
      }),
    );
  });
});

describe('a comparison', () => {
  it('finds a shift that is larger than what it says it can detect', () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const plain = times(150, seed);
      const { detectable } = compare(plain, times(150, seed + 100));
      const shifted = compare(plain, times(150, seed + 100, 2 * detectable));
      expect(shifted.probability).toBeLessThan(0.01);
      expect(shifted.difference).toBeGreaterThan(0);
    }
  });

  it('errs no more often than it says where there is no shift', () => {
    let errors = 0;
    for (let seed = 1; seed <= 400; seed += 1) {
      const { probability } = compare(times(60, seed * 7), times(60, seed * 7 + 3));
      if (probability < 0.05) errors += 1;
    }
    // 20 are expected; 40 would be four and a half standard deviations away.
    expect(errors).toBeLessThan(40);
    expect(errors).toBeGreaterThan(2);
  });

  it('agrees with a worked example', () => {
    // Both orders of two series without overlap: U is 0, z is -3.7417 with continuity (n = m = 10).
    const low = Array.from({ length: 10 }, (_, index) => index);
    const high = low.map((value) => value + 100);
    expect(compare(low, high).probability).toBeCloseTo(1.827e-4, 6);
    expect(compare(high, low).probability).toBeCloseTo(1.827e-4, 6);
  });

  it('is the same whichever series comes first, and knows nothing of equal ones', () => {
    const series = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 2, maxLength: 40 });
    fc.assert(
      fc.property(series, series, (first, second) => {
        const one = compare(first, second);
        const other = compare(second, first);
        expect(one.probability).toBeCloseTo(other.probability, 9);
        expect(one.difference).toBeCloseTo(-other.difference, 9);
        expect(one.probability).toBeGreaterThan(0);
        expect(one.probability).toBeLessThanOrEqual(1);
        expect(compare(first, first).probability).toBeGreaterThan(0.9);
      }),
    );
  });
});
