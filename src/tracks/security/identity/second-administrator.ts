// Changes that give rights: one administrator proposes, a second one who asks for exactly the same makes them so.
// Invariants: two people, two accounts, two credentials, both administrators at the moment of effect; a proposal is worth
// nothing once what it is about has changed, or once session or credential were taken from who made it; it is used once, and
// nothing of it survives a restart.
// Faults: SECOND_ADMINISTRATOR_NEEDED where the same person or the same credential comes again, NOT_PERMITTED for whoever
// cannot be one of the two, BUSY for whoever has 16 proposals open, AUDIT_UNAVAILABLE where the proposal could not be put on
// record: it then does not count.

import { type Canonical, canonicalDigest } from '#foundation/canonical';
import type { Clock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AccountRecord } from '#model/account';
import type { AdministrationKey, AdministrationRequest, ProposalView } from '#model/administration';
import type { AuditRecord } from '#model/audit-entry';
import type {
  AccountPort,
  AdministrationCaller,
  AdministrationHandlers,
  RecordAct,
} from '../ports.ts';
import { administratorRefusal } from './account-rules.ts';

export const PROPOSAL_LIFETIME_MS = 300_000;
/** Proposals kept at once; the oldest gives way. */
const PROPOSALS_MAX = 64;
/** Nobody pushes out another's alone. */
export const PROPOSALS_OF_ONE_MAX = 16;
/** A list of them has to fit into one message of the link; each takes so much beside what was asked for. */
const LIST_BYTES_MAX = 524_288;
const VIEW_BYTES = 8_192;

/** What a change that gives rights is about. */
export interface ChangeSubject<K extends AdministrationKey> {
  /** The second administrator has to ask for exactly this, reason and all. */
  readonly request: AdministrationRequest<K>;
  /** State of what would change, see `accountBasis`; empty where nothing is there yet. */
  readonly basis: string;
  /** For people, to stand after a name: `to give bob the clearance SECRET`. */
  readonly what: string;
  /** For the audit entry of the proposal; no secrets, and no more than a few lines. */
  readonly details?: AuditRecord['details'];
  /** Makes what the first one is handed, half of a secret; it lasts as long as the proposal and is on no record. */
  readonly share?: () => string;
}

/** What the entry of the change itself says of its proposal: spread it into the details, and the digest into `planDigest`. */
export interface Proposed {
  readonly by: string;
  readonly digest: string;
  /** What the first one was handed; present where the subject makes it. */
  readonly share?: string;
}

export interface ProposalMade {
  readonly done: false;
  readonly message: string;
  /** Present where the subject makes one. */
  readonly share?: string;
}

export type TwoAsked<T> = ProposalMade | { readonly done: true; readonly value: T };

export interface SecondAdministratorParts {
  readonly clock: Clock;
  readonly accounts: AccountPort;
  readonly record: RecordAct;
  /** Time that validity is judged by; the clock's where absent. */
  readonly wallMs?: () => number;
  /** Locked accounts are no second administrators; none is where absent. */
  readonly locked?: (account: string) => boolean;
}

interface Proposal {
  readonly key: AdministrationKey;
  readonly request: ProposalView['request'];
  readonly what: string;
  readonly account: string;
  readonly credential: string;
  /** Of the session it was made in; null where there was none. */
  readonly holder: (() => Outcome<unknown>) | null;
  readonly basis: string;
  readonly share: { readonly share?: string };
  readonly expiresAtMs: number;
}

/** Digest of the whole record: another one means that the account has changed. */
export function accountBasis(record: AccountRecord | undefined): string {
  return record === undefined ? '' : canonicalDigest(record as unknown as Canonical);
}

export class SecondAdministrator {
  readonly #parts: SecondAdministratorParts;
  /** By digest of key and request, the oldest first. */
  readonly #proposals = new Map<string, Proposal>();

  constructor(parts: SecondAdministratorParts) {
    this.#parts = parts;
  }

  handlers(): Pick<AdministrationHandlers, 'proposals'> {
    return { proposals: async () => succeed({ proposals: this.#views() }) };
  }

  /** Those that one more person can make so now, the newest first; halves of secrets are not among it. */
  #views(): readonly ProposalView[] {
    const { clock, wallMs } = this.#parts;
    this.#forgetExpired();
    const now = { ms: clock.nowMs(), wallMs: wallMs?.() ?? clock.wallMs() };
    const views: ProposalView[] = [];
    let bytes = 0;
    for (const [digest, proposal] of [...this.#proposals].reverse()) {
      const { account, key, what, request, expiresAtMs } = proposal;
      if (this.#withdrawn(proposal) !== null) continue;
      bytes += Buffer.byteLength(JSON.stringify({ what, request })) + VIEW_BYTES;
      if (bytes > LIST_BYTES_MAX) break;
      const reason = reasonOf(request);
      const expiresAtWallMs = Math.round(now.wallMs + expiresAtMs - now.ms);
      views.push({ digest, by: account, operation: key, what, reason, request, expiresAtWallMs });
    }
    return views;
  }

  /** Proposals that still can take effect. */
  get open(): number {
    this.#forgetExpired();
    return this.#proposals.size;
  }

  /** What this account proposed is worth nothing any more: somebody else may have done it. */
  forget(account: string): void {
    for (const [digest, proposal] of this.#proposals)
      if (proposal.account === account) this.#proposals.delete(digest);
  }

  /**
   * Proposes the change, or makes it when another administrator has proposed exactly this. Check the request before each
   * call: `apply` runs at once, and the proposal is used up whatever comes of it.
   */
  async ask<K extends AdministrationKey, T>(
    caller: AdministrationCaller,
    key: K,
    subject: ChangeSubject<K>,
    apply: (proposed: Proposed) => Promise<Outcome<T>>,
  ): Promise<Outcome<TwoAsked<T>>> {
    const account = caller.session?.principal.id ?? '';
    const unfit =
      this.#unfit(account) ??
      (caller.credential === '' ? 'presented nothing that proves it' : null);
    if (unfit !== null) {
      return refuse(
        fault('NOT_PERMITTED', { place: key, finding: `${account || 'nobody'} ${unfit}` }),
      );
    }
    this.#forgetExpired();
    const digest = changeDigest(key, subject.request);
    const proposal = this.#proposals.get(digest);
    const lapsed = proposal === undefined ? null : this.#lapsed(proposal, subject.basis, caller);
    if (proposal === undefined || lapsed !== null) {
      return this.#propose(caller, key, subject, { digest, account, lapsed });
    }
    if (proposal.account === account && proposal.credential === caller.credential) {
      const seconds = Math.ceil((proposal.expiresAtMs - this.#parts.clock.nowMs()) / 1_000);
      const message = `${account} has asked already; ${needs(seconds)}`;
      // To the same person with the same proof as before, whose answer may have been lost.
      return succeed({ done: false, message, ...proposal.share });
    }
    if (proposal.account === account || proposal.credential === caller.credential) {
      const finding =
        proposal.account === account
          ? `${account} has proposed this, and another sign-in does not make a second person`
          : `${account} signed in with what ${proposal.account} proposed this with, so that it might be one person`;
      return refuse(fault('SECOND_ADMINISTRATOR_NEEDED', { place: key, finding }));
    }
    this.#proposals.delete(digest);
    const applied = await apply({ by: proposal.account, digest, ...proposal.share });
    return applied.ok ? succeed({ done: true, value: applied.value }) : applied;
  }

  async #propose<K extends AdministrationKey>(
    caller: AdministrationCaller,
    key: K,
    subject: ChangeSubject<K>,
    ask: { readonly digest: string; readonly account: string; readonly lapsed: string | null },
  ): Promise<Outcome<ProposalMade>> {
    const { digest, account, lapsed } = ask;
    const { basis, what, details = {} } = subject;
    this.#proposals.delete(digest);
    const own = [...this.#proposals.values()].filter((other) => other.account === account);
    if (own.length >= PROPOSALS_OF_ONE_MAX) {
      const finding = `${PROPOSALS_OF_ONE_MAX} proposals of ${account} wait for a second administrator already`;
      return refuse(fault('BUSY', { place: key, finding, consequence: 'nothing is proposed' }));
    }
    const like = this.#like(account, key, basis);
    const waits = `${account} asks ${what}${like}; ${needs(PROPOSAL_LIFETIME_MS / 1_000)}`;
    const message = lapsed === null ? waits : `${lapsed}, so that it counts no more; ${waits}`;
    const recorded = await this.#parts.record('CHANGE_PROPOSED', caller, message, {
      operation: key,
      planDigest: digest,
      decision: 'waits for a second administrator',
      reason: reasonOf(subject.request),
      details,
    });
    if (!recorded.ok) return recorded;
    // Where two asked in the same moment the first stands, and either of them makes it so by asking again.
    if (this.#proposals.has(digest)) return succeed({ done: false, message });
    const expiresAtMs = this.#parts.clock.nowMs() + PROPOSAL_LIFETIME_MS;
    const { credential, holder = null } = caller;
    const share = subject.share === undefined ? {} : { share: subject.share() };
    const request = subject.request as unknown as ProposalView['request'];
    const asked = { key, request, what, account, credential, holder };
    const proposal = { ...asked, basis, share, expiresAtMs };
    this.#proposals.set(digest, proposal);
    const oldest = this.#proposals.keys().next();
    if (this.#proposals.size > PROPOSALS_MAX && oldest.done !== true) {
      this.#proposals.delete(oldest.value);
    }
    return succeed({ done: false, message, ...share });
  }

  /** A hint for whoever meant to ask for the same as somebody else, and did not quite. */
  #like(account: string, key: AdministrationKey, basis: string): string {
    for (const other of this.#proposals.values()) {
      if (other.key !== key || other.basis !== basis || other.account === account) continue;
      return `, not quite as ${other.account} does: every member has to be the same, the reason too`;
    }
    return '';
  }

  /** Why a proposal is worth nothing any more; null while it stands. */
  #lapsed(proposal: Proposal, basis: string, caller: AdministrationCaller): string | null {
    if (proposal.basis !== basis) {
      return `what this is about has changed since ${proposal.account} proposed it`;
    }
    // Whoever comes with the credential that was taken from the first one is told that, and proposes nothing.
    const moved =
      proposal.credential === caller.credential &&
      proposal.account !== caller.session?.principal.id;
    const withdrawn = moved ? this.#unfit(proposal.account) : this.#withdrawn(proposal);
    return withdrawn === null ? null : `${proposal.account} had proposed this and ${withdrawn}`;
  }

  /** Why who made it could not make it now, to stand after the name; null while that could. */
  #withdrawn({ account, holder }: Proposal): string | null {
    const unfit = this.#unfit(account);
    if (unfit !== null) return unfit;
    const held = holder?.();
    return held?.ok === false ? `cannot any more: ${held.fault.finding}` : null;
  }

  #unfit(account: string): string | null {
    const { accounts, clock, locked, wallMs } = this.#parts;
    const nowMs = wallMs?.() ?? clock.wallMs();
    const refusal = administratorRefusal(accounts.account(account), nowMs);
    if (refusal !== null) return refusal;
    return locked?.(account) === true ? 'is locked' : null;
  }

  #forgetExpired(): void {
    const nowMs = this.#parts.clock.nowMs();
    for (const [digest, { expiresAtMs }] of this.#proposals) {
      if (expiresAtMs <= nowMs) this.#proposals.delete(digest);
    }
  }
}

/** The same exactly when key and request are the same to the last letter. */
function changeDigest<K extends AdministrationKey>(
  key: K,
  request: AdministrationRequest<K>,
): string {
  return canonicalDigest({ key, request: request as unknown as Canonical });
}

function needs(seconds: number): string {
  return `nothing is changed until a second administrator asks for exactly the same, within ${seconds} s`;
}

function reasonOf(request: object): string {
  return 'reason' in request && typeof request.reason === 'string' ? request.reason : '';
}
