// Who may call what: the operation table, the session of the connection, the limits, and what is put on record.
// Invariants: an emergency stop by an authenticated connection passes every limit and lock, and needs no session
// at the local socket, nor of an account that is locked, nor with a verified certificate while login is down.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { callRefusal } from '#model/call-rule';
import type { LinearId } from '#model/device';
import { type OperationKey, operationRow } from '#model/operation-table';
import type { OrchestratorPort, Session, SessionsEnded } from '#model/orchestrator-port';
import { type Connection, keyOf } from './connection.ts';
import type { InterfaceLimits } from './limits.ts';
import { RateLimiter } from './rate-limiter.ts';
import { SessionCache } from './session-cache.ts';
import type { SessionWatcher } from './session-watches.ts';
import { SignInLimits } from './sign-in-limits.ts';

/** An admitted call: the connection and, unless the row is for anyone, its session. */
export interface Caller {
  readonly connection: Connection;
  readonly session: Session | null;
}

export interface AdmissionParts {
  readonly orchestrator: OrchestratorPort;
  readonly clock: Clock;
  readonly limits: InterfaceLimits;
  readonly onRefusal: (code: FaultCode) => void;
  /** The session of a connection is over for good. */
  readonly onGone: (connectionId: string) => void;
}

export class Admission {
  readonly #orchestrator: OrchestratorPort;
  readonly #sessions: SessionCache;
  readonly #principals: RateLimiter;
  readonly #addresses: RateLimiter;
  /** Attempts to prove who one is, on every transport. */
  readonly signIns: SignInLimits;
  readonly #onRefusal: (code: FaultCode) => void;

  constructor({ orchestrator, clock, limits, onRefusal, onGone }: AdmissionParts) {
    this.#orchestrator = orchestrator;
    this.#onRefusal = onRefusal;
    this.#principals = new RateLimiter(clock, limits.perPrincipal);
    this.#addresses = new RateLimiter(clock, limits.perAddress);
    this.signIns = new SignInLimits(clock, limits.signInFailures);
    this.#sessions = new SessionCache({ orchestrator, clock, limits: this.signIns, onGone });
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  /** Requests refused for their rate. */
  get limited(): number {
    return this.#principals.refused + this.#addresses.refused + this.signIns.refused;
  }

  /** Whether this connection may call this row now; nothing has been done when it refuses. */
  async admit(
    key: OperationKey,
    connection: Connection,
    deadline: Deadline,
  ): Promise<Outcome<Caller>> {
    const { who } = operationRow(key);
    if (key !== 'stop') {
      const limited = this.#limited(
        this.#addresses,
        `address ${connection.address}`,
        connection,
        null,
      );
      if (limited !== null) return refuse(limited);
    }
    if (who === 'anyone') return succeed({ connection, session: null });
    const urgency = key === 'stop' ? 'stop' : 'ordinary';
    const session = await this.#sessions.sessionOf(connection, deadline, urgency);
    if (!session.ok) return this.#stopWithoutSession(key, connection, session.fault);
    if (key !== 'stop' && this.#sessions.locked(session.value)) {
      const locked = await this.#stillLocked(session.value, connection, deadline);
      if (locked !== null) return refuse(locked);
    }
    const refused = callRefusal(key, session.value);
    if (refused !== null) return this.#refuse(refused, connection, session.value);
    if (key !== 'stop') {
      const name = `principal ${session.value.principal.id}`;
      const limited = this.#limited(this.#principals, name, connection, session.value);
      if (limited !== null) return refuse(limited);
    }
    return succeed({ connection, session: session.value });
  }

  /** Presents the connection's credential to security now (sign-in). */
  authenticate(connection: Connection, deadline: Deadline): Promise<Outcome<Session>> {
    return this.#sessions.sessionOf(connection, deadline);
  }

  /** The session of a connection that is signed in, without asking anybody. */
  known(connection: Connection): Session | undefined {
    return this.#sessions.known(connection);
  }

  /** The session stays, and refuses everything but a stop. */
  lock(session: Session): void {
    this.#sessions.lock(session);
  }

  /**
   * This account was locked. Each of its sessions is asked about with itself: a lock by threat detection closes it, one by
   * failed sign-ins does not. Until the answer is there it may still see what interface knows by itself.
   */
  async recheck(account: string, deadline: Deadline): Promise<void> {
    const open = this.#sessions.openOf(account);
    await Promise.all(
      open.map(async ({ session, connection: { origin } }) => {
        const { id } = session;
        const answer = await this.#orchestrator.administer(id, 'sessions', {}, origin, deadline);
        if (!answer.ok && answer.fault.code === 'ACCOUNT_LOCKED') this.lock(session);
      }),
    );
  }

  /** Sessions that are over: whoever serves them is told at once. */
  end(ended: SessionsEnded): void {
    this.#sessions.end(ended);
  }

  /** After security was away, nothing kept is trusted before security has been asked again. */
  setAvailable(available: boolean): void {
    this.#sessions.setAvailable(available);
  }

  /** Hears of the end or the lock of what this connection is signed in with; returns the way to stop listening. */
  watch(connection: Connection, watcher: SessionWatcher): () => void {
    const key = keyOf(connection);
    return key === undefined ? () => undefined : this.#sessions.watches.watch(key, watcher);
  }

  sweep(): void {
    this.#sessions.sweep();
  }

  closeConnection(connectionId: string): void {
    this.#sessions.closeConnection(connectionId);
  }

  // DECISIONS section 4: a stop needs no more than an authenticated connection, none at the local console, and
  // works when login is down. TLS has verified a certificate by itself, the kernel a local peer.
  #stopWithoutSession(key: OperationKey, connection: Connection, reason: Fault): Outcome<Caller> {
    const kind = connection.credential?.kind;
    // Said of good credentials alone: whoever guesses at passwords must not keep their person from a stop.
    const locked = reason.code === 'ACCOUNT_LOCKED';
    const loginDown = reason.code !== 'NOT_AUTHENTICATED';
    const kept = key === 'stop' ? this.#sessions.kept(connection) : undefined;
    if (kept !== undefined) return succeed({ connection, session: kept });
    if (key === 'stop' && (kind === 'local' || locked || (kind === 'certificate' && loginDown))) {
      return succeed({ connection, session: null });
    }
    return refuse(reason);
  }

  /** Asked with the very session: a new one of the same person would go round the lock. */
  async #stillLocked(
    session: Session,
    { origin }: Connection,
    deadline: Deadline,
  ): Promise<Fault | null> {
    const finding = 'is locked after an attempt that security took for an attack';
    const locked = fault('ACCOUNT_LOCKED', { place: 'session', finding });
    if (!this.#sessions.lockIsDue(session)) return locked;
    const answer = await this.#orchestrator.administer(
      session.id,
      'sessions',
      {},
      origin,
      deadline,
    );
    // A token that may not ask this is answered only when its session is not locked.
    if (answer.ok || answer.fault.code === 'SCOPE_EXCEEDED') {
      this.#sessions.unlock(session);
      return null;
    }
    if (!isSessionUnknown(answer.fault)) return locked;
    this.#sessions.end({ sessionIds: [session.id], reason: answer.fault.finding });
    return answer.fault;
  }

  #limited(
    limiter: RateLimiter,
    name: string,
    connection: Connection,
    session: Session | null,
  ): Fault | null {
    const admission = limiter.take(name);
    if (admission.admitted) return null;
    const found = fault('RATE_LIMITED', {
      place: name.startsWith('principal') ? 'this identity' : 'this address',
      finding: 'sends more requests than the agent takes from one caller',
      retryAfterMs: limiter.waitMs(name),
    });
    if (admission.occurrence === 'first') this.report(found, connection, session, []);
    return found;
  }

  #refuse(found: Fault, connection: Connection, session: Session): Outcome<never> {
    this.report(found, connection, session, []);
    return refuse(found);
  }

  /** Puts a refusal on record with security; `devices` are those it was about. */
  report(
    found: Fault,
    connection: Connection,
    session: Session | null,
    devices: readonly LinearId[],
  ): void {
    const text = `${found.place}: ${found.finding}`;
    this.#onRefusal(found.code);
    this.#orchestrator.reportRefusal(
      session?.id ?? null,
      connection.origin,
      found.code,
      text,
      devices,
    );
  }

  /** Calls with the caller's session; once more after a new sign-in when security no longer knows it. */
  async asSession<T>(
    caller: Caller,
    deadline: Deadline,
    call: (sessionId: string) => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> {
    if (caller.session === null) {
      const finding = 'presents neither a certificate nor a token';
      return refuse(fault('NOT_AUTHENTICATED', { place: 'connection', finding }));
    }
    const answer = await call(caller.session.id);
    if (answer.ok) return answer;
    if (answer.fault.code === 'ACCOUNT_LOCKED') this.#sessions.lock(caller.session);
    if (!isSessionUnknown(answer.fault)) return answer;
    // A restarted security track has lost its sessions; it did nothing, so asking again is safe.
    this.#sessions.forget(caller.session);
    const renewed = await this.#sessions.sessionOf(caller.connection, deadline);
    return renewed.ok ? call(renewed.value.id) : renewed;
  }
}

/** A wrong password is no proof against the session that it was sent with. */
function isSessionUnknown({ code, place }: Fault): boolean {
  return code === 'NOT_AUTHENTICATED' && place === 'session';
}
