// The tables of the sealed secrets: made, taken over from the form of before in which they lay readable, and sealed anew when
// the key changes.
// Invariants: the readable form goes in the same transaction in which the sealed one comes, and no copy of it is left in the
// files of the store; whoever cannot be sealed for want of a key stays as it is and opens nothing.
//
// A row of before lies in pages that were freed, in the gaps of others and in the log: PRAGMA secure_delete wipes what the
// transaction frees, VACUUM writes the whole file anew, and the log is cut to nothing after it (sqlite.org/pragma.html,
// lang_vacuum.html). What a file system or a flash chip keeps of blocks that were given back is beyond this.

import type { DatabaseSync } from 'node:sqlite';
import { type DurableStore, losesStore } from '#foundation/durable-store';
import { describeError } from '#foundation/fault';
import { fromBase32 } from './one-time-codes.ts';
import { keyIdOfSealed, type SealSubject, type Seals } from './seals.ts';

/** Tables of the readable form, by what they hold. */
const PLAIN_TABLES = ['personal_secret', 'invitation'] as const;
/** A start must not take minutes; what is larger keeps what lay in its free pages until they are used again. */
const VACUUM_BYTES_MAX = 268_435_456;
/** A start that is cut off in the middle of it must not be cut off for ever. */
const CLEANINGS_MAX = 3;

/** Tables and the purposes of their sealed columns. */
const SEALED_COLUMNS = [
  { table: 'sealed_credential', column: 'password', purpose: 'password' },
  { table: 'sealed_credential', column: 'code_secret', purpose: 'code-secret' },
  { table: 'sealed_invitation', column: 'password', purpose: 'pending-password' },
  { table: 'sealed_invitation', column: 'code_secret', purpose: 'pending-code-secret' },
] as const satisfies readonly {
  readonly purpose: SealSubject['purpose'];
  [name: string]: string;
}[];

export type Note = (detail: object, message: string) => void;

/** Brings the tables into the form of now; before anybody reads them. `vacuumBytesMax`: for tests. */
export function openSealedTables(
  store: DurableStore,
  seals: Seals,
  onNote: Note,
  vacuumBytesMax = VACUUM_BYTES_MAX,
): void {
  const { database } = store;
  database.exec(`
    CREATE TABLE IF NOT EXISTS sealed_credential (
      account TEXT PRIMARY KEY, password TEXT NOT NULL, code_secret TEXT NOT NULL, last_step INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS sealed_invitation (
      account TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, expires_wall_ms INTEGER NOT NULL,
      password TEXT, code_secret TEXT
    ) STRICT;
  `);
  if (seals.currentId !== null) {
    try {
      takePlainRows(database, seals, onNote);
      if (rowsOfOtherKeys(database, seals)) inTransaction(database, () => reseal(database, seals));
    } catch (error) {
      if (losesStore(error)) throw error;
      const cause = describeError(error);
      onNote(
        { cause },
        'secrets stay as they lie in the store: the disk did not take their new form',
      );
    }
  }
  clean(database, onNote, vacuumBytesMax);
}

/** Every sealed text under the key of now, where it can be opened; to be called inside a transaction. */
export function reseal(database: DatabaseSync, seals: Seals): void {
  for (const { table, column, purpose } of SEALED_COLUMNS) {
    const change = database.prepare(`UPDATE ${table} SET ${column} = ? WHERE account = ?`);
    for (const { account, sealed } of sealedTexts(database, table, column)) {
      const renewed = seals.renewed({ account, purpose }, sealed);
      if (renewed !== sealed) change.run(renewed, account);
    }
  }
}

/** Ids of the keys that rows are sealed with. */
export function keysNamed(database: DatabaseSync): ReadonlySet<string> {
  const named = new Set<string>();
  for (const { table, column } of SEALED_COLUMNS) {
    for (const { sealed } of sealedTexts(database, table, column)) {
      const keyId = keyIdOfSealed(sealed);
      if (keyId !== null) named.add(keyId);
    }
  }
  return named;
}

/** Accounts whose secrets are still in the readable form, for want of a key to seal them with. */
export function plainAccounts(database: DatabaseSync): readonly string[] {
  if (!hasTable(database, 'personal_secret')) return [];
  const rows = database.prepare('SELECT account FROM personal_secret').all();
  return rows.map(({ account }) => String(account));
}

/** To be called inside a transaction: what is worth nothing any more is not taken over later. */
export function forgetPlain(database: DatabaseSync, account: string): void {
  for (const table of PLAIN_TABLES) {
    if (hasTable(database, table))
      database.prepare(`DELETE FROM ${table} WHERE account = ?`).run(account);
  }
}

function sealedTexts(database: DatabaseSync, table: string, column: string) {
  return database
    .prepare(`SELECT account, ${column} AS sealed FROM ${table} WHERE ${column} IS NOT NULL`)
    .all()
    .map((row) => ({ account: String(row.account), sealed: String(row.sealed) }));
}

function rowsOfOtherKeys(database: DatabaseSync, seals: Seals): boolean {
  return [...keysNamed(database)].some((id) => id !== seals.currentId && seals.knows(id));
}

function takePlainRows(database: DatabaseSync, seals: Seals, onNote: Note): void {
  const tables = PLAIN_TABLES.filter((table) => hasTable(database, table));
  if (tables.length === 0) return;
  let taken = 0;
  database.exec('PRAGMA secure_delete = ON');
  try {
    inTransaction(database, () => {
      for (const table of tables) {
        const rows = database.prepare(`SELECT * FROM ${table}`).all();
        for (const row of rows) {
          if (table === 'personal_secret') sealCredential(database, seals, row);
          else sealInvitation(database, seals, row);
        }
        taken += rows.length;
        database.exec(`DROP TABLE ${table}`);
      }
      database.exec(`
        CREATE TABLE IF NOT EXISTS seal_cleaning (id INTEGER PRIMARY KEY CHECK (id = 1), attempts INTEGER NOT NULL) STRICT;
        INSERT OR REPLACE INTO seal_cleaning VALUES (1, 0);
      `);
    });
  } finally {
    // Deleting much, as archiving does, costs more with it.
    database.exec('PRAGMA secure_delete = OFF');
  }
  onNote(
    { rows: taken, keyId: seals.currentId },
    'secrets that lay readable in the store are sealed',
  );
}

type Row = Readonly<Record<string, unknown>>;

function sealCredential(database: DatabaseSync, seals: Seals, row: Row): void {
  const account = String(row.account);
  database
    .prepare('INSERT OR REPLACE INTO sealed_credential VALUES (?, ?, ?, ?)')
    .run(
      account,
      seals.sealText({ account, purpose: 'password' }, String(row.password)),
      seals.seal({ account, purpose: 'code-secret' }, fromBase32(String(row.code_secret))),
      Number(row.last_step),
    );
}

function sealInvitation(database: DatabaseSync, seals: Seals, row: Row): void {
  const account = String(row.account);
  const pending = row.password !== null && row.code_secret !== null;
  database
    .prepare('INSERT OR REPLACE INTO sealed_invitation VALUES (?, ?, ?, ?, ?)')
    .run(
      account,
      String(row.hash),
      Number(row.expires_wall_ms),
      pending
        ? seals.sealText({ account, purpose: 'pending-password' }, String(row.password))
        : null,
      pending
        ? seals.seal(
            { account, purpose: 'pending-code-secret' },
            fromBase32(String(row.code_secret)),
          )
        : null,
    );
}

/** Takes what is left of the readable form out of the files; tried again at the next start where it was cut off. */
function clean(database: DatabaseSync, onNote: Note, vacuumBytesMax: number): void {
  if (!hasTable(database, 'seal_cleaning')) return;
  const done = () => database.exec('DROP TABLE seal_cleaning');
  const attempts = Number(database.prepare('SELECT attempts FROM seal_cleaning').get()?.attempts);
  try {
    const bytes = numberOf(database, 'page_count') * numberOf(database, 'page_size');
    if (attempts >= CLEANINGS_MAX || bytes > vacuumBytesMax) {
      const why = 'free pages of the store may hold secrets of one-time codes as they lay before';
      onNote({ bytes, attempts }, `${why}: invite their people anew where a copy may be stolen`);
      done();
      database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      return;
    }
    database.exec('UPDATE seal_cleaning SET attempts = attempts + 1');
    database.exec('VACUUM');
    const busy = Number(database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.busy);
    if (busy === 0) done();
  } catch (error) {
    if (losesStore(error)) throw error;
    onNote(
      { cause: describeError(error) },
      'the store could not be written anew; tried again at the next start',
    );
  }
}

function numberOf(database: DatabaseSync, pragma: 'page_count' | 'page_size'): number {
  return Number(database.prepare(`PRAGMA ${pragma}`).get()?.[pragma]);
}

function hasTable(database: DatabaseSync, name: string): boolean {
  return (
    database.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(name) !==
    undefined
  );
}

function inTransaction(database: DatabaseSync, write: () => void): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    write();
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}
