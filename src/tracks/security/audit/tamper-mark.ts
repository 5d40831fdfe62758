// The mark that an audit chain which was once found damaged bears for ever, over restarts; no call takes it away.
// Invariants: the first finding stays; the mark stands in memory even where the disk would not take it; it is kept in the database,
// in a file beside it and in the chain itself, and any one of them brings the others back.

import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';

export interface TamperFinding {
  readonly finding: string;
  readonly wallMs: number;
}

/** Of the entry that says so, in its canonical bytes; a text that quotes it has its quotation marks escaped. */
const IN_ENTRY = '"event":"AUDIT_TAMPERED"';
const LENGTH_MAX = 2_000;

export class TamperMark {
  readonly #database: DatabaseSync;
  readonly #file: string | undefined;
  #first: TamperFinding | null;
  #pending: TamperFinding | null = null;

  /** `file`: where the mark outlives a database that was put back; none for a database in memory. */
  constructor(database: DatabaseSync, file?: string) {
    this.#database = database;
    this.#file = file;
    // The index has only the entries that are looked for, and costs the others nothing to speak of.
    database.exec(`
      CREATE TABLE IF NOT EXISTS audit_tamper (id INTEGER PRIMARY KEY, finding TEXT NOT NULL, wall_ms INTEGER NOT NULL) STRICT;
      CREATE INDEX IF NOT EXISTS audit_tampered ON audit (sequence) WHERE instr(body, '${IN_ENTRY}') > 0;
    `);
    const row = database
      .prepare('SELECT finding, wall_ms FROM audit_tamper ORDER BY id LIMIT 1')
      .get();
    const inTable =
      row === undefined ? null : { finding: String(row.finding), wallMs: Number(row.wall_ms) };
    this.#first = inTable ?? this.#inFile() ?? this.#inChain();
    if (this.#first === null) return;
    if (inTable === null) this.#pending = this.#first;
    this.#writeFile(this.#first);
  }

  get first(): TamperFinding | null {
    return this.#first;
  }

  /** A finding that is not in the database yet. */
  get pending(): TamperFinding | null {
    return this.#pending;
  }

  /** In memory and in the file at once; `write` belongs into the transaction of the entry that says so. */
  set(finding: TamperFinding): { readonly write: () => void } {
    this.#first ??= finding;
    this.#pending = finding;
    this.#writeFile(this.#first);
    return {
      write: () => {
        this.#database
          .prepare('INSERT INTO audit_tamper (finding, wall_ms) VALUES (?, ?)')
          .run(finding.finding.slice(0, LENGTH_MAX), Math.round(finding.wallMs));
      },
    };
  }

  /** Once that transaction is durable. */
  noteWritten(): void {
    this.#pending = null;
  }

  /** What an entry of the chain says of an earlier finding; null for every other entry. */
  static inEntry(body: string): TamperFinding | null {
    if (!body.includes(IN_ENTRY)) return null;
    const { event, result, wallMs } = membersOf(body);
    return event === 'AUDIT_TAMPERED' ? findingOf(result, wallMs) : null;
  }

  #inChain(): TamperFinding | null {
    const rows = this.#database
      .prepare(
        `SELECT body FROM audit WHERE instr(body, '${IN_ENTRY}') > 0 ORDER BY sequence LIMIT 100`,
      )
      .all();
    for (const { body } of rows) {
      const found = TamperMark.inEntry(String(body));
      if (found !== null) return found;
    }
    return null;
  }

  /** A file that is there is a mark, whatever is left of its words. */
  #inFile(): TamperFinding | null {
    if (this.#file === undefined) return null;
    try {
      const { finding, wallMs } = membersOf(readFileSync(this.#file, 'utf8'));
      return findingOf(finding, wallMs);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      return findingOf(undefined, undefined);
    }
  }

  /** Whole or not at all; where the disk does not take it, the database and the chain have it. */
  #writeFile({ finding, wallMs }: TamperFinding): void {
    const file = this.#file;
    if (file === undefined) return;
    try {
      const text = `${JSON.stringify({ finding: finding.slice(0, LENGTH_MAX), wallMs })}\n`;
      const flushed = (path: string, flags: string, write?: string) => {
        const descriptor = openSync(path, flags, 0o600);
        try {
          if (write !== undefined) writeFileSync(descriptor, write);
          fsyncSync(descriptor);
        } finally {
          closeSync(descriptor);
        }
      };
      flushed(`${file}.new`, 'w', text);
      renameSync(`${file}.new`, file);
      flushed(dirname(file), 'r');
    } catch {
      // Tried again at the next finding and at the next start.
    }
  }
}

function findingOf(finding: unknown, wallMs: unknown): TamperFinding {
  return {
    finding: typeof finding === 'string' ? finding : 'what was found is not known any more',
    wallMs: Number.isSafeInteger(wallMs) ? Number(wallMs) : 0,
  };
}

function membersOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
