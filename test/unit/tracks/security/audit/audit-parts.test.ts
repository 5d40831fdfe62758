// The smaller parts of the audit chain: bytes of an entry, secrets, room on disk, witness file, mark, start and migration.

import { execFileSync } from 'node:child_process';
import { createPublicKey, sign } from 'node:crypto';
import {
  closeSync,
  constants,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Canonical, canonicalText } from '#foundation/canonical';
import { type Clock, systemClock, VirtualClock } from '#foundation/clock';
import { checkpointHolds, type SignedCheckpoint } from '#model/audit-checkpoint';
import type { AuditEntry } from '#model/audit-entry';
import { ChainHasher, sequenceIn } from '#model/audit-hash';
import { OPERATION_TABLE, type OperationRow } from '#model/operation-table';
import { DEFAULT_POLICY } from '#model/safety-policy';
import { AuditCare } from '#tracks/security/audit/audit-care';
import { DiskRoom } from '#tracks/security/audit/disk-room';
import { entryText } from '#tracks/security/audit/entry-text';
import { Retention } from '#tracks/security/audit/retention';
import { REDACTED, withoutSecrets } from '#tracks/security/audit/secret-guard';
import { WitnessFile } from '#tracks/security/audit/witness-file';
import { codeOf, must } from '../../../../support/kernel-bench.ts';
import { ChainBench, newKey, recordOf } from './chains.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-audit-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function witnessAt(path: string, clock: Clock = systemClock, notes: string[] = []): WitnessFile {
  return new WitnessFile({ path, clock, onNote: (_, message) => notes.push(message) });
}

/** A medium that never answers: opening a pipe waits for somebody at its other end (fifo(7)). */
function pipeAt(path: string): string {
  execFileSync('mkfifo', [path]);
  return path;
}

/** Lets go whoever waits there. */
function releasePipe(path: string): void {
  closeSync(openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
}

const text = fc.string({ unit: 'binary' });
const details: fc.Arbitrary<Canonical> = fc.letrec<{ readonly value: Canonical }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    text,
    fc.integer(),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.oneof(text, fc.constantFrom('sequence', 'token', 'tracks')), tie('value'), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
  ),
})).value;
const entries: fc.Arbitrary<Omit<AuditEntry, 'hash'>> = fc.record({
  event: fc.constant('OPERATION_COMPLETED' as const),
  actor: text,
  origin: fc.option(fc.record({ transport: fc.constantFrom('grpc', 'local'), peer: text })),
  devices: fc.array(fc.nat({ max: 83 })),
  operationId: text,
  operation: text,
  risk: text,
  planDigest: text,
  decision: text,
  reason: text,
  result: text,
  tracks: fc.array(
    fc.record({
      track: fc.constantFrom('kernel', 'security'),
      ok: fc.boolean(),
      durationMs: fc.double({ noNaN: true, noDefaultInfinity: true, min: 0 }),
    }),
    { maxLength: 3 },
  ),
  details: fc.dictionary(text, details, { noNullPrototype: true }) as fc.Arbitrary<{
    readonly [key: string]: Canonical;
  }>,
  sequence: fc.integer({ min: 1 }),
  bootId: text,
  monotonicMs: fc.double({ noNaN: true, noDefaultInfinity: true, min: 0 }),
  wallMs: fc.integer({ min: 0 }),
  clockQuality: fc.constantFrom('synchronized', 'unsynchronized'),
  previousHash: fc.constant('0'.repeat(64)),
});

describe('the bytes of an entry', () => {
  it('are the canonical text of it, and name its sequence', () => {
    fc.assert(
      fc.property(entries, (entry) => {
        const written = entryText(entry);
        expect(written).toBe(canonicalText(entry as unknown as Canonical));
        expect(sequenceIn(written)).toBe(entry.sequence);
      }),
      { numRuns: 500 },
    );
  });
});

describe('secrets', () => {
  const names = (Object.values(OPERATION_TABLE) as OperationRow[]).flatMap(
    (row) => row.secrets ?? [],
  );

  it('of the operation table never stay in what is hashed, however deep and beside whatever else', async () => {
    const bench = new ChainBench();
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...names),
        fc.stringMatching(/^[0-9]{9}$/),
        fc.integer({ min: 0, max: 4 }),
        fc.dictionary(text, details, { maxKeys: 3, noNullPrototype: true }),
        async (name, digits, depth, beside) => {
          const secret = `${digits}1234567`;
          let holder: Canonical = { ...beside, [name]: secret };
          for (let level = 0; level < depth; level++)
            holder = level % 2 === 0 ? [holder, 1] : { level: holder };
          const record = { ...recordOf('', 1), details: { holder } };
          must(await bench.chain.append(record));
          const row = bench.store.database
            .prepare('SELECT body FROM audit ORDER BY sequence DESC LIMIT 1')
            .get();
          expect(String(row?.body)).not.toContain(secret);
          expect(String(row?.body)).toContain(REDACTED);
        },
      ),
      { numRuns: 60 },
    );
    expect((await bench.chain.verify()).intact).toBe(true);
    bench.close();
  });

  it('leave everything else as it is, fault codes too, without a copy', () => {
    const plain = { code: 'AUDIT_UNAVAILABLE', holder: [{ tokens: 3, name: 'x' }] };
    expect(withoutSecrets(plain)).toBe(plain);
    expect(withoutSecrets({ code: '123 456' })).toEqual({ code: REDACTED });
  });
});

describe('room on disk', () => {
  it('that is short is said with its number and limit, and its return too', () => {
    const clock = new VirtualClock();
    const heard: string[] = [];
    let freeBytesMin = 2 ** 60;
    const parts = { directory, clock, onChange: (_: string, short: string) => heard.push(short) };
    const room = new DiskRoom({
      ...parts,
      get freeBytesMin() {
        return freeBytesMin;
      },
    });
    room.look();
    expect(room.shortage).toMatch(
      /^the disk of the audit chain has [\d.]+ MiB free, less than the limit of 1099511627776\.0 MiB$/,
    );
    freeBytesMin = 1;
    room.look();
    expect([room.shortage, heard]).toEqual(['', ['short', 'enough']]);
  });

  it('is short below its limit, not somewhere near it', () => {
    const { bavail, bsize } = statfsSync(directory);
    // Half as much again as there is: whatever others write or delete meanwhile, that is not there.
    const freeBytesMin = Math.ceil(bavail * bsize * 1.5);
    const onChange = () => undefined;
    const room = new DiskRoom({ directory, freeBytesMin, clock: new VirtualClock(), onChange });
    room.look();
    expect(room.shortage).toMatch(/MiB free, less than the limit of/);
  });

  it('that cannot be measured counts as short', () => {
    const room = new DiskRoom({
      directory: join(directory, 'gone'),
      freeBytesMin: 1,
      clock: new VirtualClock(),
      onChange: () => undefined,
    });
    room.look();
    expect(room.shortage).toMatch(/^nobody knows how much room/);
  });

  it('is looked at again and again, and refuses nothing on an old look', async () => {
    const clock = new VirtualClock();
    const there = join(directory, 'later');
    const room = new DiskRoom({
      directory: there,
      freeBytesMin: 1,
      clock,
      onChange: () => undefined,
    });
    room.start();
    expect(room.shortage).not.toBe('');
    mkdirSync(there);
    await clock.advance(150);
    expect(room.shortage).toBe('');
    rmSync(there, { recursive: true });
    await clock.advance(2_000);
    expect(room.shortage).not.toBe('');
    room.stop();
  });

  it('that is short refuses operations, not entries', async () => {
    const bench = new ChainBench({ shortage: () => 'there is no room' });
    await bench.append(1);
    expect(bench.chain).toMatchObject({
      writable: false,
      appends: true,
      obstacle: 'there is no room',
    });
    bench.close();
  });
});

describe('the witness file', () => {
  const checkpoint = (sequence: number): SignedCheckpoint => ({
    sequence,
    hash: 'a'.repeat(64),
    wallMs: 1,
    keyId: 'k',
    signature: 's',
  });

  it('takes every checkpoint on a line of its own, and gives the newest back', async () => {
    const path = join(directory, 'witness.jsonl');
    const witness = witnessAt(path);
    expect(await witness.newest()).toEqual([]);
    for (let sequence = 1; sequence <= 200; sequence++) witness.keep(checkpoint(sequence));
    await witness.settled();
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as SignedCheckpoint).sequence)).toEqual(
      Array.from({ length: 200 }, (_, index) => index + 1),
    );
    writeFileSync(path, 'half a li', { flag: 'a' });
    const newest = await witness.newest();
    expect(newest.at(-1)).toEqual(checkpoint(200));
    expect([newest.length, witness.finding, witness.lost]).toEqual([16, '', 0]);
  });

  it('that cannot be written is a finding, costs nobody time, and works again', async () => {
    const notes: string[] = [];
    const path = join(directory, 'missing', 'witness.jsonl');
    const witness = witnessAt(path, systemClock, notes);
    witness.keep(checkpoint(1));
    await witness.settled();
    witness.keep(checkpoint(2));
    await witness.settled();
    expect(witness.finding).toBe(
      'the witness file of the audit chain cannot be written: 2 checkpoints are not in it',
    );
    expect([notes.length, witness.lost]).toEqual([1, 2]);
    mkdirSync(join(directory, 'missing'));
    witness.keep(checkpoint(3));
    await witness.settled();
    expect([witness.finding, (await witness.newest()).length]).toEqual(['', 1]);
  });

  it('on a medium that never answers is a finding after two seconds, and blocks neither start nor end', async () => {
    const path = pipeAt(join(directory, 'pipe'));
    const clock = new VirtualClock();
    const notes: string[] = [];
    const witness = witnessAt(path, clock, notes);
    const bench = new ChainBench({ clock, keptElsewhere: () => witness.newest() });
    await bench.append(2);
    const looked = bench.chain.verifyEnd();
    const again = witness.newest();
    // However often it is asked, one thread of the pool waits, not all of them.
    for (let turn = 0; turn < 20; turn++) void witness.newest();
    await clock.advance(1_999);
    const waits = process.getActiveResourcesInfo().filter((each) => each === 'FSReqPromise');
    expect(waits.length).toBeLessThan(10);
    expect(witness.finding).toBe('');
    await clock.advance(1);
    expect([(await looked).intact, await again]).toEqual([true, []]);
    expect(witness.finding).toBe('the witness file of the audit chain cannot be read');
    expect(notes).toEqual(['the witness file of the audit chain cannot be read']);
    bench.close();
    releasePipe(path);
  });

  it('that is stuck while it is written says so, keeps no more than its bound, and goes on', async () => {
    const path = pipeAt(join(directory, 'pipe'));
    const clock = new VirtualClock();
    const witness = witnessAt(path, clock);
    for (let sequence = 1; sequence <= 300; sequence++) witness.keep(checkpoint(sequence));
    await clock.advance(1_999);
    expect(witness.finding).toBe('');
    await clock.advance(1);
    expect(witness.finding).toBe(
      'the witness file of the audit chain cannot be written: 43 checkpoints are not in it',
    );
    const reader = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    await witness.settled();
    const bytes = Buffer.alloc(256 * 1024);
    const written = bytes.toString('utf8', 0, readSync(reader, bytes)).trimEnd().split('\n');
    closeSync(reader);
    expect(witness.lost).toBeGreaterThanOrEqual(43);
    // Beside the one that was stuck, the newest: each of them vouches for all before it.
    const sequences = written.map((line) => (JSON.parse(line) as SignedCheckpoint).sequence);
    expect([sequences.length, sequences[0], sequences[1], sequences.at(-1)]).toEqual([
      257, 1, 45, 300,
    ]);
  });

  it('shows an end that was cut off together with its checkpoints', async () => {
    const witness = witnessAt(join(directory, 'w'));
    const keeping = {
      onCheckpoint: (one: SignedCheckpoint) => witness.keep(one),
      keptElsewhere: () => witness.newest(),
    };
    const bench = new ChainBench(keeping);
    await bench.append(20);
    must(bench.chain.seal());
    await witness.settled();
    bench.tamper('DELETE FROM audit WHERE sequence > 10; DELETE FROM audit_signed_checkpoint');
    bench.restart();
    const verdict = await bench.chain.verifyEnd();
    expect(verdict.damage).toMatchObject({
      kind: 'truncated',
      sequence: 11,
      finding: 'entries 11 to 20 are gone',
    });
    bench.close();
  });
});

describe('the mark of tampering', () => {
  it('stands for ever, is on record and is shown; a good check takes nothing away', async () => {
    const bench = new ChainBench();
    await bench.append(5);
    expect(bench.chain.findings).toEqual([]);
    bench.tamper(`UPDATE audit SET hash = '${'0'.repeat(64)}' WHERE sequence = 3`);
    const [good] = bench.appended.filter(({ sequence }) => sequence === 3);
    expect((await bench.chain.verify({ actor: 'alice' })).intact).toBe(false);
    expect(bench.appended.at(-1)).toMatchObject({
      event: 'AUDIT_TAMPERED',
      actor: 'alice',
      details: { kind: 'modified', firstBad: 3 },
      result: expect.stringMatching(/^entry 3 was changed/),
    });
    bench.tamper(`UPDATE audit SET hash = '${good?.hash}' WHERE sequence = 3`);
    bench.restart();
    expect((await bench.chain.verify()).intact).toBe(true);
    expect(bench.chain.findings).toEqual([
      expect.stringMatching(/^the audit chain was found damaged at .*: entry 3 was changed/),
    ]);
    bench.close();
  });

  it('names what was found first, whatever is found later', async () => {
    const bench = new ChainBench();
    await bench.append(5);
    for (const sequence of [3, 2]) {
      bench.tamper(`UPDATE audit SET hash = '${'0'.repeat(64)}' WHERE sequence = ${sequence}`);
      expect((await bench.chain.verify()).finding).toMatch(new RegExp(`^entry ${sequence} `));
      expect(bench.chain.findings).toEqual([expect.stringMatching(/: entry 3 was changed/)]);
    }
    bench.restart();
    expect(bench.chain.findings).toEqual([expect.stringMatching(/: entry 3 was changed/)]);
    bench.close();
  });

  it('stands in this process also where the disk does not take it', async () => {
    const bench = new ChainBench();
    await bench.append(5);
    bench.tamper(`DELETE FROM audit WHERE sequence = 3; DROP TABLE audit_tamper`);
    expect((await bench.chain.verify()).intact).toBe(false);
    expect(bench.chain.findings).toHaveLength(1);
    bench.close();
  });
});

describe('the mark of tampering is there again', () => {
  let bench: ChainBench;
  beforeEach(async () => {
    bench = new ChainBench();
    await bench.append(1_100);
    const [good] = bench.appended.filter(({ sequence }) => sequence === 3);
    bench.tamper(`UPDATE audit SET hash = '${'0'.repeat(64)}' WHERE sequence = 3`);
    expect((await bench.chain.verify()).intact).toBe(false);
    bench.tamper(`UPDATE audit SET hash = '${good?.hash}' WHERE sequence = 3`);
  });
  afterEach(() => bench.close());
  const marked = [
    expect.stringMatching(/^the audit chain was found damaged at .*: entry 3 was changed/),
  ];

  it('by its file, when an older database is put in the place of this one', async () => {
    bench.store.close();
    const older = new ChainBench();
    await older.append(5);
    older.store.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${bench.file}${suffix}`, { force: true });
    copyFileSync(older.file, bench.file);
    older.open();
    older.close();
    bench.open();
    expect(bench.chain.findings).toEqual(marked);
    await bench.chain.recordMark();
    expect(bench.appended.at(-1)).toMatchObject({
      event: 'AUDIT_TAMPERED',
      result: expect.stringMatching(/^entry 3/),
    });
    // And from then on without the file.
    rmSync(bench.tamperFile);
    bench.restart();
    expect(bench.chain.findings).toEqual(marked);
  });

  it('by the entry in the chain, when row and file are taken away', () => {
    bench.tamper('DELETE FROM audit_tamper');
    rmSync(bench.tamperFile);
    bench.restart();
    expect(bench.chain.findings).toEqual(marked);
    expect(JSON.parse(readFileSync(bench.tamperFile, 'utf8')).finding).toMatch(/^entry 3/);
  });

  it('by the archived entry, at the next check of the whole chain', async () => {
    await bench.append(1_000);
    const policy = { entriesMax: 1_000, segmentEntries: 2_000 };
    must(await new Retention({ chain: bench.chain, store: bench.store, policy }).archive());
    expect(bench.chain.archive?.through).toBe(2_000);
    bench.tamper('DELETE FROM audit_tamper');
    rmSync(bench.tamperFile);
    bench.restart();
    expect((await bench.chain.verify()).intact).toBe(true);
    expect(bench.chain.findings).toEqual(marked);
  });

  it.each([
    ['empty', ''],
    ['no JSON', '{'],
    ['of another shape', '[1]'],
  ])('by a file that is %s', (_, content) => {
    bench.tamper(`DELETE FROM audit_tamper; DELETE FROM audit WHERE sequence > 1100`);
    writeFileSync(bench.tamperFile, content);
    bench.restart();
    expect(bench.chain.findings).toEqual([
      expect.stringMatching(/what was found is not known any more$/),
    ]);
  });

  it('and a text that quotes such an entry is none', async () => {
    const other = new ChainBench();
    must(await other.chain.append(recordOf('"event":"AUDIT_TAMPERED"', 1)));
    must(await other.chain.append({ ...recordOf('one', 2), details: { event: 'AUDIT_TAMPERED' } }));
    other.restart();
    expect(other.chain.findings).toEqual([]);
    other.close();
  });
});

describe('the mark of a disk that takes nothing', () => {
  it('is put on record once it takes something again', async () => {
    const bench = new ChainBench();
    await bench.append(5);
    bench.tamper('DELETE FROM audit WHERE sequence = 3');
    const { page_count: pages } = bench.store.database.prepare('PRAGMA page_count').get() as {
      readonly page_count: number;
    };
    bench.store.database.exec(`PRAGMA max_page_count = ${pages}`);
    await bench.chain.verify({ reason: 'x'.repeat(60_000) });
    expect(bench.appended.at(-1)?.event).not.toBe('AUDIT_TAMPERED');
    bench.store.database.exec('PRAGMA max_page_count = 1000000');
    await bench.chain.recordMark();
    await bench.chain.recordMark();
    const said = bench.chain.read(4, 100).filter(({ event }) => event === 'AUDIT_TAMPERED');
    expect(said.map(({ result }) => result)).toEqual(['entry 3 is missing, 4 follows']);
    expect(bench.store.database.prepare('SELECT count(*) AS n FROM audit_tamper').get()?.n).toBe(1);
    bench.close();
  });
});

describe('an entry that somebody else wrote while the agent runs', () => {
  it('is never taken for one of its own', async () => {
    const bench = new ChainBench();
    await bench.append(5);
    bench.tamper(
      `INSERT INTO audit SELECT 6, replace(body, '"sequence":5,', '"sequence":6,'), hash FROM audit WHERE sequence = 5`,
    );
    expect(must(await bench.chain.checkpoint())?.sequence).toBe(5);
    expect(codeOf(await bench.chain.append(recordOf('next', 1)))).toBe('AUDIT_UNAVAILABLE');
    expect(bench.chain.findings).toEqual([
      expect.stringMatching(/entry 6 was not written by this agent$/),
    ]);
    must(await bench.chain.append(recordOf('next', 1)));
    const [said] = bench.chain.read(7, 1);
    expect(said).toMatchObject({ event: 'AUDIT_TAMPERED', details: { kind: 'spliced' } });
    bench.close();
  });

  it('is found behind the end also where it is a perfect link', async () => {
    const bench = new ChainBench();
    await bench.append(5);
    const { body, hash } = bench.chain.part(5, 1).entries[0] ?? { body: '', hash: '' };
    const forged = body
      .replace('"sequence":5,"tracks"', '"sequence":6,"tracks"')
      .replace(/"previousHash":"[0-9a-f]{64}"/, `"previousHash":"${hash}"`);
    const linked = new ChainHasher().hash(hash, forged);
    bench.store.database.prepare('INSERT INTO audit VALUES (6, ?, ?)').run(forged, linked);
    expect((await bench.chain.verify()).damage).toMatchObject({
      kind: 'spliced',
      finding: 'entry 6 was not written by this agent',
    });
    bench.close();
  });

  it('nor are entries missed that somebody takes away from its end', async () => {
    const bench = new ChainBench();
    await bench.append(5);
    bench.tamper('DELETE FROM audit WHERE sequence > 3');
    const refused = () => {
      throw new Error('the journal refused');
    };
    await bench.chain.append(recordOf('next', 1), refused);
    expect(bench.chain.findings).toEqual([expect.stringMatching(/entries 4 to 5 are gone$/)]);
    bench.close();
  });
});

it('damage of the end that is found at the start is told at once', async () => {
  const bench = new ChainBench();
  await bench.append(5);
  bench.tamper('DELETE FROM audit WHERE sequence = 3');
  const { chain, store } = bench;
  const { audit: policy } = DEFAULT_POLICY;
  const clock = new VirtualClock();
  const retention = new Retention({ chain, store, policy: policy.retention });
  const told: string[] = [];
  const onDamage = (finding: string) => told.push(finding);
  const others = { room: null, witness: null, onError: () => undefined, onNote: () => undefined };
  await new AuditCare({ chain, retention, clock, policy, onDamage, ...others }).start();
  expect(told).toEqual(['entry 3 is missing, 4 follows']);
  bench.close();
});

it('an end that grew while the witness had its moment is signed again', async () => {
  const bench = new ChainBench();
  await bench.append(3);
  const clock = new VirtualClock();
  const path = pipeAt(join(directory, 'pipe'));
  const witness = witnessAt(path, clock);
  const [kept] = [must(await bench.chain.checkpoint())];
  if (kept !== null) witness.keep(kept);
  await bench.append(1);
  const { audit: policy } = DEFAULT_POLICY;
  const { chain, store } = bench;
  const retention = new Retention({ chain, store, policy: policy.retention });
  const unused = () => undefined;
  const told = { onError: unused, onNote: unused, onDamage: unused };
  const care = new AuditCare({ chain, retention, room: null, witness, clock, policy, ...told });
  const closing = care.close();
  expect(chain.book.newest?.sequence).toBe(4);
  await bench.append(2);
  await clock.advance(1_000);
  await closing;
  expect(chain.book.newest?.sequence).toBe(6);
  bench.close();
  releasePipe(path);
});

describe('at the start', () => {
  it.each([
    ['the last entries', 'DELETE FROM audit WHERE sequence = 1015', true],
    [
      'an entry after the last checkpoint',
      `UPDATE audit SET body = replace(body, 'alice', 'bob') WHERE sequence = 1010`,
      true,
    ],
    [
      'the checkpoint itself',
      `UPDATE audit_signed_checkpoint SET wall_ms = wall_ms + 1 WHERE sequence = 1000`,
      true,
    ],
    [
      'an entry long before',
      `UPDATE audit SET body = replace(body, 'alice', 'bob') WHERE sequence = 10`,
      false,
    ],
  ])('the end of the chain is looked at: %s', async (_, sql, found) => {
    const bench = new ChainBench();
    await bench.append(1_015);
    bench.tamper(sql);
    const { intact } = await bench.chain.verifyEnd();
    // What lies further back is for the whole walk.
    expect(intact).toBe(!found);
    expect((await bench.chain.verify()).intact).toBe(false);
    bench.close();
  });

  it('a key that the chain does not name is found', async () => {
    const bench = new ChainBench();
    await bench.append(5);
    bench.restart({ checkpointKey: newKey() });
    expect((await bench.chain.verifyEnd()).damage).toMatchObject({
      kind: 'wrong-key',
      finding: expect.stringMatching(/^checkpoints are signed here with key/),
    });
    bench.close();
  });

  it('checkpoints of an older agent are signed anew where they were right', async () => {
    const bench = new ChainBench();
    await bench.append(1_005);
    const [entry] = bench.chain.read(1_000, 1);
    const signature = sign(null, Buffer.from(`1000:${entry?.hash}`), bench.key).toString('base64');
    bench.tamper(`
      DELETE FROM audit_signed_checkpoint;
      CREATE TABLE audit_checkpoint (sequence INTEGER PRIMARY KEY, hash TEXT NOT NULL, signature TEXT NOT NULL) STRICT;
      INSERT INTO audit_checkpoint VALUES (1000, '${entry?.hash}', '${signature}'), (1005, '${'1'.repeat(64)}', 'AAAA');
    `);
    bench.restart();
    const [renewed] = bench.chain.book.between(1_000, 1_000).values();
    expect(renewed).toMatchObject({ sequence: 1_000, wallMs: entry?.wallMs });
    expect(renewed !== undefined && checkpointHolds(renewed, createPublicKey(bench.key))).toBe(
      true,
    );
    expect((await bench.chain.verify()).damage).toMatchObject({
      sequence: 1_005,
      finding: 'the checkpoint of entry 1005 was not signed here',
    });
    bench.close();
  });
});
