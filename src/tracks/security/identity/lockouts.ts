// Whose sign-ins are refused, and until when: one durable store for every transport and every way in.
// Invariants: as many failed sign-ins of a name as the site's policy says, three within 15 minutes where it says nothing, lock
// it for a while, whether an account has that name or not; a restart shortens nothing, a right password unlocks nothing; a lock for a threat stands until a person lifts it.
// Memory counts first: a disk that takes no rows lets nobody guess on.

import type { DurableStore } from '#foundation/durable-store';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { DEFAULT_IDENTITY, type IdentityPolicy } from '#model/safety-policy';
import { hashToken } from './secrets.ts';

/** Of the policy that holds where a site has none. */
export const FAILURES_MAX = DEFAULT_IDENTITY.failuresMax;
export const FAILURE_WINDOW_MS = DEFAULT_IDENTITY.failureWindowMinutes * 60_000;
export const LOCK_MS = DEFAULT_IDENTITY.lockMinutes * 60_000;
export const NAMES_MAX = 4_096;
/** When a lock ends that has no end: the last second that RFC 3339 can write. */
export const STANDING_UNTIL_WALL_MS = 253_402_300_799_000;

export interface Lock {
  readonly because: string;
  readonly untilWallMs: number;
  /** Stands until an administrator unlocks the account; closes live sessions too. */
  readonly standing: boolean;
}

/** One sign-in under way; exactly one of its ends is to be called. */
export interface Attempt {
  /** Counts as a failure; true when the name is locked by it. Durable with `write` or, without, as soon as the disk takes it. */
  failed(): { readonly locked: boolean; readonly write: () => void };
  /** Earlier failures are forgotten. */
  succeeded(): { readonly write: () => void };
  /** Nothing was found out. */
  abandoned(): void;
}

interface Entry {
  readonly key: string;
  readonly failuresWallMs: readonly number[];
  readonly lock: Lock | null;
  readonly atWallMs: number;
}

export interface LockoutParts {
  readonly store: DurableStore;
  /** Of the wall floor. */
  readonly wallMs: () => number;
  readonly isAccount: (name: string) => boolean;
  /** DEFAULT_IDENTITY where absent. */
  readonly policy?: Pick<IdentityPolicy, 'failuresMax' | 'failureWindowMinutes' | 'lockMinutes'>;
}

export class Lockouts {
  readonly #parts: LockoutParts;
  readonly #policy: NonNullable<LockoutParts['policy']>;
  /** In order of their last change. */
  readonly #entries = new Map<string, Entry>();
  readonly #underWay = new Map<string, number>();

  constructor(parts: LockoutParts) {
    this.#parts = parts;
    this.#policy = parts.policy ?? DEFAULT_IDENTITY;
    const { database } = parts.store;
    database.exec(`
      CREATE TABLE IF NOT EXISTS lockout (
        name TEXT PRIMARY KEY, failures TEXT NOT NULL, because TEXT, until_wall_ms INTEGER NOT NULL,
        standing INTEGER NOT NULL, at_wall_ms INTEGER NOT NULL
      ) STRICT;
    `);
    for (const row of database.prepare('SELECT * FROM lockout ORDER BY at_wall_ms').all()) {
      const key = String(row.name);
      this.#entries.set(key, {
        key,
        failuresWallMs: JSON.parse(String(row.failures)) as number[],
        lock:
          row.because === null
            ? null
            : {
                because: String(row.because),
                untilWallMs: Number(row.until_wall_ms),
                standing: row.standing === 1,
              },
        atWallMs: Number(row.at_wall_ms),
      });
    }
  }

  get size(): number {
    return this.#entries.size;
  }

  lockOf(name: string): Lock | null {
    const lock = this.#entries.get(this.#keyOf(name))?.lock ?? null;
    if (lock === null || lock.standing) return lock;
    return lock.untilWallMs > this.#parts.wallMs() ? lock : null;
  }

  /**
   * Begins a sign-in. Refused with ACCOUNT_LOCKED, or with BUSY while so many are under way that their failures would lock
   * the name: guesses in parallel are still no more than three.
   */
  begin(name: string): Outcome<Attempt> {
    const lock = this.lockOf(name);
    if (lock !== null) return refuse(lockedFault(lock));
    const key = this.#keyOf(name);
    const underWay = this.#underWay.get(key) ?? 0;
    if (this.#failuresOf(key).length + underWay >= this.#policy.failuresMax) {
      const finding = 'other sign-ins with this name are being checked';
      return refuse(fault('BUSY', { place: 'sign-in', finding }));
    }
    this.#underWay.set(key, underWay + 1);
    let open = true;
    const end = () => {
      if (!open) throw new Error('a sign-in ended twice');
      open = false;
      const left = (this.#underWay.get(key) ?? 1) - 1;
      if (left > 0) this.#underWay.set(key, left);
      else this.#underWay.delete(key);
    };
    return succeed({
      failed: () => {
        end();
        return this.#fail(key);
      },
      succeeded: () => {
        end();
        return { write: () => this.#clear(key) };
      },
      abandoned: end,
    });
  }

  /** A lock without end, at once; durable with the caller's transaction, or as soon as the disk takes it. */
  lock(account: string, because: string): void {
    const lock = { because, untilWallMs: STANDING_UNTIL_WALL_MS, standing: true };
    const key = this.#keyOf(account);
    this.#put({ key, failuresWallMs: [], lock, atWallMs: this.#parts.wallMs() });
    this.#save(key);
  }

  /** Removes the row; to be called inside a transaction of the store, then `noteUnlocked` once that is on disk. */
  writeUnlocked(account: string): void {
    this.#delete(this.#keyOf(account));
  }

  noteUnlocked(account: string): void {
    this.#entries.delete(this.#keyOf(account));
  }

  #fail(key: string): { readonly locked: boolean; readonly write: () => void } {
    const { failuresMax, failureWindowMinutes, lockMinutes } = this.#policy;
    const atWallMs = this.#parts.wallMs();
    const failures = [...this.#failuresOf(key), atWallMs];
    const locked = failures.length >= failuresMax;
    const lock: Lock | null = locked
      ? {
          because: `${failuresMax} failed sign-ins within ${failureWindowMinutes} minutes`,
          untilWallMs: atWallMs + lockMinutes * 60_000,
          standing: false,
        }
      : null;
    this.#put({ key, failuresWallMs: locked ? [] : failures, lock, atWallMs });
    return { locked, write: () => this.#write(key) };
  }

  #clear(key: string): void {
    // A lock that came meanwhile is not lifted by a sign-in that began before it.
    if (this.#entries.get(key)?.lock?.standing === true) return;
    this.#entries.delete(key);
    this.#delete(key);
  }

  #failuresOf(key: string): readonly number[] {
    const oldestMs = this.#parts.wallMs() - this.#policy.failureWindowMinutes * 60_000;
    return (this.#entries.get(key)?.failuresWallMs ?? []).filter((atMs) => atMs > oldestMs);
  }

  #put(entry: Entry): void {
    const before = this.#entries.get(entry.key)?.lock ?? null;
    this.#entries.delete(entry.key);
    if (this.#entries.size >= NAMES_MAX) this.#makeRoom();
    // Nothing but a person takes a standing lock away.
    const lock = before?.standing === true ? before : entry.lock;
    this.#entries.set(entry.key, { ...entry, lock });
  }

  /** Names that nobody has go first: a flood of them must not make room for guesses at one that somebody has. */
  #makeRoom(): void {
    const nowMs = this.#parts.wallMs();
    const worth = ({ key, lock }: Entry): number => {
      if (lock?.standing === true) return 4;
      const locked = lock !== null && lock.untilWallMs > nowMs;
      return (key.startsWith(STRANGER) ? 0 : 2) + (locked ? 1 : 0);
    };
    let least: Entry | undefined;
    for (const entry of this.#entries.values()) {
      if (least === undefined || worth(entry) < worth(least)) least = entry;
      if (worth(least) === 0) break;
    }
    if (least === undefined) return;
    this.#entries.delete(least.key);
    const { key } = least;
    this.#parts.store.transact(() => this.#delete(key)).catch(() => undefined);
  }

  #save(key: string): void {
    const { store } = this.#parts;
    if (store.database.isTransaction) this.#write(key);
    else store.transact(() => this.#write(key)).catch(() => undefined);
  }

  #write(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    const { failuresWallMs, lock, atWallMs } = entry;
    this.#parts.store.database
      .prepare('INSERT OR REPLACE INTO lockout VALUES (?, ?, ?, ?, ?, ?)')
      .run(
        key,
        JSON.stringify(failuresWallMs),
        lock?.because ?? null,
        lock?.untilWallMs ?? 0,
        lock?.standing === true ? 1 : 0,
        atWallMs,
      );
  }

  #delete(key: string): void {
    this.#parts.store.database.prepare('DELETE FROM lockout WHERE name = ?').run(key);
  }

  /** What is no account's name may be a password in the wrong field: it is kept as a digest. */
  #keyOf(name: string): string {
    return this.#parts.isAccount(name) ? name : `${STRANGER}${hashToken(name)}`;
  }
}

/** No account id holds a colon. */
const STRANGER = 'sha256:';

export function lockedFault({ because, untilWallMs, standing }: Lock) {
  const until = standing
    ? 'until an administrator unlocks it'
    : `until ${new Date(untilWallMs).toISOString()}`;
  // The reason of a standing lock is for those who may see accounts, not for whoever holds a stolen token.
  const finding = standing ? `is locked ${until}` : `is locked ${until}: ${because}`;
  return fault('ACCOUNT_LOCKED', { place: 'account', finding });
}
