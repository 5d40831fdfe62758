// The way in with a password: enrolment, sign-in, locks, one answer to every stranger, and secrets that stay where they belong.

import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AccountRecord } from '#model/account';
import type { Origin } from '#model/principal';
import { INVITATION_MS } from '#tracks/security/identity/invitations';
import { FAILURES_MAX, LOCK_MS } from '#tracks/security/identity/lockouts';
import { STEP_MS } from '#tracks/security/identity/one-time-codes';
import { sealingKeyOf } from '#tracks/security/identity/seals';
import { accountFor } from '../../../../../src/bin/persona.ts';
import { CHEAP, type Enrolled, EntryBench } from '../../../../support/entry-bench.ts';
import { codeOf, must } from '../../../../support/kernel-bench.ts';
import { PERSON, SECOND } from '../people.ts';

const ORIGIN: Origin = { transport: 'rest', peer: '10.0.0.1:4000' };
const PASSWORD = 'a tide of green lanterns';
const NEXT = 'seven quiet harbours';

let bench: EntryBench;
beforeEach(() => {
  bench = new EntryBench([
    { account: accountFor(PERSON, { administrator: true }), token: 'alice-token' },
    { account: accountFor(SECOND), token: 'bob-token' },
  ]);
});
afterEach(() => bench.close());

/** Another address for each attempt, where the limit of a source is not what is looked at. */
let peers = 0;
const elsewhere = (): Origin => ({
  transport: 'rest',
  peer: `10.1.${peers++ % 250}.${peers % 250}:1`,
});
const login = (account: string, password: string, code: string, origin = elsewhere()) =>
  bench.ask('login', { account, password, code }, origin);
/** Name, password and code that somebody shows, who knows a good code. */
type Shown = (code: string) => readonly [string, string, string];
const lastEntry = () => bench.entries.at(-1);

describe('enrolling', () => {
  it('sets the password, proves the first code, and is then one way in', async () => {
    const invitation = await bench.invite('alice');
    expect(invitation).toMatch(/^([A-Z2-7]{4}-){7}[A-Z2-7]{4}$/);
    const given = must(await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN));
    expect(given.account).toBe('alice');
    expect(given.uri).toContain(`secret=${given.secret}`);
    expect(lastEntry()).toMatchObject({
      event: 'PASSWORD_CHANGED',
      actor: 'alice',
      origin: ORIGIN,
    });
    // Nothing of it counts before the code is proved.
    expect(bench.live.credentials.enrolled('alice')).toBe(false);
    expect(codeOf(await login('alice', PASSWORD, bench.code(given.secret)))).toBe(
      'NOT_AUTHENTICATED',
    );
    const code = bench.code(given.secret);
    expect(must(await bench.ask('confirmEnrolment', { invitation, code }, ORIGIN))).toEqual({
      account: 'alice',
    });
    expect(lastEntry()).toMatchObject({ event: 'ACCOUNT_ENROLLED', actor: 'alice' });
    const answer = must(await login('alice', PASSWORD, await bench.nextCode(given.secret)));
    expect(answer).toMatchObject({ principal: PERSON, administrator: true, way: 'password' });
    expect(answer.token).toMatch(/^[\w-]{43}$/);
  });

  it('takes the invitation however it was typed', async () => {
    const invitation = await bench.invite('alice');
    const typed = ` ${invitation.toLowerCase().replaceAll('-', ' ')} `;
    expect((await bench.ask('enrol', { invitation: typed, password: PASSWORD }, ORIGIN)).ok).toBe(
      true,
    );
  });

  it('survives a restart between password and code', async () => {
    const invitation = await bench.invite('alice');
    const { secret } = must(await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN));
    bench.restart();
    const code = bench.code(secret);
    must(await bench.ask('confirmEnrolment', { invitation, code }, ORIGIN));
    bench.restart();
    expect((await login('alice', PASSWORD, await bench.nextCode(secret))).ok).toBe(true);
  });

  it('may be begun anew with the same invitation; what was chosen last counts', async () => {
    const invitation = await bench.invite('alice');
    const first = must(await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN));
    const second = must(await bench.ask('enrol', { invitation, password: NEXT }, ORIGIN));
    const confirm = (secret: string) =>
      bench.ask('confirmEnrolment', { invitation, code: bench.code(secret) }, ORIGIN);
    expect(codeOf(await confirm(first.secret))).toBe('NOT_AUTHENTICATED');
    must(await confirm(second.secret));
    expect(codeOf(await login('alice', PASSWORD, await bench.nextCode(second.secret)))).toBe(
      'NOT_AUTHENTICATED',
    );
    expect((await login('alice', NEXT, await bench.nextCode(second.secret))).ok).toBe(true);
  });

  it.each([
    ['was made up', async () => 'ABCD-EFGH-IJKL-MNOP-QRST-UVWX-YZ23-4567'],
    ['is the hash of one', async () => bench.live.invitations.of('alice')?.hash ?? ''],
    [
      'ran out',
      async (invitation: string) => {
        await bench.clock.advance(INVITATION_MS);
        return invitation;
      },
    ],
    [
      'ran out, where the clock was then set back to 1970',
      async (invitation: string) => {
        bench.identity.floor.note(bench.clock.wallMs());
        await bench.clock.advance(INVITATION_MS / 2);
        bench.clock.jumpWall(-1_767_225_600_000);
        await bench.clock.advance(INVITATION_MS / 2);
        return invitation;
      },
    ],
    [
      'was replaced by another',
      async (invitation: string) => {
        await bench.invite('alice');
        return invitation;
      },
    ],
    [
      'is of a disabled account',
      async (invitation: string) => {
        await bench.identity.change('alice', { enabled: false });
        return invitation;
      },
    ],
  ])('with an invitation that %s is refused, and is on record', async (_, spoil) => {
    const invitation = await spoil(await bench.invite('alice'));
    const code = '000000';
    expect(codeOf(await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN))).toBe(
      'INVITATION_INVALID',
    );
    expect(codeOf(await bench.ask('confirmEnrolment', { invitation, code }, ORIGIN))).toBe(
      'INVITATION_INVALID',
    );
    expect(bench.entries.map(({ event }) => event)).toEqual([
      'AUTHENTICATION_FAILED',
      'AUTHENTICATION_FAILED',
    ]);
  });

  it('is possible once with one invitation, also for two who come at once', async () => {
    const invitation = await bench.invite('alice');
    expect(codeOf(await bench.ask('confirmEnrolment', { invitation, code: '1' }, ORIGIN))).toBe(
      'INVITATION_INVALID',
    );
    const { secret } = must(await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN));
    const code = bench.code(secret);
    const both = await Promise.all(
      [1, 2].map(() => bench.ask('confirmEnrolment', { invitation, code }, ORIGIN)),
    );
    expect(both.map((one) => (one.ok ? 'ok' : one.fault.code)).sort()).toEqual([
      'INVITATION_INVALID',
      'ok',
    ]);
    expect(codeOf(await bench.ask('enrol', { invitation, password: NEXT }, ORIGIN))).toBe(
      'INVITATION_INVALID',
    );
    // Nor with the code of the enrolment.
    expect(codeOf(await login('alice', PASSWORD, code))).toBe('NOT_AUTHENTICATED');
  });

  it('with an unsuitable password says why and leaves the invitation good', async () => {
    const invitation = await bench.invite('alice');
    const refused = await bench.ask('enrol', { invitation, password: 'short' }, ORIGIN);
    expect(codeOf(refused)).toBe('PASSWORD_UNSUITABLE');
    expect(!refused.ok && refused.fault.finding).toContain('at least 12');
    expect((await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN)).ok).toBe(true);
  });

  it('anew makes password, codes and sign-ins of before worth nothing', async () => {
    const alice = await bench.enrol('alice', PASSWORD, ORIGIN);
    await bench.invite('alice');
    const refused = await login('alice', PASSWORD, await bench.nextCode(alice.secret));
    expect(codeOf(refused)).toBe('NOT_AUTHENTICATED');
    bench.restart();
    expect(bench.live.credentials.enrolled('alice')).toBe(false);
  });
});

describe('signing in', () => {
  let alice: Enrolled;
  beforeEach(async () => {
    alice = await bench.enrol('alice', PASSWORD, ORIGIN);
    bench.entries.length = 0;
  });

  it('opens one session on every transport, on record with the account and no secret', async () => {
    const { token, session } = await bench.signIn(alice, ORIGIN);
    expect(session.way).toBe('password');
    for (const transport of ['grpc', 'websocket', 'local'] as const) {
      const credential = { kind: 'token', token } as const;
      const origin = { transport, peer: '10.0.0.9:1' };
      expect((await bench.identity.principals.authenticate(credential, origin)).ok).toBe(true);
    }
    expect(bench.entries).toMatchObject([
      { event: 'SIGNED_IN', actor: 'alice', origin: ORIGIN, operation: 'login' },
    ]);
  });

  it('takes no code twice, neither at once nor over a restart, nor one from before it', async () => {
    const earlier = await bench.nextCode(alice.secret);
    const code = await bench.nextCode(alice.secret);
    const both = await Promise.all([1, 2].map(() => login('alice', PASSWORD, code)));
    expect(both.filter(({ ok }) => ok)).toHaveLength(1);
    expect(codeOf(await login('alice', PASSWORD, earlier))).toBe('NOT_AUTHENTICATED');
    bench.restart();
    bench.clock.jumpWall(-STEP_MS);
    expect(codeOf(await login('alice', PASSWORD, code))).toBe('NOT_AUTHENTICATED');
  });

  it.each<[string, Shown]>([
    ['a wrong password', (code) => ['alice', 'wrong password', code]],
    ['a wrong code', () => ['alice', PASSWORD, '000000']],
    ['an empty code', () => ['alice', PASSWORD, '']],
    ['an unknown name', (code) => ['mallory', PASSWORD, code]],
    ['a name without a password', (code) => ['bob', PASSWORD, code]],
    ['another letter case', (code) => ['Alice', PASSWORD, code]],
    ['a name with a blank', (code) => ['alice ', PASSWORD, code]],
    ['a name with a NUL', (code) => ['alice\u0000', PASSWORD, code]],
    ['a name with a letter that looks the same', (code) => ['аlice', PASSWORD, code]],
    ['the name of a member of every object', (code) => ['__proto__', PASSWORD, code]],
    ['no name', (code) => ['', PASSWORD, code]],
  ])('with %s is refused with the very same answer', async (_, shown) => {
    const code = await bench.nextCode(alice.secret);
    const expected = await login('nobody-at-all', 'something else entirely', '123456');
    expect(await login(...shown(code))).toEqual(expected);
    expect(codeOf(expected)).toBe('NOT_AUTHENTICATED');
    expect(lastEntry()).toMatchObject({ event: 'AUTHENTICATION_FAILED', actor: 'unknown' });
  });

  it.each<[string, Partial<AccountRecord>]>([
    ['disabled', { enabled: false }],
    ['not valid yet', { validFromWallMs: 4_000_000_000_000 }],
    ['not valid any more', { validUntilWallMs: 1_000 }],
  ])('to an account that is %s is refused with the very same answer', async (_, change) => {
    await bench.identity.change('alice', change);
    const expected = await login('nobody-at-all', 'something else entirely', '123456');
    const refused = await login('alice', PASSWORD, await bench.nextCode(alice.secret));
    expect(refused).toEqual(expected);
  });

  it('of an account that was disabled while the password was checked is refused', async () => {
    const code = await bench.nextCode(alice.secret);
    const signing = login('alice', PASSWORD, code);
    const { accounts } = bench.identity;
    accounts.noteSaved(accountFor(PERSON, { enabled: false }));
    expect(codeOf(await signing)).toBe('NOT_AUTHENTICATED');
  });

  it('with a password that an invitation replaced meanwhile opens nothing', async () => {
    const code = await bench.nextCode(alice.secret);
    const signing = login('alice', PASSWORD, code);
    const made = bench.live.invitations.make('alice');
    await bench.store.transact(() => made.write());
    made.noteSaved();
    expect(codeOf(await signing)).toBe('NOT_AUTHENTICATED');
    expect(bench.identity.principals.liveSessions()).toEqual([]);
    bench.restart();
    expect(bench.identity.principals.liveSessions()).toEqual([]);
  });

  it('fails three times and is locked for 30 minutes, for every way and transport', async () => {
    for (let at = 0; at < FAILURES_MAX; at++)
      expect(codeOf(await login('alice', 'wrong password', '1'))).toBe('NOT_AUTHENTICATED');
    expect(bench.entries.map(({ event }) => event)).toEqual([
      'AUTHENTICATION_FAILED',
      'AUTHENTICATION_FAILED',
      'AUTHENTICATION_FAILED',
      'ACCOUNT_LOCKED',
    ]);
    expect(bench.entries[0]?.details).toMatchObject({ account: 'alice', way: 'password' });
    expect(bench.announced).toEqual(['alice']);
    // The right password does not unlock, nor does another transport or another proof.
    const right = await login('alice', PASSWORD, await bench.nextCode(alice.secret));
    expect(codeOf(right)).toBe('ACCOUNT_LOCKED');
    const { principals } = bench.identity;
    for (const transport of ['grpc', 'rest', 'websocket', 'local'] as const) {
      const credential = { kind: 'token', token: 'alice-token' } as const;
      const refused = await principals.authenticate(credential, { ...elsewhere(), transport });
      expect(codeOf(refused)).toBe('ACCOUNT_LOCKED');
    }
    bench.restart();
    await bench.clock.advance(LOCK_MS - STEP_MS - 1);
    expect(codeOf(await login('alice', PASSWORD, bench.code(alice.secret)))).toBe('ACCOUNT_LOCKED');
    await bench.clock.advance(1);
    expect((await login('alice', PASSWORD, bench.code(alice.secret))).ok).toBe(true);
  });

  it('of a name that nobody has is locked in the same way, with the same words', async () => {
    const wrong = (name: string) => login(name, 'wrong password', '1');
    const answers = async (name: string) => {
      const all: unknown[] = [];
      for (let at = 0; at < FAILURES_MAX + 2; at++) all.push(await wrong(name));
      return all;
    };
    expect(await answers('mallory')).toEqual(await answers('alice'));
    expect(bench.announced).toEqual(['', 'alice']);
    expect(JSON.stringify(bench.entries.map(({ details }) => details))).not.toContain('mallory');
  });

  it('in parallel is no faster way to guess', async () => {
    const all = await Promise.all(
      Array.from({ length: 12 }, (_, at) => login('alice', `guess ${at} at it`, '1')),
    );
    const codes = all.map(codeOf);
    expect(codes.filter((code) => code === 'NOT_AUTHENTICATED')).toHaveLength(FAILURES_MAX);
    expect(codes.filter((code) => code === 'BUSY')).toHaveLength(12 - FAILURES_MAX);
    expect(codeOf(await login('alice', PASSWORD, await bench.nextCode(alice.secret)))).toBe(
      'ACCOUNT_LOCKED',
    );
  });

  it('from one source fails 20 times at most, whatever names it tries and whatever is right', async () => {
    for (let at = 0; at < 20; at++) await login(`name-${at}`, 'wrong password', '1', ORIGIN);
    const code = await bench.nextCode(alice.secret);
    const { length } = bench.entries;
    expect(codeOf(await login('alice', PASSWORD, code, ORIGIN))).toBe('RATE_LIMITED');
    const request = { invitation: 'x', password: PASSWORD };
    expect(codeOf(await bench.ask('enrol', request, ORIGIN))).toBe('RATE_LIMITED');
    // A flood of attempts is no flood of entries.
    expect(bench.entries).toHaveLength(length);
    expect(bench.entries.at(-1)?.details).toMatchObject({ account: '' });
    expect((await login('alice', PASSWORD, code, elsewhere())).ok).toBe(true);
  });

  it('from a source that has to wait costs no hash, and a good invitation is still good there', async () => {
    const invitation = await bench.invite('bob');
    for (let at = 0; at < 20; at++) await login(`name-${at}`, 'wrong password', '1', ORIGIN);
    const refused = login('alice', PASSWORD, '1', ORIGIN);
    expect(bench.live.passwords.underWay).toBe(0);
    expect(codeOf(await refused)).toBe('RATE_LIMITED');
    const { secret } = must(await bench.ask('enrol', { invitation, password: NEXT }, ORIGIN));
    const confirm = (code: string) => bench.ask('confirmEnrolment', { invitation, code }, ORIGIN);
    expect(codeOf(await confirm('1'))).toBe('RATE_LIMITED');
    must(await confirm(bench.code(secret)));
  });

  it('does not happen where it cannot be put on record', async () => {
    bench.store.database.exec(
      `CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END`,
    );
    const code = await bench.nextCode(alice.secret);
    expect(codeOf(await login('alice', PASSWORD, code))).toBe('AUDIT_UNAVAILABLE');
    expect(bench.identity.principals.liveSessions()).toEqual([]);
    // Guesses are counted all the same.
    for (let at = 0; at < FAILURES_MAX; at++) await login('alice', 'wrong password', '1');
    expect(codeOf(await login('alice', PASSWORD, code))).toBe('ACCOUNT_LOCKED');
    bench.store.database.exec('DROP TRIGGER full');
  });

  it('replaces a hash of old parameters by one of today', async () => {
    bench.restart({ ...CHEAP, passes: 2 });
    expect(bench.live.credentials.of('alice')?.password).toContain('t=1');
    expect((await login('alice', PASSWORD, await bench.nextCode(alice.secret))).ok).toBe(true);
    expect(bench.live.credentials.of('alice')?.password).toContain('t=2');
    bench.restart({ ...CHEAP, passes: 2 });
    expect((await login('alice', PASSWORD, await bench.nextCode(alice.secret))).ok).toBe(true);
  });

  it('ends the longest unused sign-in where sixteen are open', async () => {
    const first = await bench.signIn(alice, ORIGIN);
    for (let at = 1; at < 16; at++) await bench.signIn(alice, ORIGIN);
    expect(bench.identity.principals.session(first.session.id).ok).toBe(true);
    const ended: string[] = [];
    bench.identity.principals.onEnded(({ reason }) => ended.push(reason));
    await bench.signIn(alice, ORIGIN);
    expect(ended).toEqual(['newer sign-ins took its place']);
  });
});

describe('changing the password', () => {
  let alice: Enrolled;
  beforeEach(async () => {
    alice = await bench.enrol('alice', PASSWORD, ORIGIN);
  });
  const change = async (sessionId: string, password: string, next: string, code?: string) =>
    bench.ask(
      'changePassword',
      { password, next, code: code ?? (await bench.nextCode(alice.secret)) },
      elsewhere(),
      sessionId,
    );

  it('ends every other session of the account at once, for good, and none of others', async () => {
    const { principals } = bench.identity;
    const own = await bench.signIn(alice, ORIGIN);
    const other = await bench.signIn(alice, ORIGIN);
    const token = { kind: 'token', token: 'alice-token' } as const;
    const script = must(await principals.authenticate(token, ORIGIN));
    const bob = must(await principals.authenticate({ ...token, token: 'bob-token' }, ORIGIN));
    expect(must(await change(own.session.id, PASSWORD, NEXT))).toEqual({ sessionsEnded: 2 });
    expect(lastEntry()).toMatchObject({ event: 'PASSWORD_CHANGED', actor: 'alice' });
    expect(principals.session(own.session.id).ok).toBe(true);
    expect(principals.session(bob.id).ok).toBe(true);
    for (const id of [other.session.id, script.id])
      expect(codeOf(principals.session(id))).toBe('NOT_AUTHENTICATED');
    bench.restart();
    const show = (shown: string) =>
      bench.identity.principals.authenticate({ kind: 'token', token: shown }, ORIGIN);
    expect((await show(own.token)).ok).toBe(true);
    expect(codeOf(await show(other.token))).toBe('NOT_AUTHENTICATED');
    expect(codeOf(await login('alice', PASSWORD, await bench.nextCode(alice.secret)))).toBe(
      'NOT_AUTHENTICATED',
    );
    expect((await login('alice', NEXT, await bench.nextCode(alice.secret))).ok).toBe(true);
  });

  it.each([
    ['a wrong password', 'wrong password', NEXT, undefined, 'NOT_PERMITTED'],
    ['a wrong code', PASSWORD, NEXT, '000000', 'NOT_PERMITTED'],
    ['the password of before', PASSWORD, PASSWORD, undefined, 'PASSWORD_UNSUITABLE'],
    ['an unsuitable password', PASSWORD, 'short', undefined, 'PASSWORD_UNSUITABLE'],
  ])('with %s is refused, and the session stays', async (_, password, next, code, expected) => {
    const { session } = await bench.signIn(alice, ORIGIN);
    expect(codeOf(await change(session.id, password, next, code))).toBe(expected);
    expect(bench.identity.principals.session(session.id).ok).toBe(true);
    expect((await login('alice', PASSWORD, await bench.nextCode(alice.secret))).ok).toBe(true);
  });

  it('is no way to guess at an unattended panel', async () => {
    const { session } = await bench.signIn(alice, ORIGIN);
    for (let at = 0; at < FAILURES_MAX; at++) await change(session.id, 'wrong password', NEXT);
    const locked = await change(session.id, PASSWORD, NEXT);
    expect(codeOf(locked)).toBe('NOT_PERMITTED');
    expect(!locked.ok && locked.fault.finding).toContain('locked');
    expect(bench.identity.principals.session(session.id).ok).toBe(true);
    expect(bench.announced).toEqual(['alice']);
  });

  it('is for those who have one', async () => {
    const token = { kind: 'token', token: 'bob-token' } as const;
    const bob = must(await bench.identity.principals.authenticate(token, ORIGIN));
    expect(codeOf(await change(bob.id, PASSWORD, NEXT))).toBe('NOT_PERMITTED');
    const request = { password: PASSWORD, next: NEXT, code: '1' };
    expect(codeOf(await bench.ask('changePassword', request, ORIGIN))).toBe('NOT_AUTHENTICATED');
  });
});

describe('secrets whose key is not there', () => {
  let alice: Enrolled;
  let keys: EntryBench['keys'];
  beforeEach(async () => {
    alice = await bench.enrol('alice', PASSWORD, ORIGIN);
    ({ keys } = bench);
    bench.entries.length = 0;
  });
  const anotherKey = () => {
    bench.keys = [sealingKeyOf(randomBytes(32))];
    bench.restart();
  };

  it('refuse the right password and code with the reason and the way back, and everybody else in the same words', async () => {
    anotherKey();
    const refused = await login('alice', PASSWORD, await bench.nextCode(alice.secret));
    expect(refused).toMatchObject({
      ok: false,
      fault: {
        code: 'NOT_AUTHENTICATED',
        finding: expect.stringMatching(/cannot be opened, because the key .* is not there/),
        consequence: expect.stringMatching(/dsmil setup --recover NAME/),
      },
    });
    expect(lastEntry()).toMatchObject({
      event: 'AUTHENTICATION_FAILED',
      result: 'password and code cannot be checked: the key they were sealed with is not there',
    });
    for (const name of ['mallory', 'bob'])
      expect(await login(name, PASSWORD, '123456')).toEqual(refused);
  });

  it('close no other way in', async () => {
    const { token } = await bench.signIn(alice, ORIGIN);
    anotherKey();
    const { principals } = bench.identity;
    // An API token, and a sign-in of before.
    for (const shown of ['alice-token', token]) {
      const opened = await principals.authenticate({ kind: 'token', token: shown }, elsewhere());
      expect(opened.ok).toBe(true);
    }
    expect(bench.live.firstRun.needed).toBe(false);
  });

  it('are replaced by an invitation, which ends the words for everybody', async () => {
    anotherKey();
    const anew = await bench.enrol('alice', NEXT, ORIGIN);
    expect((await login('alice', NEXT, await bench.nextCode(anew.secret))).ok).toBe(true);
    const refused = await login('alice', PASSWORD, '123456');
    expect(!refused.ok && refused.fault.finding).not.toContain('cannot be opened');
  });

  it('sign in again once it is back', async () => {
    anotherKey();
    bench.keys = keys;
    bench.restart();
    expect((await login('alice', PASSWORD, await bench.nextCode(alice.secret))).ok).toBe(true);
  });

  it('are not chosen while there is none at all, and the invitation stays good', async () => {
    const invitation = await bench.invite('alice');
    bench.keys = [];
    bench.restart();
    const refused = await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN);
    expect(codeOf(refused)).toBe('CONFIG_INVALID');
    expect(!refused.ok && refused.fault.finding).toContain('the key is not there');
    bench.keys = keys;
    bench.restart();
    expect((await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN)).ok).toBe(true);
  });

  it('are not told when the own password is changed, and the session stays', async () => {
    anotherKey();
    const opened = must(
      await bench.identity.principals.authenticate(
        { kind: 'token', token: 'alice-token' },
        elsewhere(),
      ),
    );
    const code = await bench.nextCode(alice.secret);
    const request = { password: PASSWORD, next: NEXT, code };
    const refused = await bench.ask('changePassword', request, elsewhere(), opened.id);
    expect(codeOf(refused)).toBe('NOT_PERMITTED');
    expect(!refused.ok && refused.fault.finding).toContain('cannot be opened');
  });
});

it('keeps every secret out of entries and refusals, and out of the store', async () => {
  const invitation = await bench.invite('alice');
  const faults: unknown[] = [];
  const refused = async (answer: Promise<{ readonly ok: boolean }>) => faults.push(await answer);
  await refused(bench.ask('enrol', { invitation, password: 'password1234' }, ORIGIN));
  const { secret } = must(await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN));
  await refused(bench.ask('confirmEnrolment', { invitation, code: '000000' }, ORIGIN));
  const first = bench.code(secret);
  must(await bench.ask('confirmEnrolment', { invitation, code: first }, ORIGIN));
  await refused(bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN));
  await refused(login('alice', 'wrong password', first));
  // The password in the field of the name.
  await refused(login(PASSWORD, PASSWORD, first));
  const { token, session } = await bench.signIn(
    { account: 'alice', password: PASSWORD, secret },
    ORIGIN,
  );
  const code = await bench.nextCode(secret);
  const request = { password: PASSWORD, next: NEXT, code };
  await refused(bench.ask('changePassword', { ...request, password: NEXT }, ORIGIN, session.id));
  must(
    await bench.ask(
      'changePassword',
      { ...request, code: await bench.nextCode(secret) },
      ORIGIN,
      session.id,
    ),
  );
  const told = JSON.stringify([faults, bench.entries]);
  const kept = bench.everythingStored();
  const plain = invitation.replaceAll('-', '');
  for (const one of [PASSWORD, NEXT, 'wrong password', 'password1234', token, invitation, plain]) {
    expect(told).not.toContain(one);
    expect(kept).not.toContain(one);
  }
  for (const one of [secret, first, code, '$argon2id']) expect(told).not.toContain(one);
  // Nor has who copies the store anything to guess passwords against.
  for (const one of [secret, '$argon2id']) expect(kept).not.toContain(one);
});
