// Whether the person of an account could sign in now by any way there is: what an administrator who counts has to be able to.
// Invariants: pure but for what it is given; a lock of minutes does not count, one that a person has to lift does.

import type { AccountRecord } from '#model/account';

export interface WaysInParts {
  /** Has a password and one-time codes that can be checked. */
  readonly enrolled: (account: string) => boolean;
  readonly goodTokens: (account: string) => number;
  /** Whether a certificate for this name is good. */
  readonly certified: (uri: string) => boolean;
  /** Until a person unlocks the account. */
  readonly lockStands: (account: string) => boolean;
}

export function hasWayIn(
  { id, certificateUris, localUids }: AccountRecord,
  { enrolled, goodTokens, certified, lockStands }: WaysInParts,
): boolean {
  if (lockStands(id)) return false;
  return (
    enrolled(id) || localUids.length > 0 || goodTokens(id) > 0 || certificateUris.some(certified)
  );
}
