// Who is on which connection: a credential is shown to security once and its session kept for that connection.
// Invariants: the key holds the connection and a hash of the credential, never the request body; at most `capacity`
// sessions, the longest unused ended first; failures are never kept; after security was away nothing kept is trusted
// before security has been asked again.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { OrchestratorPort, Session, SessionsEnded } from '#model/orchestrator-port';
import { type Connection, keyOf } from './connection.ts';
import { SessionWatches } from './session-watches.ts';
import type { SignInLimits, Urgency } from './sign-in-limits.ts';

interface Kept {
  session: Session;
  readonly connection: Connection;
  usedAtMs: number;
  /** When security last vouched for it. */
  vouchedAtMs: number;
  /** Before security has vouched again, after it was away. */
  trusted: boolean;
}

export interface SessionCacheParts {
  readonly orchestrator: OrchestratorPort;
  readonly clock: Clock;
  readonly limits: SignInLimits;
  /** A connection's session is over for good, and what was kept for it elsewhere too. */
  readonly onGone: (connectionId: string) => void;
  readonly capacity?: number;
}

const IDLE_MAX_MS = 600_000;
const END_TIMEOUT_MS = 1_000;
const ASK_TIMEOUT_MS = 2_000;
/** A watched session that security could not be asked about is asked about again after this. */
const ASK_AGAIN_MS = 1_000;
/** How long a password's session in use may go without security hearing of it, which counts its idle time. */
const VOUCH_EVERY_MS = 60_000;
/** A locked session is asked about again, with itself, at most this often. */
const LOCK_CHECK_MS = 5_000;
/** Ends that may overtake the answer which opened their session. */
const ENDED_MAX = 1_024;

export class SessionCache {
  readonly watches = new SessionWatches();
  readonly #parts: SessionCacheParts;
  readonly #capacity: number;
  readonly #kept = new Map<string, Kept>();
  /** When each locked session was last asked about. */
  readonly #locked = new Map<string, number>();
  /** Sessions that ended of late and why; the oldest first. */
  readonly #ended = new Map<string, string>();
  readonly #asking = new Map<string, Promise<Outcome<Session>>>();
  #available = true;

  constructor(parts: SessionCacheParts) {
    this.#parts = parts;
    this.#capacity = parts.capacity ?? 1024;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** The session of a connection that was already admitted, without asking anybody. */
  known(connection: Connection): Session | undefined {
    const key = keyOf(connection);
    const kept = key === undefined ? undefined : this.#kept.get(key);
    if (key === undefined || kept === undefined || !kept.trusted) return undefined;
    const { clock } = this.#parts;
    if (kept.session.expiresAtWallMs <= clock.wallMs()) {
      this.#expire(key, kept);
      return undefined;
    }
    kept.usedAtMs = clock.nowMs();
    const silentMs = kept.usedAtMs - kept.vouchedAtMs;
    if (kept.session.way === 'password' && silentMs > VOUCH_EVERY_MS) this.#askBeside(key, kept);
    return kept.session;
  }

  /** The session of a connection whether or not security has vouched for it again: enough to pass a stop on. */
  kept(connection: Connection): Session | undefined {
    const key = keyOf(connection);
    return key === undefined ? undefined : this.#kept.get(key)?.session;
  }

  async sessionOf(
    connection: Connection,
    deadline: Deadline,
    urgency: Urgency = 'ordinary',
  ): Promise<Outcome<Session>> {
    const known = this.known(connection);
    if (known !== undefined) return succeed(known);
    const key = keyOf(connection);
    if (key === undefined) {
      const finding = 'presents neither a certificate nor a token';
      return refuse(fault('NOT_AUTHENTICATED', { place: 'connection', finding }));
    }
    const asking = this.#asking.get(key);
    if (asking !== undefined) return asking;
    const limited = this.#parts.limits.refusal(connection, urgency);
    return limited === null ? this.#ask(key, connection, deadline) : refuse(limited);
  }

  /** Security locked this session: it stays kept, so that its connection cannot sign in anew. */
  lock(session: Session): void {
    if (this.#locked.has(session.id)) return;
    this.#locked.set(session.id, this.#parts.clock.nowMs());
    for (const [key, kept] of this.#kept) {
      if (kept.session.id === session.id) this.watches.locked(key);
    }
  }

  /** Those of one account that are kept and not locked, with where each came from. */
  openOf(account: string): readonly Pick<Kept, 'session' | 'connection'>[] {
    return [...this.#kept.values()].filter(
      ({ session }) => session.principal.id === account && !this.#locked.has(session.id),
    );
  }

  unlock(session: Session): void {
    this.#locked.delete(session.id);
  }

  locked(session: Session): boolean {
    return this.#locked.has(session.id);
  }

  /** True now and then: somebody may have unlocked the account meanwhile, which nobody tells. */
  lockIsDue(session: Session): boolean {
    const nowMs = this.#parts.clock.nowMs();
    const checkedAtMs = this.#locked.get(session.id);
    if (checkedAtMs === undefined || nowMs - checkedAtMs < LOCK_CHECK_MS) return false;
    this.#locked.set(session.id, nowMs);
    return true;
  }

  /** Forgets one session: the next request on its connection is authenticated anew. */
  forget(session: Session): void {
    for (const [key, kept] of this.#kept) {
      if (kept.session.id === session.id) this.#kept.delete(key);
    }
    this.#locked.delete(session.id);
  }

  /** These are over: their streams and sockets end now, and their credentials are shown to security again. */
  end({ sessionIds, reason }: SessionsEnded): void {
    const ids = new Set(sessionIds);
    for (const id of ids) this.#ended.set(id, reason);
    for (const [key, kept] of [...this.#kept]) {
      if (ids.has(kept.session.id)) this.#over(key, kept, reason);
    }
    for (const id of this.#ended.keys()) {
      if (this.#ended.size <= ENDED_MAX) break;
      this.#ended.delete(id);
    }
  }

  /** Security went away or came back; what it was asked before counts again only when it has been asked anew. */
  setAvailable(available: boolean): void {
    const returned = available && !this.#available;
    this.#available = available;
    if (!returned) return;
    for (const [key, kept] of this.#kept) {
      kept.trusted = false;
      if (this.watches.has(key)) this.#askBeside(key, kept);
    }
  }

  /** Ends the sessions of a closed connection. */
  closeConnection(connectionId: string): void {
    for (const [key, kept] of this.#kept) {
      if (kept.connection.id === connectionId) this.#drop(key, kept);
    }
  }

  /** Ends what has expired, and what has not been used for ten minutes; called now and then. */
  sweep(): void {
    const { clock } = this.#parts;
    const oldestMs = clock.nowMs() - IDLE_MAX_MS;
    const wallMs = clock.wallMs();
    for (const [key, kept] of [...this.#kept]) {
      if (kept.session.expiresAtWallMs <= wallMs) this.#expire(key, kept);
      else if (kept.usedAtMs < oldestMs && !this.watches.has(key)) this.#drop(key, kept);
    }
  }

  #ask(key: string, connection: Connection, deadline: Deadline): Promise<Outcome<Session>> {
    const question = this.#authenticate(key, connection, deadline);
    this.#asking.set(key, question);
    const answered = (): void => {
      if (this.#asking.get(key) === question) this.#asking.delete(key);
    };
    question.then(answered, answered);
    return question;
  }

  async #authenticate(
    key: string,
    connection: Connection,
    deadline: Deadline,
  ): Promise<Outcome<Session>> {
    const { orchestrator, clock, limits } = this.#parts;
    const { credential, origin } = connection;
    if (credential === null) throw new Error('a connection without a credential has no key');
    const answer = this.#notEnded(await orchestrator.authenticate(credential, origin, deadline));
    const before = this.#kept.get(key);
    if (!answer.ok) {
      this.#refused(key, before, connection, answer.fault);
      return answer;
    }
    limits.noteGood(connection);
    const nowMs = clock.nowMs();
    const session = answer.value;
    if (before !== undefined && before.session.id !== session.id) this.#replaced(before, session);
    if (before === undefined && this.#kept.size >= this.#capacity) this.#makeRoom();
    const times = { usedAtMs: nowMs, vouchedAtMs: nowMs };
    this.#kept.set(key, { session, connection, ...times, trusted: true });
    return answer;
  }

  /** The end of a session may be told in the same breath as its beginning. */
  #notEnded(answer: Outcome<Session>): Outcome<Session> {
    const ended = answer.ok ? this.#ended.get(answer.value.id) : undefined;
    if (ended === undefined) return answer;
    return refuse(fault('NOT_AUTHENTICATED', { place: 'session', finding: ended }));
  }

  #refused(key: string, before: Kept | undefined, connection: Connection, found: Fault): void {
    if (found.code === 'NOT_AUTHENTICATED') {
      this.#parts.limits.noteFailure(connection);
      if (before === undefined) this.#parts.onGone(connection.id);
      else this.#over(key, before, found.finding);
      this.watches.ended(key, found.finding);
    } else if (found.code === 'ACCOUNT_LOCKED') {
      // The person of a session that was once open may still stop: it stays, and refuses everything else.
      if (before === undefined) this.watches.ended(key, found.finding);
      else {
        before.trusted = true;
        this.lock(before.session);
      }
    }
  }

  /** A new session of the same credential on the same connection: a lock goes over to it. */
  #replaced(before: Kept, session: Session): void {
    const lockedAtMs = this.#locked.get(before.session.id);
    if (lockedAtMs !== undefined) this.#locked.set(session.id, lockedAtMs);
    this.#locked.delete(before.session.id);
    this.#endInSecurity(before.session);
  }

  /** Asks security without anybody waiting; where it does not answer, again as long as somebody listens. */
  #askBeside(key: string, kept: Kept): void {
    if (this.#asking.has(key)) return;
    kept.vouchedAtMs = this.#parts.clock.nowMs();
    const deadline = Deadline.after(this.#parts.clock, ASK_TIMEOUT_MS);
    const again = (): void => {
      const now = this.#kept.get(key);
      if (now === undefined || now.trusted || !this.#available || !this.watches.has(key)) return;
      this.#parts.clock.after(ASK_AGAIN_MS, () => {
        const still = this.#kept.get(key);
        if (still !== undefined && !still.trusted) this.#askBeside(key, still);
      });
    };
    this.#ask(key, kept.connection, deadline).then(again, again);
  }

  #makeRoom(): void {
    let oldest: [string, Kept] | undefined;
    for (const entry of this.#kept) {
      if (this.watches.has(entry[0])) continue;
      if (oldest === undefined || entry[1].usedAtMs < oldest[1].usedAtMs) oldest = entry;
    }
    const [first] = this.#kept;
    const leaving = oldest ?? first;
    if (leaving !== undefined) this.#drop(...leaving);
  }

  #expire(key: string, kept: Kept): void {
    this.#over(key, kept, 'the session has reached its end');
    this.#endInSecurity(kept.session);
  }

  #drop(key: string, kept: Kept): void {
    this.#kept.delete(key);
    this.#locked.delete(kept.session.id);
    this.watches.ended(key, 'the connection was not used any more');
    this.#endInSecurity(kept.session);
  }

  #over(key: string, kept: Kept, reason: string): void {
    this.#kept.delete(key);
    this.#locked.delete(kept.session.id);
    this.#parts.limits.forgetGood(kept.connection);
    this.#parts.onGone(kept.connection.id);
    this.watches.ended(key, reason);
  }

  /** The connection's session only: what a person signed in with stays good for other connections. */
  #endInSecurity(session: Session): void {
    const { orchestrator, clock } = this.#parts;
    const deadline = Deadline.after(clock, END_TIMEOUT_MS);
    // Nobody waits for this: security forgets the session by itself when it expires.
    orchestrator.endSession(session.id, deadline).catch(() => undefined);
  }
}
