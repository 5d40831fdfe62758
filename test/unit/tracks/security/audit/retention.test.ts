// Old entries in sealed segments: the chain is whole over both, and a segment that is missing or altered is named.

import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { verifyExport } from '#model/audit-export';
import { Retention } from '#tracks/security/audit/retention';
import { must } from '../../../../support/kernel-bench.ts';
import { bytesOf, ChainBench, newKey } from './chains.ts';

const POLICY = { entriesMax: 2_000, segmentEntries: 1_000 };
let bench: ChainBench;
let retention: Retention;

beforeEach(async () => {
  bench = new ChainBench();
  retention = new Retention({ chain: bench.chain, store: bench.store, policy: POLICY });
  await bench.append(1_500);
  must(await bench.chain.rotate(newKey()));
  await bench.append(2_600);
});
afterEach(() => bench.close());

const files = () => readdirSync(bench.segments).sort();
const fileOf = (index: number) => join(bench.segments, files()[index] ?? '');
const rows = () =>
  bench.store.database.prepare('SELECT min(sequence) AS first, count(*) AS count FROM audit').get();

it('archives what is more than may stay, in whole segments, and breaks no number and no hash', async () => {
  const before = await bench.export();
  const whole = bench.chain.read(1, 5_000);
  expect(must(await retention.archive({ actor: 'alice' }))).toMatchObject({ archived: 3_000 });
  expect(files()).toEqual([
    'audit-000000000001-000000001000.jsonl.gz',
    'audit-000000001001-000000002000.jsonl.gz',
    'audit-000000002001-000000003000.jsonl.gz',
  ]);
  // 4,101 entries and one for each segment; those of the segments are gone from the database.
  expect(rows()).toMatchObject({ first: 3_001, count: 1_104 });
  const entry = bench.appended.find(({ event }) => event === 'AUDIT_ARCHIVED');
  expect(entry).toMatchObject({
    actor: 'alice',
    details: { first: 1, last: 1_000, file: files()[0] },
  });
  expect(bench.chain.read(1, 4_101)).toEqual(whole.slice(0, 4_101));
  expect(bench.chain.read(990, 20).map(({ sequence }) => sequence)).toEqual(
    Array.from({ length: 20 }, (_, index) => 990 + index),
  );
  expect(await bench.chain.verify()).toMatchObject({ intact: true, entries: 4_104 });
  const after = await bench.export();
  const entries = (lines: readonly string[]) => lines.filter((line) => line.startsWith('{"entry"'));
  expect(entries(after).slice(0, 4_101)).toEqual(entries(before));
  const check = { publicKeys: [bench.publicKey] };
  expect(await verifyExport([bytesOf(after)], check)).toMatchObject({ intact: true });
  // And over a restart.
  bench.restart({ otherCheckpointKeys: [newKey()] });
  expect(bench.chain.lastSequence).toBe(4_105);
});

it('each segment is an export of its own, under the first key', async () => {
  must(await retention.archive());
  for (const index of [0, 1, 2]) {
    const bytes = gunzipSync(readFileSync(fileOf(index)));
    const verdict = await verifyExport([bytes], { publicKeys: [bench.publicKey] });
    expect(verdict).toMatchObject({ intact: true, entries: 1_000 });
  }
});

it('archives nothing while no more is there than may stay', async () => {
  const idle = { chain: bench.chain, store: bench.store };
  const patient = new Retention({ ...idle, policy: { ...POLICY, entriesMax: 10_000 } });
  expect(patient.due).toBe(false);
  expect(must(await patient.archive())).toMatchObject({ archived: 0, message: /nothing/ });
});

it('a process that ended while it deleted finishes that at its next start', async () => {
  must(await retention.archive());
  bench.tamper(`INSERT INTO audit VALUES (2999, 'left', 'over')`);
  bench.restart();
  const next = new Retention({ chain: bench.chain, store: bench.store, policy: POLICY });
  await next.finishDeletion();
  expect(rows()).toMatchObject({ first: 3_001 });
});

it('keeps every entry in the database when the segment cannot be written', async () => {
  mkdirSync(bench.segments, { recursive: true });
  // A directory stands where the file would go.
  mkdirSync(join(bench.segments, 'audit-000000000001-000000001000.jsonl.gz'));
  const outcome = await retention.archive();
  expect(outcome).toMatchObject({ ok: false, fault: { code: 'AUDIT_UNAVAILABLE' } });
  expect(rows()).toMatchObject({ first: 1, count: 4_101 });
  expect((await bench.chain.verify()).intact).toBe(true);
});

it('seals nothing of a chain that was tampered with', async () => {
  bench.tamper(
    `UPDATE audit SET body = replace(body, '"alice"', '"mallory"') WHERE sequence = 500`,
  );
  expect(await retention.archive()).toMatchObject({ ok: false });
  expect(rows()).toMatchObject({ first: 1 });
});

it('seals nothing that no checkpoint covers to its end', async () => {
  bench.tamper('DELETE FROM audit_signed_checkpoint WHERE sequence = 1000');
  expect(await retention.archive()).toMatchObject({ ok: false });
  expect(rows()).toMatchObject({ first: 1, count: 4_101 });
  expect(bench.chain.archive?.through).toBe(0);
});

it('a walk and the archive do not come in each other’s way', async () => {
  const [walk, archived] = await Promise.all([bench.chain.verify(), retention.archive()]);
  expect([walk.intact, must(archived).archived]).toEqual([true, 3_000]);
  const [again, later] = await Promise.all([retention.archive(), bench.chain.verify()]);
  expect([must(again).archived, later.intact]).toEqual([0, true]);
});

describe('is found and named:', () => {
  beforeEach(async () => {
    must(await retention.archive());
  });
  const second = 'audit-000000001001-000000002000.jsonl.gz';

  it.each<readonly [string, () => void, string, RegExp]>([
    ['a missing segment', () => rmSync(fileOf(1)), 'deleted', /is missing$/],
    [
      'a byte changed',
      () => change((bytes) => bytes.with(5_000, (bytes[5_000] ?? 0) ^ 1)),
      'modified',
      /./,
    ],
    ['bytes at the end', () => appendFileSync(fileOf(1), 'x'), 'modified', /./],
    ['a shorter file', () => change((bytes) => bytes.subarray(0, 20_000)), 'modified', /./],
    [
      'an entry rewritten and packed again',
      () =>
        change((bytes) => gzipSync(gunzipSync(bytes).toString().replace('"alice"', '"mallory"'))),
      'modified',
      /entry 1001 was changed/,
    ],
    [
      'the same words packed again',
      () => change((bytes) => gzipSync(gunzipSync(bytes), { level: 1 })),
      'modified',
      /was altered$/,
    ],
    [
      'another segment in its place',
      () => writeFileSync(fileOf(1), readFileSync(fileOf(0))),
      'duplicated',
      /./,
    ],
    [
      'its row taken away',
      () => bench.tamper('DELETE FROM audit_segment WHERE first_sequence = 1001'),
      'deleted',
      /^segment audit-000000002001-000000003000.jsonl.gz begins with entry 2001, and entry 1001 is due/,
    ],
  ])('%s', async (_, damage, kind, finding) => {
    damage();
    bench.restart();
    const verdict = await bench.chain.verify();
    expect(verdict.damage).toMatchObject({ kind, finding: expect.stringMatching(finding) });
    if (kind !== 'deleted' || !finding.source.startsWith('^')) {
      expect(verdict.finding).toContain(second);
    }
    expect(verdict.damage?.sequence).toBeGreaterThan(1_000);
    expect(verdict.damage?.sequence).toBeLessThan(2_001);
  });

  function change(how: (bytes: Buffer) => Uint8Array): void {
    writeFileSync(`${fileOf(1)}.other`, how(readFileSync(fileOf(1))));
    renameSync(`${fileOf(1)}.other`, fileOf(1));
  }

  it('all segments and their rows taken away', async () => {
    bench.tamper('DELETE FROM audit_segment');
    bench.restart();
    expect((await bench.chain.verify()).damage).toMatchObject({ kind: 'deleted', sequence: 1 });
  });
});
