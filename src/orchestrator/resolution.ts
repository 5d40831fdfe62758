// How a conflict is settled: the safest answer, the latest valid word, the first authority, or a person.
// Invariants: pure, total and the same for every order of the claims; no clock is read; no method gives an answer less
// safe than the floor of the rule, and none a safer one than CONSERVATIVE.

import type { LinearId } from '#model/device';
import type { ConflictPolicy, SafetyPolicy } from '#model/safety-policy';
import {
  CONFLICT_ANSWERS,
  type ConflictAnswer,
  type ConflictPosition,
  type ConflictRule,
} from '#model/unified-state';

export interface Claim extends ConflictPosition {
  /** The track is up and its part is not stale. */
  readonly valid: boolean;
  /** Counts up with every change received from any track: the higher, the later. */
  readonly order: number;
}

export type Settlement =
  | { readonly kind: 'answered'; readonly answer: ConflictAnswer }
  /** A person decides; the conservative answer is what applies if nobody does. */
  | { readonly kind: 'mediated'; readonly conservative: ConflictAnswer };

export type SettlementPolicy = Pick<ConflictPolicy, 'method' | 'authority' | 'deadlineSeconds'>;

const DEFAULT_SETTLEMENT: SettlementPolicy = {
  method: 'CONSERVATIVE',
  authority: ['security', 'kernel', 'interface'],
  deadlineSeconds: 300,
};

export function saferAnswer(left: ConflictAnswer, right: ConflictAnswer): ConflictAnswer {
  return CONFLICT_ANSWERS.indexOf(left) <= CONFLICT_ANSWERS.indexOf(right) ? left : right;
}

/** True when `left` leaves more to chance than `right`. */
export function lessSafe(left: ConflictAnswer, right: ConflictAnswer): boolean {
  return left !== right && saferAnswer(left, right) === right;
}

/** The safest of the claims' answers and of the floor. */
export function conservativeAnswer(
  claims: readonly Claim[],
  floor: ConflictAnswer,
): ConflictAnswer {
  return claims.reduce((safest, claim) => saferAnswer(safest, claim.answer), floor);
}

export function settle(
  claims: readonly Claim[],
  policy: SettlementPolicy,
  floor: ConflictAnswer,
): Settlement {
  const conservative = conservativeAnswer(claims, floor);
  const answered = (answer: ConflictAnswer): Settlement => ({
    kind: 'answered',
    answer: saferAnswer(answer, floor),
  });
  switch (policy.method) {
    case 'CONSERVATIVE':
      return answered(conservative);
    case 'LATEST_VALID':
      return answered(latestValid(claims) ?? conservative);
    case 'AUTHORITY':
      return answered(firstAuthority(claims, policy) ?? conservative);
    case 'USER_MEDIATED':
      // Where safety leaves one answer, nobody is asked and nothing waits.
      return conservative === floor ? answered(floor) : { kind: 'mediated', conservative };
  }
}

/** Among valid claims the one whose track changed last; at a tie the safest of them. */
function latestValid(claims: readonly Claim[]): ConflictAnswer | undefined {
  const valid = claims.filter((claim) => claim.valid);
  const latest = Math.max(...valid.map((claim) => claim.order));
  return safestOf(valid.filter((claim) => claim.order === latest));
}

function firstAuthority(
  claims: readonly Claim[],
  policy: SettlementPolicy,
): ConflictAnswer | undefined {
  for (const track of policy.authority) {
    const answer = safestOf(claims.filter((claim) => claim.valid && claim.track === track));
    if (answer !== undefined) return answer;
  }
  return undefined;
}

function safestOf(claims: readonly Claim[]): ConflictAnswer | undefined {
  const [first, ...rest] = claims;
  if (first === undefined) return undefined;
  return rest.reduce((safest, claim) => saferAnswer(safest, claim.answer), first.answer);
}

/** The entry that names the device goes before one that names none; without either the safest answer counts. */
export function settlementPolicy(
  policy: Pick<SafetyPolicy, 'conflicts'>,
  rule: ConflictRule,
  device: LinearId,
): SettlementPolicy {
  const entries = policy.conflicts.filter((entry) => entry.rule === rule);
  return (
    entries.find((entry) => entry.devices?.includes(device) === true) ??
    entries.find((entry) => entry.devices === null) ??
    DEFAULT_SETTLEMENT
  );
}
