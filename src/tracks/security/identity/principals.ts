// Accounts and sessions: what a connection presents, whose it is, and until when.
// Invariants: tokens are kept as SHA-256 only; a locked or ended session never comes back.

import { createHash, randomBytes } from 'node:crypto';
import type { Clock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Session, SessionsEnded } from '#model/orchestrator-port';
import type { Credential, Principal } from '#model/principal';

/** A principal and the ways it may prove itself. */
export interface Account {
  readonly principal: Principal;
  readonly enabled: boolean;
  /** Hex SHA-256 of each valid token. */
  readonly tokenHashes: readonly string[];
  /** URI subject alternative names, compared exactly. */
  readonly certificateUris: readonly string[];
  readonly localUids: readonly number[];
  readonly administrator?: boolean;
}

const SESSION_LIFETIME_MS = 12 * 3_600_000;
const SESSIONS_MAX = 1_024;

interface Live {
  session: Session;
  readonly expiresAtMs: number;
  readonly credential: string;
  lockedBecause: string | null;
}

export class Principals {
  readonly #clock: Clock;
  #accounts: readonly Account[];
  readonly #sessions = new Map<string, Live>();
  readonly #listeners = new Set<(ended: SessionsEnded) => void>();

  constructor(clock: Clock, accounts: readonly Account[]) {
    this.#clock = clock;
    this.#accounts = accounts;
  }

  /** Takes a new account list at once: sessions of people who are gone or disabled end, the others get the new rights. */
  replaceAccounts(accounts: readonly Account[]): void {
    this.#accounts = accounts;
    for (const [id, live] of this.#sessions) {
      const account = accounts.find(
        (candidate) => candidate.principal.id === live.session.principal.id,
      );
      if (account === undefined || !account.enabled) this.#sessions.delete(id);
      else live.session = { ...live.session, principal: account.principal };
    }
  }

  async authenticate(credential: Credential): Promise<Outcome<Session>> {
    const account = this.#accounts.find((candidate) => matches(candidate, credential));
    if (account === undefined || !account.enabled) {
      const finding = `the ${credential.kind === 'local' ? `local user ${credential.uid}` : credential.kind} belongs to no enabled account`;
      return refuse(fault('NOT_AUTHENTICATED', { place: 'sign-in', finding }));
    }
    this.#forgetExpired();
    if (this.#sessions.size >= SESSIONS_MAX) {
      return refuse(
        fault('BUSY', { place: 'sign-in', finding: `${SESSIONS_MAX} sessions are open` }),
      );
    }
    const session: Session = {
      id: randomBytes(24).toString('base64url'),
      principal: account.principal,
      administrator: account.administrator ?? false,
      way: credential.kind,
      scope: null,
      expiresAtWallMs: this.#clock.wallMs() + SESSION_LIFETIME_MS,
    };
    const expiresAtMs = this.#clock.nowMs() + SESSION_LIFETIME_MS;
    this.#sessions.set(session.id, {
      session,
      expiresAtMs,
      credential: credentialDigest(credential),
      lockedBecause: null,
    });
    return succeed(session);
  }

  /** What the session was opened with, as a digest; empty for one that is not live. */
  credentialOf(sessionId: string): string {
    return this.#sessions.get(sessionId)?.credential ?? '';
  }

  session(id: string): Outcome<Session> {
    const live = this.#sessions.get(id);
    if (live === undefined || live.expiresAtMs <= this.#clock.nowMs()) {
      return refuse(
        fault('NOT_AUTHENTICATED', {
          place: 'session',
          finding: 'the session is unknown or has ended',
        }),
      );
    }
    if (live.lockedBecause !== null) {
      return refuse(fault('ACCOUNT_LOCKED', { place: 'session', finding: live.lockedBecause }));
    }
    return succeed(live.session);
  }

  lock(sessionId: string, reason: string): void {
    const live = this.#sessions.get(sessionId);
    if (live !== undefined) live.lockedBecause = reason;
  }

  end(sessionId: string): void {
    this.#sessions.delete(sessionId);
  }

  onEnded(listen: (ended: SessionsEnded) => void): () => void {
    this.#listeners.add(listen);
    return () => this.#listeners.delete(listen);
  }

  #forgetExpired(): void {
    const nowMs = this.#clock.nowMs();
    for (const [id, live] of this.#sessions) {
      if (live.expiresAtMs <= nowMs) this.#sessions.delete(id);
    }
  }
}

export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** Of the part of a credential that names its holder: a renewed certificate of the same name is the same one. */
function credentialDigest(credential: Credential): string {
  switch (credential.kind) {
    case 'token':
      return hashToken(`token ${hashToken(credential.token)}`);
    case 'certificate':
      return hashToken(`certificate ${credential.uri}`);
    case 'local':
      return hashToken(`local ${credential.uid}`);
  }
}

function matches(account: Account, credential: Credential): boolean {
  switch (credential.kind) {
    case 'token':
      return account.tokenHashes.includes(hashToken(credential.token));
    case 'certificate':
      return account.certificateUris.includes(credential.uri);
    case 'local':
      return account.localUids.includes(credential.uid);
  }
}
