// The wall time that expiry is judged by: it never goes back, so that setting the clock back revives nothing.
// Invariants: never before the newest wall time on record, in this life and over restarts; goes on with the monotonic clock.
// A clock that was once set too far forward, with something on record meanwhile, makes things expire early: that is the safe
// side, and ends when the real time has caught up.

import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';

/** The row of its own is for chains whose old end was archived; an entry of the chain is newer nearly always. */
const WRITE_EVERY_MS = 600_000;

export class WallFloor {
  readonly #store: DurableStore;
  readonly #clock: Clock;
  /** The newest wall time on record, and when it was put there. */
  #floorMs = 0;
  #atMs: number;
  #writtenMs = 0;

  /** Made after the tables of the audit chain are there. */
  constructor(store: DurableStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#atMs = clock.nowMs();
    store.database.exec(
      'CREATE TABLE IF NOT EXISTS wall_floor (id INTEGER PRIMARY KEY CHECK (id = 1), wall_ms INTEGER NOT NULL) STRICT;',
    );
    const kept = store.database.prepare('SELECT wall_ms FROM wall_floor').get();
    this.#writtenMs = Number(kept?.wall_ms ?? 0);
    this.#floorMs = Math.max(this.#writtenMs, newestEntryMs(store));
  }

  /** Milliseconds since 1970; for whoever judges whether something has expired. */
  readonly wallMs = (): number => Math.max(this.#clock.wallMs(), this.#reckonedMs());

  /** By how much the wall clock is behind what is on record; 0 when it is not. */
  get behindMs(): number {
    return this.wallMs() - this.#clock.wallMs();
  }

  /** Something with this wall time is on record. */
  note(wallMs: number): void {
    const reckonedMs = this.#reckonedMs();
    if (wallMs > reckonedMs) {
      this.#floorMs = wallMs;
      this.#atMs = this.#clock.nowMs();
    }
    this.#keep(Math.max(wallMs, reckonedMs));
  }

  /** What is on record, and the time that has passed since. */
  #reckonedMs(): number {
    return this.#floorMs === 0 ? 0 : Math.floor(this.#floorMs + this.#clock.nowMs() - this.#atMs);
  }

  #keep(wallMs: number): void {
    if (wallMs - this.#writtenMs < WRITE_EVERY_MS) return;
    this.#writtenMs = wallMs;
    // Losing it on a full disk costs nothing while the chain has newer entries.
    this.#store
      .transact((database) =>
        database
          .prepare('INSERT OR REPLACE INTO wall_floor (id, wall_ms) VALUES (1, ?)')
          .run(wallMs),
      )
      .catch(() => undefined);
  }
}

function newestEntryMs(store: DurableStore): number {
  const { database } = store;
  const table = database
    .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'audit'")
    .get();
  if (table === undefined) return 0;
  const last = database.prepare('SELECT body FROM audit ORDER BY sequence DESC LIMIT 1').get();
  if (last === undefined) return 0;
  try {
    const { wallMs } = JSON.parse(String(last.body)) as { readonly wallMs?: unknown };
    return typeof wallMs === 'number' && Number.isFinite(wallMs) ? wallMs : 0;
  } catch {
    // A damaged entry is found by the verifier; it must not keep this process from starting.
    return 0;
  }
}
