// API tokens through the whole security track: what they are good for, for how long, and who may make them.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AdministrationRequest } from '#model/administration';
import { hashToken } from '#tracks/security/identity/secrets';
import { codeOf, must } from '../../../../support/kernel-bench.ts';
import { DeskBench } from './desk-bench.ts';
import { recordOf } from './records.ts';

const DAY_MS = 86_400_000;

let bench: DeskBench;
let alice: string;
let bob: string;
let erin: string;

beforeEach(async () => {
  bench = await DeskBench.open();
  alice = await bench.local('alice');
  bob = await bench.local('bob');
  erin = await bench.local('erin');
});
afterEach(() => bench.close());

type Wish = Partial<AdministrationRequest<'createToken'>>;
function make(session: string, wish: Wish = {}) {
  const request = { account: 'erin', name: 'script', scope: null, lifetimeDays: 90, ...wish };
  return bench.ask(session, 'createToken', request);
}
const use = (token: string) => bench.signIn({ kind: 'token', token });

describe('the own token', () => {
  it('is made at once, shown once, and kept as a hash only', async () => {
    const made = must(await make(erin, { scope: ['status', 'devices'] }));
    expect(made.done).toBe(true);
    // 256 bits in base64url, behind the prefix.
    expect(made.token).toMatch(/^dsmil_[A-Za-z0-9_-]{43}$/);
    const session = bench.agent.security.principals.session(await use(made.token));
    expect(session.ok && session.value).toMatchObject({
      principal: { id: 'erin' },
      way: 'token',
      scope: ['devices', 'status'],
    });
    const kept = bench.agent.store.database.prepare('SELECT * FROM api_token').all();
    expect(kept.map(({ hash }) => hash)).toContain(hashToken(made.token));
    expect(JSON.stringify([kept, bench.agent.entries()])).not.toContain(made.token.slice(6));
    expect(bench.entries('TOKEN_CREATED')).toMatchObject([
      {
        actor: 'erin',
        operation: 'createToken',
        details: {
          account: 'erin',
          name: 'script',
          scope: ['devices', 'status'],
          tokenId: made.id,
        },
      },
    ]);
  });

  it('opens only the rows of its scope, and the stop', async () => {
    const { token } = must(await make(erin, { scope: ['sessions'] }));
    const session = await use(token);
    expect(must(await bench.ask(session, 'sessions', {})).sessions).not.toEqual([]);
    expect(codeOf(await bench.ask(session, 'tokens', {}))).toBe('SCOPE_EXCEEDED');
    const none = must(await make(erin, { scope: [] }));
    expect(codeOf(await bench.ask(await use(none.token), 'sessions', {}))).toBe('SCOPE_EXCEEDED');
  });

  it('is not made by a token, whatever that may', async () => {
    const { token } = must(await make(erin));
    const refused = await make(await use(token));
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'NOT_PERMITTED',
      finding: 'a token makes no tokens: sign in with a password or a certificate',
    });
  });

  it('is made by who signed in with a password', async () => {
    const { token } = await bench.enrolled('erin');
    expect(must(await make(await use(token))).done).toBe(true);
  });

  it('never holds more than the account may', async () => {
    const refused = await make(erin, { scope: ['status', 'accounts'] });
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'SCOPE_EXCEEDED',
      place: 'scope accounts',
      finding: 'is more than erin may: accounts needs an administrator, erin is none',
      consequence: 'no token was made',
    });
    expect(codeOf(await make(erin, { scope: ['audit'] }))).toBe('SCOPE_EXCEEDED');
    expect(codeOf(await make(erin, { scope: ['publishEvent'] }))).toBe('SCOPE_EXCEEDED');
  });

  it('does not grow with its account, nor outlive a right that it lost', async () => {
    const { token } = must(await make(erin, { scope: ['devices'] }));
    const session = await use(token);
    await bench.change('erin', { administrator: true, clearance: 'SECRET' });
    expect(codeOf(await bench.ask(session, 'accounts', {}))).toBe('SCOPE_EXCEEDED');
    const all = await use(must(await make(erin)).token);
    expect(codeOf(await bench.ask(all, 'accounts', {}))).toBe('no fault');
    await bench.change('erin', { administrator: false });
    expect(codeOf(await bench.ask(all, 'accounts', {}))).toBe('NOT_PERMITTED');
  });

  it.each<[string, Wish, string]>([
    ['a row that is none', { scope: ['devices', 'everything'] }, 'REQUEST_MALFORMED'],
    ['a row that every object has', { scope: ['constructor'] }, 'REQUEST_MALFORMED'],
    ['a row twice', { scope: ['devices', 'devices'] }, 'ACCOUNT_INVALID'],
    ['no lifetime', { lifetimeDays: 0 }, 'ACCOUNT_INVALID'],
    ['more than a year', { lifetimeDays: 366 }, 'ACCOUNT_INVALID'],
    ['half a day', { lifetimeDays: 0.5 }, 'ACCOUNT_INVALID'],
    ['no name', { name: ' ' }, 'ACCOUNT_INVALID'],
    ['a name that cannot be seen', { name: 'script\u200b' }, 'ACCOUNT_INVALID'],
  ])('with %s is refused', async (_, wish, code) => {
    expect(codeOf(await make(erin, wish))).toBe(code);
    expect(bench.agent.security.tokens.goodOf('erin')).toEqual([]);
  });

  it('is worth nothing after its time', async () => {
    const made = must(await make(erin, { lifetimeDays: 1 }));
    await use(made.token);
    bench.clock.jumpWall(DAY_MS);
    await expect(use(made.token)).rejects.toThrow();
    // Setting the clock back revives nothing that expired on record.
    must(await make(await bench.local('bob'), { account: 'bob' }));
    bench.clock.jumpWall(-2 * DAY_MS);
    await expect(use(made.token)).rejects.toThrow();
  });

  it('ends with its account', async () => {
    const validUntilWallMs = bench.clock.wallMs() + 3 * DAY_MS;
    await bench.change('erin', { validUntilWallMs });
    const made = must(await make(erin));
    expect(made.message).toContain(new Date(validUntilWallMs).toISOString());
    const [token] = bench.agent.security.tokens.goodOf('erin');
    expect(token?.expiresAtWallMs).toBe(validUntilWallMs);
  });

  it('is one of sixteen at most, asked for in the same moment too', async () => {
    const request = { account: 'erin', name: 'script', scope: null, lifetimeDays: 1 };
    const wishes = Array.from({ length: 18 }, () => bench.start(erin, 'createToken', request));
    const codes = (await bench.agent.settle(Promise.all(wishes))).map(codeOf);
    expect(codes.filter((code) => code === 'no fault')).toHaveLength(16);
    expect(codes.slice(16)).toEqual(['ACCOUNT_INVALID', 'ACCOUNT_INVALID']);
    const [first] = bench.agent.security.tokens.goodOf('erin');
    must(await bench.ask(erin, 'revokeToken', { id: first?.id ?? '', reason: '' }));
    expect(codeOf(await make(erin))).toBe('no fault');
  });
});

describe('a token of another account', () => {
  it('of a machine takes two administrators; the first is shown nothing', async () => {
    const press = { account: 'press' };
    await bench.agent.settle(bench.accounts.save(recordOf('press', { kind: 'machine' })));
    const first = must(await make(alice, { ...press, scope: ['devices', 'status'] }));
    expect(first).toEqual({ done: false, message: expect.any(String), token: '', id: '' });
    expect(first.message).toContain('to make a token "script" for press, good for devices, status');
    expect(bench.agent.security.tokens.goodOf('press')).toEqual([]);
    const made = must(await make(bob, { ...press, scope: ['status', 'devices'] }));
    await use(made.token);
    expect(bench.entries('TOKEN_CREATED')).toMatchObject([
      { actor: 'bob', details: { account: 'press', proposedBy: 'alice' } },
    ]);
  });

  it('is not made for anybody by who administers nothing', async () => {
    expect(codeOf(await make(erin, { account: 'clerk' }))).toBe('NOT_PERMITTED');
    expect(codeOf(await make(erin, { account: 'nobody' }))).toBe('NOT_PERMITTED');
    expect(codeOf(await make(alice, { account: 'nobody' }))).toBe('ACCOUNT_UNKNOWN');
  });

  it.each(['bob', 'erin'])(
    'is not made for a person, who would have a double: %s',
    async (account) => {
      const refused = await make(alice, { account });
      expect(!refused.ok && refused.fault).toMatchObject({
        code: 'NOT_PERMITTED',
        place: `account ${account}`,
        finding: 'is a person, who makes the own tokens: nobody else does',
      });
      expect(bench.entries('CHANGE_PROPOSED')).toEqual([]);
      expect(codeOf(await make(alice, { account: 'robot' }))).toBe('no fault');
    },
  );

  it('is not made for an account that is disabled or over', async () => {
    await bench.change('robot', { enabled: false });
    await bench.change('machine', { validUntilWallMs: 1_000 });
    expect(codeOf(await make(alice, { account: 'robot' }))).toBe('ACCOUNT_INVALID');
    expect(codeOf(await make(alice, { account: 'machine' }))).toBe('ACCOUNT_INVALID');
  });
});

describe('revoking a token', () => {
  const revoke = (session: string, id: string) =>
    bench.ask(session, 'revokeToken', { id, reason: 'not used any more' });

  it('ends the sessions that it opened, at once, and no others', async () => {
    const [one, other] = [must(await make(erin)), must(await make(erin))];
    const sessions = [await use(one.token), await use(one.token), await use(other.token)];
    expect(must(await revoke(erin, one.id))).toEqual({ sessionsEnded: 2 });
    expect(sessions.map((id) => bench.stateOf(id))).toEqual([
      'NOT_AUTHENTICATED',
      'NOT_AUTHENTICATED',
      'live',
    ]);
    expect(bench.ended.flatMap(({ sessionIds }) => sessionIds)).toEqual(sessions.slice(0, 2));
    await expect(use(one.token)).rejects.toThrow();
    expect(bench.entries('TOKEN_REVOKED')).toMatchObject([
      { actor: 'erin', reason: 'not used any more', details: { account: 'erin', tokenId: one.id } },
    ]);
  });

  it('is for its holder and one administrator; others learn not even that it is there', async () => {
    const { id } = must(await make(erin));
    const stranger = await bench.byToken('clerk');
    const [refused, unknown] = [await revoke(stranger, id), await revoke(stranger, 'ffff')];
    expect(codeOf(refused)).toBe('TOKEN_UNKNOWN');
    expect(refused).toEqual(unknown);
    expect(must(await revoke(alice, id))).toEqual({ sessionsEnded: 0 });
    expect(must(await revoke(alice, id))).toEqual({ sessionsEnded: 0 });
  });

  it('is not done when the disk takes no more', async () => {
    const made = must(await make(erin));
    bench.limitDisk('none');
    const request = { id: made.id, reason: 'x'.repeat(4_096) };
    expect(codeOf(await bench.ask(erin, 'revokeToken', request))).toBe('AUDIT_UNAVAILABLE');
    await use(made.token);
    bench.limitDisk('plenty');
    must(await bench.ask(erin, 'revokeToken', request));
    await expect(use(made.token)).rejects.toThrow();
  });
});

describe('the list of tokens', () => {
  it('shows the own ones, an administrator all, and no secret', async () => {
    const made = must(await make(erin, { name: 'backup', scope: ['devices'] }));
    must(await bench.ask(erin, 'revokeToken', { id: made.id, reason: '' }));
    const { tokens } = must(await bench.ask(erin, 'tokens', {}));
    expect(tokens).toEqual([
      {
        id: made.id,
        account: 'erin',
        name: 'backup',
        scope: ['devices'],
        createdWallMs: expect.any(Number),
        expiresAtWallMs: expect.any(Number),
        revoked: true,
      },
    ]);
    const all = must(await bench.ask(alice, 'tokens', {})).tokens.map(({ account }) => account);
    expect(new Set(all)).toEqual(new Set(['alice', 'bob', 'clerk', 'machine', 'erin']));
  });
});
