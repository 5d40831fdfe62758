// Who may call what: the operation table, the session of the connection, the limits, and what is put on record.
// Invariants: an emergency stop by an authenticated connection passes every limit and lock, and needs no session
// at the local socket, nor with a verified certificate while login is down.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { callRefusal } from '#model/call-rule';
import type { LinearId } from '#model/device';
import { type OperationKey, operationRow } from '#model/operation-table';
import type { OrchestratorPort, Session } from '#model/orchestrator-port';
import type { InterfaceLimits } from './limits.ts';
import { RateLimiter } from './rate-limiter.ts';
import { type Connection, SessionCache } from './session-cache.ts';

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
}

export class Admission {
  readonly #orchestrator: OrchestratorPort;
  readonly #sessions: SessionCache;
  readonly #principals: RateLimiter;
  readonly #addresses: RateLimiter;
  readonly #failures: RateLimiter;
  readonly #onRefusal: (code: FaultCode) => void;

  constructor({ orchestrator, clock, limits, onRefusal }: AdmissionParts) {
    this.#orchestrator = orchestrator;
    this.#onRefusal = onRefusal;
    this.#principals = new RateLimiter(clock, limits.perPrincipal);
    this.#addresses = new RateLimiter(clock, limits.perAddress);
    this.#failures = new RateLimiter(clock, limits.signInFailures);
    this.#sessions = new SessionCache(orchestrator, clock, this.#failures);
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  /** Requests refused for their rate. */
  get limited(): number {
    return this.#principals.refused + this.#addresses.refused + this.#failures.refused;
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
    const session = await this.#sessions.sessionOf(connection, deadline);
    if (!session.ok) return this.#stopWithoutSession(key, connection, session.fault);
    if (key !== 'stop' && this.#sessions.locked(session.value)) {
      const finding = 'is locked after an attempt that security took for an attack';
      return refuse(fault('ACCOUNT_LOCKED', { place: 'session', finding }));
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

  /** The session stays, and refuses everything but a stop. */
  lock(session: Session): void {
    this.#sessions.lock(session);
  }

  forget(session: Session): void {
    this.#sessions.forget(session);
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
    const loginDown = reason.code !== 'NOT_AUTHENTICATED' && reason.code !== 'ACCOUNT_LOCKED';
    if (key === 'stop' && (kind === 'local' || (kind === 'certificate' && loginDown))) {
      return succeed({ connection, session: null });
    }
    return refuse(reason);
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
    const { code } = answer.fault;
    if (code === 'ACCOUNT_LOCKED') this.#sessions.lock(caller.session);
    if (code !== 'NOT_AUTHENTICATED') return answer;
    // A restarted security track has lost its sessions; it did nothing, so asking again is safe.
    this.#sessions.forget(caller.session);
    const renewed = await this.#sessions.sessionOf(caller.connection, deadline);
    return renewed.ok ? call(renewed.value.id) : renewed;
  }
}
