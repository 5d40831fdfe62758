// Who is on which connection: a credential is shown to security once and its session kept for that connection.
// Invariants: the key holds the connection and a hash of the credential, never the request body; at most `capacity`
// sessions, the longest unused ended first; failures are never kept.

import { createHash } from 'node:crypto';
import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse } from '#foundation/outcome';
import type { OrchestratorPort, Session } from '#model/orchestrator-port';
import type { Credential, Origin } from '#model/principal';
import type { RateLimiter } from './rate-limiter.ts';

/** What an adapter knows about the far end of one connection. */
export interface Connection {
  readonly origin: Origin;
  /** The far address without its port: the key of the limits. */
  readonly address: string;
  /** Names the connection; sessions are kept under it. */
  readonly id: string;
  readonly credential: Credential | null;
}

interface Kept {
  readonly session: Session;
  readonly connectionId: string;
  usedAtMs: number;
}

const IDLE_MAX_MS = 600_000;
const END_TIMEOUT_MS = 1_000;

export function credentialKey(credential: Credential): string {
  switch (credential.kind) {
    case 'token':
      return `token ${createHash('sha256').update(credential.token).digest('base64')}`;
    case 'certificate':
      return `certificate ${credential.fingerprint} ${credential.uri}`;
    case 'local':
      return `local ${credential.uid} ${credential.gid} ${credential.pid}`;
  }
}

export class SessionCache {
  readonly #orchestrator: OrchestratorPort;
  readonly #clock: Clock;
  readonly #failures: RateLimiter;
  readonly #capacity: number;
  readonly #kept = new Map<string, Kept>();
  readonly #locked = new Set<string>();
  readonly #asking = new Map<string, Promise<Outcome<Session>>>();

  /** `failures` limits how often one address may present a credential that is worth nothing. */
  constructor(
    orchestrator: OrchestratorPort,
    clock: Clock,
    failures: RateLimiter,
    capacity = 1024,
  ) {
    this.#orchestrator = orchestrator;
    this.#clock = clock;
    this.#failures = failures;
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** The session of a connection that was already admitted, without asking anybody. */
  known(connection: Connection): Session | undefined {
    const key = this.#keyOf(connection);
    const kept = key === undefined ? undefined : this.#kept.get(key);
    if (key === undefined || kept === undefined) return undefined;
    if (kept.session.expiresAtWallMs <= this.#clock.wallMs()) {
      this.#end(key, kept);
      return undefined;
    }
    kept.usedAtMs = this.#clock.nowMs();
    return kept.session;
  }

  async sessionOf(connection: Connection, deadline: Deadline): Promise<Outcome<Session>> {
    const known = this.known(connection);
    if (known !== undefined) return { ok: true, value: known };
    const key = this.#keyOf(connection);
    if (key === undefined || connection.credential === null) {
      return refuse(
        fault('NOT_AUTHENTICATED', {
          place: 'connection',
          finding: 'presents neither a certificate nor a token',
        }),
      );
    }
    const asking = this.#asking.get(key);
    if (asking !== undefined) return asking;
    if (this.#failures.exhausted(connection.address)) {
      return refuse(
        fault('RATE_LIMITED', {
          place: 'sign-in',
          finding: 'too many failed attempts to sign in from this address',
        }),
      );
    }
    const question = this.#ask(key, connection, connection.credential, deadline);
    this.#asking.set(key, question);
    try {
      return await question;
    } finally {
      this.#asking.delete(key);
    }
  }

  /** Security locked this session: it stays kept, so that its connection cannot sign in anew. */
  lock(session: Session): void {
    this.#locked.add(session.id);
  }

  locked(session: Session): boolean {
    return this.#locked.has(session.id);
  }

  /** Forgets one session: the next request on its connection is authenticated anew. */
  forget(session: Session): void {
    for (const [key, kept] of this.#kept) {
      if (kept.session.id === session.id) this.#kept.delete(key);
    }
    this.#locked.delete(session.id);
  }

  /** Ends the sessions of a closed connection. */
  closeConnection(connectionId: string): void {
    for (const [key, kept] of this.#kept) {
      if (kept.connectionId === connectionId) this.#end(key, kept);
    }
  }

  /** Ends what has not been used for ten minutes; called now and then. */
  sweep(): void {
    const oldestMs = this.#clock.nowMs() - IDLE_MAX_MS;
    for (const [key, kept] of this.#kept) if (kept.usedAtMs < oldestMs) this.#end(key, kept);
  }

  async #ask(
    key: string,
    connection: Connection,
    credential: Credential,
    deadline: Deadline,
  ): Promise<Outcome<Session>> {
    const answer = await this.#orchestrator.authenticate(credential, connection.origin, deadline);
    if (!answer.ok) {
      if (answer.fault.code === 'NOT_AUTHENTICATED') this.#failures.take(connection.address);
      return answer;
    }
    if (this.#kept.size >= this.#capacity) this.#makeRoom();
    this.#kept.set(key, {
      session: answer.value,
      connectionId: connection.id,
      usedAtMs: this.#clock.nowMs(),
    });
    return answer;
  }

  #makeRoom(): void {
    let oldest: [string, Kept] | undefined;
    for (const entry of this.#kept) {
      if (oldest === undefined || entry[1].usedAtMs < oldest[1].usedAtMs) oldest = entry;
    }
    if (oldest !== undefined) this.#end(...oldest);
  }

  #end(key: string, kept: Kept): void {
    this.#kept.delete(key);
    this.#locked.delete(kept.session.id);
    const deadline = Deadline.after(this.#clock, END_TIMEOUT_MS);
    // Nobody waits for this: security forgets the session by itself when it expires.
    this.#orchestrator.endSession(kept.session.id, deadline).catch(() => undefined);
  }

  #keyOf(connection: Connection): string | undefined {
    return connection.credential === null
      ? undefined
      : `${connection.id}|${credentialKey(connection.credential)}`;
  }
}
