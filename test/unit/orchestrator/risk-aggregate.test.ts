// One risk from several tracks: never lower than caution allows, never truncated downwards.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type RiskAssessment, RiskLevel, riskRank } from '#model/risk';
import type { TrackName } from '#model/track-name';
import {
  type AggregationMethod,
  type AggregationRule,
  aggregateRisk,
  CONSERVATIVE_RULE,
} from '#orchestrator/risk-aggregate';

const METHODS: readonly AggregationMethod[] = ['CONSERVATIVE', 'WEIGHTED', 'CONSENSUS'];
const { UNKNOWN, SAFE, LOW, MODERATE, HIGH, CRITICAL, QUARANTINED } = RiskLevel;
const known = fc.constantFrom(SAFE, LOW, MODERATE, HIGH, CRITICAL, QUARANTINED);
const level = fc.constantFrom(...Object.values(RiskLevel));
const weight = fc.constantFrom(0, 0.1, 0.3, 1, 2, 10);
const rule: fc.Arbitrary<AggregationRule> = fc.record({
  method: fc.constantFrom(...METHODS),
  weights: fc.record({ kernel: weight, security: weight, interface: weight }),
  uncertaintyFactor: fc.constantFrom(0, 0.1, 1 / 3, 0.5, 1),
});

function votes(...levels: readonly RiskLevel[]): RiskAssessment[] {
  const names: readonly TrackName[] = ['kernel', 'security', 'interface'];
  return levels.map((one, at) => ({ track: names[at] ?? 'interface', level: one, reasons: [] }));
}

const of = (method: AggregationMethod, levels: readonly RiskLevel[], changes = {}) =>
  aggregateRisk(votes(...levels), { ...CONSERVATIVE_RULE, method, ...changes }).level;

describe('aggregated risk', () => {
  it('is UNKNOWN as soon as one track is, by every method, and when nobody was asked', () => {
    fc.assert(
      fc.property(rule, fc.array(level, { maxLength: 3 }), (any, levels) => {
        const combined = aggregateRisk(votes(...levels), any).level;
        expect(combined === UNKNOWN).toBe(levels.length === 0 || levels.includes(UNKNOWN));
      }),
    );
  });

  it('is QUARANTINED as soon as one track says so, whatever the others and the weights', () => {
    fc.assert(
      fc.property(rule, fc.array(known, { minLength: 1, maxLength: 2 }), (any, levels) => {
        expect(aggregateRisk(votes(...levels, QUARANTINED), any).level).toBe(QUARANTINED);
      }),
    );
  });

  it('never falls when a track says worse', () => {
    fc.assert(
      fc.property(
        rule,
        fc.array(level, { minLength: 1, maxLength: 3 }),
        fc.nat(2),
        level,
        (any, levels, at, worse) => {
          const index = at % levels.length;
          const before = levels[index] ?? UNKNOWN;
          if (riskRank(worse) < riskRank(before)) return;
          const raised = levels.with(index, worse);
          const low = riskRank(aggregateRisk(votes(...levels), any).level);
          expect(riskRank(aggregateRisk(votes(...raised), any).level)).toBeGreaterThanOrEqual(low);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('is for CONSERVATIVE and CONSENSUS exactly the highest vote, raised by ceil(factor * level), capped', () => {
    const method = fc.constantFrom('CONSERVATIVE' as const, 'CONSENSUS' as const);
    const factor = fc.tuple(fc.nat(12), fc.constantFrom(12, 16, 20)).filter(([n, d]) => n <= d);
    fc.assert(
      fc.property(
        method,
        fc.array(known, { minLength: 1, maxLength: 3 }),
        factor,
        (by, levels, [numerator, denominator]) => {
          const highest = Math.max(...levels);
          // Whole numbers only: what the fraction should be, whatever binary fractions make of it.
          const raise = Math.floor((numerator * highest + denominator - 1) / denominator);
          const combined = of(by, levels, { uncertaintyFactor: numerator / denominator });
          expect(combined).toBe(Math.min(highest + raise, QUARANTINED));
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('is for WEIGHTED exactly the mean rounded up, by whole-number weights, and never below it', () => {
    const votesKnown = fc.array(fc.constantFrom(SAFE, LOW, MODERATE, HIGH, CRITICAL), {
      minLength: 1,
      maxLength: 3,
    });
    const whole = fc.nat(1_000);
    fc.assert(
      fc.property(votesKnown, whole, whole, whole, (levels, kernel, security, last) => {
        const weights = [kernel, security, last].slice(0, levels.length);
        const total = weights.reduce((sum, one) => sum + one, 0);
        const sum = levels.reduce<number>((all, one, at) => all + one * (weights[at] ?? 0), 0);
        const combined = of('WEIGHTED', levels, {
          weights: { kernel, security, interface: last },
        });
        const expected = total === 0 ? Math.max(...levels) : Math.floor((sum + total - 1) / total);
        expect(combined).toBe(expected);
      }),
      { numRuns: 2_000 },
    );
  });

  it('never falls when the uncertainty grows, and is never below what it is without any', () => {
    const factor = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(
        rule,
        fc.array(known, { minLength: 1, maxLength: 3 }),
        factor,
        factor,
        (any, levels, one, other) => {
          const at = (uncertaintyFactor: number) =>
            aggregateRisk(votes(...levels), { ...any, uncertaintyFactor }).level;
          const certain = at(0);
          expect(at(Math.max(one, other))).toBeGreaterThanOrEqual(at(Math.min(one, other)));
          expect(at(one)).toBeGreaterThanOrEqual(certain);
          expect(at(one)).toBeLessThanOrEqual(QUARANTINED);
          // Any uncertainty at all raises by a whole level where there is one above.
          if (one > 0 && certain !== QUARANTINED) expect(at(one)).toBeGreaterThan(certain);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('reads only the tracks that were asked: weights and order of the others change nothing', () => {
    fc.assert(
      fc.property(rule, known, known, fc.constantFrom(0, 1, 9), (any, first, second, other) => {
        const asked = votes(first, second);
        const base = aggregateRisk(asked, any);
        const weights = { ...any.weights, interface: other };
        expect(aggregateRisk(asked, { ...any, weights }).level).toBe(base.level);
        expect(aggregateRisk([...asked].reverse(), any).level).toBe(base.level);
        expect(base.reasons.join()).not.toContain('interface');
      }),
    );
  });

  it('lies between the lowest and the highest vote, uncertainty aside', () => {
    fc.assert(
      fc.property(rule, fc.array(known, { minLength: 1, maxLength: 3 }), (any, levels) => {
        const combined = aggregateRisk(votes(...levels), { ...any, uncertaintyFactor: 0 }).level;
        expect(combined).toBeGreaterThanOrEqual(Math.min(...levels));
        expect(combined).toBeLessThanOrEqual(Math.max(...levels));
      }),
    );
  });

  it('is the highest vote for CONSERVATIVE and CONSENSUS', () => {
    expect(of('CONSERVATIVE', [SAFE, HIGH, LOW])).toBe(HIGH);
    expect(of('CONSENSUS', [SAFE, HIGH, LOW])).toBe(HIGH);
    expect(of('CONSENSUS', [LOW, LOW, LOW])).toBe(LOW);
  });

  it('is the weighted mean rounded up for WEIGHTED, exactly where the mean is whole', () => {
    expect(of('WEIGHTED', [SAFE, SAFE, LOW])).toBe(LOW);
    expect(of('WEIGHTED', [SAFE, MODERATE])).toBe(LOW);
    expect(of('WEIGHTED', [MODERATE, MODERATE, HIGH])).toBe(HIGH);
    // A mean of exactly 3 that binary fractions make a little more than 3.
    const weights = { kernel: 0.1, security: 0.2, interface: 0.3 };
    expect(of('WEIGHTED', [MODERATE, MODERATE, MODERATE], { weights })).toBe(MODERATE);
    expect(of('WEIGHTED', [LOW, MODERATE, HIGH], { weights })).toBe(HIGH);
  });

  it('leaves out tracks without weight, and falls back to the highest when none has any', () => {
    const onlyKernel = { weights: { kernel: 1, security: 0, interface: 0 } };
    expect(of('WEIGHTED', [LOW, CRITICAL, CRITICAL], onlyKernel)).toBe(LOW);
    const nobody = { weights: { kernel: 0, security: 0, interface: 0 } };
    expect(of('WEIGHTED', [LOW, CRITICAL, SAFE], nobody)).toBe(CRITICAL);
  });

  it('is raised by uncertainty, rounded up, and never past QUARANTINED', () => {
    expect(of('CONSERVATIVE', [LOW], { uncertaintyFactor: 0.1 })).toBe(MODERATE);
    expect(of('CONSERVATIVE', [MODERATE], { uncertaintyFactor: 0.5 })).toBe(CRITICAL);
    expect(of('CONSERVATIVE', [CRITICAL], { uncertaintyFactor: 1 })).toBe(QUARANTINED);
    expect(of('CONSERVATIVE', [MODERATE], { uncertaintyFactor: 0 })).toBe(MODERATE);
  });

  it('keeps the reasons of every track, each with its name', () => {
    const { reasons } = aggregateRisk(
      [
        { track: 'kernel', level: LOW, reasons: ['pump: LOW device'] },
        { track: 'security', level: SAFE, reasons: [] },
      ],
      { ...CONSERVATIVE_RULE, uncertaintyFactor: 0.1 },
    );
    expect(reasons).toEqual([
      'kernel: LOW',
      'kernel: pump: LOW device',
      'security: SAFE',
      'uncertainty 0.1: raised to MODERATE',
    ]);
  });
});
