// The account file: strict, whole or not at all, and nobody can be two people.

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AccountRecord, loadAccounts, saveAccounts } from '#config/accounts';
import { ClearanceLevel } from '#model/principal';

let path: string;
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-accounts-'));
  path = join(directory, 'accounts.json');
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const ALICE: AccountRecord = {
  id: 'alice',
  name: 'Alice',
  kind: 'person',
  clearance: 'SECRET',
  compartments: ['MAINT'],
  devices: [0, 83],
  enabled: true,
  underReview: false,
  tokenHashes: ['a'.repeat(64)],
  certificateUris: ['urn:dsmil:principal:alice'],
  localUids: [1000],
};
const BOB: AccountRecord = {
  ...ALICE,
  id: 'bob',
  tokenHashes: ['b'.repeat(64)],
  certificateUris: ['urn:dsmil:principal:bob'],
  localUids: [1001],
};

/** The finding about a file that holds this. */
function findingAbout(content: unknown): string {
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  const loaded = loadAccounts(path);
  if (loaded.ok) return 'accepted';
  expect(loaded.fault.code).toBe('CONFIG_INVALID');
  expect(loaded.fault.place).toBe('accounts.json');
  return loaded.fault.finding;
}

describe('the account file', () => {
  it('gives back what was saved, readable by its owner alone', () => {
    saveAccounts(path, [ALICE, { ...BOB, devices: null }]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const loaded = loadAccounts(path);
    expect(loaded.ok && loaded.value.map((account) => account.principal)).toEqual([
      {
        id: 'alice',
        name: 'Alice',
        kind: 'person',
        clearance: ClearanceLevel.SECRET,
        compartments: ['MAINT'],
        devices: [0, 83],
        underReview: false,
      },
      expect.objectContaining({ id: 'bob', devices: null }),
    ]);
    expect(loaded.ok && loaded.value[0]).toMatchObject({
      enabled: true,
      tokenHashes: ALICE.tokenHashes,
      certificateUris: ALICE.certificateUris,
      localUids: [1000],
    });
  });

  it('leaves the old file whole when the new one cannot be written', () => {
    saveAccounts(path, [ALICE]);
    const before = readFileSync(path, 'utf8');
    expect(() => saveAccounts(join(directory, 'missing', 'accounts.json'), [BOB])).toThrow();
    expect(readFileSync(path, 'utf8')).toBe(before);
  });

  it.each([
    ['no file member', {}, /accounts/],
    ['an unknown member', { accounts: [{ ...ALICE, admin: true }] }, /accounts\/0/],
    ['a clearance nobody has', { accounts: [{ ...ALICE, clearance: 'GOD' }] }, /clearance/],
    ['an unknown compartment', { accounts: [{ ...ALICE, compartments: ['X'] }] }, /compartments/],
    ['a token in clear', { accounts: [{ ...ALICE, tokenHashes: ['secret'] }] }, /tokenHashes/],
    ['a device out of range', { accounts: [{ ...ALICE, devices: [84] }] }, /devices/],
    ['an id with a path in it', { accounts: [{ ...ALICE, id: '../root' }] }, /id/],
    [
      'a missing right',
      { accounts: [{ ...ALICE, underReview: undefined }] },
      /underReview|accounts\/0/,
    ],
  ])('refuses %s and names the place', (_, content, place) => {
    expect(findingAbout(content)).toMatch(place);
  });

  it('refuses what is no JSON, and a file that is not there, without naming a path', () => {
    expect(findingAbout('{"accounts": [')).toBe('the account file cannot be read as JSON');
    const missing = loadAccounts(join(directory, 'missing.json'));
    expect(!missing.ok && missing.fault.finding).not.toContain(directory);
    expect(!missing.ok && missing.fault.internal).toContain('ENOENT');
  });

  it('refuses an account that appears twice', () => {
    expect(findingAbout({ accounts: [ALICE, { ...BOB, id: 'alice' }] })).toBe(
      'account alice appears twice',
    );
  });

  it.each([
    ['token', { tokenHashes: ALICE.tokenHashes }, /^a token belongs to alice and to bob$/],
    [
      'certificate',
      { certificateUris: ALICE.certificateUris },
      /urn:dsmil:principal:alice belongs/,
    ],
    ['local user', { localUids: [1000] }, /^local user 1000 belongs to alice and to bob$/],
  ])('refuses a %s that would sign in as either of two people', (_, shared, finding) => {
    const found = findingAbout({ accounts: [ALICE, { ...BOB, ...shared }] });
    expect(found).toMatch(finding);
    expect(found).not.toContain('aaaa');
  });
});
