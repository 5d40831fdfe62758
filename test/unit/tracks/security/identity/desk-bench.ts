// Administration as people meet it: the whole security track on a real store, asked through the orchestrator's port.

import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { AccountRecord } from '#model/account';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
} from '#model/administration';
import type { AuditEntry } from '#model/audit-entry';
import type { SessionsEnded } from '#model/orchestrator-port';
import type { Credential } from '#model/principal';
import { codeAt, fromBase32, STEP_MS, stepAt } from '#tracks/security/identity/one-time-codes';
import { must } from '../../../../support/kernel-bench.ts';
import { AgentBench, type AgentBenchOptions, ORIGIN } from '../../../orchestrator/agent-bench.ts';
import { administratorOf, recordOf } from './records.ts';

/** Local users who are these administrators; a fourth one has a token alone. */
export const UID = { alice: 1001, bob: 1002, dora: 1003, erin: 1005, robot: 1004 } as const;
const PASSWORD = 'a long night at the pump station';
export type Somebody = keyof typeof UID;

const PEOPLE: readonly AccountRecord[] = [
  administratorOf('alice', { localUids: [UID.alice] }),
  administratorOf('bob', { localUids: [UID.bob] }),
  administratorOf('dora', { localUids: [UID.dora] }),
  administratorOf('robot', { kind: 'machine', localUids: [UID.robot] }),
  recordOf('erin', { localUids: [UID.erin] }),
];

export class DeskBench {
  readonly agent: AgentBench;
  readonly ended: SessionsEnded[] = [];

  private constructor(agent: AgentBench) {
    this.agent = agent;
    agent.orchestrator.onSessionsEnded((ended) => this.ended.push(ended));
  }

  static async open(options: AgentBenchOptions = {}): Promise<DeskBench> {
    const agent = await AgentBench.open(options);
    for (const record of PEOPLE) await agent.settle(agent.security.accounts.save(record));
    return new DeskBench(agent);
  }

  get clock() {
    return this.agent.kernelBench.clock;
  }

  get accounts() {
    return this.agent.security.accounts;
  }

  close(): Promise<void> {
    return this.agent.close();
  }

  record(id: string): AccountRecord {
    const record = this.accounts.account(id);
    if (record === undefined) throw new Error(`no account ${id}`);
    return record;
  }

  /** Changes the account behind the desk's back. */
  change(id: string, changes: Partial<AccountRecord>): Promise<void> {
    return this.agent.settle(this.accounts.save({ ...this.record(id), ...changes }));
  }

  /** As a user of this machine. */
  local(name: Somebody): Promise<string> {
    return this.signIn({ kind: 'local', uid: UID[name], gid: 0, pid: 1 });
  }

  /** With an API token that was made without the desk. */
  async byToken(account: string, scope: readonly string[] | null = null): Promise<string> {
    const { tokens } = this.agent.security;
    const made = tokens.make({ account, name: 'bench', scope, lifetimeMs: 86_400_000 });
    await this.agent.settle(tokens.save(made.token));
    return this.signIn({ kind: 'token', token: made.text });
  }

  async signIn(credential: Credential): Promise<string> {
    const { orchestrator } = this.agent;
    const session = await this.agent.settle(orchestrator.authenticate(credential, ORIGIN));
    if (!session.ok) throw new Error(session.fault.finding);
    return session.value.id;
  }

  /** An invited person sets a password; what is asked for with the invitation. */
  enrol(invitation: string): Promise<Outcome<AdministrationAnswer<'enrol'>>> {
    return this.ask(null, 'enrol', { invitation, password: PASSWORD });
  }

  /** The person enrols and signs in with password and code. */
  async enrolled(account: string): Promise<AdministrationAnswer<'login'>> {
    const { invitations } = this.agent.security;
    const made = invitations.make(account);
    await this.agent.settle(this.agent.store.transact(() => made.write()));
    made.noteSaved();
    const { secret } = must(await this.enrol(made.text));
    const code = () => codeAt(fromBase32(secret), stepAt(this.clock.wallMs()));
    const confirmed = { invitation: made.text, code: code() };
    must(await this.ask(null, 'confirmEnrolment', confirmed));
    // A code is good once.
    await this.clock.advance(STEP_MS);
    return must(await this.ask(null, 'login', { account, password: PASSWORD, code: code() }));
  }

  ask<K extends AdministrationKey>(
    sessionId: string | null,
    key: K,
    request: AdministrationRequest<K>,
  ): Promise<Outcome<AdministrationAnswer<K>>> {
    return this.agent.settle(this.start(sessionId, key, request));
  }

  /** Not waited for. */
  start<K extends AdministrationKey>(
    sessionId: string | null,
    key: K,
    request: AdministrationRequest<K>,
  ): Promise<Outcome<AdministrationAnswer<K>>> {
    const deadline = Deadline.after(this.clock, 5_000);
    return this.agent.orchestrator.administer(sessionId, key, request, ORIGIN, deadline);
  }

  /** Alive, dead or locked, as the session itself would hear. */
  stateOf(sessionId: string): string {
    const session = this.agent.security.principals.session(sessionId);
    return session.ok ? 'live' : session.fault.code;
  }

  entries(...events: readonly AuditEntry['event'][]): readonly AuditEntry[] {
    return this.agent.entries().filter(({ event }) => events.includes(event));
  }

  /** The disk takes no more than it holds now, or as much as anybody likes. */
  limitDisk(room: 'none' | 'plenty'): void {
    const { database } = this.agent.store;
    // No fewer than it has: SQLite takes the larger of both (sqlite.org/pragma.html#pragma_max_page_count).
    database.exec(`PRAGMA max_page_count = ${room === 'none' ? 1 : 1_000_000}`);
  }
}
