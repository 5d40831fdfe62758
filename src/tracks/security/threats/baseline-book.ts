// The durable record of what is usual for each person, written now and then and made up for from the audit chain.
// Invariants: at most 1,024 people are in memory, the least recently active goes first and is read again when it comes back;
// what is lost with a crash is learned again from the entries of the last window.

import type { StatementSync } from 'node:sqlite';
import type { DurableStore } from '#foundation/durable-store';
import { type Baseline, NO_BASELINE } from './threat-baseline.ts';

export const PERSONS_MAX = 1_024;

export class BaselineBook {
  readonly #store: DurableStore;
  readonly #select: StatementSync;
  /** The least recently active first. */
  readonly #known = new Map<string, Baseline>();
  readonly #unsaved = new Map<string, Baseline>();

  constructor(store: DurableStore) {
    this.#store = store;
    store.database.exec(
      'CREATE TABLE IF NOT EXISTS threat_baseline (account TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;',
    );
    this.#select = store.database.prepare('SELECT body FROM threat_baseline WHERE account = ?');
  }

  get size(): number {
    return this.#known.size;
  }

  of(account: string): Baseline {
    const known = this.#known.get(account) ?? this.#unsaved.get(account);
    if (known !== undefined) return known;
    const row = this.#select.get(account);
    const read = row === undefined ? NO_BASELINE : (JSON.parse(String(row.body)) as Baseline);
    this.#keep(account, read);
    return read;
  }

  put(account: string, baseline: Baseline): void {
    this.#keep(account, baseline);
    this.#unsaved.set(account, baseline);
  }

  /** Writes what has changed since the last time; what the disk does not take is written the next time. */
  async save(): Promise<void> {
    if (this.#unsaved.size === 0) return;
    const writing = [...this.#unsaved];
    await this.#store.transact((database) => {
      const insert = database.prepare('INSERT OR REPLACE INTO threat_baseline VALUES (?, ?)');
      for (const [account, baseline] of writing) insert.run(account, JSON.stringify(baseline));
    });
    for (const [account, baseline] of writing) {
      if (this.#unsaved.get(account) === baseline) this.#unsaved.delete(account);
    }
  }

  #keep(account: string, baseline: Baseline): void {
    this.#known.delete(account);
    this.#known.set(account, baseline);
    if (this.#known.size <= PERSONS_MAX) return;
    const oldest = this.#known.keys().next();
    if (oldest.done !== true) this.#known.delete(oldest.value);
  }
}
