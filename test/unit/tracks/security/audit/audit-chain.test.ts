// The audit chain on a real database: whatever is done to it behind the agent's back is found and named.

import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import type { AuditEntry, AuditRecord } from '#model/audit-entry';
import { AuditChain } from '#tracks/security/audit/audit-chain';
import { codeOf, must } from '../../../../support/kernel-bench.ts';

const KEY = generateKeyPairSync('ed25519').privateKey;
let directory: string;
let store: DurableStore;
let chain: AuditChain;
let appended: AuditEntry[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-audit-'));
  start();
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** As the security process does, also after a restart. */
function start(checkpointKey = KEY): void {
  store = new DurableStore(join(directory, 'agent.db'));
  appended = [];
  chain = new AuditChain({
    store,
    clock: systemClock,
    bootId: 'boot-1',
    clockQuality: () => 'synchronized',
    checkpointKey,
    onAppended: (entry) => appended.push(entry),
  });
}

function restart(): void {
  store.close();
  start();
}

function record(reason: string): AuditRecord {
  return {
    event: 'OPERATION_COMPLETED',
    actor: 'alice',
    origin: { transport: 'grpc', peer: '127.0.0.1:1' },
    devices: [0, 83],
    operationId: 'operation-1',
    operation: 'WRITE',
    risk: 'LOW',
    planDigest: 'abc',
    decision: 'granted to alice',
    reason,
    result: 'committed',
    tracks: [{ track: 'kernel', ok: true, durationMs: 1.5 }],
    details: { value: 0xffff_ffff_ffff_ffffn },
  };
}

const append = (count: number) =>
  Promise.all(Array.from({ length: count }, (_, index) => chain.append(record(`entry ${index}`))));

/** As somebody with the file in hand would. */
function tamper(sql: string): void {
  const other = new DatabaseSync(join(directory, 'agent.db'));
  other.exec(sql);
  other.close();
}

describe('the chain', () => {
  it('numbers entries without gaps, links each to the one before, and verifies', async () => {
    const entries = (await append(5)).map(must);
    expect(entries.map((entry) => entry.sequence)).toEqual([1, 2, 3, 4, 5]);
    expect(entries[0]?.previousHash).toBe('0'.repeat(64));
    for (const [index, entry] of entries.entries()) {
      expect(entry.hash).toMatch(/^[0-9a-f]{64}$/);
      if (index > 0) expect(entry.previousHash).toBe(entries[index - 1]?.hash);
    }
    expect(await chain.verify()).toMatchObject({
      entries: 5,
      intact: true,
      finding: '5 links checked',
    });
    expect(appended.slice(0, 5)).toEqual(entries);
    // The check itself is on record.
    expect(appended[5]).toMatchObject({ sequence: 6, event: 'AUDIT_VERIFIED' });
  });

  it('shares one flush between all that are appended in one turn', async () => {
    const before = store.flushes;
    await append(50);
    expect(store.flushes - before).toBe(1);
    expect(chain.lastSequence).toBe(50);
  });

  it('goes on where it was after a restart', async () => {
    const [first] = (await append(1)).map(must);
    restart();
    const next = must(await chain.append(record('after the restart')));
    expect([next.sequence, next.previousHash]).toEqual([2, first?.hash]);
    expect((await chain.verify()).intact).toBe(true);
  });

  it('gives entries back as they were written, from any sequence, no more than asked for', async () => {
    await append(10);
    expect(chain.read(4, 3).map((entry) => entry.sequence)).toEqual([4, 5, 6]);
    expect(chain.read(10, 100)).toHaveLength(1);
    expect(chain.read(1, -1)).toEqual([]);
    const [entry] = chain.read(1, 1);
    expect(entry).toMatchObject({
      ...record('entry 0'),
      details: { value: '0xffffffffffffffff' },
      bootId: 'boot-1',
      clockQuality: 'synchronized',
    });
  });

  it('verifies thousands of entries while other work has its turn', async () => {
    await append(2_500);
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 0);
    const verdict = await chain.verify();
    clearInterval(timer);
    expect(verdict).toMatchObject({ entries: 2_500, intact: true, signedThrough: 2_000 });
    expect(turns).toBeGreaterThan(0);
  });
});

describe('tampering is found and named:', () => {
  const changed = `replace(body, '"actor":"alice"', '"actor":"mallory"')`;

  it.each([
    [
      'a changed entry',
      `UPDATE audit SET body = ${changed} WHERE sequence = 3`,
      /^entry 3 was changed/,
    ],
    [
      'a changed first entry',
      `UPDATE audit SET body = ${changed} WHERE sequence = 1`,
      /^entry 1 was/,
    ],
    [
      'a changed hash',
      `UPDATE audit SET hash = '${'0'.repeat(64)}' WHERE sequence = 3`,
      /^entry 3 was/,
    ],
    [
      'a body that is no JSON',
      `UPDATE audit SET body = 'gone' WHERE sequence = 3`,
      /^entry 3 was changed/,
    ],
    ['a body that is null', `UPDATE audit SET body = 'null' WHERE sequence = 3`, /^entry 3 was/],
    ['a deleted entry', 'DELETE FROM audit WHERE sequence = 3', /^entry 3 is missing, 4 follows/],
    ['a deleted first entry', 'DELETE FROM audit WHERE sequence = 1', /^entry 1 is missing, 2/],
    ['a deleted end', 'DELETE FROM audit WHERE sequence > 3', /^entries 4 to 5 are gone$/],
    ['everything deleted', 'DELETE FROM audit', /^entries 1 to 5 are gone$/],
    [
      'two entries exchanged',
      'UPDATE audit SET sequence = 99 WHERE sequence = 2; UPDATE audit SET sequence = 2 WHERE sequence = 3; UPDATE audit SET sequence = 3 WHERE sequence = 99',
      /^entry 3 stands before entry 2$/,
    ],
    [
      'an entry taken out and the rest moved up',
      'DELETE FROM audit WHERE sequence = 2; UPDATE audit SET sequence = 2 WHERE sequence = 3',
      /^entry 2 is missing, 3 follows$/,
    ],
    [
      'an entry repeated at the end',
      'INSERT INTO audit SELECT 6, body, hash FROM audit WHERE sequence = 5',
      /^after entry 5 comes entry 5 a second time$/,
    ],
  ])('%s', async (_, sql, finding) => {
    await append(5);
    tamper(sql);
    const verdict = await chain.verify();
    expect(verdict.intact).toBe(false);
    expect(verdict.finding).toMatch(finding);
  });

  it('an end cut off while the agent was down, by the checkpoint of its last shutdown', async () => {
    await append(5);
    must(chain.seal());
    store.close();
    tamper('DELETE FROM audit WHERE sequence > 3');
    start();
    expect(await chain.verify()).toMatchObject({
      entries: 3,
      intact: false,
      finding: 'entries 4 to 5 are gone',
    });
    // Writing on over the gap does not hide it.
    await append(4);
    expect((await chain.verify()).finding).toBe(
      'entry 5 is not the one its checkpoint signed: one of the entries 1 to 5 was changed',
    );
  });

  it('a whole chain computed anew, by the signature that cannot be', async () => {
    await append(5);
    must(chain.seal());
    store.close();
    tamper('DELETE FROM audit; DELETE FROM audit_signed_checkpoint');
    start(generateKeyPairSync('ed25519').privateKey);
    await append(5);
    must(chain.seal());
    restart();
    expect((await chain.verify()).damage).toMatchObject({
      kind: 'wrong-key',
      finding: expect.stringMatching(/^the checkpoint of entry 5 was signed by key/),
    });
  });

  it('a checkpoint taken away', async () => {
    await append(1_001);
    tamper('DELETE FROM audit_signed_checkpoint WHERE sequence = 1000');
    expect(await chain.verify()).toMatchObject({
      entries: 1_000,
      intact: false,
      finding: 'the checkpoint of entry 1000 is missing',
    });
  });
});

describe('when the disk is full', () => {
  const LARGE = 'x'.repeat(50_000);
  function fill(): void {
    const { page_count: pages } = store.database.prepare('PRAGMA page_count').get() as {
      page_count: number;
    };
    store.database.exec(`PRAGMA max_page_count = ${pages}`);
  }
  const makeRoom = () => store.database.exec('PRAGMA max_page_count = 1000000');

  it('every append is refused, the chain says so, and nothing of it is there', async () => {
    await append(2);
    fill();
    const outcomes = await Promise.all([1, 2].map(() => chain.append(record(LARGE))));
    expect(outcomes.map(codeOf)).toEqual(['AUDIT_UNAVAILABLE', 'AUDIT_UNAVAILABLE']);
    expect(chain.writable).toBe(false);
    expect(chain.lastSequence).toBe(2);
    expect(appended).toHaveLength(2);
    const [refused] = outcomes;
    // What the disk said is for this machine alone.
    expect(refused?.ok === false && refused.fault.internal).toMatch(/full/);
    expect(refused?.ok === false && refused.fault.finding).not.toMatch(/full/);
  });

  it('the chain goes on without a gap and without a number used twice once there is room', async () => {
    await append(2);
    fill();
    await chain.append(record(LARGE));
    makeRoom();
    const entries = (await append(3)).map(must);
    expect(entries.map((entry) => entry.sequence)).toEqual([3, 4, 5]);
    expect(chain.writable).toBe(true);
    expect((await chain.verify()).finding).toBe('5 links checked');
  });

  it('an append that fails among others breaks no link', async () => {
    const outcomes = await Promise.all([
      chain.append(record('one')),
      chain.append(record('two'), () => {
        throw new Error('the journal refused');
      }),
      chain.append(record('three')),
    ]);
    expect(outcomes.map((outcome) => (outcome.ok ? outcome.value.sequence : 'refused'))).toEqual([
      1,
      'refused',
      2,
    ]);
    expect(await chain.verify()).toMatchObject({ entries: 2, intact: true });
  });

  it('what is written beside an entry notices it too; a mistake in it says nothing about the disk', async () => {
    await append(1);
    store.database.exec('CREATE TABLE beside (text TEXT NOT NULL) STRICT');
    const beside = (value: string) => () =>
      void store.database.prepare("INSERT INTO beside VALUES (nullif(?, ''))").run(value);
    fill();
    expect(codeOf(await chain.append(record('with'), beside('')))).toBe('AUDIT_UNAVAILABLE');
    expect(chain.appends).toBe(true);
    expect(codeOf(await chain.append(record('with'), beside(LARGE)))).toBe('AUDIT_UNAVAILABLE');
    expect(chain.appends).toBe(false);
  });

  it('the end of the chain cannot be signed, which is said and does not throw', async () => {
    await append(1);
    store.database.exec('DROP TABLE audit_signed_checkpoint');
    expect(codeOf(chain.seal())).toBe('AUDIT_UNAVAILABLE');
  });
});

describe('what is written beside an entry', () => {
  beforeEach(() => store.database.exec('CREATE TABLE beside (text TEXT) STRICT'));
  const write = () => store.database.exec("INSERT INTO beside VALUES ('done')");
  const written = () => store.database.prepare('SELECT count(*) AS count FROM beside').get()?.count;

  it('is durable with it, in the same flush', async () => {
    const before = store.flushes;
    must(await chain.append(record('with'), write));
    expect([written(), store.flushes - before]).toEqual([1, 1]);
  });

  it('is undone when the entry cannot be written', async () => {
    tamper(`INSERT INTO audit VALUES (1, 'in the way', 'x')`);
    expect(codeOf(await chain.append(record('with'), write))).toBe('AUDIT_UNAVAILABLE');
    expect(written()).toBe(0);
  });

  it('takes the entry with it when it fails itself', async () => {
    const outcome = await chain.append(record('with'), () => {
      write();
      throw new Error('the journal refused');
    });
    expect(codeOf(outcome)).toBe('AUDIT_UNAVAILABLE');
    expect([written(), chain.read(1, 10).length]).toEqual([0, 0]);
  });
});

describe('a group that is lost at its commit', () => {
  /** A key that leads nowhere is seen when the whole group is committed (sqlite.org/foreignkeys.html section 4.2). */
  const loseGroup = () =>
    store.transact((database) => database.exec('INSERT INTO child VALUES (7)')).catch(() => 'lost');
  beforeEach(() =>
    store.database.exec(`
      CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
      CREATE TABLE child (id INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED) STRICT;
    `),
  );

  it('is refused to everyone in it, and the chain goes on behind what is on disk', async () => {
    await append(2);
    const outcomes = append(3);
    expect(await loseGroup()).toBe('lost');
    expect((await outcomes).map(codeOf)).toEqual(Array(3).fill('AUDIT_UNAVAILABLE'));
    expect([appended.length, chain.lastSequence, chain.writable]).toEqual([2, 2, false]);
    expect((await append(1)).map(must)[0]?.sequence).toBe(3);
    expect((await chain.verify()).finding).toBe('3 links checked');
  });

  it('has nothing of it signed as the end at a shutdown, and nothing taken for tampering', async () => {
    await append(2);
    const lost = append(3);
    void loseGroup();
    must(chain.seal());
    await lost;
    restart();
    expect((await chain.verifyEnd()).finding).toBe('1 links checked');
    expect([chain.book.newest?.sequence, chain.findings]).toEqual([2, []]);
  });

  it('is not missed by a check, nor signed on request', async () => {
    await append(2);
    const lost = append(3);
    void loseGroup();
    const checked = chain.verifyEnd();
    const again = append(3);
    void loseGroup();
    const signed = chain.checkpoint();
    expect((await checked).intact).toBe(true);
    expect(must(await signed)?.sequence).toBe(2);
    await Promise.all([lost, again]);
    expect(chain.findings).toEqual([]);
  });

  it('takes back the key that was to sign from then on', async () => {
    await append(2);
    const { publicKey } = chain.book;
    const rotated = chain.rotate(generateKeyPairSync('ed25519').privateKey);
    void loseGroup();
    must(chain.seal());
    expect(codeOf(await rotated)).toBe('AUDIT_UNAVAILABLE');
    expect(chain.book.publicKey.equals(publicKey)).toBe(true);
    expect((await chain.verify()).intact).toBe(true);
  });
});

it('an end of the process signs also what was still waiting to be written', async () => {
  const pending = append(3);
  must(chain.seal());
  store.close();
  await pending;
  tamper('DELETE FROM audit WHERE sequence = 3');
  start();
  expect((await chain.verify()).finding).toBe('entry 3 is gone');
});
