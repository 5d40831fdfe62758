// What people sign in with: the password's hash, the secret of the one-time codes and the last code that was used.
// Invariants: a code is used once, over restarts too; what is in memory is what is on disk, or stricter. The secret of the codes
// lies in the store as it is: whoever can read security's database can make codes, but not the password that goes with them.
// The file is readable by the security process alone, and a key to encrypt the secret with would lie right beside it.

import type { DurableStore } from '#foundation/durable-store';
import { stepOf } from './one-time-codes.ts';

export interface PersonalSecrets {
  readonly account: string;
  /** In the PHC string format. */
  readonly password: string;
  /** Base32. */
  readonly codeSecret: string;
  /** The newest step whose code was used (RFC 6238); 0 before the first. */
  readonly lastStep: number;
}

export class CredentialBook {
  readonly #store: DurableStore;
  readonly #secrets = new Map<string, PersonalSecrets>();

  constructor(store: DurableStore) {
    this.#store = store;
    store.database.exec(`
      CREATE TABLE IF NOT EXISTS personal_secret (
        account TEXT PRIMARY KEY, password TEXT NOT NULL, code_secret TEXT NOT NULL, last_step INTEGER NOT NULL
      ) STRICT;
    `);
    for (const row of store.database.prepare('SELECT * FROM personal_secret').all()) {
      this.noteSaved({
        account: String(row.account),
        password: String(row.password),
        codeSecret: String(row.code_secret),
        lastStep: Number(row.last_step),
      });
    }
  }

  of(account: string): PersonalSecrets | undefined {
    return this.#secrets.get(account);
  }

  enrolled(account: string): boolean {
    return this.#secrets.has(account);
  }

  /**
   * Takes a code: from now on it is used, whether the rest of the sign-in succeeds or not. True when it was a good one; the
   * caller's transaction writes it down with `writeStep`.
   */
  useCode(account: string, code: string, wallMs: number): boolean {
    const secrets = this.#secrets.get(account);
    if (secrets === undefined) return false;
    const step = stepOf(secrets.codeSecret, code, wallMs, secrets.lastStep);
    if (step === null) return false;
    this.#secrets.set(account, { ...secrets, lastStep: step });
    return true;
  }

  /** To be called inside a transaction of the store. */
  writeStep(account: string): void {
    const lastStep = this.#secrets.get(account)?.lastStep ?? 0;
    this.#store.database
      .prepare('UPDATE personal_secret SET last_step = max(last_step, ?) WHERE account = ?')
      .run(lastStep, account);
  }

  /** Another hash in place of this one, where it is still there; to be called inside a transaction of the store. */
  writePassword(account: string, before: string, after: string): void {
    this.#store.database
      .prepare('UPDATE personal_secret SET password = ? WHERE account = ? AND password = ?')
      .run(after, account, before);
  }

  /** The other hash is on disk: it counts from now on, where the one before still did. */
  notePassword(account: string, before: string, after: string): void {
    const secrets = this.#secrets.get(account);
    if (secrets?.password === before) this.#secrets.set(account, { ...secrets, password: after });
  }

  /** Writes all; to be called inside a transaction of the store, then `noteSaved` once it is on disk. */
  write({ account, password, codeSecret, lastStep }: PersonalSecrets): void {
    this.#store.database
      .prepare('INSERT OR REPLACE INTO personal_secret VALUES (?, ?, ?, ?)')
      .run(account, password, codeSecret, lastStep);
  }

  noteSaved(secrets: PersonalSecrets): void {
    this.#secrets.set(secrets.account, secrets);
  }

  /** To be called inside a transaction of the store, then `noteForgotten` once it is on disk. */
  writeForgotten(account: string): void {
    this.#store.database.prepare('DELETE FROM personal_secret WHERE account = ?').run(account);
  }

  noteForgotten(account: string): void {
    this.#secrets.delete(account);
  }
}
