// People put straight into the store of security, before it runs: for demonstration, benches and tests.
// On an appliance accounts come from the first-run setup and from administrators, each with an entry of the audit chain.

import type { DurableStore } from '#foundation/durable-store';
import type { AccountRecord } from '#model/account';
import { CLEARANCE_NAMES, type Principal } from '#model/principal';
import { AccountBook } from '#tracks/security/identity/account-book';
import { hashToken } from '#tracks/security/identity/secrets';
import { TokenBook } from '#tracks/security/identity/token-book';

/** An account and the text of a token that opens it. */
export interface Persona {
  readonly account: AccountRecord;
  /** Null for who needs none. */
  readonly token: string | null;
}

const TOKEN_YEAR_MS = 365 * 86_400_000;

/** An account with these rights and nothing else. */
export function accountFor(
  principal: Principal,
  changes: Partial<AccountRecord> = {},
): AccountRecord {
  const { clearance, ...rest } = principal;
  return {
    ...rest,
    clearance: CLEARANCE_NAMES[clearance],
    administrator: false,
    enabled: true,
    validFromWallMs: null,
    validUntilWallMs: null,
    certificateUris: [],
    localUids: [],
    ...changes,
  };
}

/** Writes them in one transaction; the token of each replaces the one it had from here before. */
export function seedPeople(store: DurableStore, people: readonly Persona[], wallMs: number): void {
  const accounts = new AccountBook(store);
  const tokens = new TokenBook(store, () => wallMs);
  const { database } = store;
  database.exec('BEGIN IMMEDIATE');
  try {
    for (const { account, token } of people) {
      // What administrators made of it since stays.
      if (accounts.account(account.id) === undefined) accounts.write(account);
      if (token === null) continue;
      tokens.write({
        id: `seed-${account.id}`,
        account: account.id,
        hash: hashToken(token),
        name: 'made with the account',
        scope: null,
        createdWallMs: wallMs,
        expiresAtWallMs: wallMs + TOKEN_YEAR_MS,
        revokedWallMs: 0,
      });
    }
    database.exec('COMMIT');
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
}
