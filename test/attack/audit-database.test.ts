// Named attacks on the record: security is killed, its database is edited as root with SQLite, and security is started again.

import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ChainHasher } from '#model/audit-hash';
import { checkExport } from '#tracks/interface/cli/audit-check';
import type { HttpAnswer } from '../support/http-client.ts';
import { AttackScene, LOOKING_ON } from './support/attack-scene.ts';

let scene: AttackScene;
let database: string;
/** The database as the agent left it before the first attack. */
let pristine: string;
/** What panels kept: the checkpoint of the last entry of all, with the public key. */
let kept: string;
/** Number of the last entry in `pristine`. */
let last = 0;
/** Entries of the life that followed one attack: true in themselves, and of another history. */
let foreign: readonly Row[] = [];

interface Row {
  readonly sequence: number;
  readonly body: string;
  readonly hash: string;
}

const ask = (path: string): Promise<HttpAnswer> =>
  scene.call('GET', path, { headers: scene.bearer(0) });

beforeAll(async () => {
  // With it, what is ended often is started again at once.
  scene = await AttackScene.open(LOOKING_ON, { environment: { DSMIL_FAILPOINTS: 'on' } });
  database = join(scene.agent.ready.stateDirectory, 'security/agent.db');
  pristine = join(scene.directory, 'pristine.db');
  kept = join(scene.directory, 'kept.json');
  const read = { operation: 'READ', device: '0x8000' };
  for (let turn = 0; turn < 12; turn++) {
    await scene.call('POST', 'operations', { body: read, headers: scene.bearer(0) });
    // Signed in the middle too, so that edits lie before and behind checkpoints.
    if (turn === 6) await ask('audit/checkpoint');
  }
  const verified = await ask('audit/verify');
  expect(verified.json, verified.text).toMatchObject({ intact: true });
  const checkpoint = await ask('audit/checkpoint');
  writeFileSync(kept, checkpoint.text);
  await whileKilled((store) => {
    last = Number(store.prepare('SELECT max(sequence) AS last FROM audit').get()?.last);
    store.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    store.exec(`VACUUM INTO '${pristine}'`);
  }, 'as it is');
  // What an honest restart looks like.
  expect((await ask('audit/verify')).json).toMatchObject({ intact: true });
  expect(await findings()).toEqual([]);
});
afterAll(() => scene?.close());
afterEach(async () => {
  expect((await scene.metal.canaries()).touched).toEqual([]);
  // Kernel may have stopped by itself while security was away; nobody wrote anything else.
  const log = JSON.stringify(await scene.metal.log('0x8000', 1_000));
  expect(log).not.toContain('"CONFIG"');
});

/** Kills security, has the file edited while nobody starts it again, and waits until it answers. */
async function whileKilled(
  edit: (store: DatabaseSync) => void,
  from: 'pristine' | 'as it is' = 'pristine',
): Promise<void> {
  const { supervisor, security } = scene.agent.ready.pids;
  process.kill(supervisor, 'SIGSTOP');
  try {
    process.kill(security, 'SIGKILL');
    await scene.agent.waitUntil('the end of security', () => ended(security));
    if (from === 'pristine') {
      for (const more of ['-wal', '-shm']) rmSync(`${database}${more}`, { force: true });
      copyFileSync(pristine, database);
    }
    const store = new DatabaseSync(database, { timeout: 5_000 });
    edit(store);
    store.close();
  } finally {
    process.kill(supervisor, 'SIGCONT');
  }
  await scene.agent.waitUntil(
    'security',
    async () =>
      scene.agent.ready.pids.security !== security &&
      (await ask('audit?limit=1').catch(() => null))?.status === 200,
    60_000,
  );
}

/** Its threads too: the last of them closes the files. */
function ended(pid: number): boolean {
  try {
    const state = /\) (\w) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
    return (state === 'Z' || state === 'X') && readdirSync(`/proc/${pid}/task`).length <= 1;
  } catch {
    return true;
  }
}

/** What everybody sees of the record in the status. */
async function findings(): Promise<readonly string[]> {
  const { findings: all } = (await ask('system/status')).json;
  return (all as readonly string[]).filter((finding) => finding.includes('audit chain'));
}

function rows(store: DatabaseSync, from: number, to: number): readonly Row[] {
  return store
    .prepare(
      'SELECT sequence, body, hash FROM audit WHERE sequence BETWEEN ? AND ? ORDER BY sequence',
    )
    .all(from, to) as unknown as readonly Row[];
}

function put(store: DatabaseSync, { sequence, body, hash }: Row): void {
  store
    .prepare('INSERT OR REPLACE INTO audit (sequence, body, hash) VALUES (?, ?, ?)')
    .run(sequence, body, hash);
}

/** Makes hashes fit again from this entry on, as whoever has the source can; nobody can sign them. */
function rehash(store: DatabaseSync, from: number, to: number): void {
  const hasher = new ChainHasher();
  let [{ hash: previous } = { hash: '' }] = rows(store, from - 1, from - 1);
  for (const { sequence, body } of rows(store, from, to)) {
    const linked = body.replace(/"previousHash":"[0-9a-f]{64}"/, `"previousHash":"${previous}"`);
    previous = hasher.hash(previous, linked);
    put(store, { sequence, body: linked, hash: previous });
  }
}

/** Puts it on somebody else. */
function blame(body: string): string {
  const blamed = body.replaceAll('"demo-operator"', '"demo-supervisor"');
  if (blamed === body) throw new Error('nobody to blame in this entry');
  return blamed;
}

const attacks: readonly (readonly [string, RegExp, (store: DatabaseSync) => void])[] = [
  [
    'an entry that is deleted',
    /entry \d+ is missing/,
    (store) => store.prepare('DELETE FROM audit WHERE sequence = ?').run(last - 6),
  ],
  [
    'an entry whose actor is another one',
    /entry \d+ was changed after it was written/,
    (store) => {
      const [row] = rows(store, last - 6, last - 6);
      if (row !== undefined) put(store, { ...row, body: blame(row.body) });
    },
  ],
  [
    'an entry that is changed, and every hash behind it made to fit',
    /entry \d+/,
    (store) => {
      for (const row of rows(store, last - 6, last - 6))
        put(store, { ...row, body: blame(row.body) });
      rehash(store, last - 6, last);
    },
  ],
  [
    'two entries that change places',
    /entry \d+ stands/,
    (store) => {
      const [one, other] = rows(store, last - 6, last - 5);
      if (one === undefined || other === undefined) return;
      put(store, { ...other, sequence: one.sequence });
      put(store, { ...one, sequence: other.sequence });
    },
  ],
  [
    'an end that is cut off',
    /entr(y|ies) \d+.* (is|are) gone/,
    (store) => store.prepare('DELETE FROM audit WHERE sequence > ?').run(last - 6),
  ],
  [
    'a checkpoint that names another hash',
    /checkpoint/,
    (store) => store.exec(`UPDATE audit_signed_checkpoint SET hash = '${'ab'.repeat(32)}'`),
  ],
  [
    'a checkpoint whose signature is of somebody else',
    /checkpoint/,
    (store) =>
      store.exec(
        `UPDATE audit_signed_checkpoint SET signature = '${Buffer.alloc(64, 7).toString('base64')}'`,
      ),
  ],
];

describe('an edited audit database', () => {
  it.each(attacks)('%s is found, named, and marked for ever', async (_what, named, edit) => {
    await whileKilled(edit);
    const verified = await ask('audit/verify');
    expect(verified.json).toMatchObject({ intact: false });
    expect(verified.json.finding).toMatch(named);
    // In the status of everybody, and in an entry of its own.
    expect((await findings()).join()).toMatch(/was found damaged/);
    const store = new DatabaseSync(database, { readOnly: true });
    const entry = store
      .prepare('SELECT sequence, body FROM audit WHERE body LIKE \'%"AUDIT_TAMPERED"%\'')
      .all();
    foreign = rows(store, last + 1, last + 50);
    store.close();
    expect(entry.length).toBeGreaterThan(0);
  });

  it('a piece of another history, true in itself, does not fit', async () => {
    expect(foreign.length).toBeGreaterThan(2);
    await whileKilled((store) => {
      for (const row of foreign.slice(1)) put(store, row);
    });
    const verified = await ask('audit/verify');
    expect(verified.json).toMatchObject({ intact: false });
    expect(verified.json.finding).toMatch(/entr(y|ies) \d+/);
    expect((await findings()).join()).toMatch(/was found damaged/);
  });

  it('the mark outlives a restart and another one, and a database that is whole again does not take it away by itself', async () => {
    await whileKilled(() => undefined, 'as it is');
    expect((await findings()).join()).toMatch(/was found damaged/);
    await whileKilled(() => undefined, 'as it is');
    expect((await findings()).join()).toMatch(/was found damaged/);
  });
});

describe('a chain that was made to look whole', () => {
  const without: readonly (readonly [string, (store: DatabaseSync) => void])[] = [
    [
      'an end cut off with its checkpoints',
      (store) => store.prepare('DELETE FROM audit WHERE sequence > ?').run(5),
    ],
    [
      'an entry that is changed, with every hash behind it made to fit',
      (store) => {
        for (const row of rows(store, last - 6, last - 6)) {
          put(store, { ...row, body: blame(row.body) });
        }
        rehash(store, last - 6, last);
      },
    ],
  ];

  it.each(without)(
    '%s, and no checkpoint left: one that was kept elsewhere proves it to the offline verifier',
    async (_what, edit) => {
      await whileKilled((store) => {
        edit(store);
        store.exec('DELETE FROM audit_signed_checkpoint');
      });
      const file = join(scene.directory, 'export.jsonl');
      const exported = await ask('audit/export');
      expect(exported.status).toBe(200);
      writeFileSync(file, exported.text);
      const checked = await checkExport([file], { checkpoint: [kept] });
      expect(checked).toMatchObject({ ok: true, value: { intact: false } });
      expect(checked.ok ? checked.value.finding : '').toMatch(/entr(y|ies) \d+|checkpoint/);
    },
  );

  it('an export whose text was cut is found too', async () => {
    const file = join(scene.directory, 'export.jsonl');
    const { text } = await ask('audit/export');
    writeFileSync(file, text.slice(0, Math.floor(text.length / 2)));
    expect(await checkExport([file], { checkpoint: [kept] })).toMatchObject({
      value: { intact: false },
    });
  });
});
