// Exports of real chains, checked with nothing but a key: whatever was done to one is found, and named for what it is.

import { createPublicKey } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asCheckpoint, publicKeyText, type SignedCheckpoint } from '#model/audit-checkpoint';
import {
  type ExportHeader,
  type ExportTotals,
  entryLine,
  exportBlock,
  headerLine,
  readLine,
  verifyExport,
} from '#model/audit-export';
import { ChainHasher } from '#model/audit-hash';
import type { KeyChange } from '#model/audit-verifier';
import { exportPage } from '#tracks/security/audit/export-page';
import { must } from '../../../../support/kernel-bench.ts';
import { bytesOf, ChainBench, newKey } from './chains.ts';

/** With checkpoints at 40, 1000 and the end, and pages of 100 entries: many blocks. */
let bench: ChainBench;
let lines: readonly string[];
let kept: SignedCheckpoint;
/** Another board's chain, and another history of this board: the same key, other entries. */
let foreign: readonly string[];
let otherHistory: readonly string[];

beforeAll(async () => {
  bench = new ChainBench();
  await bench.append(40);
  must(await bench.chain.checkpoint());
  await bench.append(1_010);
  lines = await bench.export(1, 100);
  const newest = bench.checkpoints.at(-1);
  if (newest === undefined) throw new Error('nothing was signed');
  kept = newest;
  for (const options of [{ checkpointKey: newKey() }, { checkpointKey: bench.key }]) {
    const other = new ChainBench(options);
    await other.append(40, 'other');
    must(await other.chain.checkpoint());
    await other.append(1_010, 'other');
    const exported = await other.export(1, 100);
    if (options.checkpointKey === bench.key) otherHistory = exported;
    else foreign = exported;
    other.close();
  }
});
afterAll(() => bench.close());

function check(changed: readonly string[], keep: readonly SignedCheckpoint[] = []) {
  return verifyExport([bytesOf(changed)], { publicKeys: [bench.publicKey], kept: keep });
}

/** Where the line of entry `sequence` stands. */
function at(sequence: number, all = lines): number {
  return all.findIndex(
    (line) => line.startsWith('{"entry"') && line.includes(`"sequence":${sequence},"tracks"`),
  );
}

function lineOf(sequence: number, all = lines): string {
  return all[at(sequence, all)] ?? '';
}

function headerIn(line: string): ExportHeader {
  const read = readLine(line);
  if (read?.kind !== 'header') throw new Error('no header');
  return read.header;
}

/** The second block under a header that says something else, with a last line that fits. */
function withSecondHeader(change: Partial<ExportHeader>): readonly string[] {
  const header = lines.findIndex((line, index) => index > 0 && line.includes('"fromSequence"'));
  const end = lines.findIndex((line, index) => index > header && line.startsWith('{"end"'));
  const { digest: _, ...totals } = (
    JSON.parse(lines[end] ?? '') as { readonly end: ExportTotals & { readonly digest: string } }
  ).end;
  const changed = { ...headerIn(lines[header] ?? ''), ...change };
  const block = exportBlock(changed, lines.slice(header + 1, end), totals);
  return [...lines.slice(0, header), ...block, ...lines.slice(end + 1)];
}

function swapped(left: number, right: number): string[] {
  const changed = [...lines];
  [changed[left], changed[right]] = [lines[right] ?? '', lines[left] ?? ''];
  return changed;
}

describe('an export as it came', () => {
  it('is intact, signed to its end, and the same every time', async () => {
    expect(await check(lines, [kept])).toMatchObject({
      intact: true,
      entries: 1_050,
      firstSequence: 1,
      lastSequence: 1_050,
      signedThrough: 1_050,
      checkpoints: 3,
      damage: null,
      finding: '1050 links checked',
    });
    expect(await bench.export(1, 100)).toEqual(lines);
  });

  it('may come in pieces of any size, in the middle of characters too', async () => {
    const bytes = bytesOf(lines);
    for (const size of [1, 7, 4_096]) {
      const part = bytes.subarray(
        0,
        size === 1 ? bytesOf(lines.slice(0, 103)).length : bytes.length,
      );
      const pieces = function* () {
        for (let start = 0; start < part.length; start += size)
          yield part.subarray(start, start + size);
      };
      const { damage } = await verifyExport(pieces(), { publicKeys: [bench.publicKey] });
      // The first page alone ends without a checkpoint of its own.
      expect(damage?.kind).toBe(size === 1 ? 'truncated' : undefined);
    }
  });

  it('may begin anywhere in the chain', async () => {
    const verdict = await check(await bench.export(901, 50));
    expect(verdict).toMatchObject({ intact: true, firstSequence: 901, lastSequence: 1_050 });
  });

  it('holds the very bytes that were hashed', () => {
    const read = readLine(lineOf(5));
    const stored = bench.store.database
      .prepare('SELECT body, hash FROM audit WHERE sequence = 5')
      .get();
    expect(read).toMatchObject({ kind: 'entry', body: stored?.body, hash: stored?.hash });
  });
});

describe('damage is named', () => {
  const cases: readonly (readonly [string, () => readonly string[], string, number, RegExp])[] = [
    [
      'deleted: one entry',
      () => lines.toSpliced(at(20), 1),
      'deleted',
      20,
      /^entry 20 is missing, 21 follows$/,
    ],
    [
      'deleted: a run of entries',
      () => lines.toSpliced(at(50), 3),
      'deleted',
      50,
      /^entries 50 to 52 are missing/,
    ],
    [
      'deleted: a whole page',
      () => lines.filter((_, index) => index < at(201) - 1 || index > at(300) + 1),
      'deleted',
      201,
      /^entries 201 to 300 are missing/,
    ],
    [
      'deleted: a checkpoint',
      () => lines.toSpliced(at(1_000) + 1, 1),
      'deleted',
      1_000,
      /^the checkpoint of entry 1000 is missing/,
    ],
    [
      'modified: a word',
      () => lines.with(at(20), lineOf(20).replace('"alice"', '"mallory"')),
      'modified',
      20,
      /^entry 20 was changed/,
    ],
    [
      'modified: a hash',
      () => lines.with(at(20), lineOf(20).replace(/"[0-9a-f]{64}"}$/, `"${'0'.repeat(64)}"}`)),
      'modified',
      20,
      /^entry 20 was changed/,
    ],
    [
      'modified: a checkpoint',
      () => lines.with(at(40) + 1, (lines[at(40) + 1] ?? '').replace(/"wallMs":\d/, '"wallMs":9')),
      'modified',
      40,
      /^the checkpoint of entry 40 was not signed/,
    ],
    [
      'modified: the board in the header',
      () => lines.with(0, (lines[0] ?? '').replace('test board', 'rest board')),
      'modified',
      101,
      /does not close its block/,
    ],
    [
      'reordered: neighbours',
      () => swapped(at(20), at(21)),
      'reordered',
      20,
      /^entry 21 stands before entry 20$/,
    ],
    [
      'reordered: far apart',
      () => swapped(at(20), at(700)),
      'reordered',
      20,
      /^entry 700 stands before entry 20$/,
    ],
    [
      'duplicated: the last entry again',
      () => lines.toSpliced(at(20), 0, lineOf(20)),
      'duplicated',
      21,
      /^after entry 20 comes entry 20 a second time$/,
    ],
    [
      'duplicated: an early entry again',
      () => lines.toSpliced(at(60), 0, lineOf(3)),
      'duplicated',
      60,
      /^after entry 59 comes entry 3 a second time$/,
    ],
    [
      'duplicated: a later entry too early',
      () => lines.toSpliced(at(60), 0, lineOf(70)),
      'duplicated',
      60,
      /^entry 70 stands before entry 60 and again/,
    ],
    [
      'spliced: entries of another board',
      () => lines.with(at(60), lineOf(60, foreign)),
      'spliced',
      60,
      /^entry 60 does not follow entry 59/,
    ],
    [
      'spliced: an end of another board’s chain',
      () => [...lines.slice(0, at(501) - 1), ...foreign.slice(at(501, foreign) - 1)],
      'spliced',
      501,
      /^entry 501 does not follow entry 500/,
    ],
    [
      'modified: an end of another history of this board, signed by the same key',
      () => [...lines.slice(0, at(501) - 1), ...otherHistory.slice(at(501, otherHistory) - 1)],
      'modified',
      500,
      /^entry 501, which a checkpoint covers, follows another entry 500/,
    ],
    [
      'spliced: an old entry of another chain',
      () => lines.toSpliced(at(60), 0, lineOf(3, foreign)),
      'spliced',
      60,
      /^after entry 59 comes an entry 3 of another chain$/,
    ],
    [
      'truncated: in the middle of a page',
      () => lines.slice(0, at(1_020)),
      'truncated',
      1_020,
      /^the export ends in the middle/,
    ],
    [
      'truncated: after a page',
      () => lines.slice(0, at(901) - 1),
      'truncated',
      41,
      /^no checkpoint covers the entries 41 to 900/,
    ],
    ['truncated: nothing left', () => [], 'truncated', 1, /no header/],
    [
      'wrong key: the whole chain of another board',
      () => foreign,
      'wrong-key',
      1,
      /^no key of this chain/,
    ],
  ];
  it.each(cases)('%s', async (_, change, kind, sequence, finding) => {
    const { intact, damage } = await check(change());
    expect(intact).toBe(false);
    expect(damage).toMatchObject({ kind, sequence, finding: expect.stringMatching(finding) });
  });

  it('modified: an entry whose hash was made to fit, by the entry and the checkpoint after it', async () => {
    const other = lineOf(60, otherHistory);
    const read = readLine(other);
    const previous = readLine(lineOf(59));
    if (read?.kind !== 'entry' || previous?.kind !== 'entry') throw new Error('no entries');
    const { ChainHasher } = await import('#model/audit-hash');
    const body = read.body.replace(
      /"previousHash":"[0-9a-f]{64}"/,
      `"previousHash":"${previous.hash}"`,
    );
    const hash = new ChainHasher().hash(previous.hash, body);
    const { damage } = await check(lines.with(at(60), `{"entry":${body},"hash":"${hash}"}`));
    expect(damage).toMatchObject({ kind: 'modified', sequence: 60 });
  });

  it('truncated: an end cut off at a checkpoint, by a checkpoint kept elsewhere', async () => {
    // An export of before the last entries is right in itself.
    const short = new ChainBench({ checkpointKey: bench.key });
    await short.append(10);
    const early = await short.export();
    await short.append(5);
    must(await short.chain.checkpoint());
    const later = short.checkpoints.slice(-1);
    short.close();
    const { publicKey } = bench;
    const without = await verifyExport([bytesOf(early)], { publicKeys: [publicKey] });
    expect(without.intact).toBe(true);
    const { damage } = await verifyExport([bytesOf(early)], {
      publicKeys: [publicKey],
      kept: later,
    });
    expect(damage).toMatchObject({
      kind: 'truncated',
      sequence: 11,
      finding: 'entries 11 to 15 are gone',
    });
  });

  it('truncated: a single entry added behind the last checkpoint, closed anew', async () => {
    const short = new ChainBench({ checkpointKey: bench.key });
    await short.append(10);
    const signed = await short.export();
    await short.append(1);
    const [added] = short.chain.part(11, 1).entries;
    const { body, hash } = added ?? { body: '', hash: '' };
    short.close();
    const inside = [...signed.slice(1, -1), entryLine(body, hash)];
    const totals = { entries: 11, checkpoints: 1, lastSequence: 11, lastHash: hash };
    const block = exportBlock(headerIn(signed[0] ?? ''), inside, totals);
    expect((await check(block)).damage).toMatchObject({
      kind: 'truncated',
      sequence: 11,
      finding: expect.stringMatching(/^no checkpoint covers the entries 11 to 11/),
    });
  });

  it('modified: another history of the same board, by a checkpoint kept elsewhere', async () => {
    expect((await check(otherHistory)).intact).toBe(true);
    const { damage } = await check(otherHistory, [kept]);
    expect(damage).toMatchObject({ kind: 'modified', sequence: 1_050 });
  });

  it.each([
    ['of another board', { board: 'another board' }],
    ['with another first key', { publicKey: publicKeyText(newKey()) }],
  ])('modified: a later block %s, closed anew so that it looks whole', async (_, change) => {
    expect((await check(withSecondHeader({}))).intact).toBe(true);
    expect((await check(withSecondHeader(change))).damage).toMatchObject({
      kind: 'modified',
      finding: expect.stringMatching(/^the header in line \d+ does not belong to this export$/),
    });
  });

  it('wrong key: a kept checkpoint that is nobody’s', async () => {
    const strange = { ...kept, sequence: 2_000, keyId: '0123456789abcdef' };
    expect((await check(lines, [strange])).damage).toMatchObject({ kind: 'wrong-key' });
    // Also one for an entry that is there, with another hash.
    const other = { ...kept, hash: 'ab'.repeat(32) };
    expect((await check(lines, [other])).damage).toMatchObject({
      kind: 'wrong-key',
      sequence: kept.sequence,
    });
  });

  it('nothing counts as signed where the key is not the one it was checked with', async () => {
    const verdict = await verifyExport([bytesOf(lines)], {
      publicKeys: [createPublicKey(newKey())],
      kept: [kept],
    });
    expect(verdict).toMatchObject({ intact: false, signedThrough: 0 });
  });

  it.each([
    ['a number that is none', { sequence: 1.5 }],
    ['the number of no entry', { sequence: 0 }],
    ['a time that is none', { wallMs: 'today' }],
    ['a hash that is too short', { hash: 'ab' }],
    ['a hash in capitals', { hash: 'AB'.repeat(32) }],
    ['no signature', { signature: undefined }],
  ])('a checkpoint with %s is none', (_, wrong) => {
    expect(asCheckpoint(kept)).toEqual(kept);
    expect(asCheckpoint({ ...kept, ...wrong })).toBeUndefined();
  });
});

describe('any single change of an export', () => {
  const lineAt = fc.nat({ max: 1_000_000 }).map((number) => number % lines.length);
  /** A cut at a place where a checkpoint stands at the end of a page may be an export of its own. */
  const finds = async (bytes: Buffer) => {
    const verdict = await verifyExport([bytes], { publicKeys: [bench.publicKey], kept: [kept] });
    expect(verdict.intact).toBe(false);
    expect(verdict.damage?.finding).not.toBe('');
  };

  it('of a byte is found', async () => {
    const whole = bytesOf(lines);
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: whole.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        async (place, by) => {
          const bytes = Buffer.from(whole);
          bytes[place] = ((bytes[place] ?? 0) + by) % 256;
          await finds(bytes);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('of a line taken away, of two lines exchanged, of a cut is found', async () => {
    const whole = bytesOf(lines);
    await fc.assert(
      fc.asyncProperty(lineAt, lineAt, fc.nat({ max: whole.length - 1 }), async (one, two, cut) => {
        await finds(bytesOf(lines.toSpliced(one, 1)));
        if (lines[one] !== lines[two]) await finds(bytesOf(swapped(one, two)));
        await finds(bytesOf(lines.toSpliced(two, 0, lines[one] ?? '')));
        await finds(whole.subarray(0, cut));
      }),
      { numRuns: 40 },
    );
  });
});

describe('a change of the key', () => {
  it('is followed from the first key on, also where the export begins after it', async () => {
    const rotated = new ChainBench();
    const keys = [newKey(), newKey()] as const;
    await rotated.append(5);
    const first = must(await rotated.chain.rotate(keys[0], { actor: 'alice', reason: 'yearly' }));
    await rotated.append(1_000);
    must(await rotated.chain.rotate(keys[1]));
    await rotated.append(5);
    const all = await rotated.export();
    const publicKeys = [rotated.publicKey];
    const verdict = await verifyExport([bytesOf(all)], { publicKeys, kept: [first] });
    expect(verdict).toMatchObject({ intact: true, signedThrough: 1_012, damage: null });
    expect(new Set(verdict.keyIds).size).toBe(3);
    expect(first).toMatchObject({ sequence: 6, keyId: verdict.keyIds[0] });
    const late = await rotated.export(1_010);
    expect(await verifyExport([bytesOf(late)], { publicKeys })).toMatchObject({ intact: true });
    // A later key proves what comes after it, and through its checkpoints what came before.
    const newest = [createPublicKey(keys[1])];
    expect((await verifyExport([bytesOf(all)], { publicKeys: newest })).intact).toBe(true);
    expect(
      (await verifyExport([bytesOf(all)], { publicKeys: [createPublicKey(newKey())] })).damage,
    ).toMatchObject({ kind: 'wrong-key' });
    expect((await rotated.chain.verify()).intact).toBe(true);
    // What comes only later cannot be named at the beginning.
    const { changes } = JSON.parse(late[0] ?? '') as { readonly changes: readonly KeyChange[] };
    const [header, ...others] = all;
    const early = headerIn(header ?? '');
    const tooEarly = [headerLine({ ...early, changes }), ...others];
    expect((await verifyExport([bytesOf(tooEarly)], { publicKeys })).damage).toMatchObject({
      kind: 'modified',
      finding: 'the key change of entry 6 was altered',
    });
    // After a restart the chain takes the key that it names, whichever comes first.
    rotated.restart({ otherCheckpointKeys: keys });
    expect(rotated.chain.book.keyId).toBe(verdict.keyIds[2]);
    expect((await rotated.chain.verifyEnd()).intact).toBe(true);
    rotated.close();
  });

  it('that the key before did not sign is found', async () => {
    const rotated = new ChainBench();
    await rotated.append(5);
    const stranger = new ChainBench();
    await stranger.append(5);
    const key = newKey();
    must(await rotated.chain.rotate(key));
    must(await stranger.chain.rotate(key));
    const ours = await rotated.export();
    const theirs = await stranger.export();
    const checkpoint = (all: readonly string[]) =>
      all.findIndex((line) => line.startsWith('{"checkpoint"'));
    const forged = ours.with(checkpoint(ours), theirs[checkpoint(theirs)] ?? '');
    const { damage } = await verifyExport([bytesOf(forged)], { publicKeys: [rotated.publicKey] });
    expect(damage).toMatchObject({ kind: 'wrong-key', sequence: 6 });
    rotated.close();
    stranger.close();
  });

  it('at the head of an export is not believed without the word of the key before', async () => {
    const rotated = new ChainBench();
    await rotated.append(5);
    must(await rotated.chain.rotate(newKey()));
    await rotated.append(5);
    const late = await rotated.export(8);
    const publicKeys = [rotated.publicKey];
    rotated.close();
    expect((await verifyExport([bytesOf(late)], { publicKeys })).intact).toBe(true);
    const header = headerIn(late[0] ?? '');
    const [genuine] = header.changes;
    if (genuine === undefined) throw new Error('no change of the key');
    const { checkpointPublicKey, previousHash } = {
      ...(JSON.parse(genuine.body) as { readonly previousHash: string }),
      ...(
        JSON.parse(genuine.body) as {
          readonly details: { readonly checkpointPublicKey: string };
        }
      ).details,
    };
    const body = genuine.body.replace(checkpointPublicKey, publicKeyText(newKey()));
    const hash = new ChainHasher().hash(previousHash, body);
    // Everything fits but the signature, which nobody else can make.
    const forged = { body, hash, checkpoint: { ...genuine.checkpoint, hash } };
    const changed = [headerLine({ ...header, changes: [forged] }), ...late.slice(1)];
    expect((await verifyExport([bytesOf(changed)], { publicKeys })).damage).toMatchObject({
      kind: 'modified',
      finding: 'the key before did not sign the key of entry 6',
    });
  });

  it('is followed by the word of the key before, and named where that is missing', async () => {
    const rotated = new ChainBench();
    await rotated.append(5);
    must(await rotated.chain.rotate(newKey()));
    await rotated.append(5);
    const all = await rotated.export();
    rotated.close();
    const inside = all.slice(1, -1);
    const at = inside.findIndex((line) => line.startsWith('{"checkpoint"'));
    const last = JSON.parse(all.at(-1) ?? '') as { readonly end: ExportTotals };
    const { entries, lastSequence, lastHash } = last.end;
    const totals = { entries, checkpoints: 1, lastSequence, lastHash };
    const block = exportBlock(headerIn(all[0] ?? ''), inside.toSpliced(at, 1), totals);
    const { damage } = await verifyExport([bytesOf(block)], { publicKeys: [rotated.publicKey] });
    expect(damage).toMatchObject({
      kind: 'deleted',
      finding: 'the checkpoint of entry 6 is missing',
    });
  });

  it('that could not be written leaves the old key in use', async () => {
    const bench = new ChainBench();
    await bench.append(2);
    const before = bench.chain.book.keyId;
    const failed = await bench.chain.rotate(newKey(), {}, () => {
      throw new Error('the file of the key could not be written');
    });
    expect([failed.ok, bench.chain.book.keyId]).toEqual([false, before]);
    await bench.append(2);
    expect((await bench.chain.verify()).intact).toBe(true);
    bench.close();
  });
});

it('no line but the very bytes that are written counts', () => {
  const checkpoint = lines.find((line) => line.startsWith('{"checkpoint"')) ?? '';
  for (const line of [lines[0] ?? '', checkpoint]) {
    expect(readLine(line)).toBeDefined();
    const more = `${line.slice(0, -1)},"more":1}`;
    for (const other of [`${line} `, ` ${line}`, line.replace(':', ': '), more]) {
      expect(readLine(other)).toBeUndefined();
    }
  }
});

it('an end that the disk did not sign is signed in the export all the same', async () => {
  const bench = new ChainBench();
  await bench.append(5);
  const { lines: page, next } = exportPage(bench.chain, 1, 100);
  expect([next, bench.chain.book.newest]).toEqual([0, null]);
  const verdict = await verifyExport([bytesOf(page)], { publicKeys: [bench.publicKey] });
  expect(verdict).toMatchObject({ intact: true, signedThrough: 5 });
  bench.close();
});

it('a line without an end is given up, and not kept in memory', async () => {
  const megabyte = Buffer.alloc(1024 * 1024, 'a');
  const { damage } = await verifyExport([bytesOf(lines), ...Array(6).fill(megabyte)], {
    publicKeys: [bench.publicKey],
  });
  expect(damage?.finding).toMatch(/^line \d+ is longer than \d+ characters$/);
});

it('nothing that a stranger writes for a chain makes its checker throw', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.string(), fc.constantFrom(...lines.slice(0, 50)), fc.json()), {
        maxLength: 20,
      }),
      fc.uint8Array({ maxLength: 20 }),
      async (texts, tail) => {
        const bytes = Buffer.concat([bytesOf(texts), tail]);
        const verdict = await verifyExport([bytes], { publicKeys: [bench.publicKey] });
        expect(verdict.intact).toBe(false);
      },
    ),
    { numRuns: 300 },
  );
});
