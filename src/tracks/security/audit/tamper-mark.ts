// The mark that an audit chain which was once found damaged bears for ever, over restarts; no call takes it away.
// Invariants: the first finding stays; the mark stands in memory even where the disk would not take it.

import type { DatabaseSync } from 'node:sqlite';

export interface TamperFinding {
  readonly finding: string;
  readonly wallMs: number;
}

export class TamperMark {
  readonly #database: DatabaseSync;
  #first: TamperFinding | null;

  constructor(database: DatabaseSync) {
    this.#database = database;
    database.exec(
      'CREATE TABLE IF NOT EXISTS audit_tamper (id INTEGER PRIMARY KEY, finding TEXT NOT NULL, wall_ms INTEGER NOT NULL) STRICT',
    );
    const row = database
      .prepare('SELECT finding, wall_ms FROM audit_tamper ORDER BY id LIMIT 1')
      .get();
    this.#first =
      row === undefined ? null : { finding: String(row.finding), wallMs: Number(row.wall_ms) };
  }

  get first(): TamperFinding | null {
    return this.#first;
  }

  /** In memory at once; `write` belongs into the transaction of the entry that says so. */
  set(finding: TamperFinding): { readonly write: () => void } {
    this.#first ??= finding;
    const { wallMs } = finding;
    return {
      write: () => {
        this.#database
          .prepare('INSERT INTO audit_tamper (finding, wall_ms) VALUES (?, ?)')
          .run(finding.finding, Math.round(wallMs));
      },
    };
  }
}
