// What became of each device over time: power, status, holds, operations and conflicts, the last thousand of each.
// Invariants: nothing waits for the disk: lines are written in groups, at most once a second; the wait is bounded.
// Faults: a full disk costs the oldest lines that wait, and nothing else.

import type { Cancel, Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import { describeError } from '#foundation/fault';
import type { LinearId } from '#model/device';
import type { HistoryEntry } from '#model/unified-state';

const WRITE_EVERY_MS = 1_000;
const WAITING_MAX = 4_096;
export const LINES_PER_DEVICE_MAX = 1_000;
const TEXT_LENGTH_MAX = 256;

export class DeviceHistory {
  readonly #store: DurableStore;
  readonly #clock: Clock;
  readonly #onError: (error: unknown, where: string) => void;
  /** Oldest first; not yet on disk. */
  #waiting: HistoryEntry[] = [];
  #timer: Cancel | null = null;
  #lost = 0;

  constructor(store: DurableStore, clock: Clock, onError: (error: unknown, where: string) => void) {
    this.#store = store;
    this.#clock = clock;
    this.#onError = onError;
    store.database.exec(`
      CREATE TABLE IF NOT EXISTS device_history (
        id INTEGER PRIMARY KEY AUTOINCREMENT, device INTEGER NOT NULL, wall_ms REAL NOT NULL,
        what TEXT NOT NULL, was TEXT NOT NULL, became TEXT NOT NULL
      ) STRICT;
      CREATE INDEX IF NOT EXISTS device_history_device ON device_history (device, id);
    `);
  }

  /** Lines that had to give way before they were written. */
  get lost(): number {
    return this.#lost;
  }

  add(device: LinearId, what: string, from: string, to: string): void {
    const bounded = (text: string) => text.slice(0, TEXT_LENGTH_MAX);
    const wallMs = this.#clock.wallMs();
    this.#waiting.push({ device, wallMs, what, from: bounded(from), to: bounded(to) });
    this.#bound();
    this.#timer ??= this.#clock.after(WRITE_EVERY_MS, () => {
      this.#timer = null;
      void this.write();
    });
  }

  /** Newest first, those that wait for the disk among them. */
  of(device: LinearId, limit: number): readonly HistoryEntry[] {
    const waiting = this.#waiting.filter((entry) => entry.device === device).reverse();
    const fresh = waiting.slice(0, limit);
    const rows = this.#store.database
      .prepare(
        'SELECT wall_ms, what, was, became FROM device_history WHERE device = ? ORDER BY id DESC LIMIT ?',
      )
      .all(device, Math.max(0, Math.min(limit, LINES_PER_DEVICE_MAX) - fresh.length));
    const written = rows.map((row) => ({
      device,
      wallMs: Number(row.wall_ms),
      what: String(row.what),
      from: String(row.was),
      to: String(row.became),
    }));
    return [...fresh, ...written];
  }

  /** Puts what waits on disk; what the disk does not take waits for the next time. */
  async write(): Promise<void> {
    const entries = this.#waiting;
    if (entries.length === 0) return;
    try {
      await this.#store.transact(() => {
        this.#insert(entries);
        // In the transaction: a reader sees a line here or there, never in both places.
        this.#waiting = this.#waiting.slice(entries.length);
      });
    } catch (error) {
      // The transaction may have been undone after it took the lines.
      if (this.#waiting[0] !== entries[0]) this.#waiting = [...entries, ...this.#waiting];
      this.#bound();
      this.#onError(new Error(describeError(error)), 'device history');
    }
  }

  #insert(entries: readonly HistoryEntry[]): void {
    const { database } = this.#store;
    const insert = database.prepare(
      'INSERT INTO device_history (device, wall_ms, what, was, became) VALUES (?, ?, ?, ?, ?)',
    );
    for (const { device, wallMs, what, from, to } of entries) {
      insert.run(device, wallMs, what, from, to);
    }
    const prune = database.prepare(
      `DELETE FROM device_history WHERE device = ? AND id <=
        (SELECT id FROM device_history WHERE device = ? ORDER BY id DESC LIMIT 1 OFFSET ?)`,
    );
    for (const device of new Set(entries.map((entry) => entry.device))) {
      prune.run(device, device, LINES_PER_DEVICE_MAX);
    }
  }

  #bound(): void {
    const over = this.#waiting.length - WAITING_MAX;
    if (over <= 0) return;
    this.#waiting.splice(0, over);
    this.#lost += over;
  }
}
