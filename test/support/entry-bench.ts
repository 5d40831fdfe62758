// The way in with a password on a real store and a real audit chain, with hashes that cost little.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import type { VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
} from '#model/administration';
import type { AuditEntry } from '#model/audit-entry';
import type { Session } from '#model/orchestrator-port';
import type { Origin } from '#model/principal';
import { Administration, recordActs } from '#tracks/security/administration';
import { AuditChain } from '#tracks/security/audit/audit-chain';
import { AdministratorRecovery } from '#tracks/security/identity/administrator-recovery';
import { CredentialBook } from '#tracks/security/identity/credential-book';
import { EntryDesk } from '#tracks/security/identity/entry-desk';
import { FirstRun } from '#tracks/security/identity/first-run';
import { Invitations } from '#tracks/security/identity/invitations';
import { codeAt, fromBase32, STEP_MS, stepAt } from '#tracks/security/identity/one-time-codes';
import { type HashCost, Passwords } from '#tracks/security/identity/passwords';
import { openSealedTables } from '#tracks/security/identity/sealed-tables';
import { type SealingKey, Seals, sealingKeyOf } from '#tracks/security/identity/seals';
import { Turns } from '#tracks/security/identity/turns';
import type { Persona } from '../../src/bin/persona.ts';
import { IdentityBench } from './identity-bench.ts';
import { must } from './kernel-bench.ts';

/** As small as argon2 goes. */
export const CHEAP: HashCost = { memoryKib: 8, passes: 1, lanes: 1 };
const CHECKPOINT_KEY = generateKeyPairSync('ed25519').privateKey;

/** What a person has who enrolled. */
export interface Enrolled {
  readonly account: string;
  readonly password: string;
  readonly secret: string;
}

type Live = ReturnType<typeof liveOn>;

/** One life of the process. */
function liveOn(
  identity: IdentityBench,
  cost: HashCost,
  heard: {
    readonly entries: AuditEntry[];
    readonly announced: string[];
    readonly recovered: string[];
    readonly keys: readonly SealingKey[];
  },
) {
  const { clock, store, accounts, tokens, lockouts, sources, signIns, principals, floor } =
    identity;
  const { wallMs } = floor;
  const audit = new AuditChain({
    store,
    clock,
    bootId: 'boot',
    clockQuality: () => 'synchronized',
    checkpointKey: CHECKPOINT_KEY,
    onAppended: (entry) => {
      floor.note(entry.wallMs);
      heard.entries.push(entry);
    },
  });
  const record = recordActs(audit);
  const seals = new Seals(heard.keys[0] ?? null, heard.keys.slice(1));
  openSealedTables(store, seals, () => undefined);
  const credentials = new CredentialBook(store, seals);
  const invitations = new Invitations({ store, credentials, seals, wallMs });
  const passwords = new Passwords(cost);
  const firstRun = new FirstRun({ accounts, credentials, tokens, invitations, record });
  const administratorRecovery = new AdministratorRecovery({
    accounts,
    invitations,
    lockouts,
    sessions: principals,
    record,
    turns: new Turns(),
    wallMs,
    onRecovered: (account) => heard.recovered.push(account),
  });
  const desk = new EntryDesk({
    clock,
    wallMs,
    accounts,
    credentials,
    invitations,
    unsealable: () => (seals.currentId === null ? 'the key is not there' : null),
    passwords,
    lockouts,
    sources,
    signIns,
    sessions: principals,
    record,
    onLocked: (account) => heard.announced.push(account),
  });
  const administration = new Administration({
    audit,
    session: (id) => principals.session(id),
    credentialOf: (id) => principals.credentialOf(id),
    holder: (id) => principals.holder(id),
    handlers: desk.handlers(),
  });
  const made = { seals, credentials, invitations, passwords, firstRun, administratorRecovery };
  return { audit, record, administration, ...made };
}

export class EntryBench {
  readonly identity: IdentityBench;
  readonly entries: AuditEntry[] = [];
  /** Accounts whose lock was announced; empty for a name that nobody has. */
  readonly announced: string[] = [];
  /** Administrators whose recovery was announced. */
  readonly recovered: string[] = [];
  /** Sealing keys of the next life, the one in use first; empty where there is none. */
  keys: readonly SealingKey[] = [sealingKeyOf(randomBytes(32))];
  live: Live;

  constructor(people: readonly Persona[]) {
    this.identity = new IdentityBench(people);
    this.live = liveOn(this.identity, CHEAP, this);
  }

  get clock(): VirtualClock {
    return this.identity.clock;
  }

  get store() {
    return this.identity.store;
  }

  /** The process ends and another one starts, which hashes at this cost. */
  restart(cost = CHEAP): void {
    this.identity.restart();
    this.live = liveOn(this.identity, cost, this);
  }

  close(): void {
    this.identity.close();
  }

  ask<K extends AdministrationKey>(
    key: K,
    request: AdministrationRequest<K>,
    origin: Origin,
    sessionId: string | null = null,
  ): Promise<Outcome<AdministrationAnswer<K>>> {
    const deadline = Deadline.after(this.clock, 10_000);
    return this.live.administration.perform(sessionId, key, request, origin, deadline);
  }

  async invite(account: string): Promise<string> {
    const made = this.live.invitations.make(account);
    await this.store.transact(() => made.write());
    made.noteSaved();
    return made.text;
  }

  /** From an invitation to the first proved code. */
  async enrol(account: string, password: string, origin: Origin): Promise<Enrolled> {
    const invitation = await this.invite(account);
    const { secret } = must(await this.ask('enrol', { invitation, password }, origin));
    const code = this.code(secret);
    must(await this.ask('confirmEnrolment', { invitation, code }, origin));
    return { account, password, secret };
  }

  /** What the authenticator shows. */
  code(secret: string, stepsAhead = 0): string {
    return codeAt(fromBase32(secret), stepAt(this.clock.wallMs()) + stepsAhead);
  }

  /** The next code: the present one was used. */
  async nextCode(secret: string): Promise<string> {
    await this.clock.advance(STEP_MS);
    return this.code(secret);
  }

  async signIn(person: Enrolled, origin: Origin): Promise<{ token: string; session: Session }> {
    const { account, password, secret } = person;
    const code = await this.nextCode(secret);
    const { token } = must(await this.ask('login', { account, password, code }, origin));
    const { principals } = this.identity;
    return {
      token,
      session: must(await principals.authenticate({ kind: 'token', token }, origin)),
    };
  }

  /** Every row of every table. */
  everythingStored(): string {
    const { database } = this.store;
    const tables = database
      .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
      .all()
      .map(({ name }) => database.prepare(`SELECT * FROM "${String(name)}"`).all());
    return JSON.stringify(tables);
  }
}
