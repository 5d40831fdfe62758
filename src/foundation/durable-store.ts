// One SQLite database whose commits are grouped: everything asked for in one turn of the loop shares one flush.
// Invariants: a resolved promise means the rows are on disk (WAL, synchronous FULL); a rejected one left no row.
// Faults: a full disk rejects every writer of the group with the same error, and the next group may succeed; a writer that
// throws (a row that breaks a constraint) is undone and rejected alone, so that one bad request costs the others nothing.
// After an I/O error nobody knows what is on disk: the store is lost for good, and only another process that reads the
// file anew may go on (a failed fsync is reported once, and the pages that it lost count as written from then on).

import { DatabaseSync, type StatementSync } from 'node:sqlite';

/** Primary result codes (sqlite.org/rescode.html) after which the connection cannot be believed: IOERR, CORRUPT, NOTADB. */
const LOST_CODES: ReadonlySet<number> = new Set([10, 11, 26]);
/** SQLITE_IOERR_SHMSIZE: the index of the log could not grow, which on a full disk is no sign of a broken one. */
const IOERR_SHMSIZE = 4_874;

/** Writers of one group; one more has the group written before the turn of the loop ends. */
const WRITERS_MAX = 4_096;

/** Whether what SQLite threw leaves the file in a state that only a new start can tell. */
export function losesStore(error: unknown): boolean {
  const code = (error as { readonly errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' && code !== IOERR_SHMSIZE && LOST_CODES.has(code & 0xff);
}

export interface DurableStoreOptions {
  /** Called once, before any writer hears of it; a process that keeps the only truth ends here. */
  readonly onLost?: (error: unknown) => void;
}

interface Writer {
  readonly write: (database: DatabaseSync) => unknown;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

export class DurableStore {
  readonly database: DatabaseSync;
  // Compiled once: they run for every group and every writer.
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #savepoint: StatementSync;
  readonly #release: StatementSync;
  #writers: Writer[] = [];
  #scheduled = false;
  #flushing = false;
  #flushes = 0;
  #closed = false;
  #lost: unknown = null;
  readonly #onLost: (error: unknown) => void;

  constructor(path: string, options: DurableStoreOptions = {}) {
    this.#onLost = options.onLost ?? (() => undefined);
    this.database = new DatabaseSync(path);
    this.database.exec(
      'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;',
    );
    this.#begin = this.database.prepare('BEGIN IMMEDIATE');
    this.#commit = this.database.prepare('COMMIT');
    this.#savepoint = this.database.prepare('SAVEPOINT part');
    this.#release = this.database.prepare('RELEASE part');
  }

  /** Durable commits so far. */
  get flushes(): number {
    return this.#flushes;
  }

  /** Runs `write` inside the next group's transaction and resolves with its result once that is on disk. */
  transact<T>(write: (database: DatabaseSync) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#writers.push({ write, resolve: resolve as (value: never) => void, reject });
      // A writer that asks for another one is inside the transaction of its own group.
      if (this.#writers.length >= WRITERS_MAX && !this.#flushing) this.flush();
      if (this.#scheduled || this.#writers.length === 0) return;
      this.#scheduled = true;
      setImmediate(() => this.flush());
    });
  }

  /** Commits what waits, now; used by the group timer and at shutdown. */
  flush(): void {
    this.#scheduled = false;
    const writers = this.#writers;
    if (writers.length === 0) return;
    this.#writers = [];
    if (this.#closed) {
      for (const { reject } of writers) reject(new Error('the store is closed'));
      return;
    }
    if (this.#lost !== null) {
      for (const { reject } of writers) reject(this.#lost);
      return;
    }
    const settled: (() => void)[] = [];
    this.#flushing = true;
    try {
      this.#begin.run();
      for (const writer of writers) settled.push(this.#part(writer));
      this.#commit.run();
      this.#flushes += 1;
    } catch (error) {
      this.#undo(error);
      for (const { reject } of writers) reject(error);
      return;
    } finally {
      this.#flushing = false;
    }
    for (const settle of settled) settle();
  }

  #undo(error: unknown): void {
    let cause = error;
    try {
      if (this.database.isTransaction) this.database.exec('ROLLBACK');
    } catch (again) {
      cause = again;
    }
    if (!losesStore(error) && cause === error) return;
    this.#lost = cause;
    this.#onLost(cause);
  }

  /** One writer's part of the group; throws when the whole group is lost. */
  #part({ write, resolve, reject }: Writer): () => void {
    this.#savepoint.run();
    try {
      const result = write(this.database);
      this.#release.run();
      return () => resolve(result as never);
    } catch (error) {
      // A full disk or an I/O error may have ended the transaction itself (sqlite.org/lang_transaction.html section 3.3).
      if (!this.database.isTransaction || losesStore(error)) throw error;
      this.database.exec('ROLLBACK TO part; RELEASE part');
      return () => reject(error);
    }
  }

  close(): void {
    this.flush();
    this.#closed = true;
    this.database.close();
  }
}
