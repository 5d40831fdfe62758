// The holds on record: which devices may not be operated, why and since when, over every restart.
// Invariants: what is added counts here at once, and on disk before anybody is told of it; a hold that could not be
// lifted durably is still a hold.

import type { DurableStore } from '#foundation/durable-store';
import type { LinearId } from '#model/device';
import type { DeviceHold, HoldKind } from '#model/hold';

export class HoldBook {
  readonly #store: DurableStore;
  readonly #holds = new Map<string, DeviceHold>();

  constructor(store: DurableStore) {
    this.#store = store;
    store.database.exec(`
      CREATE TABLE IF NOT EXISTS device_hold (
        device INTEGER NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL, since_wall_ms REAL NOT NULL,
        PRIMARY KEY (device, kind)
      ) STRICT;
    `);
    for (const row of store.database.prepare('SELECT * FROM device_hold').all()) {
      const hold: DeviceHold = {
        device: Number(row.device),
        kind: String(row.kind) as HoldKind,
        reason: String(row.reason),
        sinceWallMs: Number(row.since_wall_ms),
      };
      this.#holds.set(keyOf(hold), hold);
    }
  }

  all(): readonly DeviceHold[] {
    return [...this.#holds.values()];
  }

  has(device: LinearId, kind: HoldKind): boolean {
    return this.#holds.has(keyOf({ device, kind }));
  }

  of(device: LinearId): readonly DeviceHold[] {
    return this.all().filter((hold) => hold.device === device);
  }

  /** Resolves when all are on disk; the first reason and time of a hold stand. */
  add(holds: readonly DeviceHold[]): Promise<void> {
    const fresh = this.#take(holds);
    if (fresh.length === 0) return Promise.resolve();
    return this.#store.transact(() => this.#write(fresh));
  }

  /** The same inside a transaction of the caller. */
  addBeside(holds: readonly DeviceHold[]): void {
    this.#write(this.#take(holds));
  }

  /** Resolves when the record says so; to be called once kernel has lifted it. */
  lift(device: LinearId, kind: HoldKind): Promise<void> {
    return this.#store.transact(() => this.liftBeside(device, kind));
  }

  liftBeside(device: LinearId, kind: HoldKind): void {
    this.#store.database
      .prepare('DELETE FROM device_hold WHERE device = ? AND kind = ?')
      .run(device, kind);
    this.#holds.delete(keyOf({ device, kind }));
  }

  liftAllBeside(kind: HoldKind): void {
    this.#store.database.prepare('DELETE FROM device_hold WHERE kind = ?').run(kind);
    for (const hold of this.all()) if (hold.kind === kind) this.#holds.delete(keyOf(hold));
  }

  #take(holds: readonly DeviceHold[]): readonly DeviceHold[] {
    const fresh = holds.filter((hold) => !this.#holds.has(keyOf(hold)));
    for (const hold of fresh) this.#holds.set(keyOf(hold), hold);
    return fresh;
  }

  #write(holds: readonly DeviceHold[]): void {
    const insert = this.#store.database.prepare(
      'INSERT OR IGNORE INTO device_hold (device, kind, reason, since_wall_ms) VALUES (?, ?, ?, ?)',
    );
    for (const { device, kind, reason, sinceWallMs } of holds) {
      insert.run(device, kind, reason, sinceWallMs);
    }
  }
}

function keyOf({ device, kind }: Pick<DeviceHold, 'device' | 'kind'>): string {
  return `${device} ${kind}`;
}
