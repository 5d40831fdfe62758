import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_POLICY } from '#model/safety-policy';
import { TRACKS } from '#model/track-name';
import { CONFLICT_ANSWERS, type ConflictAnswer } from '#model/unified-state';
import {
  type Claim,
  conservativeAnswer,
  lessSafe,
  type SettlementPolicy,
  saferAnswer,
  settle,
  settlementPolicy,
} from '#orchestrator/resolution';

const answer = fc.constantFrom(...CONFLICT_ANSWERS);
const track = fc.constantFrom(...TRACKS);
const claim: fc.Arbitrary<Claim> = fc.record({
  track,
  value: fc.string({ maxLength: 8 }),
  answer,
  valid: fc.boolean(),
  order: fc.nat(6),
});
const claims = fc.array(claim, { maxLength: 6 });
const method = fc.constantFrom(
  'CONSERVATIVE',
  'LATEST_VALID',
  'AUTHORITY',
  'USER_MEDIATED' as const,
);
const policy: fc.Arbitrary<SettlementPolicy> = fc.record({
  method: method as fc.Arbitrary<SettlementPolicy['method']>,
  authority: fc.uniqueArray(track, { maxLength: 3 }),
  deadlineSeconds: fc.nat(),
});
const rank = (one: ConflictAnswer) => CONFLICT_ANSWERS.indexOf(one);
const answerOf = (given: readonly Claim[], by: SettlementPolicy, floor: ConflictAnswer) => {
  const settlement = settle(given, by, floor);
  return settlement.kind === 'answered' ? settlement.answer : settlement.conservative;
};

describe('every settlement', () => {
  it('is an answer, and never less safe than the floor of its rule', () => {
    fc.assert(
      fc.property(claims, policy, answer, (given, by, floor) => {
        expect(rank(answerOf(given, by, floor))).toBeLessThanOrEqual(rank(floor));
        expect(rank(answerOf(given, by, floor))).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it('is never safer than the conservative one', () => {
    fc.assert(
      fc.property(claims, policy, answer, (given, by, floor) => {
        const conservative = conservativeAnswer(given, floor);
        expect(lessSafe(conservative, answerOf(given, by, floor))).toBe(false);
      }),
    );
  });

  it('is the same in whatever order the tracks are heard', () => {
    const shuffled = claims.chain((given) =>
      fc.tuple(
        fc.constant(given),
        fc.shuffledSubarray(given, { minLength: given.length, maxLength: given.length }),
      ),
    );
    fc.assert(
      fc.property(shuffled, policy, answer, ([given, other], by, floor) => {
        expect(settle(other, by, floor)).toEqual(settle(given, by, floor));
      }),
    );
  });

  it('asks a person only where there is something to decide', () => {
    fc.assert(
      fc.property(claims, answer, (given, floor) => {
        const by: SettlementPolicy = { method: 'USER_MEDIATED', authority: [], deadlineSeconds: 1 };
        const conservative = conservativeAnswer(given, floor);
        const kind = conservative === floor ? 'answered' : 'mediated';
        expect(settle(given, by, floor).kind).toBe(kind);
      }),
    );
  });

  it('depends on the order of receipt alone, not on how far apart things were received', () => {
    fc.assert(
      fc.property(
        claims,
        policy,
        answer,
        fc.integer({ min: 1, max: 1e6 }),
        (given, by, floor, factor) => {
          const stretched = given.map((one) => ({ ...one, order: one.order * factor }));
          expect(settle(stretched, by, floor)).toEqual(settle(given, by, floor));
        },
      ),
    );
  });
});

const says = (
  who: Claim['track'],
  what: ConflictAnswer,
  order: number,
  valid: 'valid' | 'invalid' = 'valid',
): Claim => ({ track: who, value: what, answer: what, order, valid: valid === 'valid' });
const by = (
  how: SettlementPolicy['method'],
  authority: SettlementPolicy['authority'] = [],
): SettlementPolicy => ({ method: how, authority, deadlineSeconds: 60 });

describe('the latest valid word', () => {
  it('counts when its track is up and its part is fresh', () => {
    const given = [says('kernel', 'ACCEPT', 9), says('security', 'REVIEW', 4)];
    expect(settle(given, by('LATEST_VALID'), 'ACCEPT')).toEqual({
      kind: 'answered',
      answer: 'ACCEPT',
    });
  });

  it('is not that of a track that is away', () => {
    const given = [says('kernel', 'ACCEPT', 9, 'invalid'), says('security', 'REVIEW', 4)];
    expect(answerOf(given, by('LATEST_VALID'), 'ACCEPT')).toBe('REVIEW');
  });

  it('is the safest answer when two words are equally late, or none is valid', () => {
    const tie = [says('kernel', 'ACCEPT', 4), says('security', 'REVIEW', 4)];
    expect(answerOf(tie, by('LATEST_VALID'), 'ACCEPT')).toBe('REVIEW');
    const none = tie.map((one) => ({ ...one, valid: false }));
    expect(answerOf(none, by('LATEST_VALID'), 'ACCEPT')).toBe('REVIEW');
  });

  it('does not override a stop or a quarantine', () => {
    const given = [says('kernel', 'ACCEPT', 9), says('security', 'STOP', 4)];
    expect(answerOf(given, by('LATEST_VALID'), 'STOP')).toBe('STOP');
    expect(answerOf(given, by('LATEST_VALID'), 'QUARANTINE')).toBe('QUARANTINE');
  });
});

describe('the first authority', () => {
  const given = [says('kernel', 'ACCEPT', 1), says('security', 'REVIEW', 9)];

  it('is the first track of the list that has a valid word', () => {
    expect(answerOf(given, by('AUTHORITY', ['kernel', 'security']), 'ACCEPT')).toBe('ACCEPT');
    expect(answerOf(given, by('AUTHORITY', ['interface', 'security']), 'ACCEPT')).toBe('REVIEW');
  });

  it('gives way to caution when none of the list has one', () => {
    expect(answerOf(given, by('AUTHORITY', ['interface']), 'ACCEPT')).toBe('REVIEW');
  });
});

it('orders answers from quarantine down to acceptance', () => {
  fc.assert(
    fc.property(answer, answer, (left, right) => {
      expect(saferAnswer(left, right)).toBe(saferAnswer(right, left));
      expect(rank(saferAnswer(left, right))).toBe(Math.min(rank(left), rank(right)));
      expect(lessSafe(left, right)).toBe(rank(left) > rank(right));
    }),
  );
});

describe('the policy of a rule', () => {
  const entry = { deadlineSeconds: 60, authority: ['kernel'] } as const;
  const conflicts = [
    { ...entry, rule: 'HOLD_DISAGREES', method: 'AUTHORITY', devices: null },
    { ...entry, rule: 'HOLD_DISAGREES', method: 'USER_MEDIATED', devices: [4] },
  ] as const;

  it('is the entry that names the device, then the one that names none, then caution', () => {
    expect(settlementPolicy({ conflicts }, 'HOLD_DISAGREES', 4).method).toBe('USER_MEDIATED');
    expect(settlementPolicy({ conflicts }, 'HOLD_DISAGREES', 5).method).toBe('AUTHORITY');
    expect(settlementPolicy({ conflicts }, 'NORMAL_WHILE_FAULT', 4).method).toBe('CONSERVATIVE');
    expect(settlementPolicy(DEFAULT_POLICY, 'HOLD_DISAGREES', 4).method).toBe('CONSERVATIVE');
  });
});
