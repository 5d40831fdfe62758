// Why the system or single devices are stopped and who has seen it, kept over restarts and reboots until two people reset.
// Invariants: a cause counts here at once, whatever the disk does, and is written again until the disk has it; the devices
// of a cause are on hold for as long as it stands; a reset ends causes, acknowledgments and holds together or not at all.

import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import { FaultError } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import type { DeviceHold } from '#model/hold';
import type { StopAcknowledgment, StopCause } from '#model/stop';
import type { HoldBook } from './hold-book.ts';

export interface StopRecordParts {
  readonly store: DurableStore;
  readonly holds: HoldBook;
  readonly clock: Clock;
  readonly onError: (error: unknown, where: string) => void;
}

/** Puts a change on record; `beside` runs in the same durable transaction. */
export type RecordChange = (told: string, beside: () => void) => Promise<Outcome<unknown>>;

/** Causes kept at once. */
const CAUSES_MAX = 32;
/** Between two tries to keep what the disk would not take. */
const KEEP_AGAIN_MS = 1_000;

export class StopRecord {
  readonly #parts: StopRecordParts;
  #causes: readonly StopCause[];
  #acknowledgments: readonly StopAcknowledgment[];
  /** The highest number given to a cause. */
  #lastId: number;
  /** Causes up to this number were reset. */
  #clearedThrough: number;

  constructor(parts: StopRecordParts) {
    this.#parts = parts;
    const { database } = parts.store;
    database.exec(`
      CREATE TABLE IF NOT EXISTS stop_cause (position INTEGER PRIMARY KEY, cause TEXT NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS stop_acknowledgment (
        stop_id INTEGER NOT NULL, acknowledged_by TEXT NOT NULL, wall_ms REAL NOT NULL,
        PRIMARY KEY (stop_id, acknowledged_by)
      ) STRICT;
      CREATE TABLE IF NOT EXISTS stop_counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    `);
    this.#causes = database
      .prepare('SELECT position, cause FROM stop_cause ORDER BY position')
      .all()
      .map((row) => {
        const cause = JSON.parse(String(row.cause)) as StopCause;
        // Causes of the first versions had neither number nor devices: they stopped the whole system.
        return { ...cause, devices: cause.devices ?? [], id: Number(row.position) };
      });
    this.#acknowledgments = database
      .prepare('SELECT * FROM stop_acknowledgment ORDER BY wall_ms, stop_id')
      .all()
      .map((row) => ({
        stopId: Number(row.stop_id),
        by: String(row.acknowledged_by),
        wallMs: Number(row.wall_ms),
      }));
    const counters = new Map(
      database
        .prepare('SELECT name, value FROM stop_counter')
        .all()
        .map((row) => [String(row.name), Number(row.value)]),
    );
    this.#lastId = Math.max(counters.get('last') ?? 0, ...this.#causes.map(({ id }) => id));
    this.#clearedThrough = counters.get('cleared') ?? 0;
    // A full disk may have taken the causes and not the holds.
    const held = parts.holds.add(stoppedBy(this.#causes));
    held.catch((error: unknown) => parts.onError(error, 'holds of the stop'));
  }

  causes(): readonly StopCause[] {
    return this.#causes;
  }

  acknowledgments(): readonly StopAcknowledgment[] {
    return this.#acknowledgments;
  }

  /** The cause with the next number. */
  number(cause: StopCause): StopCause {
    this.#lastId += 1;
    return { ...cause, id: this.#lastId };
  }

  /** True for a cause on record, and for one that was reset since it was numbered. */
  knows({ id, wallMs, triggeredBy }: StopCause): boolean {
    if (id === 0) return false;
    return (
      id <= this.#clearedThrough ||
      this.#causes.some(
        (cause) => cause.id === id && cause.wallMs === wallMs && cause.triggeredBy === triggeredBy,
      )
    );
  }

  /** At once here; on disk as soon as that takes it. */
  add(cause: StopCause): void {
    this.#causes = bounded([...this.#causes, cause]);
    this.#keep();
  }

  /** Resolves with all acknowledgments once this person's are on disk; rejects when they could not be written. */
  async acknowledge(by: string, record?: RecordChange): Promise<readonly StopAcknowledgment[]> {
    const { store, clock } = this.#parts;
    const wallMs = clock.wallMs();
    const fresh = this.#causes
      .filter(({ id }) => !this.#acknowledgments.some((one) => one.stopId === id && one.by === by))
      .map(({ id }) => ({ stopId: id, by, wallMs }));
    const stand = this.#acknowledgments.length + fresh.length;
    await this.#change(record, `${stand} acknowledgments stand`, () => {
      const insert = store.database.prepare(
        'INSERT OR IGNORE INTO stop_acknowledgment (stop_id, acknowledged_by, wall_ms) VALUES (?, ?, ?)',
      );
      for (const { stopId } of fresh) insert.run(stopId, by, wallMs);
    });
    const known = new Set(this.#acknowledgments.map(keyOf));
    const standing = new Set(this.#causes.map(({ id }) => id));
    // Asked twice at once, or reset meanwhile.
    const added = fresh.filter((one) => !known.has(keyOf(one)) && standing.has(one.stopId));
    this.#acknowledgments = [...this.#acknowledgments, ...added];
    return this.#acknowledgments;
  }

  /**
   * The reset: no cause, no acknowledgment and no `stopped` hold is left, and the given devices are `deactivated`; all on
   * disk when it resolves, with its entry. When it rejects everything stands as before.
   */
  async clear(deactivated: readonly DeviceHold[], told = '', record?: RecordChange): Promise<void> {
    const { store, holds } = this.#parts;
    const through = this.#lastId;
    const before = { causes: this.#causes, acknowledgments: this.#acknowledgments };
    const cleared = (id: number) => id <= through;
    try {
      await this.#change(record, told, () => {
        const { database } = store;
        this.#causes = this.#causes.filter(({ id }) => !cleared(id));
        this.#acknowledgments = this.#acknowledgments.filter(({ stopId }) => !cleared(stopId));
        database.prepare('DELETE FROM stop_cause WHERE position <= ?').run(through);
        database.prepare('DELETE FROM stop_acknowledgment WHERE stop_id <= ?').run(through);
        this.#count('last', this.#lastId);
        this.#count('cleared', through);
        holds.liftAllBeside('stopped');
        holds.addBeside(deactivated);
      });
      this.#clearedThrough = through;
    } catch (error) {
      const since = this.#causes.filter(({ id }) => !cleared(id));
      this.#causes = [...before.causes, ...since];
      this.#acknowledgments = before.acknowledgments;
      holds.reread();
      throw error;
    }
  }

  /** Without an entry only where nobody gave a way to make one. */
  async #change(record: RecordChange | undefined, told: string, write: () => void): Promise<void> {
    if (record === undefined) return this.#parts.store.transact(write);
    const entry = await record(told, write);
    if (!entry.ok) throw new FaultError(entry.fault);
  }

  #keep(): void {
    const { store, holds, clock, onError } = this.#parts;
    const causes = this.#causes;
    // In memory before the disk is asked: nobody may be told of a stop that does not hold yet.
    const kept = Promise.all([
      holds.add(stoppedBy(causes)),
      store.transact((database) => {
        database.exec('DELETE FROM stop_cause');
        const insert = database.prepare('INSERT INTO stop_cause (position, cause) VALUES (?, ?)');
        for (const cause of this.#causes) insert.run(cause.id, JSON.stringify(cause));
        // A reset that was written before this may have lifted them.
        holds.addBeside(stoppedBy(this.#causes));
        this.#count('last', this.#lastId);
      }),
    ]);
    kept.catch((error: unknown) => {
      onError(error, 'stop causes');
      // Unless others have taken their place, which are kept by themselves.
      clock.after(KEEP_AGAIN_MS, () => {
        if (this.#causes === causes) this.#keep();
      });
    });
  }

  #count(name: 'last' | 'cleared', value: number): void {
    this.#parts.store.database
      .prepare(
        'INSERT INTO stop_counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)',
      )
      .run(name, value);
  }
}

function keyOf({ stopId, by }: StopAcknowledgment): string {
  return `${stopId} ${by}`;
}

function stoppedBy(causes: readonly StopCause[]): readonly DeviceHold[] {
  return causes.flatMap(({ devices, reason, wallMs }) =>
    devices.map((device): DeviceHold => ({ device, kind: 'stopped', reason, sinceWallMs: wallMs })),
  );
}

/**
 * When there are too many, the second oldest gives way: the first says why, the last what is new. What it stopped stays
 * stopped: the last cause of the whole system never goes, and devices pass to the next cause.
 */
function bounded(causes: readonly StopCause[]): readonly StopCause[] {
  if (causes.length <= CAUSES_MAX) return causes;
  const whole = causes.filter(({ devices }) => devices.length === 0);
  const going = causes.slice(1).find((cause) => cause.devices.length > 0 || whole.length > 1);
  if (going === undefined) return causes;
  const rest = causes.filter((cause) => cause !== going);
  const heir = rest.find(({ devices }) => devices.length > 0);
  if (going.devices.length === 0 || heir === undefined) return rest;
  const devices: readonly LinearId[] = [...new Set([...heir.devices, ...going.devices])];
  return rest.map((cause) => (cause === heir ? { ...cause, devices } : cause));
}
