import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { THREAT_LEVELS, type ThreatSubjectKind } from '#model/incident';
import { DEFAULT_THREATS, INDICATOR_RULES, type ThreatPolicy } from '#model/safety-policy';
import { indicatorsOf, scoreOf, type ThreatQuestion } from '#tracks/security/threats/threat-score';
import { SIGNS, type Sign } from '#tracks/security/threats/threat-window';

interface Case {
  readonly kind?: ThreatSubjectKind;
  readonly counts: Partial<Record<Sign, number>>;
  readonly people?: number;
  readonly usual?: number | null;
  readonly policy?: ThreatPolicy;
}

function asked({
  kind = 'person',
  counts,
  people = 0,
  usual = null,
  policy = DEFAULT_THREATS,
}: Case) {
  const tally = { count: (sign: Sign) => counts[sign] ?? 0, people };
  return { kind, tally, usualOperations: usual, policy } satisfies ThreatQuestion;
}

const score = (one: Case) => scoreOf(asked(one));
const rank = (one: Case) => THREAT_LEVELS.indexOf(score(one).level);

const rule = fc.record({
  after: fc.integer({ min: 0, max: 40 }),
  each: fc.integer({ min: 0, max: 100 }),
  most: fc.integer({ min: 0, max: 200 }),
});
const policies: fc.Arbitrary<ThreatPolicy> = fc
  .record({
    indicators: fc.tuple(...INDICATOR_RULES.map(() => rule)),
    levels: fc.uniqueArray(fc.integer({ min: 1, max: 300 }), { minLength: 4, maxLength: 4 }),
  })
  .map(({ indicators, levels }) => {
    const [low = 1, medium = 2, high = 3, critical = 4] = [...levels].sort((a, b) => a - b);
    return {
      ...DEFAULT_THREATS,
      levels: { low, medium, high, critical },
      indicators: Object.fromEntries(
        INDICATOR_RULES.map((name, index) => [name, indicators[index]]),
      ) as ThreatPolicy['indicators'],
    };
  });
const cases = fc.record({
  kind: fc.constantFrom<ThreatSubjectKind>('person', 'device', 'source'),
  counts: fc
    .array(fc.integer({ min: 0, max: 400 }), { minLength: SIGNS.length, maxLength: SIGNS.length })
    .map((all) => Object.fromEntries(SIGNS.map((sign, index) => [sign, all[index] ?? 0]))),
  people: fc.integer({ min: 0, max: 64 }),
  usual: fc.option(fc.integer({ min: 0, max: 50 })),
  policy: policies,
});

describe('a score', () => {
  it('never rises, and neither does its level, when an entry is taken away', () => {
    fc.assert(
      fc.property(cases, fc.constantFrom(...SIGNS), (one, sign) => {
        const counts = { ...one.counts, [sign]: Math.max(0, (one.counts[sign] ?? 0) - 1) };
        const less = { ...one, counts };
        expect(score(less).score).toBeLessThanOrEqual(score(one).score);
        expect(rank(less)).toBeLessThanOrEqual(rank(one));
        const fewer = { ...one, people: Math.max(0, one.people - 1) };
        expect(score(fewer).score).toBeLessThanOrEqual(score(one).score);
      }),
    );
  });

  it('is the sum of what its explanation names', () => {
    fc.assert(
      fc.property(cases, (one) => {
        const told = indicatorsOf(asked(one));
        const sum = told.reduce((total, { points }) => total + points, 0);
        expect(sum).toBe(score(one).score);
        for (const { finding, points } of told) {
          expect(points).toBeGreaterThan(0);
          expect(finding).toMatch(/\w/);
        }
      }),
    );
  });

  it('never lifts a person above MEDIUM by sign-ins that anybody can let fail', () => {
    fc.assert(
      fc.property(cases, (one) => {
        const counts = { ...one.counts, probe: 0 };
        const without = { ...one, kind: 'person' as const, counts: { ...counts, signInFailed: 0 } };
        const attacked = { ...without, counts: { ...counts, signInFailed: 400 } };
        const medium = THREAT_LEVELS.indexOf('MEDIUM');
        if (rank(attacked) > medium) expect(rank(attacked)).toBe(rank(without));
      }),
    );
  });

  it('is CRITICAL for a probe of a quarantined device and for a broken audit chain, under any policy', () => {
    fc.assert(
      fc.property(
        policies,
        fc.constantFrom<ThreatSubjectKind>('person', 'device', 'source'),
        (policy, kind) => {
          expect(score({ kind, counts: { probe: 1 }, policy }).level).toBe('CRITICAL');
        },
      ),
    );
    expect(score({ kind: 'source', counts: { tampered: 1 } }).level).toBe('CRITICAL');
  });
});

describe('by default', () => {
  it.each([
    ['a rate over the baseline', { counts: { done: 61 }, usual: 10 }, 25],
    ['a rate that is four times the usual one and no more', { counts: { done: 80 }, usual: 20 }, 0],
    ['sixty operations where one is usual', { counts: { done: 60 }, usual: 1 }, 0],
    ['a rate where nothing is known to be usual', { counts: { done: 100_000 } }, 0],
    ['an unusual device', { counts: { unusualDevice: 1 } }, 30],
    ['many unusual devices', { counts: { unusualDevice: 9 } }, 30],
    ['an unusual hour', { counts: { unusualHour: 3 } }, 20],
    [
      'operations of HIGH risk in critical groups, and nothing else',
      { counts: { criticalDone: 9 } },
      0,
    ],
    ['the same beside an unusual hour', { counts: { criticalDone: 9, unusualHour: 1 } }, 60],
    ['one failed sign-in', { counts: { signInFailed: 1 } }, 10],
    ['many failed sign-ins', { counts: { signInFailed: 50 } }, 40],
    ['five attempts beyond the rights', { counts: { beyondRights: 5 } }, 0],
    ['many of them', { counts: { beyondRights: 500 } }, 51],
    ['one refused approval', { counts: { approvalRefused: 1 } }, 0],
    ['five refused approvals', { counts: { approvalRefused: 5 } }, 40],
    ['thirty odd requests', { counts: { refused: 30 } }, 0],
    ['sixty odd requests', { counts: { refused: 60 } }, 30],
    ['a probe', { counts: { probe: 1 } }, 90],
  ] satisfies readonly (readonly [string, Case, number])[])(
    '%s gives the person %i points',
    (_, one, points) => {
      expect(score(one).score).toBe(points);
    },
  );

  it.each([
    [29, 'NONE'],
    [30, 'LOW'],
    [49, 'LOW'],
    [50, 'MEDIUM'],
    [69, 'MEDIUM'],
    [70, 'HIGH'],
    [89, 'HIGH'],
    [90, 'CRITICAL'],
  ] as const)('%i points are %s', (points, level) => {
    const indicators = {
      ...DEFAULT_THREATS.indicators,
      refusals: { after: 0, each: points, most: points },
    };
    expect(score({ counts: { refused: 1 }, policy: { ...DEFAULT_THREATS, indicators } })).toEqual({
      score: points,
      level,
    });
  });

  it('a person who does everything unusually, within the rights, is locked; who does only two of three is not', () => {
    const all = { done: 100, unusualDevice: 1, unusualHour: 1 };
    expect(score({ counts: all, usual: 5 })).toEqual({ score: 75, level: 'HIGH' });
    expect(score({ counts: { ...all, unusualHour: 0 }, usual: 5 }).level).toBe('MEDIUM');
  });

  it('a stranger who lets sign-ins fail locks nobody who works at an unusual hour and place', () => {
    const counts = { unusualDevice: 1, unusualHour: 1, signInFailed: 40 };
    expect(score({ counts })).toEqual({ score: 90, level: 'MEDIUM' });
  });

  it('a device is suspicious when many people are refused on it, not when one is often', () => {
    const kind = 'device';
    expect(score({ kind, counts: { beyondRights: 500 }, people: 1 }).level).toBe('NONE');
    expect(score({ kind, counts: { beyondRights: 5 }, people: 5 }).level).toBe('MEDIUM');
  });

  it('a source that lets sign-ins fail and floods the chain is CRITICAL, one that does either is not', () => {
    const kind = 'source';
    expect(score({ kind, counts: { signInFailed: 50 } }).level).toBe('MEDIUM');
    expect(score({ kind, counts: { refused: 400 } }).level).toBe('LOW');
    expect(score({ kind, counts: { signInFailed: 50, refused: 400 } }).level).toBe('CRITICAL');
  });
});
