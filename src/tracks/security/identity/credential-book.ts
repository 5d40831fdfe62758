// What people sign in with: the password's hash, the secret of the one-time codes and the last code that was used.
// Invariants: a code is used once, over restarts too; what is in memory is what is on disk, or stricter. Hash and secret lie
// sealed in the store; the secret is opened while a code is checked and wiped after it. Whoever cannot be opened, because the
// key is not there or the row is another's, is enrolled as before and signs in with nothing.

import { randomBytes } from 'node:crypto';
import type { DurableStore } from '#foundation/durable-store';
import { newCodeSecret, stepOf } from './one-time-codes.ts';
import { forgetPlain, plainAccounts } from './sealed-tables.ts';
import {
  keyIdOfSealed,
  SEALING_KEY_BYTES,
  type SealSubject,
  Seals,
  sealingKeyOf,
} from './seals.ts';

export interface PersonalSecrets {
  readonly account: string;
  /** In the PHC string format. */
  readonly password: string;
  /** Sealed for the account and the purpose `code-secret`. */
  readonly codeSecret: string;
  /** The newest step whose code was used (RFC 6238); 0 before the first. */
  readonly lastStep: number;
}

export class CredentialBook {
  readonly #store: DurableStore;
  readonly #seals: Seals;
  readonly #secrets = new Map<string, PersonalSecrets>();
  /** Those that cannot be opened, and why. */
  readonly #shut = new Map<string, string>();

  /** After `openSealedTables`. */
  constructor(store: DurableStore, seals: Seals) {
    this.#store = store;
    this.#seals = seals;
    for (const account of plainAccounts(store.database))
      this.#shut.set(account, 'there is no key to seal them with');
    for (const row of store.database.prepare('SELECT * FROM sealed_credential').all()) {
      const account = String(row.account);
      const codeSecret = String(row.code_secret);
      const password = seals.openText(passwordOf(account), String(row.password));
      const opened = seals.open(codesOf(account), codeSecret);
      if (password === null || opened === null) {
        this.#shut.set(account, this.#unopenedBecause(String(row.password), codeSecret));
        continue;
      }
      opened.fill(0);
      this.#secrets.set(account, {
        account,
        password,
        codeSecret,
        lastStep: Number(row.last_step),
      });
    }
  }

  of(account: string): PersonalSecrets | undefined {
    return this.#secrets.get(account);
  }

  /** Has set a password, whether that can be used now or not. */
  enrolled(account: string): boolean {
    return this.#secrets.has(account) || this.#shut.has(account);
  }

  /** Can sign in with the password. */
  usable(account: string): boolean {
    return this.#secrets.has(account);
  }

  /** Accounts whose secrets cannot be opened, and why. */
  get shut(): ReadonlyMap<string, string> {
    return this.#shut;
  }

  /**
   * Takes a code: from now on it is used, whether the rest of the sign-in succeeds or not. True when it was a good one; the
   * caller's transaction writes it down with `writeStep`.
   */
  useCode(account: string, code: string, wallMs: number): boolean {
    const secrets = this.#secrets.get(account);
    if (secrets === undefined) return false;
    const opened = this.#seals.open(codesOf(account), secrets.codeSecret);
    if (opened === null) return false;
    const step = stepOf(opened, code, wallMs, secrets.lastStep);
    opened.fill(0);
    if (step === null) return false;
    this.#secrets.set(account, { ...secrets, lastStep: step });
    return true;
  }

  /** To be called inside a transaction of the store. */
  writeStep(account: string): void {
    const lastStep = this.#secrets.get(account)?.lastStep ?? 0;
    this.#store.database
      .prepare('UPDATE sealed_credential SET last_step = max(last_step, ?) WHERE account = ?')
      .run(lastStep, account);
  }

  /** Whether this hash still is the account's, for whoever asks inside a transaction of the store and what it writes. */
  stands(account: string, password: string): boolean {
    const row = this.#store.database
      .prepare('SELECT password FROM sealed_credential WHERE account = ?')
      .get(account);
    if (row === undefined) return false;
    return this.#seals.openText(passwordOf(account), String(row.password)) === password;
  }

  /** Another hash in place of this one, where it is still there; to be called inside a transaction of the store. */
  writePassword(account: string, before: string, after: string): void {
    if (this.#seals.currentId === null || !this.stands(account, before)) return;
    this.#store.database
      .prepare('UPDATE sealed_credential SET password = ? WHERE account = ?')
      .run(this.#seals.sealText(passwordOf(account), after), account);
  }

  /** The other hash is on disk: it counts from now on, where the one before still did. */
  notePassword(account: string, before: string, after: string): void {
    const secrets = this.#secrets.get(account);
    if (secrets?.password === before) this.#secrets.set(account, { ...secrets, password: after });
  }

  /** Writes all; to be called inside a transaction of the store, then `noteSaved` once it is on disk. */
  write({ account, password, codeSecret, lastStep }: PersonalSecrets): void {
    this.#store.database
      .prepare('INSERT OR REPLACE INTO sealed_credential VALUES (?, ?, ?, ?)')
      .run(
        account,
        this.#seals.sealText(passwordOf(account), password),
        this.#seals.renewed(codesOf(account), codeSecret),
        lastStep,
      );
  }

  noteSaved(secrets: PersonalSecrets): void {
    this.#shut.delete(secrets.account);
    this.#secrets.set(secrets.account, secrets);
  }

  /** To be called inside a transaction of the store, then `noteForgotten` once it is on disk. */
  writeForgotten(account: string): void {
    const { database } = this.#store;
    database.prepare('DELETE FROM sealed_credential WHERE account = ?').run(account);
    forgetPlain(database, account);
  }

  noteForgotten(account: string): void {
    this.#secrets.delete(account);
    this.#shut.delete(account);
  }

  #unopenedBecause(...sealed: readonly string[]): string {
    const unknown = sealed
      .map(keyIdOfSealed)
      .some((keyId) => keyId !== null && !this.#seals.knows(keyId));
    return unknown
      ? 'the key they were sealed with is not there'
      : 'they were changed, or sealed for another account';
  }
}

/** The work of checking a code, for nobody: a sealed secret that is opened, compared and wiped, and never fits. */
export class NobodysCodes {
  readonly #seals: Seals;
  readonly #sealed: string;

  constructor() {
    this.#seals = new Seals(sealingKeyOf(randomBytes(SEALING_KEY_BYTES)));
    this.#sealed = this.#seals.seal(codesOf(''), newCodeSecret());
  }

  useCode(code: string, wallMs: number): boolean {
    const opened = this.#seals.open(codesOf(''), this.#sealed);
    return opened !== null && stepOf(opened, code, wallMs, Number.MAX_SAFE_INTEGER) !== null;
  }
}

export function codesOf(account: string): SealSubject {
  return { account, purpose: 'code-secret' };
}

function passwordOf(account: string): SealSubject {
  return { account, purpose: 'password' };
}
