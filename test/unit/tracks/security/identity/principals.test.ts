// Sessions: what a connection proves, whose it is now, until when, and how it ends.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AccountRecord } from '#model/account';
import type { Session, SessionsEnded } from '#model/orchestrator-port';
import { ClearanceLevel, type Credential, type Origin } from '#model/principal';
import { SESSIONS_PER_ACCOUNT_MAX } from '#tracks/security/identity/principals';
import { hashToken } from '#tracks/security/identity/secrets';
import { IDLE_MS, SIGN_IN_MS, SIGN_INS_PER_PERSON_MAX } from '#tracks/security/identity/sign-ins';
import { SOURCE_WINDOW_MS } from '#tracks/security/identity/sources';
import { accountFor } from '../../../../../src/bin/persona.ts';
import { IdentityBench } from '../../../../support/identity-bench.ts';
import { codeOf, must } from '../../../../support/kernel-bench.ts';
import { PERSON, SECOND } from '../people.ts';

const ORIGIN: Origin = { transport: 'rest', peer: '127.0.0.1:4000' };
const TOKEN: Credential = { kind: 'token', token: 'alice-secret' };
const CERTIFICATE: Credential = {
  kind: 'certificate',
  uri: 'urn:dsmil:principal:alice',
  fingerprint: 'AA:01',
};
const LOCAL: Credential = { kind: 'local', uid: 1000, gid: 5, pid: 6 };
const ALICE = accountFor(PERSON, {
  certificateUris: ['urn:dsmil:principal:alice'],
  localUids: [1000],
});
const BOB = accountFor(SECOND, {
  enabled: false,
  certificateUris: ['urn:dsmil:principal:bob'],
  localUids: [1001],
});

let bench: IdentityBench;
let ended: SessionsEnded[];

/** Listens as the orchestrator does. */
function listen(): void {
  ended = [];
  bench.principals.onEnded((over) => ended.push(over));
}

beforeEach(() => {
  bench = new IdentityBench([
    { account: ALICE, token: 'alice-secret' },
    { account: BOB, token: 'bob-secret' },
  ]);
  listen();
});
afterEach(() => bench.close());

const show = (credential: Credential, origin = ORIGIN) =>
  bench.principals.authenticate(credential, origin);
const open = async (credential: Credential): Promise<Session> => must(await show(credential));

/** A sign-in with a password, as the desk opens it. */
async function signIn(account = 'alice'): Promise<Credential & { readonly kind: 'token' }> {
  const opening = bench.signIns.open(account, ORIGIN);
  await bench.store.transact(() => opening.write());
  for (const over of opening.noteOpened() ?? [])
    bench.principals.endSessions(({ handle }) => handle === over.handle, 'too many');
  return { kind: 'token', token: opening.token };
}

const ways: readonly [string, Credential][] = [
  ['a token', TOKEN],
  ['a certificate', CERTIFICATE],
  ['a local user', LOCAL],
];

describe('signing in', () => {
  it.each(ways)('with %s gives a session of that person', async (_, credential) => {
    const session = await open(credential);
    expect(session).toMatchObject({
      principal: PERSON,
      administrator: false,
      way: credential.kind,
      scope: null,
    });
    expect(must(bench.principals.session(session.id))).toEqual(session);
  });

  it.each<[string, Credential]>([
    ['a wrong token', { kind: 'token', token: 'alice-secreT' }],
    ['the hash of a token', { kind: 'token', token: hashToken('alice-secret') }],
    ['an empty token', { kind: 'token', token: '' }],
    ['another letter case', { ...CERTIFICATE, uri: 'URN:dsmil:principal:alice' }],
    ['a name that begins the same', { ...CERTIFICATE, uri: 'urn:dsmil:principal:alice2' }],
    [
      'a name with a letter that looks the same',
      { ...CERTIFICATE, uri: 'urn:dsmil:principal:аlice' },
    ],
    ['an unknown local user', { kind: 'local', uid: 0, gid: 0, pid: 1 }],
    ['a disabled account', { kind: 'token', token: 'bob-secret' }],
    ['a disabled local user', { kind: 'local', uid: 1001, gid: 0, pid: 1 }],
  ])('with %s is refused, without a word on what was wrong', async (_, credential) => {
    const refused = await show(credential);
    expect(codeOf(refused)).toBe('NOT_AUTHENTICATED');
    expect(!refused.ok && refused.fault.finding).toMatch(/belongs to no enabled account$/);
    expect(JSON.stringify(refused)).not.toMatch(/secret/i);
  });

  it('with a certificate that is not good is refused, and its holder hears why', async () => {
    bench.refused.set('AA:01', 'it was revoked: the panel was lost');
    const refused = await show(CERTIFICATE);
    expect(codeOf(refused)).toBe('NOT_AUTHENTICATED');
    expect(!refused.ok && refused.fault.finding).toContain('it was revoked: the panel was lost');
    expect((await show({ ...CERTIFICATE, fingerprint: 'BB:02' })).ok).toBe(true);
  });

  it.each([
    ['a certificate', CERTIFICATE],
    ['a local user', LOCAL],
  ])('with %s that two accounts claim is refused', async (_, credential) => {
    const { certificateUris, localUids } = ALICE;
    await bench.change('bob', { enabled: true, certificateUris, localUids });
    expect(codeOf(await show(credential))).toBe('NOT_AUTHENTICATED');
    expect((await show(TOKEN)).ok).toBe(true);
  });

  it.each<[string, Partial<AccountRecord>]>([
    ['before it', { validFromWallMs: 1_767_225_600_001 }],
    ['at its end', { validUntilWallMs: 1_767_225_600_000 }],
  ])('outside the time of validity, %s, is refused', async (_, change) => {
    await bench.change('alice', change);
    for (const [, credential] of ways)
      expect(codeOf(await show(credential))).toBe('NOT_AUTHENTICATED');
  });

  it('gives another, unguessable id each time', async () => {
    const ids = await Promise.all(Array.from({ length: 50 }, async () => (await open(TOKEN)).id));
    expect(new Set(ids).size).toBe(50);
    for (const id of ids) expect(id).toMatch(/^[\w-]{32}$/);
  });

  it('has the scope of its token, and ends with it', async () => {
    const made = bench.tokens.make({
      account: 'alice',
      name: 'script',
      scope: ['status'],
      lifetimeMs: 60_000,
    });
    await bench.tokens.save(made.token);
    const session = await open({ kind: 'token', token: made.text });
    expect(session.scope).toEqual(['status']);
    expect(session.expiresAtWallMs).toBe(bench.clock.wallMs() + 60_000);
    await bench.clock.advance(60_000);
    expect(codeOf(bench.principals.session(session.id))).toBe('NOT_AUTHENTICATED');
    expect(codeOf(await show({ kind: 'token', token: made.text }))).toBe('NOT_AUTHENTICATED');
  });

  it('from one account too often ends the longest unused, and no other account', async () => {
    const first = await open(TOKEN);
    const second = await open(TOKEN);
    await bench.clock.advance(10);
    bench.principals.session(first.id);
    for (let at = 2; at < SESSIONS_PER_ACCOUNT_MAX; at++) await open(CERTIFICATE);
    expect(ended).toEqual([]);
    await open(LOCAL);
    expect(ended).toMatchObject([{ sessionIds: [second.id] }]);
    expect(bench.principals.session(first.id).ok).toBe(true);
  });

  it('is refused while 1,024 sessions are in use, and takes the place of one that is not', async () => {
    const crowd = Array.from({ length: 4 }, (_, at) => `crowd-${at}`);
    for (const id of crowd) {
      await bench.accounts.save(accountFor({ ...PERSON, id }, { certificateUris: [`urn:${id}`] }));
      for (let at = 0; at < SESSIONS_PER_ACCOUNT_MAX; at++)
        await open({ kind: 'certificate', uri: `urn:${id}`, fingerprint: 'CC' });
    }
    expect(codeOf(await show(TOKEN))).toBe('BUSY');
    await bench.clock.advance(600_001);
    expect((await show(TOKEN)).ok).toBe(true);
    expect(ended).toHaveLength(1);
  });

  describe('from a source that failed 20 times', () => {
    const bad = (at: number): Credential => ({ kind: 'token', token: `guess ${at}` });
    const SAME: Origin = { transport: 'grpc', peer: '10.0.0.1:77' };
    beforeEach(async () => {
      for (let at = 0; at < 20; at++) {
        const transport = (['rest', 'grpc', 'websocket'] as const)[at % 3] ?? 'rest';
        const refused = await show(bad(at), { transport, peer: `10.0.0.1:${at}` });
        expect(codeOf(refused)).toBe('NOT_AUTHENTICATED');
      }
    });

    it.each(ways)('is as good as ever with %s', async (_, credential) => {
      const session = must(await show(credential, SAME));
      expect(must(bench.principals.session(session.id)).principal).toEqual(PERSON);
    });

    it('is as good as ever with the token of a sign-in', async () => {
      expect((await show(await signIn(), SAME)).ok).toBe(true);
    });

    it.each<[string, Credential]>([
      ['a wrong token', bad(20)],
      ['a token shown before', bad(0)],
      ['the token of a disabled account', { kind: 'token', token: 'bob-secret' }],
      ['a certificate of nobody', { ...CERTIFICATE, uri: 'urn:dsmil:principal:mallory' }],
      ['a local user who is nobody', { kind: 'local', uid: 0, gid: 0, pid: 1 }],
    ])('is refused for its rate with %s, on every transport', async (_, credential) => {
      expect(codeOf(await show(credential, SAME))).toBe('RATE_LIMITED');
      expect(codeOf(await show(credential, { ...SAME, transport: 'rest' }))).toBe('RATE_LIMITED');
    });

    it('is refused for its rate with a certificate that was revoked', async () => {
      bench.refused.set('AA:01', 'it was revoked');
      expect(codeOf(await show(CERTIFICATE, SAME))).toBe('RATE_LIMITED');
    });

    it('keeps nobody out elsewhere, and is forgotten in its time', async () => {
      expect(codeOf(await show(bad(21), { ...SAME, peer: '10.0.0.2:1' }))).toBe(
        'NOT_AUTHENTICATED',
      );
      await bench.clock.advance(SOURCE_WINDOW_MS);
      expect(codeOf(await show(bad(22), SAME))).toBe('NOT_AUTHENTICATED');
    });
  });
});

describe('a session', () => {
  it('is unknown before it was opened and after it has ended', async () => {
    expect(codeOf(bench.principals.session('made-up'))).toBe('NOT_AUTHENTICATED');
    const { id } = await open(TOKEN);
    bench.principals.end(id);
    expect(codeOf(bench.principals.session(id))).toBe('NOT_AUTHENTICATED');
    expect(ended).toEqual([]);
  });

  it.each([
    ['forward', 5 * 86_400_000],
    ['back a day', -86_400_000],
    ['to 1970', -1_767_225_600_000],
  ])(
    'expires after twelve hours, not sooner or later when the clock is set %s',
    async (_, byMs) => {
      const { id, expiresAtWallMs } = await open(TOKEN);
      expect(expiresAtWallMs - bench.clock.wallMs()).toBe(12 * 3_600_000);
      await bench.clock.advance(12 * 3_600_000 - 1);
      bench.clock.jumpWall(byMs);
      expect(bench.principals.session(id).ok).toBe(true);
      await bench.clock.advance(1);
      expect(codeOf(bench.principals.session(id))).toBe('NOT_AUTHENTICATED');
    },
  );

  it('of a password that was locked opens nothing after a restart either', async () => {
    const credential = await signIn();
    const locked = await open(credential);
    bench.principals.lock(locked.id, 'locked after an attempt on a quarantined device');
    expect(codeOf(await show(credential))).toBe('ACCOUNT_LOCKED');
    bench.restart();
    expect(codeOf(await show(credential))).toBe('NOT_AUTHENTICATED');
    // Another sign-in of the person is another session.
    expect((await show(await signIn())).ok).toBe(true);
  });

  it('stays locked, and locks no other session', async () => {
    const locked = (await open(TOKEN)).id;
    const other = (await open(TOKEN)).id;
    bench.principals.lock(locked, 'locked after an attempt on a quarantined device');
    const refused = bench.principals.session(locked);
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'ACCOUNT_LOCKED',
      finding: 'locked after an attempt on a quarantined device',
    });
    await bench.change('alice', { name: 'Alice B.' });
    expect(codeOf(bench.principals.session(locked))).toBe('ACCOUNT_LOCKED');
    expect(bench.principals.session(other).ok).toBe(true);
    bench.principals.lock('made-up', 'nothing happens');
  });

  it.each<[string, Partial<AccountRecord>]>([
    ['was disabled', { enabled: false }],
    ['is not valid any more', { validUntilWallMs: 1 }],
    ['lost the certificate', { certificateUris: [] }],
  ])('ends at once when its account %s, and does not come back', async (_, change) => {
    const { id } = await open(CERTIFICATE);
    await bench.change('alice', change);
    expect(codeOf(bench.principals.session(id))).toBe('NOT_AUTHENTICATED');
    expect(ended).toMatchObject([{ sessionIds: [id] }]);
    await bench.accounts.save(ALICE);
    expect(codeOf(bench.principals.session(id))).toBe('NOT_AUTHENTICATED');
  });

  it('ends when its token or its certificate is revoked, although nobody ends it', async () => {
    const byToken = await open(TOKEN);
    const byCertificate = await open(CERTIFICATE);
    const [token] = bench.tokens.goodOf('alice');
    if (token === undefined) throw new Error('no token');
    await bench.tokens.save(bench.tokens.revoked(token));
    bench.refused.set('AA:01', 'it was revoked');
    await bench.clock.advance(30_000);
    expect(ended.flatMap(({ sessionIds }) => sessionIds).sort()).toEqual(
      [byToken.id, byCertificate.id].sort(),
    );
    expect(codeOf(bench.principals.session(byToken.id))).toBe('NOT_AUTHENTICATED');
  });

  it('has the rights of its account as it is now, not as it was at the sign-in', async () => {
    const { id } = await open(TOKEN);
    await bench.change('alice', { clearance: 'RESTRICTED', administrator: true });
    const now = must(bench.principals.session(id));
    expect(now.principal.clearance).toBe(ClearanceLevel.RESTRICTED);
    expect(now.administrator).toBe(true);
  });

  it('goes on while a stranger guesses at its account; new ones are opened before the machine alone', async () => {
    const { id } = await open(TOKEN);
    for (let at = 0; at < 3; at++) must(bench.lockouts.begin('alice')).failed();
    expect(bench.principals.session(id).ok).toBe(true);
    expect(codeOf(await show(TOKEN))).toBe('ACCOUNT_LOCKED');
    expect(codeOf(await show(CERTIFICATE))).toBe('ACCOUNT_LOCKED');
    expect((await show(LOCAL)).ok).toBe(true);
  });

  it('is closed by a lock for a threat, and no way in opens another', async () => {
    const { id } = await open(TOKEN);
    bench.principals.lockAccount('alice', 'score 95: guessed at quarantined devices');
    bench.principals.lockAccount('alice', 'once more');
    expect(bench.locked).toEqual(['alice']);
    expect(codeOf(bench.principals.session(id))).toBe('ACCOUNT_LOCKED');
    for (const [, credential] of ways)
      expect(codeOf(await show(credential))).toBe('ACCOUNT_LOCKED');
    await bench.store.transact(() => undefined);
    bench.restart();
    expect(codeOf(await show(LOCAL))).toBe('ACCOUNT_LOCKED');
  });
});

describe('a sign-in with a password', () => {
  it('is one session to people, however many connections show its token', async () => {
    const token = await signIn();
    const one = await open(token);
    const other = await open(token);
    expect(one.way).toBe('password');
    expect(other.id).not.toBe(one.id);
    expect(bench.principals.handleOf(one.id)).toBe(bench.principals.handleOf(other.id));
    expect(bench.principals.liveSessions()).toHaveLength(1);
    bench.principals.end(one.id);
    expect(bench.principals.session(other.id).ok).toBe(true);
    expect((await show(token)).ok).toBe(true);
  });

  it('is over for every connection when the person signs out, and its token opens nothing', async () => {
    const token = await signIn();
    const one = await open(token);
    const other = await open(token);
    bench.principals.signOut(one.id);
    expect(ended).toMatchObject([{ sessionIds: [other.id] }]);
    expect(codeOf(bench.principals.session(one.id))).toBe('NOT_AUTHENTICATED');
    expect(codeOf(await show(token))).toBe('NOT_AUTHENTICATED');
    await bench.store.transact(() => undefined);
    bench.restart();
    expect(codeOf(await show(token))).toBe('NOT_AUTHENTICATED');
  });

  it('survives a restart of the process and keeps its end', async () => {
    const token = await signIn();
    const { expiresAtWallMs } = await open(token);
    bench.restart();
    expect((await open(token)).expiresAtWallMs).toBe(expiresAtWallMs);
    for (let half = 1; half < 24; half++) {
      await bench.clock.advance(IDLE_MS - 1);
      expect((await show(token)).ok).toBe(true);
    }
    await bench.clock.advance(IDLE_MS - 1 + 24);
    expect(codeOf(await show(token))).toBe('NOT_AUTHENTICATED');
  });

  it('is over after 30 minutes without use, and every request is a use', async () => {
    const token = await signIn();
    const { id } = await open(token);
    await bench.clock.advance(IDLE_MS - 1);
    expect(bench.principals.session(id).ok).toBe(true);
    await bench.clock.advance(IDLE_MS - 1);
    expect(bench.principals.session(id).ok).toBe(true);
    await bench.clock.advance(IDLE_MS);
    expect(codeOf(bench.principals.session(id))).toBe('NOT_AUTHENTICATED');
    expect(codeOf(await show(token))).toBe('NOT_AUTHENTICATED');
    expect(ended.flatMap(({ sessionIds }) => sessionIds)).toEqual([id]);
  });

  it.each([
    ['is not longer for a clock that is set back over a restart', -86_400_000, true],
    ['is over where the clock went on while the process was away', IDLE_MS, false],
  ])('%s', async (_, byMs, good) => {
    const token = await signIn();
    bench.floor.note(bench.clock.wallMs());
    await bench.store.transact(() => undefined);
    bench.clock.jumpWall(byMs);
    bench.restart();
    expect((await show(token)).ok).toBe(good);
    await bench.clock.advance(IDLE_MS);
    expect((await show(token)).ok).toBe(false);
  });

  it('is twelve hours old at most, however it is used', async () => {
    const token = await signIn();
    for (let usedMs = 0; usedMs < SIGN_IN_MS; usedMs += IDLE_MS / 2) {
      expect((await show(token)).ok).toBe(true);
      await bench.clock.advance(IDLE_MS / 2);
    }
    expect(codeOf(await show(token))).toBe('NOT_AUTHENTICATED');
  });

  it('of one person is one of 16: the longest unused makes room', async () => {
    const tokens: Credential[] = [];
    for (let at = 0; at < SIGN_INS_PER_PERSON_MAX; at++) {
      tokens.push(await signIn());
      await bench.clock.advance(10);
    }
    const [first, second] = tokens;
    if (first === undefined || second === undefined) throw new Error('no tokens');
    const live = await open(second);
    await open(first);
    await bench.clock.advance(10);
    bench.principals.session(live.id);
    tokens.push(await signIn());
    const good = await Promise.all(tokens.map(async (token) => (await show(token)).ok));
    expect(good.filter((one) => !one)).toHaveLength(1);
    expect(good[2]).toBe(false);
  });

  it('is kept as a hash: what lies on disk opens nothing', async () => {
    const { token } = await signIn();
    const [row] = bench.store.database.prepare('SELECT * FROM sign_in').all();
    expect(JSON.stringify(row)).not.toContain(token);
    for (const value of Object.values(row ?? {}))
      expect(codeOf(await show({ kind: 'token', token: String(value) }))).toBe('NOT_AUTHENTICATED');
  });

  it('locked for what its person did is locked on its next connection too', async () => {
    const token = await signIn();
    const { id } = await open(token);
    bench.principals.lock(id, 'locked after an attempt on a quarantined device');
    expect(codeOf(await show(token))).toBe('ACCOUNT_LOCKED');
  });
});

describe('ending sessions', () => {
  it('takes those that match, says how many, and tells whoever serves them', async () => {
    const token = await signIn();
    const own = await open(token);
    await open(token);
    const byCertificate = await open(CERTIFICATE);
    const byToken = await open(TOKEN);
    const handle = bench.principals.handleOf(own.id);
    const count = bench.principals.endSessions(
      (live) => live.session.principal.id === 'alice' && live.handle !== handle,
      'the password was changed',
    );
    expect(count).toBe(2);
    expect(ended).toEqual([
      { sessionIds: [byCertificate.id, byToken.id], reason: 'the password was changed' },
    ]);
    expect(bench.principals.session(own.id).ok).toBe(true);
    expect(bench.principals.endSessions(() => true, 'all')).toBe(1);
    expect(codeOf(await show(token))).toBe('NOT_AUTHENTICATED');
  });

  it('by certificate or token finds what was opened with it', async () => {
    await open(CERTIFICATE);
    await open(TOKEN);
    const [token] = bench.tokens.goodOf('alice');
    const { principals } = bench;
    expect(principals.endSessions(({ tokenId }) => tokenId === token?.id, 'revoked')).toBe(1);
    expect(principals.endSessions(({ fingerprint }) => fingerprint === 'AA:01', 'revoked')).toBe(1);
    expect(principals.endSessions(() => true, 'all')).toBe(0);
  });

  it('inside a transaction takes the rows along', async () => {
    const token = await signIn();
    const { flushes } = bench.store;
    await bench.store.transact(() => bench.principals.endSessions(() => true, 'all'));
    expect(bench.store.flushes).toBe(flushes + 1);
    bench.restart();
    expect(codeOf(await show(token))).toBe('NOT_AUTHENTICATED');
  });

  it('stays so in memory where the transaction fails', async () => {
    const token = await signIn();
    const failing = bench.store.transact(() => {
      bench.principals.endSessions(() => true, 'all');
      throw new Error('the entry did not fit');
    });
    await expect(failing).rejects.toThrow('the entry did not fit');
    expect(codeOf(await show(token))).toBe('NOT_AUTHENTICATED');
  });
});

describe('who holds a session', () => {
  const names = (holder: ReturnType<typeof bench.principals.holder>) => {
    const held = holder();
    return held.ok ? held.value.id : held.fault.code;
  };

  it('stays true when its connection is over and when the person signs out', async () => {
    const token = await signIn();
    const [first, second] = [await open(token), await open(token)];
    const holders = [first, second].map(({ id }) => bench.principals.holder(id));
    bench.principals.end(first.id);
    expect(holders.map(names)).toEqual(['alice', 'alice']);
    bench.principals.signOut(second.id);
    expect(holders.map(names)).toEqual(['alice', 'alice']);
    await bench.change('alice', { clearance: 'RESTRICTED' });
    expect(holders.map((holder) => must(holder()).clearance)).toEqual([1, 1]);
    await bench.change('alice', { enabled: false });
    expect(holders.map(names)).toEqual(['NOT_AUTHENTICATED', 'NOT_AUTHENTICATED']);
  });

  it('is nobody once others ended the sign-in, also after its connection was over', async () => {
    const token = await signIn();
    const { id } = await open(token);
    const holder = bench.principals.holder(id);
    bench.principals.end(id);
    bench.principals.endSessions(({ session }) => session.principal.id === 'alice', 'a test');
    expect(names(holder)).toBe('NOT_AUTHENTICATED');
  });

  it('is nobody while the account or the session is locked', async () => {
    const { id } = await open(TOKEN);
    const holder = bench.principals.holder(id);
    bench.principals.lock(id, 'a test');
    expect(names(holder)).toBe('ACCOUNT_LOCKED');
    const other = bench.principals.holder((await open(CERTIFICATE)).id);
    bench.principals.lockAccount('alice', 'a test');
    expect(names(other)).toBe('ACCOUNT_LOCKED');
  });

  it('is nobody for a session that is not there', () => {
    expect(names(bench.principals.holder('made-up'))).toBe('NOT_AUTHENTICATED');
  });
});

describe('what a session was opened with', () => {
  const opened = async (credential: Credential) =>
    bench.principals.credentialOf((await open(credential)).id);

  it('is the same for the same proof, another for another one, and tells nothing of it', async () => {
    expect(await opened(TOKEN)).toBe(await opened(TOKEN));
    // A renewed certificate is the same proof; so is another connection of the same local user.
    expect(await opened({ ...CERTIFICATE, fingerprint: 'BB' })).toBe(await opened(CERTIFICATE));
    expect(await opened({ ...LOCAL, pid: 7 })).toBe(await opened(LOCAL));
    // A password is one proof, however often it was shown.
    expect(await opened(await signIn())).toBe(await opened(await signIn()));
    const all = [await signIn(), TOKEN, CERTIFICATE, LOCAL].map(opened);
    expect(new Set(await Promise.all(all)).size).toBe(4);
    expect(await opened(TOKEN)).not.toContain('secret');
    expect(await opened(TOKEN)).not.toBe(hashToken('alice-secret'));
  });

  it('goes over to nobody: a token that changes hands stays the same token', async () => {
    const asAlice = await opened(TOKEN);
    await bench.change('bob', { enabled: true });
    const [token] = bench.tokens.goodOf('alice');
    if (token === undefined) throw new Error('no token');
    await bench.tokens.save({ ...token, account: 'bob' });
    const session = await open(TOKEN);
    expect(session.principal).toEqual(SECOND);
    expect(bench.principals.credentialOf(session.id)).toBe(asAlice);
  });

  it('is nothing for a session that is not there', async () => {
    const { id } = await open(TOKEN);
    bench.principals.end(id);
    expect([bench.principals.credentialOf(id), bench.principals.credentialOf('made-up')]).toEqual([
      '',
      '',
    ]);
  });
});

describe('by the policy of the site', () => {
  const MINUTE_MS = 60_000;
  const state = (token: Credential) => show(token).then(codeOf);

  it('a sign-in ends when it was not used for so long, and a session when it is so old', async () => {
    bench.policy = { ...bench.policy, idleMinutes: 5, hoursMax: 1 };
    bench.restart();
    listen();
    const idle = await signIn();
    await bench.clock.advance(5 * MINUTE_MS - 1);
    expect(await state(idle)).toBe('no fault');
    await bench.clock.advance(5 * MINUTE_MS);
    expect(await state(idle)).toBe('NOT_AUTHENTICATED');
    const busy = await signIn();
    const byToken = await open(TOKEN);
    for (let minutes = 0; minutes < 60; minutes += 4) {
      expect(await state(busy)).toBe('no fault');
      await bench.clock.advance(4 * MINUTE_MS);
    }
    expect(await state(busy)).toBe('NOT_AUTHENTICATED');
    expect(codeOf(bench.principals.session(byToken.id))).toBe('NOT_AUTHENTICATED');
    const own = ended.find(({ sessionIds }) => sessionIds.includes(byToken.id));
    expect(own?.reason).toBe('the session is 1 hours old');
  });

  it('what is open ends sooner where the policy was made shorter, and no later where longer', async () => {
    const token = await signIn();
    bench.policy = { ...bench.policy, idleMinutes: 60, hoursMax: 1 };
    bench.restart();
    await bench.clock.advance(60 * MINUTE_MS - 1);
    expect(await state(token)).toBe('no fault');
    bench.policy = { ...bench.policy, hoursMax: 24 };
    bench.restart();
    expect(await state(token)).toBe('no fault');
    for (let hours = 0; hours < 11; hours += 0.5) {
      expect(await state(token)).toBe('no fault');
      await bench.clock.advance(30 * MINUTE_MS);
    }
    await bench.clock.advance(1);
    expect(await state(token)).toBe('NOT_AUTHENTICATED');
  });
});
