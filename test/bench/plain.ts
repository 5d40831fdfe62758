// The plainest things that can be measured beside: rows kept durably, SHA-256 over bytes, and a stopwatch.

import { createHash } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';

/** The least that keeps rows durably, with the settings of the chain's own database. */
export class PlainTable {
  readonly #database: DatabaseSync;
  readonly #insert;

  constructor(path: string) {
    this.#database = new DatabaseSync(path);
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    this.#database.exec(
      'CREATE TABLE plain (sequence INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT',
    );
    this.#insert = this.#database.prepare('INSERT INTO plain (body, hash) VALUES (?, ?)');
  }

  insert(body: string, count: number): void {
    this.#database.exec('BEGIN IMMEDIATE');
    for (let index = 0; index < count; index++) this.#insert.run(body, '0'.repeat(64));
    this.#database.exec('COMMIT');
  }

  close(): void {
    this.#database.close();
  }
}

export function hashAll(bytes: Buffer, count: number): void {
  for (let index = 0; index < count; index++) createHash('sha256').update(bytes).digest('hex');
}

export async function timedMs(act: () => unknown): Promise<number> {
  const startNs = process.hrtime.bigint();
  await act();
  return Number(process.hrtime.bigint() - startNs) / 1e6;
}
