// Risk levels: UNKNOWN is the worst, and nothing is ever raised past QUARANTINED.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RiskLevel, raiseRisk, riskName, riskRank, worseRisk } from '#model/risk';

const level = fc.constantFrom(...Object.values(RiskLevel));
const BY_DANGER = [
  'SAFE',
  'LOW',
  'MODERATE',
  'HIGH',
  'CRITICAL',
  'QUARANTINED',
  'UNKNOWN',
] as const;

describe('risk levels', () => {
  it('rank from SAFE to QUARANTINED, and UNKNOWN above all', () => {
    const ranked = Object.values(RiskLevel).sort((left, right) => riskRank(left) - riskRank(right));
    expect(ranked.map(riskName)).toEqual(BY_DANGER);
  });

  it('keep the numbers of the wire', () => {
    expect(Object.values(RiskLevel)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    for (const [name, value] of Object.entries(RiskLevel)) expect(riskName(value)).toBe(name);
  });

  it('combine to the worse of two, in any order', () => {
    fc.assert(
      fc.property(level, level, level, (a, b, c) => {
        const worse = worseRisk(a, b);
        expect([a, b]).toContain(worse);
        expect(riskRank(worse)).toBe(Math.max(riskRank(a), riskRank(b)));
        expect(worseRisk(b, a)).toBe(worse);
        expect(worseRisk(worseRisk(a, b), c)).toBe(worseRisk(a, worseRisk(b, c)));
      }),
    );
  });

  it('are raised by whole steps up to QUARANTINED, and UNKNOWN stays UNKNOWN', () => {
    fc.assert(
      fc.property(level, fc.integer({ min: 0, max: 10 }), (start, steps) => {
        const raised = raiseRisk(start, steps);
        expect(riskRank(raised)).toBeGreaterThanOrEqual(riskRank(start));
        if (start === RiskLevel.UNKNOWN) expect(raised).toBe(RiskLevel.UNKNOWN);
        else expect(raised).toBe(Math.min(start + steps, RiskLevel.QUARANTINED));
      }),
    );
  });
});
