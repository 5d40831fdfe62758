// The holds on record: which devices may not be operated, why and since when, over every restart.
// Invariants: what is added counts here at once, and on disk before anybody is told of it; a hold that could not be
// lifted durably is still a hold; devices of an open transaction are held for as long as it is open.

import type { StatementSync } from 'node:sqlite';
import type { DurableStore } from '#foundation/durable-store';
import { FaultError } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import { type DeviceHold, HOLD_KINDS, type HoldKind } from '#model/hold';

export class HoldBook {
  readonly #store: DurableStore;
  readonly #insert: StatementSync;
  readonly #delete: StatementSync;
  readonly #deleteKind: StatementSync;
  readonly #select: StatementSync;
  readonly #holds = new Map<string, DeviceHold>();
  /** Keys of those that are surely on disk: what was written beside somebody else's entry may have been undone. */
  readonly #onDisk = new Set<string>();
  /** By operation: their record is the open row of the journal, so they need none of their own. */
  readonly #provisional = new Map<string, readonly DeviceHold[]>();

  constructor(store: DurableStore) {
    this.#store = store;
    const { database } = store;
    database.exec(`
      CREATE TABLE IF NOT EXISTS device_hold (
        device INTEGER NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL, since_wall_ms REAL NOT NULL,
        PRIMARY KEY (device, kind)
      ) STRICT;
    `);
    this.#insert = database.prepare(
      'INSERT OR IGNORE INTO device_hold (device, kind, reason, since_wall_ms) VALUES (?, ?, ?, ?)',
    );
    this.#delete = database.prepare('DELETE FROM device_hold WHERE device = ? AND kind = ?');
    this.#deleteKind = database.prepare('DELETE FROM device_hold WHERE kind = ?');
    this.#select = database.prepare('SELECT device, kind, reason, since_wall_ms FROM device_hold');
    this.reread();
  }

  /** Holds that stand until somebody ends them; those of open transactions are not among them. */
  all(): readonly DeviceHold[] {
    return [...this.#holds.values()];
  }

  has(device: LinearId, kind: HoldKind): boolean {
    return this.#holds.has(keyOf({ device, kind }));
  }

  of(device: LinearId): readonly DeviceHold[] {
    return this.all().filter((hold) => hold.device === device);
  }

  /** Everything that keeps a device from being operated now, open transactions included. */
  standing(): readonly DeviceHold[] {
    const provisional = [...this.#provisional.values()].flat();
    const shown = new Map(provisional.map((hold) => [keyOf(hold), hold]));
    for (const hold of this.#holds.values()) shown.set(keyOf(hold), hold);
    return [...shown.values()];
  }

  /** Why nothing may be written to the device whatever kernel says: it is in doubt, or its transaction is open. */
  doubt(device: LinearId, exceptOperationId = ''): DeviceHold | undefined {
    const firm = this.#holds.get(keyOf({ device, kind: 'in-doubt' }));
    if (firm !== undefined) return firm;
    for (const [operationId, holds] of this.#provisional) {
      const hold = holds.find((one) => one.device === device);
      if (hold !== undefined && operationId !== exceptOperationId) return hold;
    }
    return undefined;
  }

  /** Holds the devices of an open transaction in doubt until `settled`. */
  unsettled(operationId: string, devices: readonly LinearId[], sinceWallMs: number): void {
    const reason = `operation ${operationId} is not settled yet`;
    this.#provisional.set(
      operationId,
      devices.map((device) => ({ device, kind: 'in-doubt', reason, sinceWallMs })),
    );
  }

  settled(operationId: string): void {
    this.#provisional.delete(operationId);
  }

  /** The operation that still has to be settled before the device can be let go. */
  unsettledOn(device: LinearId): string | undefined {
    for (const [operationId, holds] of this.#provisional) {
      if (holds.some((hold) => hold.device === device)) return operationId;
    }
    return undefined;
  }

  /**
   * Resolves when all are on disk; the first reason and time of a hold stand. `through` runs what it is given in its own
   * transaction, beside the entry that says why; it may do so again later.
   */
  async add(
    holds: readonly DeviceHold[],
    through?: (write: () => void) => Promise<Outcome<unknown>>,
  ): Promise<void> {
    this.#take(holds);
    if (through !== undefined) {
      const written = await through(() => this.#write());
      if (!written.ok) throw new FaultError(written.fault);
    } else {
      if (holds.every((hold) => this.#onDisk.has(keyOf(hold)))) return;
      await this.#store.transact(() => this.#write());
    }
    // What was lifted meanwhile is on nobody's disk.
    for (const key of holds.map(keyOf)) if (this.#holds.has(key)) this.#onDisk.add(key);
  }

  /** The same inside a transaction of the caller. */
  addBeside(holds: readonly DeviceHold[]): void {
    this.#take(holds);
    this.#write();
  }

  /** Resolves when the record says so; to be called once kernel has lifted it. */
  async lift(device: LinearId, kind: HoldKind): Promise<void> {
    await this.#store.transact(() => this.#delete.run(device, kind));
    this.#forget({ device, kind });
  }

  /** Inside a transaction of the caller, who calls `reread` when that fails. */
  liftBeside(device: LinearId, kind: HoldKind): void {
    this.#delete.run(device, kind);
    this.#forget({ device, kind });
  }

  liftAllBeside(kind: HoldKind): void {
    this.#deleteKind.run(kind);
    for (const hold of this.all()) if (hold.kind === kind) this.#forget(hold);
  }

  /** Takes up again what the disk still says: a transaction that was to lift holds did not happen. */
  reread(): void {
    for (const row of this.#select.all()) {
      const kind = HOLD_KINDS.find((known) => known === row.kind);
      const hold: DeviceHold = {
        device: Number(row.device),
        // A kind that nobody knows keeps the device from being written, like the one nobody understands.
        kind: kind ?? 'in-doubt',
        reason: String(row.reason),
        sinceWallMs: Number(row.since_wall_ms),
      };
      if (!this.#holds.has(keyOf(hold))) this.#holds.set(keyOf(hold), hold);
      this.#onDisk.add(keyOf(hold));
    }
  }

  #take(holds: readonly DeviceHold[]): void {
    for (const hold of holds) {
      if (!this.#holds.has(keyOf(hold))) this.#holds.set(keyOf(hold), hold);
    }
  }

  #forget(hold: Pick<DeviceHold, 'device' | 'kind'>): void {
    this.#holds.delete(keyOf(hold));
    this.#onDisk.delete(keyOf(hold));
  }

  /** All of them: some may count here already that a full disk did not take. */
  #write(): void {
    for (const { device, kind, reason, sinceWallMs } of this.#holds.values()) {
      this.#insert.run(device, kind, reason, sinceWallMs);
    }
  }
}

function keyOf({ device, kind }: Pick<DeviceHold, 'device' | 'kind'>): string {
  return `${device} ${kind}`;
}
