// The first of two people who have to ask for the same: what it proved itself with, and whether its word still counts.

import type { Outcome } from '#foundation/outcome';
import type { Principal } from '#model/principal';
import type { Proof } from './ports.ts';

export interface FirstPerson {
  readonly by: Principal;
  readonly proof: Proof;
  /** Monotonic milliseconds. */
  readonly untilMs: number;
}

/** Why its word counts no more, to stand after its name; null while it does. `may`: whether somebody could ask now. */
export function lapsedBecause(
  { by, proof }: FirstPerson,
  may: (principal: Principal) => Outcome<unknown>,
): string | null {
  const now = proof.holder?.();
  if (now !== undefined && !now.ok) return `cannot any more: ${now.fault.finding}`;
  const allowed = may(now?.value ?? by);
  return allowed.ok ? null : `cannot any more: ${allowed.fault.finding}`;
}

/** Two names that one credential opens might be one person. */
export function sameCredential({ proof }: FirstPerson, other: Proof): boolean {
  return proof.credential !== '' && proof.credential === other.credential;
}
