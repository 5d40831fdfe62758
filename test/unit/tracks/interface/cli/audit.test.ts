// The audit chain on the command line: export as a stream, the check without an agent, checkpoints, and the exit code of damage.

import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { canonicalText } from '#foundation/canonical';
import { keyIdOf, publicKeyText, signCheckpoint } from '#model/audit-checkpoint';
import { checkpointLine, entryLine, exportBlock } from '#model/audit-export';
import { ChainHasher, GENESIS_HASH } from '#model/audit-hash';
import { CliBench } from './cli-bench.ts';

let bench: CliBench;
const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const publicKeyPem = String(publicKey.export({ type: 'spki', format: 'pem' }));

beforeEach(async () => {
  bench = new CliBench();
  await bench.open();
});

afterEach(() => bench.close());

const file = (name: string) => join(bench.directory, name);

/** A chain of so many entries with a checkpoint at its end. */
function chain(length: number) {
  const hasher = new ChainHasher();
  const lines: string[] = [];
  let hash = GENESIS_HASH;
  for (let sequence = 1; sequence <= length; sequence += 1) {
    const body = canonicalText({ actor: 'alice', previousHash: hash, sequence, wallMs: 1 });
    hash = hasher.hash(hash, body);
    lines.push(entryLine(body, hash));
  }
  const keyId = keyIdOf(publicKey);
  const checkpoint = signCheckpoint(
    { sequence: length, hash, wallMs: 1_800_000_000_000, keyId },
    privateKey,
  );
  lines.push(checkpointLine(checkpoint));
  const header = {
    board: 'small',
    publicKey: publicKeyText(publicKey),
    changes: [],
    sequence: 1,
    previousHash: GENESIS_HASH,
  };
  const totals = { entries: length, checkpoints: 1, lastSequence: length, lastHash: hash };
  return { checkpoint, lines: exportBlock(header, lines, totals) };
}

function written(name: string, lines: readonly string[]): string {
  writeFileSync(file(name), lines.map((line) => `${line}\n`).join(''));
  return file(name);
}

function keyFile(): string {
  writeFileSync(file('key.pem'), publicKeyPem);
  return file('key.pem');
}

it('writes an export that it finds intact, into a private file', async () => {
  bench.orchestrator.answers.set('exportAudit', { lines: chain(20).lines, next: 0 });
  const path = file('chain.jsonl');
  const ran = await bench.run(['audit', 'export', path]);
  expect(ran).toMatchObject({ code: 0, stderr: '' });
  expect(ran.stdout).toMatch(/chain\.jsonl +23 /);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const checked = await bench.run(['audit', 'check', path, '--key', keyFile()]);
  expect(checked.code).toBe(0);
  expect(checked.stdout).toMatch(/^export +intact$/m);
  expect(checked.stdout).toMatch(/^entries good +20 \(1 to 20\)$/m);
  expect(readdirSync(bench.directory).filter((name) => name.includes('.part'))).toEqual([]);
});

it('never writes over a file that is there, and leaves nothing of an export that was refused', async () => {
  bench.orchestrator.answers.set('exportAudit', { lines: chain(2).lines, next: 0 });
  writeFileSync(file('mine'), 'mine');
  const there = await bench.run(['audit', 'export', file('mine')]);
  expect(there).toMatchObject({ code: 2, stderr: expect.stringContaining('is there already') });
  expect(readFileSync(file('mine'), 'utf8')).toBe('mine');
  bench.orchestrator.answers.delete('exportAudit');
  expect((await bench.run(['audit', 'export', file('none')])).code).not.toBe(0);
  expect(existsSync(file('none'))).toBe(false);
});

it.each([
  [
    'an entry changed',
    (lines: string[]) => lines.splice(3, 1, (lines[3] ?? '').replace('alice', 'mallo')),
    3,
  ],
  ['an entry taken out', (lines: string[]) => lines.splice(4, 1), 4],
  ['the end cut off', (lines: string[]) => lines.splice(-4), 9],
])('names the first bad entry: %s', async (_what, damage, sequence) => {
  const lines = [...chain(10).lines];
  damage(lines);
  const ran = await bench.run(['audit', 'check', written('bad.jsonl', lines), '--key', keyFile()]);
  expect(ran.code).toBe(8);
  expect(ran.stdout).toMatch(/^export +BROKEN$/m);
  expect(ran.stdout).toMatch(new RegExp(`^first bad entry +${sequence}$`, 'm'));
  expect(ran.stdout).toMatch(/^what is wrong +(modified|deleted|truncated): /m);
});

it('proves with a checkpoint kept elsewhere that a shorter chain was cut off', async () => {
  const long = chain(10);
  bench.orchestrator.answers.set('auditCheckpoint', { checkpoint: long.checkpoint, publicKeyPem });
  const kept = file('checkpoint.json');
  const ran = await bench.run(['audit', 'checkpoint', '--out', kept]);
  expect(ran.code).toBe(0);
  expect(ran.stdout).toMatch(/^last entry +10$/m);
  expect(ran.stdout).toContain(long.checkpoint.hash);
  const short = written('short.jsonl', chain(6).lines);
  const cut = await bench.run(['audit', 'check', short, '--checkpoint', kept]);
  expect(cut).toMatchObject({ code: 8, stdout: expect.stringContaining('BROKEN') });
  const whole = written('whole.jsonl', long.lines);
  expect((await bench.run(['audit', 'check', whole, '--checkpoint', kept])).code).toBe(0);
  writeFileSync(
    file('witness'),
    `${JSON.stringify(chain(3).checkpoint)}\n${JSON.stringify(long.checkpoint)}\n`,
  );
  const witnessed = ['audit', 'check', whole, '--key', keyFile(), '--checkpoint', file('witness')];
  expect((await bench.run(witnessed)).code).toBe(0);
});

it('reads packed exports and says when their packing is cut off', async () => {
  const packed = gzipSync(
    chain(5)
      .lines.map((line) => `${line}\n`)
      .join(''),
  );
  writeFileSync(file('chain.gz'), packed);
  expect((await bench.run(['audit', 'check', file('chain.gz'), '--key', keyFile()])).code).toBe(0);
  writeFileSync(file('cut.gz'), packed.subarray(0, packed.length - 20));
  const cut = await bench.run(['audit', 'check', file('cut.gz'), '--key', keyFile()]);
  expect(cut).toMatchObject({ code: 8, stderr: expect.stringContaining('cut off') });
});

it('checks nothing with no key, with a key of the wrong kind, or with the private one', async () => {
  const path = written('chain.jsonl', chain(3).lines);
  const none = await bench.run(['audit', 'check', path]);
  expect(none).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('no public key was given'),
  });
  const wrong = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
  writeFileSync(file('wrong.pem'), wrong.export({ type: 'spki', format: 'pem' }));
  expect((await bench.run(['audit', 'check', path, '--key', file('wrong.pem')])).code).toBe(2);
  const secret = createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' }));
  writeFileSync(file('secret.pem'), secret.export({ type: 'pkcs8', format: 'pem' }));
  expect((await bench.run(['audit', 'check', path, '--key', file('secret.pem')])).code).toBe(2);
  expect((await bench.run(['audit', 'check', file('no'), '--key', keyFile()])).stderr).toContain(
    'ENOENT',
  );
});

it('finds an export of another key, whatever it says of itself', async () => {
  const other = generateKeyPairSync('ed25519').publicKey;
  writeFileSync(file('other.pem'), other.export({ type: 'spki', format: 'pem' }));
  const path = written('chain.jsonl', chain(3).lines);
  const ran = await bench.run(['audit', 'check', path, '--key', file('other.pem')]);
  expect(ran).toMatchObject({ code: 8, stdout: expect.stringContaining('wrong-key') });
});

it('ends with the code of damage when the agent finds its own chain broken, and archives with a reason', async () => {
  bench.orchestrator.verifyAudit = async () => {
    return { ok: true, value: { entries: 4, intact: false, finding: 'entry 5 was modified' } };
  };
  const broken = await bench.run(['audit', 'verify']);
  expect(broken).toMatchObject({
    code: 8,
    stdout: expect.stringContaining('entry 5 was modified'),
  });
  bench.orchestrator.answers.set('archiveAudit', { archived: 1000, message: 'sealed' });
  const archived = await bench.run(['audit', 'archive', '--reason', 'the disk fills']);
  expect(archived).toMatchObject({ code: 0, stdout: expect.stringContaining('1000') });
});
