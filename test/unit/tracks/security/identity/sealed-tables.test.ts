// Secrets at rest: whoever copies every file of the store gets none, also out of a store of the form of before.

import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DurableStore } from '#foundation/durable-store';
import { CredentialBook } from '#tracks/security/identity/credential-book';
import { Invitations } from '#tracks/security/identity/invitations';
import { base32, codeAt, newCodeSecret, STEP_MS } from '#tracks/security/identity/one-time-codes';
import { keysNamed, openSealedTables, reseal } from '#tracks/security/identity/sealed-tables';
import { type SealingKey, Seals, sealingKeyOf } from '#tracks/security/identity/seals';

const newKey = () => sealingKeyOf(randomBytes(32));
const hashOf = (name: string) =>
  `$argon2id$v=19$m=8,t=1,p=1$${Buffer.from(`salt of ${name}`).toString('base64url')}$${randomBytes(32).toString('base64url')}`;
const WALL_MS = 1_800_000_000_000;

interface Person {
  readonly account: string;
  readonly password: string;
  readonly secret: Buffer;
}

let directory: string;
let store: DurableStore;
let notes: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-sealed-'));
  store = new DurableStore(join(directory, 'agent.db'));
  notes = [];
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true });
});

function restart(): void {
  store.close();
  store = new DurableStore(join(directory, 'agent.db'));
}

const open = (
  key: SealingKey | null,
  others: readonly SealingKey[] = [],
  vacuumBytesMax?: number,
) => {
  const seals = new Seals(key, others);
  const note = (_: object, message: string) => notes.push(message);
  openSealedTables(store, seals, note, vacuumBytesMax);
  const credentials = new CredentialBook(store, seals);
  const invitations = new Invitations({ store, credentials, seals, wallMs: () => WALL_MS });
  return { seals, credentials, invitations };
};

function personNamed(account: string): Person {
  return { account, password: hashOf(account), secret: newCodeSecret() };
}

/** Names of files in which one of these lies in any way of writing it down. */
function filesHolding(people: readonly Person[]): readonly string[] {
  const forms = people.flatMap(({ secret, password }) => [
    secret,
    ...[base32(secret), secret.toString('hex'), password].map((text) => Buffer.from(text)),
    Buffer.from(secret.toString('base64').slice(0, 24)),
    Buffer.from(secret.toString('base64url').slice(0, 24)),
  ]);
  return readdirSync(directory).filter((name) => {
    const bytes = readFileSync(join(directory, name));
    return forms.some((form) => bytes.includes(form));
  });
}

/** A store as it was before: rows that were changed, removed and put on other pages, some only in the log. */
function plainStore(people: readonly Person[], gone: readonly Person[], invited: Person): void {
  const { database } = store;
  database.exec(`
    CREATE TABLE personal_secret (
      account TEXT PRIMARY KEY, password TEXT NOT NULL, code_secret TEXT NOT NULL, last_step INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE invitation (
      account TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, expires_wall_ms INTEGER NOT NULL,
      password TEXT, code_secret TEXT
    ) STRICT;
    CREATE TABLE other (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
  `);
  const put = database.prepare('INSERT OR REPLACE INTO personal_secret VALUES (?, ?, ?, ?)');
  for (const { account, password, secret } of [...gone, ...people])
    put.run(account, password, base32(secret), 7);
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  for (const { account } of gone)
    database.prepare('DELETE FROM personal_secret WHERE account = ?').run(account);
  // Pages that were freed are used by others, with gaps.
  for (let at = 0; at < 40; at++)
    database.prepare('INSERT INTO other (body) VALUES (?)').run('x'.repeat(100 + at * 40));
  database
    .prepare('INSERT INTO invitation VALUES (?, ?, ?, ?, ?)')
    .run(invited.account, 'hash', WALL_MS + 1_000, invited.password, base32(invited.secret));
  database.prepare("INSERT INTO invitation VALUES ('blank', 'other', ?, NULL, NULL)").run(WALL_MS);
}

describe('a store of the form of before', () => {
  const people = Array.from({ length: 60 }, (_, at) => personNamed(`person-${at}`));
  const gone = Array.from({ length: 60 }, (_, at) => personNamed(`gone-${at}`));
  const invited = personNamed('invited');
  const all = [...people, ...gone, invited];
  beforeEach(() => plainStore(people, gone, invited));

  it('is taken over once, and no file of it holds a secret any more, open or closed', () => {
    expect(filesHolding(people)).toContain('agent.db');
    expect(filesHolding(gone)).toContain('agent.db');
    expect(filesHolding([invited])).toContain('agent.db-wal');
    const key = newKey();
    const { credentials, invitations } = open(key);
    expect(filesHolding(all)).toEqual([]);
    for (const { account, password, secret } of people) {
      expect(credentials.of(account)).toMatchObject({ account, password, lastStep: 7 });
      const wallMs = 100 * STEP_MS;
      expect(credentials.useCode(account, codeAt(secret, 100), wallMs)).toBe(true);
      expect(credentials.useCode(account, codeAt(secret, 100), wallMs)).toBe(false);
    }
    expect(gone.some(({ account }) => credentials.enrolled(account))).toBe(false);
    expect(invitations.of('invited')).toMatchObject({
      hash: 'hash',
      pending: { password: invited.password },
    });
    expect(invitations.of('blank')).toMatchObject({ hash: 'other', pending: null });
    expect(notes).toEqual(['secrets that lay readable in the store are sealed']);
    const tables = store.database.prepare('SELECT name FROM sqlite_schema').all();
    expect(tables.map(({ name }) => name)).not.toContain('personal_secret');
    restart();
    expect(filesHolding(all)).toEqual([]);
    expect(open(key).credentials.of('person-3')?.password).toBe(people[3]?.password);
    // Once is enough.
    expect(notes).toHaveLength(1);
    restart();
    expect(store.database.prepare('SELECT COUNT(*) AS rows FROM other').get()).toEqual({
      rows: 40,
    });
  });

  it('whose cleaning was cut off is cleaned by the next start', () => {
    // Sealed, and then the process ended: as large as a store must not be for writing it anew.
    const key = newKey();
    store.database.exec(
      'CREATE TABLE seal_cleaning (id INTEGER PRIMARY KEY CHECK (id = 1), attempts INTEGER NOT NULL) STRICT',
    );
    store.database.exec('INSERT INTO seal_cleaning VALUES (1, 1)');
    store.database.exec('DROP TABLE personal_secret; DROP TABLE invitation');
    expect(filesHolding(all).length).toBeGreaterThan(0);
    open(key);
    expect(filesHolding(all)).toEqual([]);
    expect(notes).toEqual([]);
  });

  it('that is too large to be written anew says so, once, and holds no row of those who are there', () => {
    const key = newKey();
    open(key, [], 4_096);
    expect(notes).toHaveLength(2);
    expect(notes[1]).toMatch(/may hold secrets of one-time codes.*invite their people anew/);
    expect(filesHolding(people)).toEqual([]);
    restart();
    open(key, [], 4_096);
    expect(notes).toHaveLength(2);
  });

  it('is left as it is where there is no key: those people are enrolled, and sign in with nothing', () => {
    const { credentials, invitations } = open(null);
    expect(credentials.enrolled('person-1')).toBe(true);
    expect(credentials.usable('person-1')).toBe(false);
    expect(credentials.shut.get('person-1')).toMatch(/no key to seal/);
    // Whoever is invited anew has nothing left of before once the key is there.
    store.database.exec('BEGIN');
    const made = invitations.make('person-1');
    made.write();
    store.database.exec('COMMIT');
    restart();
    const later = open(newKey());
    expect(later.credentials.enrolled('person-1')).toBe(false);
    expect(later.credentials.usable('person-2')).toBe(true);
    expect(filesHolding(all)).toEqual([]);
  });
});

describe('sealed secrets', () => {
  const [alice, bob] = [personNamed('alice'), personNamed('bob')];
  const WALL = 100 * STEP_MS;

  function enrol(
    seals: Seals,
    credentials: CredentialBook,
    { account, password, secret }: Person,
  ): void {
    const codeSecret = seals.seal({ account, purpose: 'code-secret' }, secret);
    const secrets = { account, password, codeSecret, lastStep: 1 };
    credentials.write(secrets);
    credentials.noteSaved(secrets);
  }

  function begin(): SealingKey {
    const key = newKey();
    const { seals, credentials } = open(key);
    enrol(seals, credentials, alice);
    enrol(seals, credentials, bob);
    return key;
  }

  it('are in no file from the first moment on', () => {
    begin();
    expect(filesHolding([alice, bob])).toEqual([]);
    restart();
    expect(filesHolding([alice, bob])).toEqual([]);
  });

  it('of one account put into the row of another open nothing there', () => {
    const key = begin();
    store.database.exec(`
      UPDATE sealed_credential SET (password, code_secret) =
        (SELECT password, code_secret FROM sealed_credential WHERE account = 'alice') WHERE account = 'bob'
    `);
    restart();
    const { credentials } = open(key);
    expect(credentials.usable('alice')).toBe(true);
    expect(credentials.usable('bob')).toBe(false);
    expect(credentials.shut.get('bob')).toMatch(/changed, or sealed for another account/);
    expect(credentials.useCode('bob', codeAt(alice.secret, 100), WALL)).toBe(false);
  });

  it.each([
    ['another key', () => newKey()],
    ['no key', () => null],
  ])('with %s are shut, and open again when theirs comes back', (_, other) => {
    const key = begin();
    restart();
    const without = open(other());
    for (const { account } of [alice, bob]) {
      expect(without.credentials.enrolled(account)).toBe(true);
      expect(without.credentials.of(account)).toBeUndefined();
      expect(without.credentials.shut.get(account)).toMatch(/sealed with is not there/);
    }
    restart();
    const { credentials } = open(key);
    expect([...credentials.shut]).toEqual([]);
    expect(credentials.useCode('alice', codeAt(alice.secret, 100), WALL)).toBe(true);
  });

  it('go over to another key at the start at which both are there', () => {
    const before = begin();
    const after = newKey();
    restart();
    open(after, [before]);
    expect([...keysNamed(store.database)]).toEqual([after.id]);
    restart();
    expect(open(after).credentials.useCode('bob', codeAt(bob.secret, 100), WALL)).toBe(true);
  });

  it('go over to another key while the agent runs, with what is under way', async () => {
    const before = begin();
    const { seals, credentials, invitations } = open(before);
    const made = invitations.make('carol');
    made.write();
    made.noteSaved();
    const invitation = invitations.find(made.text);
    if (invitation === undefined) throw new Error('no invitation');
    const secret = newCodeSecret();
    // Sealed with the key of before, and written in the same commit after the change.
    const chosen = invitations.chosen(invitation, hashOf('carol'), secret);
    const after = newKey();
    await Promise.all([
      store.transact(() => {
        seals.use(after);
        reseal(store.database, seals);
      }),
      store.transact(() => invitations.writeChosen(chosen)),
      store.transact(() => credentials.writePassword('bob', bob.password, alice.password)),
    ]);
    expect([...keysNamed(store.database)]).toEqual([after.id]);
    // What lies in memory under the key of before opens too.
    expect(credentials.useCode('alice', codeAt(alice.secret, 100), WALL)).toBe(true);
    expect(invitations.proved(chosen, codeAt(secret, 100), WALL)).toMatchObject({ lastStep: 100 });
    restart();
    const later = open(after);
    expect([...later.credentials.shut]).toEqual([]);
    expect(later.credentials.of('bob')?.password).toBe(alice.password);
    expect(later.invitations.find(made.text)?.pending).not.toBeNull();
  });

  it('that were chosen and cannot be opened are chosen anew with the same invitation', () => {
    const key = newKey();
    const { invitations } = open(key);
    const made = invitations.make('carol');
    made.write();
    made.noteSaved();
    const invitation = invitations.find(made.text);
    if (invitation === undefined) throw new Error('no invitation');
    expect(
      invitations.writeChosen(invitations.chosen(invitation, hashOf('carol'), newCodeSecret())),
    ).toBe(true);
    restart();
    expect(open(newKey()).invitations.find(made.text)).toMatchObject({ pending: null });
    restart();
    expect(open(key).invitations.find(made.text)?.pending).not.toBeNull();
  });
});
