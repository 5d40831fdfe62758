// Sign-ins with a password: their tokens and how long each is good, over restarts of this process.
// Invariants: a token is kept as SHA-256 only; a sign-in that was not used for a while, or is too old by the policy of the site,
// is over: by the monotonic clock in the life it was opened in, by the wall floor over restarts; a policy that was made shorter
// holds for what is open too; 16 of one person, 1,024 together.

import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import type { Origin, Transport } from '#model/principal';
import { DEFAULT_IDENTITY, type IdentityPolicy } from '#model/safety-policy';
import { hashToken, newHandle, newToken } from './secrets.ts';

/** Of the policy that holds where a site has none. */
export const IDLE_MS = DEFAULT_IDENTITY.idleMinutes * 60_000;
export const SIGN_IN_MS = DEFAULT_IDENTITY.hoursMax * 3_600_000;
export const SIGN_INS_PER_PERSON_MAX = 16;
export const SIGN_INS_MAX = 1_024;
/** Uses are written down this often: for so much less, at most, a sign-in lasts over a restart. */
const USE_WRITTEN_EVERY_MS = 60_000;

export interface SignedIn {
  readonly handle: string;
  readonly hash: string;
  readonly account: string;
  readonly origin: Origin;
  readonly openedWallMs: number;
  readonly expiresAtWallMs: number;
  readonly expiresAtMs: number;
  usedAtMs: number;
  usedWrittenAtMs: number;
  /** Of what a person did; null when free. */
  lockedBecause: string | null;
}

/** A sign-in that is about to be opened. */
export interface Opening {
  readonly token: string;
  readonly handle: string;
  readonly expiresAtWallMs: number;
  /**
   * To be called inside a transaction of the store, then `noteOpened` once that is on disk, else `abandon`. Whatever ends the
   * person's sign-ins from here on ends this one with them.
   */
  write(): void;
  /** It counts from now on; what had to make room for it, to be ended. Null where it was ended meanwhile. */
  noteOpened(): readonly SignedIn[] | null;
  abandon(): void;
}

export interface SignInParts {
  readonly store: DurableStore;
  readonly clock: Clock;
  /** Of the wall floor. */
  readonly wallMs: () => number;
  /** DEFAULT_IDENTITY where absent. */
  readonly policy?: Pick<IdentityPolicy, 'idleMinutes' | 'hoursMax'>;
}

export class SignIns {
  /** Unused for so long a sign-in is over. */
  readonly idleMs: number;
  /** So long a session lasts, however it was opened. */
  readonly lifeMs: number;
  readonly #parts: SignInParts;
  readonly #byHash = new Map<string, SignedIn>();
  /** Written, and not on disk yet: they open nothing, and can be ended. */
  readonly #opening = new Map<string, SignedIn>();

  constructor(parts: SignInParts) {
    this.#parts = parts;
    const { store, clock, wallMs, policy = DEFAULT_IDENTITY } = parts;
    this.idleMs = policy.idleMinutes * 60_000;
    this.lifeMs = policy.hoursMax * 3_600_000;
    store.database.exec(`
      CREATE TABLE IF NOT EXISTS sign_in (
        handle TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, account TEXT NOT NULL, transport TEXT NOT NULL,
        peer TEXT NOT NULL, opened_wall_ms INTEGER NOT NULL, expires_wall_ms INTEGER NOT NULL,
        used_wall_ms INTEGER NOT NULL
      ) STRICT;
    `);
    const now = { ms: clock.nowMs(), wallMs: wallMs() };
    for (const row of store.database.prepare('SELECT * FROM sign_in').all()) {
      const usedWallMs = Number(row.used_wall_ms);
      const openedWallMs = Number(row.opened_wall_ms);
      // A policy that was made shorter meanwhile holds for what is open; a longer one is for new sign-ins.
      const expiresAtWallMs = Math.min(Number(row.expires_wall_ms), openedWallMs + this.lifeMs);
      const usedAtMs = now.ms - Math.max(0, now.wallMs - usedWallMs);
      this.#byHash.set(String(row.hash), {
        handle: String(row.handle),
        hash: String(row.hash),
        account: String(row.account),
        origin: { transport: String(row.transport) as Transport, peer: String(row.peer) },
        openedWallMs,
        expiresAtWallMs,
        expiresAtMs: now.ms + Math.min(this.lifeMs, expiresAtWallMs - now.wallMs),
        usedAtMs,
        usedWrittenAtMs: usedAtMs,
        lockedBecause: null,
      });
    }
  }

  all(): readonly SignedIn[] {
    return [...this.#byHash.values(), ...this.#opening.values()];
  }

  find(hash: string): SignedIn | undefined {
    return this.#byHash.get(hash);
  }

  /** Why it is over; null while it is good. */
  overBecause(signIn: SignedIn): string | null {
    const nowMs = this.#parts.clock.nowMs();
    const kept = this.#byHash.get(signIn.hash) ?? this.#opening.get(signIn.hash);
    if (kept !== signIn) return 'the sign-in has ended';
    if (signIn.expiresAtMs <= nowMs) return `the sign-in is ${this.lifeMs / 3_600_000} hours old`;
    if (signIn.usedAtMs + this.idleMs <= nowMs)
      return `the sign-in was not used for ${this.idleMs / 60_000} minutes`;
    return null;
  }

  noteUse(signIn: SignedIn): void {
    const nowMs = this.#parts.clock.nowMs();
    signIn.usedAtMs = nowMs;
    if (nowMs - signIn.usedWrittenAtMs < USE_WRITTEN_EVERY_MS) return;
    signIn.usedWrittenAtMs = nowMs;
    const usedWallMs = this.#parts.wallMs();
    // What is not written makes it end sooner after a restart, no more.
    this.#parts.store
      .transact((database) =>
        database
          .prepare('UPDATE sign_in SET used_wall_ms = ? WHERE handle = ?')
          .run(usedWallMs, signIn.handle),
      )
      .catch(() => undefined);
  }

  open(account: string, origin: Origin): Opening {
    const { store, clock, wallMs } = this.#parts;
    const token = newToken();
    const handle = newHandle();
    const openedWallMs = wallMs();
    const nowMs = clock.nowMs();
    const signIn: SignedIn = {
      handle,
      hash: hashToken(token),
      account,
      origin,
      openedWallMs,
      expiresAtWallMs: openedWallMs + this.lifeMs,
      expiresAtMs: nowMs + this.lifeMs,
      usedAtMs: nowMs,
      usedWrittenAtMs: nowMs,
      lockedBecause: null,
    };
    return {
      token,
      handle,
      expiresAtWallMs: signIn.expiresAtWallMs,
      write: () => {
        store.database
          .prepare('INSERT INTO sign_in VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
          .run(
            handle,
            signIn.hash,
            account,
            origin.transport,
            origin.peer,
            openedWallMs,
            signIn.expiresAtWallMs,
            openedWallMs,
          );
        this.#opening.set(signIn.hash, signIn);
      },
      noteOpened: () => {
        if (!this.#opening.delete(signIn.hash)) return null;
        this.#byHash.set(signIn.hash, signIn);
        return this.#inTheWay(signIn);
      },
      abandon: () => {
        this.#opening.delete(signIn.hash);
      },
    };
  }

  /** Of what a person did. Nothing lifts it: its row goes, so that a restart does not either. */
  lock(signIn: SignedIn, because: string): void {
    signIn.lockedBecause = because;
    this.#forget([signIn]);
  }

  /** Over at once; its row goes with the caller's transaction, or as soon as the disk takes it. */
  end(ended: readonly SignedIn[]): void {
    if (ended.length === 0) return;
    for (const { hash } of ended) {
      this.#byHash.delete(hash);
      this.#opening.delete(hash);
    }
    this.#forget(ended);
  }

  #forget(signIns: readonly SignedIn[]): void {
    const { store } = this.#parts;
    const forget = () => {
      const statement = store.database.prepare('DELETE FROM sign_in WHERE handle = ?');
      for (const { handle } of signIns) statement.run(handle);
    };
    if (store.database.isTransaction) forget();
    else store.transact(forget).catch(() => undefined);
  }

  /** The longest unused, where this one is one too many. */
  #inTheWay(opened: SignedIn): readonly SignedIn[] {
    const others = this.all().filter((signIn) => signIn !== opened);
    const own = others.filter(({ account }) => account === opened.account);
    const crowd =
      own.length >= SIGN_INS_PER_PERSON_MAX ? own : others.length >= SIGN_INS_MAX ? others : [];
    const [oldest] = [...crowd].sort((one, other) => one.usedAtMs - other.usedAtMs);
    return oldest === undefined ? [] : [oldest];
  }
}
