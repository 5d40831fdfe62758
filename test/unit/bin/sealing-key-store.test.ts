// Where the sealing key comes from, which files are refused, and that none is lost or left over when it changes.

import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sealingKeyOf } from '#tracks/security/identity/seals';
import { SEALING_CREDENTIALS, SealingKeyStore } from '../../../src/bin/sealing-key-store.ts';
import { must } from '../../support/kernel-bench.ts';

let directory: string;
let credentials: string;
let state: string;
let notes: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-sealing-'));
  credentials = join(directory, 'credentials');
  state = join(directory, 'security');
  for (const path of [credentials, state]) mkdirSync(path, { mode: 0o700 });
  notes = [];
});
afterEach(() => rmSync(directory, { recursive: true }));

const file = () => join(state, 'sealing-key');
const previous = () => `${file()}.previous`;
const credential = () => join(credentials, SEALING_CREDENTIALS.sealing);
const storeWith = (given: string | undefined = credentials) =>
  new SealingKeyStore({
    credentials: given,
    sealingKey: file(),
    onNote: (detail, message) => notes.push(`${JSON.stringify(detail)} ${message}`),
  });

/** The id of a new key in this file. */
function put(path: string, mode = 0o600): string {
  const bytes = randomBytes(32);
  writeFileSync(path, `${bytes.toString('base64')}\n`, { mode });
  chmodSync(path, mode);
  return sealingKeyOf(bytes).id;
}

const none: ReadonlySet<string> = new Set();

describe('the sealing key comes', () => {
  it('into being at the first start: durable, for its owner alone, the same next time, told to nobody', () => {
    const made = storeWith().open();
    expect(made).toMatchObject({ others: [], finding: '' });
    expect(readdirSync(state)).toEqual(['sealing-key']);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(storeWith(undefined).open().current?.id).toBe(made.current?.id);
    expect(notes.join()).not.toContain(readFileSync(file(), 'utf8').trim());
  });

  it('from a credential before the state directory, whose key still opens', () => {
    const kept = put(file());
    const given = put(credential(), 0o440);
    const before = put(join(credentials, SEALING_CREDENTIALS.before), 0o400);
    const { current, others } = storeWith().open();
    expect(current?.id).toBe(given);
    expect(others.map(({ id }) => id)).toEqual([kept, before]);
  });

  it('and is not copied where it is a credential', () => {
    put(credential(), 0o400);
    expect(storeWith().open().finding).toBe('');
    expect(readdirSync(state)).toEqual([]);
  });
});

describe('an unfit key', () => {
  it.each<[string, () => void, RegExp]>([
    ['that others can read', () => put(file(), 0o604), /sealing-key has the mode 0604.*others/],
    [
      'that its group can read',
      () => put(file(), 0o640),
      /sealing-key has the mode 0640.*its group/,
    ],
    ['that is too short', () => writeFileSync(file(), 'c2hvcnQ=', { mode: 0o600 }), /32 bytes/],
    ['that is no base64', () => writeFileSync(file(), 'secret words', { mode: 0o600 }), /32 bytes/],
    ['that is a directory', () => mkdirSync(file(), { mode: 0o700 }), /no plain file/],
    [
      'that is a link',
      () => {
        put(join(directory, 'elsewhere'));
        symlinkSync(join(directory, 'elsewhere'), file());
      },
      /symbolic link/,
    ],
    ['as a credential', () => put(credential(), 0o444), /dsmil.sealing-key has the mode 0444/],
  ])('%s is said, and neither used nor replaced', (_, make, finding) => {
    make();
    const opened = storeWith().open();
    expect(opened.current).toBeNull();
    expect(opened.finding).toMatch(finding);
    expect(`${opened.finding}${notes.join()}`).not.toMatch(/secret words|c2hvcnQ/);
    expect(readdirSync(directory).sort()).toEqual(
      existsSync(join(directory, 'elsewhere'))
        ? ['credentials', 'elsewhere', 'security']
        : ['credentials', 'security'],
    );
    storeWith().settle(none);
    expect(storeWith().open().current).toBeNull();
  });

  it('as a credential lets the one of the state directory open, but not seal', () => {
    const kept = put(file());
    put(credential(), 0o444);
    const { current, others } = storeWith().open();
    expect(current).toBeNull();
    expect(others.map(({ id }) => id)).toEqual([kept]);
    storeWith().settle(none);
    expect(existsSync(file())).toBe(true);
  });
});

describe('a new key', () => {
  it('lies beside the one before it, which goes once nothing names it', () => {
    const before = storeWith().open().current?.id ?? '';
    const { id } = must(storeWith().newKey());
    const both = storeWith().open();
    expect([both.current?.id, ...both.others.map((other) => other.id)]).toEqual([id, before]);
    expect(statSync(previous()).mode & 0o777).toBe(0o600);
    storeWith().settle(new Set([id, before]));
    expect(existsSync(previous())).toBe(true);
    storeWith().settle(new Set([id]));
    expect(readdirSync(state)).toEqual(['sealing-key']);
    expect(storeWith().open().current?.id).toBe(id);
  });

  it('goes again where nothing was sealed with it', () => {
    const before = storeWith().open().current?.id ?? '';
    must(storeWith().newKey());
    storeWith().settle(new Set([before]));
    expect(readdirSync(state)).toEqual(['sealing-key']);
    expect(storeWith().open()).toMatchObject({ current: { id: before }, others: [] });
  });

  it('is not made while one before it is not settled', () => {
    const before = storeWith().open().current?.id ?? '';
    must(storeWith().newKey());
    expect(storeWith().newKey()).toMatchObject({ ok: false, fault: { code: 'BUSY' } });
    expect(
      storeWith()
        .open()
        .others.map(({ id }) => id),
    ).toEqual([before]);
  });

  it('is not made where it is a credential, which is replaced where it comes from', () => {
    put(credential());
    const refused = storeWith().newKey();
    expect(refused).toMatchObject({ ok: false, fault: { code: 'OPERATION_UNSUPPORTED' } });
    expect(!refused.ok && refused.fault.finding).toContain(SEALING_CREDENTIALS.before);
    expect(readdirSync(state)).toEqual([]);
  });

  it('given as a credential has the others removed that nothing names, and no other', () => {
    const kept = put(file());
    const older = put(previous());
    const given = put(credential());
    storeWith().settle(new Set([given, kept]));
    expect(readdirSync(state)).toEqual(['sealing-key']);
    storeWith().settle(new Set([given, older]));
    expect(readdirSync(state)).toEqual([]);
  });
});
