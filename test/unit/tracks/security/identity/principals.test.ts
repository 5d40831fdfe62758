// Accounts and sessions: what a connection proves, until when, and how it ends.

import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { ClearanceLevel, type Credential } from '#model/principal';
import { type Account, hashToken, Principals } from '#tracks/security/identity/principals';
import { codeOf, must } from '../../../../support/kernel-bench.ts';
import { PERSON, SECOND } from './people.ts';

const ALICE: Account = {
  principal: PERSON,
  enabled: true,
  tokenHashes: [hashToken('alice-secret')],
  certificateUris: ['urn:dsmil:principal:alice'],
  localUids: [1000],
};
const BOB: Account = {
  principal: SECOND,
  enabled: false,
  tokenHashes: [hashToken('bob-secret')],
  certificateUris: ['urn:dsmil:principal:bob'],
  localUids: [1001],
};
const TOKEN: Credential = { kind: 'token', token: 'alice-secret' };

let clock: VirtualClock;
let principals: Principals;

beforeEach(() => {
  clock = new VirtualClock();
  principals = new Principals(clock, [ALICE, BOB]);
});

describe('signing in', () => {
  it.each<[string, Credential]>([
    ['a token', TOKEN],
    ['a certificate', { kind: 'certificate', uri: 'urn:dsmil:principal:alice', fingerprint: 'f' }],
    ['a local user', { kind: 'local', uid: 1000, gid: 5, pid: 6 }],
  ])('with %s gives a session of that person', (_, credential) => {
    const session = must(principals.authenticate(credential));
    expect(session.principal).toEqual(PERSON);
    expect(must(principals.session(session.id))).toEqual(session);
  });

  it.each<[string, Credential]>([
    ['a wrong token', { kind: 'token', token: 'alice-secreT' }],
    ['the hash of a token', { kind: 'token', token: hashToken('alice-secret') }],
    ['an empty token', { kind: 'token', token: '' }],
    [
      'another letter case',
      { kind: 'certificate', uri: 'URN:dsmil:principal:alice', fingerprint: 'f' },
    ],
    ['an unknown local user', { kind: 'local', uid: 0, gid: 0, pid: 1 }],
    ['a disabled account', { kind: 'token', token: 'bob-secret' }],
    ['a disabled local user', { kind: 'local', uid: 1001, gid: 0, pid: 1 }],
  ])('with %s is refused, without a word on what was wrong', (_, credential) => {
    const refused = principals.authenticate(credential);
    expect(codeOf(refused)).toBe('NOT_AUTHENTICATED');
    expect(!refused.ok && refused.fault.finding).toMatch(/belongs to no enabled account$/);
    expect(!refused.ok && refused.fault.finding).not.toMatch(/secret/i);
  });

  it('gives another, unguessable id each time', () => {
    const ids = Array.from({ length: 50 }, () => must(principals.authenticate(TOKEN)).id);
    expect(new Set(ids).size).toBe(50);
    for (const id of ids) expect(id).toMatch(/^[\w-]{32}$/);
  });

  it('is refused when a thousand and twenty-four sessions are open, until one ends', () => {
    const ids = Array.from({ length: 1_024 }, () => must(principals.authenticate(TOKEN)).id);
    expect(codeOf(principals.authenticate(TOKEN))).toBe('BUSY');
    principals.end(ids[0] ?? '');
    expect(principals.authenticate(TOKEN).ok).toBe(true);
  });
});

describe('a session', () => {
  it('is unknown before it was opened and after it has ended', () => {
    expect(codeOf(principals.session('made-up'))).toBe('NOT_AUTHENTICATED');
    const { id } = must(principals.authenticate(TOKEN));
    principals.end(id);
    expect(codeOf(principals.session(id))).toBe('NOT_AUTHENTICATED');
  });

  it('expires after twelve hours', async () => {
    const { id, expiresAtWallMs } = must(principals.authenticate(TOKEN));
    expect(expiresAtWallMs - clock.wallMs()).toBe(12 * 3_600_000);
    await clock.advance(12 * 3_600_000 - 1);
    expect(principals.session(id).ok).toBe(true);
    await clock.advance(1);
    expect(codeOf(principals.session(id))).toBe('NOT_AUTHENTICATED');
  });

  it('stays locked, and locks no other session', () => {
    const locked = must(principals.authenticate(TOKEN)).id;
    const other = must(principals.authenticate(TOKEN)).id;
    principals.lock(locked, 'locked after an attempt on a quarantined device');
    const refused = principals.session(locked);
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'ACCOUNT_LOCKED',
      finding: 'locked after an attempt on a quarantined device',
    });
    principals.replaceAccounts([ALICE]);
    expect(codeOf(principals.session(locked))).toBe('ACCOUNT_LOCKED');
    expect(principals.session(other).ok).toBe(true);
    principals.lock('made-up', 'nothing happens');
  });

  it.each([
    ['is gone', [BOB]],
    ['was disabled', [{ ...ALICE, enabled: false }]],
  ])('ends at once when its account %s, and does not come back', (_, accounts) => {
    const { id } = must(principals.authenticate(TOKEN));
    principals.replaceAccounts(accounts);
    expect(codeOf(principals.session(id))).toBe('NOT_AUTHENTICATED');
    principals.replaceAccounts([ALICE]);
    expect(codeOf(principals.session(id))).toBe('NOT_AUTHENTICATED');
  });

  it('has the rights of its account as it is now, not as it was at the sign-in', () => {
    const { id } = must(principals.authenticate(TOKEN));
    const reduced = { ...PERSON, clearance: ClearanceLevel.RESTRICTED };
    principals.replaceAccounts([{ ...ALICE, principal: reduced }]);
    expect(must(principals.session(id)).principal.clearance).toBe(ClearanceLevel.RESTRICTED);
  });
});

describe('what a session was opened with', () => {
  const opened = (credential: Credential) =>
    principals.credentialOf(must(principals.authenticate(credential)).id);
  const certificate = (fingerprint: string): Credential => ({
    kind: 'certificate',
    uri: 'urn:dsmil:principal:alice',
    fingerprint,
  });

  it('is the same for the same proof, another for another one, and tells nothing of it', () => {
    expect(opened(TOKEN)).toBe(opened(TOKEN));
    // A renewed certificate is the same proof; so is another connection of the same local user.
    expect(opened(certificate('new'))).toBe(opened(certificate('old')));
    const local = (pid: number): Credential => ({ kind: 'local', uid: 1000, gid: 5, pid });
    expect(opened(local(6))).toBe(opened(local(7)));
    expect(new Set([opened(TOKEN), opened(certificate('f')), opened(local(6))]).size).toBe(3);
    expect(opened(TOKEN)).not.toContain('secret');
    expect(opened(TOKEN)).not.toBe(hashToken('alice-secret'));
  });

  it('goes over to nobody: a token that changes hands stays the same token', () => {
    const asAlice = opened(TOKEN);
    const bob = { ...BOB, enabled: true, tokenHashes: ALICE.tokenHashes };
    principals.replaceAccounts([{ ...ALICE, tokenHashes: [] }, bob]);
    const session = must(principals.authenticate(TOKEN));
    expect(session.principal).toEqual(SECOND);
    expect(principals.credentialOf(session.id)).toBe(asAlice);
  });

  it('is nothing for a session that is not there', () => {
    const session = must(principals.authenticate(TOKEN));
    principals.end(session.id);
    expect([principals.credentialOf(session.id), principals.credentialOf('made-up')]).toEqual([
      '',
      '',
    ]);
  });
});
