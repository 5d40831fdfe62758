// Conflicts on disk: the open ones with their deadlines, the last settled ones, and the reviews that still stand.
// Invariants: numbers count up over restarts; an open conflict or a standing review is never forgotten to save room.

import type { DurableStore } from '#foundation/durable-store';
import type { Conflict, ConflictAnswer } from '#model/unified-state';

export const SETTLED_MAX = 200;

/** One conflict with what is needed to go on with it after a restart. */
export interface ConflictCase {
  readonly conflict: Conflict;
  readonly conservative: ConflictAnswer;
  readonly subject: string;
  readonly facts: string;
  /** Of the device in kernel when it was found; what an ACCEPT accounts for. */
  readonly changeCount: number;
  /** Time that people were given, milliseconds; 0 when nobody was asked. */
  readonly lengthMs: number;
  /** The device stays under review until a person answers otherwise. */
  readonly underReview: boolean;
}

export class ConflictRecord {
  readonly #store: DurableStore;
  #lastId: number;

  constructor(store: DurableStore) {
    this.#store = store;
    store.database.exec(`
      CREATE TABLE IF NOT EXISTS conflict (
        id INTEGER PRIMARY KEY, kept INTEGER NOT NULL, body TEXT NOT NULL
      ) STRICT;
      CREATE INDEX IF NOT EXISTS conflict_kept ON conflict (kept, id);
    `);
    const row = store.database.prepare('SELECT max(id) AS last FROM conflict').get();
    this.#lastId = Number(row?.last ?? 0);
  }

  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  /** Oldest first. */
  all(): readonly ConflictCase[] {
    return this.#store.database
      .prepare('SELECT body FROM conflict ORDER BY id')
      .all()
      .map((row) => JSON.parse(String(row.body)) as ConflictCase);
  }

  /** Resolves once it is on disk. */
  keep(kept: ConflictCase): Promise<void> {
    return this.#store.transact(() => this.keepBeside(kept));
  }

  /** The same inside a transaction of the caller. */
  keepBeside(kept: ConflictCase): void {
    const { database } = this.#store;
    const { conflict } = kept;
    const needed = conflict.answer === null || kept.underReview ? 1 : 0;
    database
      .prepare('INSERT OR REPLACE INTO conflict (id, kept, body) VALUES (?, ?, ?)')
      .run(conflict.id, needed, JSON.stringify(kept));
    database
      .prepare(
        `DELETE FROM conflict WHERE kept = 0 AND id <=
          (SELECT id FROM conflict WHERE kept = 0 ORDER BY id DESC LIMIT 1 OFFSET ?)`,
      )
      .run(SETTLED_MAX);
  }
}
