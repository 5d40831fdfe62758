// Where private keys come from, in which order, and which files are refused as keys.

import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
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
import type { Outcome } from '#foundation/outcome';
import { keyIdOf } from '#model/authorization';
import { CREDENTIALS, KeyStore } from '../../../src/bin/key-store.ts';
import { newKey, privateKeyPem } from '../../support/certificate-requests.ts';
import { must } from '../../support/kernel-bench.ts';

let directory: string;
let credentials: string;
let state: string;
let notes: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-keys-'));
  credentials = join(directory, 'credentials');
  state = join(directory, 'security');
  for (const path of [credentials, state]) mkdirSync(path, { mode: 0o700 });
  notes = [];
});
afterEach(() => rmSync(directory, { recursive: true }));

const checkpointFile = () => join(state, 'checkpoint-key.pem');
const authorityFile = () => join(state, 'ca-key.pem');

function storeWith(given: string | undefined = credentials): KeyStore {
  return new KeyStore({
    credentials: given,
    authorityKey: authorityFile(),
    checkpointKey: checkpointFile(),
    onNote: (detail, message) => notes.push(`${JSON.stringify(detail)} ${message}`),
  });
}

function put(path: string, key: KeyObject, mode = 0o600): KeyObject {
  writeFileSync(path, privateKeyPem(key), { mode });
  chmodSync(path, mode);
  return key;
}

const idOf = (key: KeyObject) => keyIdOf(createPublicKey(key));

function refusalOf(outcome: Outcome<unknown>): string {
  if (outcome.ok) return 'taken';
  expect(outcome.fault.code).toBe('CONFIG_INVALID');
  return `${outcome.fault.place} ${outcome.fault.finding}`;
}

describe('a key comes', () => {
  it('from a credential before the state directory, which is noted where both are there', () => {
    const given = put(join(credentials, CREDENTIALS.authority), newKey(), 0o400);
    put(authorityFile(), newKey());
    const found = must(storeWith().authorityKey('refuse'));
    expect(found.from).toBe('credential');
    expect(found.key.equals(given)).toBe(true);
    expect(notes).toEqual([
      expect.stringMatching(
        /ca-key.pem.*another key lies in the state directory; the credential is used/,
      ),
    ]);
  });

  it('from a credential without a word where the state directory has the same', () => {
    const key = newKey();
    put(join(credentials, CREDENTIALS.authority), key);
    put(authorityFile(), key);
    expect(must(storeWith().authorityKey('refuse')).from).toBe('credential');
    expect(notes).toEqual([]);
  });

  it.each([
    ['the directory has others', true],
    ['systemd gives none', false],
  ])('from the state directory where %s', (_, some) => {
    const kept = put(authorityFile(), newKey());
    const found = must(storeWith(some ? credentials : undefined).authorityKey('refuse'));
    expect(found.from).toBe('state');
    expect(found.key.equals(kept)).toBe(true);
  });

  it('into being where there is none and one may be made: durable, for its owner alone, the same next time', () => {
    const made = must(storeWith().checkpointKeys('make'));
    expect(made.from).toBe('new');
    expect(statSync(checkpointFile()).mode & 0o777).toBe(0o600);
    expect(readdirSync(state)).toEqual(['checkpoint-key.pem']);
    const again = must(storeWith().checkpointKeys('refuse'));
    expect(again.from).toBe('state');
    expect(again.keys[0].equals(made.keys[0])).toBe(true);
    const authority = must(storeWith().authorityKey('make'));
    expect(authority.key.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(notes.join()).not.toMatch(/PRIVATE/);
  });

  it('from nowhere where what it signed is there and it is not', () => {
    expect(refusalOf(storeWith().checkpointKeys('refuse'))).toMatch(
      /checkpoint-key.pem is neither/,
    );
    expect(existsSync(checkpointFile())).toBe(false);
  });
});

describe('a file is refused as a key', () => {
  it.each([0o640, 0o620, 0o604, 0o660, 0o777, 0o610])('with the mode %o', (mode) => {
    put(authorityFile(), newKey(), mode);
    expect(refusalOf(storeWith().authorityKey('make'))).toMatch(
      /ca-key.pem has the mode 0\d{3}, so that (its group|others) can get at it/,
    );
  });

  it('as a credential that others can read; the bits of the group are the mask of its access list', () => {
    const path = join(credentials, CREDENTIALS.authority);
    put(path, newKey(), 0o440);
    expect(storeWith().authorityKey('refuse').ok).toBe(true);
    chmodSync(path, 0o444);
    expect(refusalOf(storeWith().authorityKey('refuse'))).toMatch(
      /dsmil.authority-key has the mode 0444/,
    );
  });

  it.each([
    ['ed25519', () => newKey('Ed25519')],
    ['rsa', () => newKey('RSA')],
    ['secp521r1', () => newKey('P-521')],
  ])('of the kind %s for the authority', (kind, make) => {
    put(authorityFile(), make());
    expect(refusalOf(storeWith().authorityKey('make'))).toContain(
      `is of the kind ${kind}, and prime256v1 or secp384r1 is needed`,
    );
  });

  it('of the kind prime256v1 for checkpoints', () => {
    put(checkpointFile(), newKey());
    expect(refusalOf(storeWith().checkpointKeys('make'))).toContain('and ed25519 is needed');
  });

  it('that is a symbolic link, a directory, too large, or no key, and its text is not told', () => {
    const cases: readonly (readonly [RegExp, () => void])[] = [
      [/symbolic link/, () => symlinkSync(put2(), authorityFile())],
      [/no plain file/, () => mkdirSync(authorityFile(), { mode: 0o700 })],
      [/larger than/, () => writeFileSync(authorityFile(), 'x'.repeat(20_000), { mode: 0o600 })],
      [/no private key/, () => writeFileSync(authorityFile(), 'secret words', { mode: 0o600 })],
      [
        /no private key/,
        () => {
          const { publicKey } = generateKeyPairSync('ed25519');
          const text = publicKey.export({ type: 'spki', format: 'pem' });
          writeFileSync(authorityFile(), text, { mode: 0o600 });
        },
      ],
    ];
    function put2(): string {
      const path = join(directory, 'elsewhere.pem');
      put(path, newKey());
      return path;
    }
    for (const [finding, make] of cases) {
      rmSync(authorityFile(), { recursive: true, force: true });
      make();
      const refused = storeWith().authorityKey('make');
      expect(refusalOf(refused)).toMatch(finding);
      expect(JSON.stringify(refused)).not.toMatch(/secret words|BEGIN/);
    }
  });

  it('behind a pass phrase', () => {
    const text = newKey().export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'open sesame',
    });
    writeFileSync(authorityFile(), text, { mode: 0o600 });
    expect(refusalOf(storeWith().authorityKey('make'))).toMatch(/without a pass phrase/);
  });
});

describe('a new checkpoint key', () => {
  it('is on disk beside the one before it until the chain has settled for one', () => {
    const store = storeWith();
    const [before] = must(store.checkpointKeys('make')).keys;
    const fresh = must(store.newCheckpointKey());
    const both = must(storeWith().checkpointKeys('refuse')).keys;
    expect(both.map(idOf)).toEqual([idOf(fresh), idOf(before)]);
    expect(statSync(`${checkpointFile()}.previous`).mode & 0o777).toBe(0o600);
    store.settleCheckpointKey(idOf(fresh));
    expect(must(storeWith().checkpointKeys('refuse')).keys.map(idOf)).toEqual([idOf(fresh)]);
    expect(readdirSync(state)).toEqual(['checkpoint-key.pem']);
  });

  it('is not made while a change before it is not settled: the key that the chain names is never written over', () => {
    const store = storeWith();
    const [before] = must(store.checkpointKeys('make')).keys;
    must(store.newCheckpointKey());
    expect(storeWith().newCheckpointKey()).toMatchObject({ ok: false, fault: { code: 'BUSY' } });
    storeWith().settleCheckpointKey(idOf(before));
    expect(must(storeWith().checkpointKeys('refuse')).keys.map(idOf)).toEqual([idOf(before)]);
  });

  it('goes again where the chain never named it', () => {
    const store = storeWith();
    const [before] = must(store.checkpointKeys('make')).keys;
    must(store.newCheckpointKey());
    storeWith().settleCheckpointKey(idOf(before));
    expect(must(storeWith().checkpointKeys('refuse')).keys.map(idOf)).toEqual([idOf(before)]);
    expect(notes.at(-1)).toMatch(/cut short: the key before stays in use/);
  });

  it('is not made where the key is a credential, which is replaced where it comes from', () => {
    put(join(credentials, CREDENTIALS.checkpoint), newKey('Ed25519'));
    const refused = storeWith().newCheckpointKey();
    expect(refused).toMatchObject({ ok: false, fault: { code: 'OPERATION_UNSUPPORTED' } });
    expect(readdirSync(state)).toEqual([]);
  });

  it('given as a credential is offered together with the one that the chain still names', () => {
    const old = put(checkpointFile(), newKey('Ed25519'));
    const given = put(join(credentials, CREDENTIALS.checkpoint), newKey('Ed25519'));
    const { keys, from } = must(storeWith().checkpointKeys('refuse'));
    expect(from).toBe('credential');
    expect(keys.map(idOf)).toEqual([idOf(given), idOf(old)]);
    expect(readFileSync(checkpointFile(), 'utf8')).toBe(privateKeyPem(old));
  });
});
