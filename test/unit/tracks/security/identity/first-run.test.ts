// The first setup: two administrators, made once, by root or security's own user, at security's own console.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type LoopbackPair, loopbackPair } from '#link/loopback';
import type { Origin } from '#model/principal';
import type { FirstRunRequest } from '#tracks/security/identity/first-run';
import { INVITATION_MS } from '#tracks/security/identity/invitations';
import { askFirstSetup, serveFirstSetup } from '../../../../../src/bin/console/first-setup.ts';
import { accountFor } from '../../../../../src/bin/persona.ts';
import { EntryBench } from '../../../../support/entry-bench.ts';
import { codeOf, must } from '../../../../support/kernel-bench.ts';
import { PERSON } from '../people.ts';

const OWN_UID = 990;
const ORIGIN: Origin = { transport: 'local', peer: 'uid 0' };
const PASSWORD = 'a tide of green lanterns';
const PEOPLE: FirstRunRequest = {
  first: { id: 'ada', name: 'Ada' },
  second: { id: 'grace', name: 'Grace' },
};

let bench: EntryBench;
let pair: LoopbackPair | null = null;
beforeEach(() => {
  bench = new EntryBench([]);
});
afterEach(() => {
  pair?.left.close();
  bench.close();
});

/** Asks over a link of the console, as this user. */
function setUp(uid: number, request: FirstRunRequest = PEOPLE) {
  pair?.left.close();
  const onError = (error: unknown) => {
    throw error;
  };
  pair = loopbackPair('security', 'interface', { clock: systemClock, onError });
  const { firstRun, record } = bench.live;
  serveFirstSetup(pair.left, { uid, gid: uid, pid: 7 }, { firstRun, record, ownUid: OWN_UID });
  return askFirstSetup(pair.right, request, Deadline.after(systemClock, 5_000));
}

/** With the invitation of the setup. */
async function enrol(invitation: string): Promise<void> {
  const { secret } = must(await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN));
  const code = bench.code(secret);
  must(await bench.ask('confirmEnrolment', { invitation, code }, ORIGIN));
}

describe('the first setup', () => {
  it.each(['agent', 'interface', 'kernel', 'orchestrator', 'quiet', 'security', 'unknown'])(
    'makes nobody of the name %s, which the record uses for who is no account',
    async (id) => {
      const refused = await setUp(0, { ...PEOPLE, second: { id, name: 'Grace' } });
      expect(codeOf(refused)).toBe('ACCOUNT_INVALID');
      expect(bench.identity.accounts.all()).toEqual([]);
    },
  );

  it.each(['Gra\u202ece', 'Gra\u200bce', ' Grace', ''])(
    'makes nobody whose name reads as another one: %j',
    async (name) => {
      const refused = await setUp(0, { ...PEOPLE, second: { id: 'grace', name } });
      expect(codeOf(refused)).toBe('ACCOUNT_INVALID');
      expect(bench.identity.accounts.all()).toEqual([]);
    },
  );

  it.each([
    ['root', 0],
    ['the user of security', OWN_UID],
  ])('by %s makes two administrators with an invitation each, on record', async (_, uid) => {
    expect(bench.live.firstRun.needed).toBe(true);
    const { invitations } = must(await setUp(uid));
    expect(invitations.map(({ account }) => account)).toEqual(['ada', 'grace']);
    expect(new Set(invitations.map(({ invitation }) => invitation)).size).toBe(2);
    expect(bench.identity.accounts.all()).toMatchObject([
      { id: 'ada', name: 'Ada', administrator: true, enabled: true, clearance: 'RESTRICTED' },
      { id: 'grace', name: 'Grace', administrator: true, enabled: true, clearance: 'RESTRICTED' },
    ]);
    expect(bench.entries).toMatchObject([{ event: 'ACCOUNT_CREATED', actor: `uid ${uid}` }]);
    const told = JSON.stringify(bench.entries) + bench.everythingStored();
    for (const { invitation } of invitations) expect(told).not.toContain(invitation);
    bench.restart();
    for (const { invitation } of invitations) await enrol(invitation);
    expect(bench.live.firstRun.needed).toBe(false);
  });

  it.each([1000, 1, 65_534])('by uid %i is refused, on record', async (uid) => {
    expect(codeOf(await setUp(uid))).toBe('NOT_PERMITTED');
    expect(bench.identity.accounts.all()).toEqual([]);
    expect(bench.entries).toMatchObject([
      { event: 'ADMINISTRATION_REFUSED', actor: `uid ${uid}`, operation: 'setup' },
    ]);
  });

  it('is over once one of the two can sign in, for good', async () => {
    const [first] = must(await setUp(0)).invitations;
    await enrol(first?.invitation ?? '');
    expect(codeOf(await setUp(0))).toBe('NOT_PERMITTED');
    await bench.identity.change('ada', { enabled: false });
    await bench.identity.change('grace', { enabled: false });
    bench.restart();
    expect(codeOf(await setUp(0))).toBe('NOT_PERMITTED');
    const others = { first: { id: 'eve', name: 'Eve' }, second: { id: 'mallory', name: 'M' } };
    expect(codeOf(await setUp(0, others))).toBe('NOT_PERMITTED');
    expect(bench.identity.accounts.account('eve')).toBeUndefined();
  });

  it('gives the same two new invitations where the first ones ran out', async () => {
    const before = must(await setUp(0)).invitations;
    await bench.clock.advance(INVITATION_MS);
    const after = must(await setUp(0)).invitations;
    const invitation = before[0]?.invitation ?? '';
    expect(codeOf(await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN))).toBe(
      'INVITATION_INVALID',
    );
    await enrol(after[0]?.invitation ?? '');
    const others = { ...PEOPLE, second: { id: 'mallory', name: 'M' } };
    expect(codeOf(await setUp(0, others))).toBe('NOT_PERMITTED');
  });

  it.each([
    ['a certificate', { certificateUris: ['urn:dsmil:principal:alice'] }],
    ['a local user', { localUids: [1000] }],
  ])('is over where an administrator has %s', async (_, ways) => {
    await bench.identity.accounts.save(accountFor(PERSON, { administrator: true, ...ways }));
    expect(bench.live.firstRun.needed).toBe(false);
    expect(codeOf(await setUp(0))).toBe('NOT_PERMITTED');
  });

  it('makes no administrator of an account that is there', async () => {
    await bench.identity.accounts.save(accountFor({ ...PERSON, id: 'ada' }));
    expect(codeOf(await setUp(0))).toBe('ACCOUNT_INVALID');
    expect(bench.identity.accounts.account('ada')?.administrator).toBe(false);
  });

  it.each([
    ['one person twice', { ...PEOPLE, second: PEOPLE.first }, 'ACCOUNT_INVALID'],
    [
      'a control character',
      { ...PEOPLE, first: { id: 'ada', name: 'A\u0007' } },
      'ACCOUNT_INVALID',
    ],
    ['a name of a path', { ...PEOPLE, first: { id: '../ada', name: 'Ada' } }, 'ACCOUNT_INVALID'],
    ['a NUL', { ...PEOPLE, first: { id: 'ada\u0000', name: 'Ada' } }, 'ACCOUNT_INVALID'],
    ['no name', { ...PEOPLE, first: { id: 'ada', name: '' } }, 'ACCOUNT_INVALID'],
  ])('with %s is refused', async (_, request, code) => {
    expect(codeOf(await setUp(0, request))).toBe(code);
    expect(bench.identity.accounts.all()).toEqual([]);
  });

  it('from two consoles at once makes no more than two administrators', async () => {
    const { firstRun } = bench.live;
    const deadline = Deadline.after(systemClock, 5_000);
    const caller = { session: null, credential: '', origin: ORIGIN, deadline };
    const others = { first: { id: 'eve', name: 'Eve' }, second: { id: 'mallory', name: 'M' } };
    const both = await Promise.all([
      firstRun.perform(PEOPLE, caller, 'uid 0'),
      firstRun.perform(others, caller, 'uid 0'),
    ]);
    expect(both.map((one) => (one.ok ? 'ok' : one.fault.code))).toEqual(['ok', 'BUSY']);
    expect(bench.identity.accounts.all().map(({ id }) => id)).toEqual(['ada', 'grace']);
  });

  it('does not count where it cannot be put on record', async () => {
    bench.store.database.exec(
      `CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END`,
    );
    expect(codeOf(await setUp(0))).toBe('AUDIT_UNAVAILABLE');
    bench.store.database.exec('DROP TRIGGER full');
    expect(bench.identity.accounts.all()).toEqual([]);
    expect((await setUp(0)).ok).toBe(true);
  });
});
