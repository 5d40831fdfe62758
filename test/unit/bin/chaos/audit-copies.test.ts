// Damaged copies of an audit export: each is closed as whole as its forger could, and the verifier names each by its kind.

import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { expect, it } from 'vitest';
import { keyIdOf, type SignedCheckpoint, signCheckpoint } from '#model/audit-checkpoint';
import { checkpointLine, entryLine, exportBlock, verifyExport } from '#model/audit-export';
import { ChainHasher, GENESIS_HASH } from '#model/audit-hash';
import { damagedCopies, readExport } from '../../../../src/bin/chaos/audit-copies.ts';

const { privateKey } = generateKeyPairSync('ed25519');
const publicKey = createPublicKey(privateKey);
const EVERY = 10;

function chain(count: number): { readonly text: string; readonly last: SignedCheckpoint } {
  const hasher = new ChainHasher();
  const lines: string[] = [];
  let previousHash = GENESIS_HASH;
  let last: SignedCheckpoint | null = null;
  let checkpoints = 0;
  for (let sequence = 1; sequence <= count; sequence += 1) {
    const body = `{"actor":"somebody","previousHash":"${previousHash}","result":"${sequence}","sequence":${sequence},"tracks":[],"wallMs":${sequence}}`;
    const hash = hasher.hash(previousHash, body);
    lines.push(entryLine(body, hash));
    previousHash = hash;
    if (sequence % EVERY !== 0 && sequence !== count) continue;
    last = signCheckpoint(
      { sequence, hash, wallMs: sequence, keyId: keyIdOf(publicKey) },
      privateKey,
    );
    lines.push(checkpointLine(last));
    checkpoints += 1;
  }
  if (last === null) throw new Error('a chain of nothing');
  const spki = publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
  const header = {
    board: 'bench',
    publicKey: spki,
    changes: [],
    sequence: 1,
    previousHash: GENESIS_HASH,
  };
  const totals = { entries: count, checkpoints, lastSequence: count, lastHash: previousHash };
  return { text: `${exportBlock(header, lines, totals).join('\n')}\n`, last };
}

const judge = (text: string, kept: readonly SignedCheckpoint[]) =>
  verifyExport([Buffer.from(text)], { publicKeys: [publicKey], kept });

it.each([12, 25, 200])('names every damage of a chain of %i entries', async (count) => {
  const { text, last } = chain(count);
  expect((await judge(text, [last])).intact).toBe(true);
  const copies = damagedCopies(readExport(text));
  expect(copies.map(({ expected }) => expected)).toEqual([
    'modified',
    'deleted',
    'reordered',
    'truncated',
    'spliced',
  ]);
  for (const { expected, text: copy } of copies) {
    const { intact, damage } = await judge(copy, [last]);
    expect([intact, damage?.kind]).toEqual([false, expected]);
  }
});

it('cuts a chain where only a checkpoint that was kept elsewhere can tell', async () => {
  const { text, last } = chain(45);
  const cut = damagedCopies(readExport(text)).find(({ expected }) => expected === 'truncated');
  expect((await judge(cut?.text ?? '', [])).intact).toBe(true);
  expect((await judge(cut?.text ?? '', [last])).damage?.kind).toBe('truncated');
});

it('leaves the export that it read as it was, and refuses what is none or too short', () => {
  const { text } = chain(30);
  const read = readExport(text);
  const before = JSON.stringify(read);
  damagedCopies(read);
  expect(JSON.stringify(read)).toBe(before);
  expect(() => readExport('{"what":"is this"}\n')).toThrow('none');
  expect(() => readExport('')).toThrow('no header');
  expect(() => damagedCopies(readExport(chain(3).text))).toThrow('too short');
});
