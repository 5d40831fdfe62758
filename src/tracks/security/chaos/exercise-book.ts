// The durable record of exercises: which ran, as whom, until when, and which of them nobody has ended yet.
// Invariants: the id of an exercise is the id of its account, and is never used a second time.

import type { DurableStore } from '#foundation/durable-store';

export interface KeptExercise {
  /** Of the exercise and of its account. */
  readonly id: string;
  readonly scenario: string;
  readonly startedBy: string;
  readonly tokenId: string;
  readonly endsAtWallMs: number;
  readonly ended: 'no' | 'reported' | 'closed';
}

export class ExerciseBook {
  readonly #store: DurableStore;

  constructor(store: DurableStore) {
    this.#store = store;
    store.database.exec(`
      CREATE TABLE IF NOT EXISTS exercise (
        id TEXT PRIMARY KEY, scenario TEXT NOT NULL, started_by TEXT NOT NULL, token_id TEXT NOT NULL,
        ends_wall_ms INTEGER NOT NULL, ended TEXT NOT NULL
      ) STRICT;
    `);
  }

  find(id: string): KeptExercise | undefined {
    const row = this.#store.database.prepare('SELECT * FROM exercise WHERE id = ?').get(id);
    return row === undefined ? undefined : exerciseOf(row);
  }

  /** Those that a process left behind when it ended. */
  open(): readonly KeptExercise[] {
    return this.#store.database
      .prepare("SELECT * FROM exercise WHERE ended = 'no' ORDER BY id")
      .all()
      .map(exerciseOf);
  }

  /** To be called inside a transaction of the store. */
  write(exercise: KeptExercise): void {
    const { id, scenario, startedBy, tokenId, endsAtWallMs, ended } = exercise;
    this.#store.database
      .prepare('INSERT OR REPLACE INTO exercise VALUES (?, ?, ?, ?, ?, ?)')
      .run(id, scenario, startedBy, tokenId, endsAtWallMs, ended);
  }
}

function exerciseOf(row: Readonly<Record<string, unknown>>): KeptExercise {
  return {
    id: String(row.id),
    scenario: String(row.scenario),
    startedBy: String(row.started_by),
    tokenId: String(row.token_id),
    endsAtWallMs: Number(row.ends_wall_ms),
    ended: row.ended as KeptExercise['ended'],
  };
}
