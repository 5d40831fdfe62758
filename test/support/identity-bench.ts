// Accounts, tokens, sign-ins and locks of the security track on a real store and a clock of the test.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VirtualClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import type { AccountRecord } from '#model/account';
import { DEFAULT_IDENTITY, type IdentityPolicy } from '#model/safety-policy';
import { AccountBook } from '#tracks/security/identity/account-book';
import { Lockouts } from '#tracks/security/identity/lockouts';
import { Principals } from '#tracks/security/identity/principals';
import { SignIns } from '#tracks/security/identity/sign-ins';
import { Sources } from '#tracks/security/identity/sources';
import { TokenBook } from '#tracks/security/identity/token-book';
import { WallFloor } from '#tracks/security/identity/wall-floor';
import type { CertificatePort } from '#tracks/security/ports';
import { type Persona, seedPeople } from '../../src/bin/persona.ts';

/** One life of the process: everything in memory, over a store that outlives it. */
export class IdentityBench {
  readonly clock: VirtualClock;
  readonly directory: string;
  /** Certificates that are worth nothing, by fingerprint, and why. */
  readonly refused = new Map<string, string>();
  readonly locked: string[] = [];
  store: DurableStore;
  floor: WallFloor;
  accounts: AccountBook;
  tokens: TokenBook;
  lockouts: Lockouts;
  sources: Sources;
  signIns: SignIns;
  principals: Principals;

  /** Holds from the next restart on, when it is changed. */
  policy: IdentityPolicy;

  constructor(
    people: readonly Persona[] = [],
    clock = new VirtualClock(),
    policy = DEFAULT_IDENTITY,
  ) {
    this.clock = clock;
    this.policy = policy;
    this.directory = mkdtempSync(join(tmpdir(), 'dsmil-identity-'));
    const store = new DurableStore(this.#path);
    seedPeople(store, people, clock.wallMs());
    ({
      store: this.store,
      floor: this.floor,
      accounts: this.accounts,
      tokens: this.tokens,
      lockouts: this.lockouts,
      sources: this.sources,
      signIns: this.signIns,
      principals: this.principals,
    } = this.#live(store));
  }

  get #path(): string {
    return join(this.directory, 'agent.db');
  }

  /** The process ends and another one starts on what is on disk. */
  restart(): void {
    this.principals.close();
    this.store.close();
    Object.assign(this, this.#live(new DurableStore(this.#path)));
  }

  close(): void {
    this.store.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Changes the account as an administrator would. */
  async change(id: string, changes: Partial<AccountRecord>): Promise<void> {
    const record = this.accounts.account(id);
    if (record === undefined) throw new Error(`no account ${id}`);
    await this.accounts.save({ ...record, ...changes });
  }

  #live(store: DurableStore) {
    const { clock, policy } = this;
    const floor = new WallFloor(store, clock);
    const { wallMs } = floor;
    const accounts = new AccountBook(store);
    const tokens = new TokenBook(store, wallMs);
    const isAccount = (name: string) => accounts.account(name) !== undefined;
    const lockouts = new Lockouts({ store, wallMs, isAccount, policy });
    const sources = new Sources(clock);
    const signIns = new SignIns({ store, clock, wallMs, policy });
    const certificates: CertificatePort = {
      refusal: (_, fingerprint) => this.refused.get(fingerprint) ?? null,
    };
    const principals = new Principals({
      clock,
      wallMs,
      accounts,
      tokens,
      certificates,
      lockouts,
      sources,
      signIns,
      onLocked: (account) => this.locked.push(account),
    });
    return { store, floor, accounts, tokens, lockouts, sources, signIns, principals };
  }
}
