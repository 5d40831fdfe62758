// Accounts through the whole security track: taken at once, given by two, on record with what changed.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AccountChange } from '#model/account';
import type { AdministrationKey, AdministrationRequest } from '#model/administration';
import { FAILURES_MAX } from '#tracks/security/identity/lockouts';
import { PROPOSAL_LIFETIME_MS } from '#tracks/security/identity/second-administrator';
import { codeOf, must } from '../../../../support/kernel-bench.ts';
import { DeskBench } from './desk-bench.ts';
import { administratorOf, recordOf } from './records.ts';

/** Half an invitation. */
const HALF = /^([A-Z2-7]{4}-){3}[A-Z2-7]{4}$/;

let bench: DeskBench;
let alice: string;
let bob: string;

beforeEach(async () => {
  bench = await DeskBench.open();
  alice = await bench.local('alice');
  bob = await bench.local('bob');
});
afterEach(() => bench.close());

const change = (session: string, id: string, changes: AccountChange, reason = 'because') =>
  bench.ask(session, 'changeAccount', { id, change: changes, reason });

/** Both administrators ask; what the second hears. */
async function byTwo<K extends AdministrationKey>(key: K, request: AdministrationRequest<K>) {
  const first = must(await bench.ask(alice, key, request));
  expect(first).toMatchObject({ done: false });
  return must(await bench.ask(bob, key, request));
}

function sentence(outcome: Awaited<ReturnType<typeof change>>): string {
  if (outcome.ok) return outcome.value.done ? 'done' : 'waits';
  return `${outcome.fault.code} ${outcome.fault.place}: ${outcome.fault.finding}`;
}

describe('what only takes rights', () => {
  it('is done at once by one administrator, with what changed on record', async () => {
    const answer = must(await change(alice, 'clerk', { clearance: 'NONE', devices: [1] }, 'left'));
    expect(answer).toEqual({
      done: true,
      message: 'clerk lost the clearance above NONE, all devices that are not listed',
    });
    expect(bench.record('clerk')).toMatchObject({ clearance: 'NONE', devices: [1] });
    expect(bench.agent.lastEntry()).toMatchObject({
      event: 'ACCOUNT_CHANGED',
      actor: 'alice',
      operation: 'changeAccount',
      reason: 'left',
      result: answer.message,
      details: {
        account: 'clerk',
        before: { clearance: 'RESTRICTED', devices: null },
        after: { clearance: 'NONE', devices: [1] },
      },
    });
  });

  it('takes effect in the sessions that are open', async () => {
    const erin = await bench.local('erin');
    await change(alice, 'erin', { clearance: 'NONE', underReview: true });
    const session = bench.agent.security.principals.session(erin);
    expect(session.ok && session.value.principal).toMatchObject({
      clearance: 0,
      underReview: true,
    });
    await change(alice, 'bob', { administrator: false });
    expect(codeOf(await bench.ask(bob, 'accounts', {}))).toBe('NOT_PERMITTED');
  });

  it.each<[string, AccountChange]>([
    ['disabled', { enabled: false }],
    ['put out of its time of validity', { validUntilWallMs: 1_000 }],
    ['put before its time of validity', { validFromWallMs: 4_000_000_000_000 }],
  ])('ends every session of an account that is %s, at once', async (_, changes) => {
    const [first, second, other] = [
      await bench.local('erin'),
      await bench.byToken('erin'),
      await bench.byToken('clerk'),
    ];
    const answer = must(await change(alice, 'erin', changes));
    expect(answer.message).toMatch(/; 2 sessions ended$/);
    expect(bench.ended.flatMap(({ sessionIds }) => sessionIds).sort()).toEqual(
      [first, second].sort(),
    );
    expect([first, second, other].map((id) => bench.stateOf(id))).toEqual([
      'NOT_AUTHENTICATED',
      'NOT_AUTHENTICATED',
      'live',
    ]);
    await expect(bench.local('erin')).rejects.toThrow();
  });

  it('ends the sessions that were opened with a proof which is taken, and no others', async () => {
    const [local, token] = [await bench.local('erin'), await bench.byToken('erin')];
    const answer = must(await change(alice, 'erin', { localUids: [] }));
    expect(answer.message).toBe('erin lost local user 1005; 1 session ended');
    expect([local, token].map((id) => bench.stateOf(id))).toEqual(['NOT_AUTHENTICATED', 'live']);
  });

  it('is not done when the disk takes no more', async () => {
    bench.limitDisk('none');
    const refused = await change(alice, 'erin', { enabled: false }, 'x'.repeat(4_096));
    expect(codeOf(refused)).toBe('AUDIT_UNAVAILABLE');
    expect(bench.record('erin').enabled).toBe(true);
    bench.limitDisk('plenty');
    expect(must(await change(alice, 'erin', { enabled: false })).done).toBe(true);
  });

  it('costs nobody the other half of a change that gives as well', async () => {
    const both: AccountChange = { clearance: 'NONE', compartments: ['MAINT'] };
    expect(sentence(await change(alice, 'erin', both))).toBe('waits');
    expect(bench.record('erin')).toMatchObject({ clearance: 'RESTRICTED', compartments: [] });
    expect(must(await change(bob, 'erin', both)).message).toBe(
      'erin got compartment MAINT; erin lost the clearance above NONE',
    );
  });
});

describe('a change', () => {
  it('of nothing is answered, on record, and takes nobody else', async () => {
    expect(must(await change(alice, 'erin', { clearance: 'RESTRICTED' }))).toEqual({
      done: true,
      message: 'erin is so already',
    });
    expect(bench.agent.lastEntry()).toMatchObject({ details: { before: {}, after: {} } });
  });

  it('of the own rights is refused both ways; the own name is free', async () => {
    const refused =
      'NOT_PERMITTED account alice: nobody changes the rights of the own account: another administrator has to';
    expect(sentence(await change(alice, 'alice', { clearance: 'TOP_SECRET' }))).toBe(refused);
    expect(sentence(await change(alice, 'alice', { clearance: 'NONE' }))).toBe(refused);
    expect(sentence(await change(alice, 'alice', { name: 'Alice' }))).toBe('done');
  });

  it('of the own rights is refused to the second one too', async () => {
    expect(sentence(await change(alice, 'bob', { clearance: 'TOP_SECRET' }))).toBe('waits');
    expect(codeOf(await change(bob, 'bob', { clearance: 'TOP_SECRET' }))).toBe('NOT_PERMITTED');
    expect(bench.record('bob').clearance).toBe('SECRET');
  });

  it('of an account that is not there, or to what no account may be, is refused by name', async () => {
    expect(sentence(await change(alice, 'nobody', { enabled: false }))).toBe(
      'ACCOUNT_UNKNOWN account nobody: is not there',
    );
    expect(sentence(await change(alice, 'erin', { devices: [0, 50] }))).toBe(
      'ACCOUNT_INVALID devices: 50 is not on the board',
    );
    expect(sentence(await change(alice, 'erin', { localUids: [1001] }))).toBe(
      'ACCOUNT_INVALID localUids: 1001 belongs to alice',
    );
    expect(bench.entries('ADMINISTRATION_REFUSED')).toHaveLength(3);
  });

  it('never leaves fewer than two administrators, asked for in the same moment either', async () => {
    const dora = await bench.local('dora');
    const both = ['alice', 'bob'].map((id) =>
      bench.start(dora, 'changeAccount', { id, change: { enabled: false }, reason: '' }),
    );
    const answers = await bench.agent.settle(Promise.all(both));
    expect(answers.map(sentence)).toEqual([
      'done',
      'ACCOUNT_INVALID enabled: without bob 1 administrator would be left now, and giving rights takes 2',
    ]);
  });

  it('that took a right is not undone by one that was asked for before it', async () => {
    const raise: AccountChange = { compartments: ['MAINT'] };
    await change(alice, 'erin', raise);
    const taking = bench.start(alice, 'changeAccount', {
      id: 'erin',
      change: { enabled: false },
      reason: '',
    });
    const giving = bench.start(bob, 'changeAccount', {
      id: 'erin',
      change: raise,
      reason: 'because',
    });
    const answers = await bench.agent.settle(Promise.all([taking, giving]));
    expect(answers.map(sentence)).toEqual(['done', 'waits']);
    expect(bench.record('erin')).toMatchObject({ enabled: false, compartments: [] });
  });
});

describe('a new account', () => {
  const FRED = recordOf('fred', { devices: [1, 0], compartments: ['SENSORS', 'MAINT'] });

  it('takes two; each is given half of the invitation, and it is on no record', async () => {
    const request = { account: FRED, reason: 'joins' };
    const first = must(await bench.ask(alice, 'createAccount', request));
    expect(first).toMatchObject({ done: false, invitation: expect.stringMatching(HALF) });
    expect(first.message).toContain('hand this half of the invitation to fred and nobody else');
    expect(bench.accounts.account('fred')).toBeUndefined();
    const made = must(await bench.ask(bob, 'createAccount', request));
    expect(made).toMatchObject({ done: true, invitation: expect.stringMatching(HALF) });
    expect(made.message).toBe(
      'account fred created; hand this half of the invitation to fred and nobody else: it goes with the half that alice was given',
    );
    expect(bench.record('fred')).toEqual({
      ...FRED,
      devices: [0, 1],
      compartments: ['MAINT', 'SENSORS'],
    });
    const whole = `${first.invitation} ${made.invitation}`;
    expect(must(await bench.enrol(whole)).account).toBe('fred');
    const record = JSON.stringify(bench.agent.entries());
    expect(record).not.toContain(first.invitation);
    expect(record).not.toContain(made.invitation);
    expect(bench.entries('ACCOUNT_CREATED')).toMatchObject([
      { actor: 'bob', reason: 'joins', details: { account: { id: 'fred' }, proposedBy: 'alice' } },
    ]);
  });

  it('of a machine needs no invitation', async () => {
    const account = recordOf('press', { kind: 'machine', certificateUris: ['urn:press'] });
    const made = await byTwo('createAccount', { account, reason: 'new press' });
    expect(made).toMatchObject({ done: true, invitation: '' });
  });

  it('is refused under an id that exists, before anybody is asked', async () => {
    const refused = await bench.ask(alice, 'createAccount', {
      account: recordOf('erin'),
      reason: '',
    });
    expect(codeOf(refused)).toBe('ACCOUNT_INVALID');
    expect(bench.entries('CHANGE_PROPOSED')).toEqual([]);
  });

  it('is refused to the second one when the id was taken meanwhile', async () => {
    await bench.ask(alice, 'createAccount', { account: FRED, reason: 'joins' });
    await bench.agent.settle(bench.accounts.save(administratorOf('fred')));
    expect(codeOf(await bench.ask(bob, 'createAccount', { account: FRED, reason: 'joins' }))).toBe(
      'ACCOUNT_INVALID',
    );
    expect(bench.record('fred').administrator).toBe(true);
  });

  it('is not there, nor its invitation, when the disk takes no more', async () => {
    const request = { account: FRED, reason: 'x'.repeat(4_096) };
    await bench.ask(alice, 'createAccount', request);
    bench.limitDisk('none');
    expect(codeOf(await bench.ask(bob, 'createAccount', request))).toBe('AUDIT_UNAVAILABLE');
    bench.limitDisk('plenty');
    expect(bench.accounts.account('fred')).toBeUndefined();
    expect(bench.agent.security.invitations.of('fred')).toBeUndefined();
  });
});

describe('an invitation', () => {
  it('takes two, and ends what the password of before had opened', async () => {
    const { token } = await bench.enrolled('erin');
    const [byPassword, local] = [
      await bench.signIn({ kind: 'token', token }),
      await bench.local('erin'),
    ];
    const made = await byTwo('inviteAccount', { id: 'erin', reason: 'lost the telephone' });
    expect(made.invitation).toMatch(HALF);
    expect([byPassword, local].map((id) => bench.stateOf(id))).toEqual([
      'NOT_AUTHENTICATED',
      'live',
    ]);
    expect(bench.agent.security.credentials.enrolled('erin')).toBe(false);
    await expect(bench.signIn({ kind: 'token', token })).rejects.toThrow();
    expect(bench.entries('ACCOUNT_INVITED').at(-1)).toMatchObject({
      actor: 'bob',
      reason: 'lost the telephone',
      details: { account: 'erin', proposedBy: 'alice' },
    });
  });

  it('is worth nothing by one half, nor by halves of two invitations', async () => {
    const request = { id: 'erin', reason: 'lost the telephone' };
    const stale = must(await bench.ask(alice, 'inviteAccount', request)).invitation;
    await bench.clock.advance(PROPOSAL_LIFETIME_MS);
    const first = must(await bench.ask(alice, 'inviteAccount', request)).invitation;
    expect(codeOf(await bench.enrol(first))).toBe('INVITATION_INVALID');
    const second = must(await bench.ask(bob, 'inviteAccount', request)).invitation;
    expect(new Set([stale, first, second]).size).toBe(3);
    for (const wrong of [
      first,
      second,
      first + first,
      second + second,
      stale + second,
      `${first}${second}A`,
      `${first}${second}`.slice(0, -1),
    ])
      expect(codeOf(await bench.enrol(wrong))).toBe('INVITATION_INVALID');
    for (const right of [first + second, `${second.toLowerCase()}\n${first}`])
      expect(must(await bench.enrol(right)).account).toBe('erin');
  });

  it('has its first half told once more to who asked with the same proof, and to nobody else', async () => {
    const request = { id: 'erin', reason: 'lost the telephone' };
    const { invitation } = must(await bench.ask(alice, 'inviteAccount', request));
    const again = must(await bench.ask(alice, 'inviteAccount', request));
    expect(again).toMatchObject({ done: false, invitation });
    const another = await bench.ask(await bench.byToken('alice'), 'inviteAccount', request);
    expect(codeOf(another)).toBe('SECOND_ADMINISTRATOR_NEEDED');
    const other = must(await bench.ask(bob, 'inviteAccount', { ...request, reason: 'another' }));
    expect(other.invitation).not.toBe(invitation);
  });

  it('is not for machines, disabled or unknown accounts', async () => {
    await bench.change('clerk', { enabled: false });
    const invite = (id: string) => bench.ask(alice, 'inviteAccount', { id, reason: '' });
    expect(codeOf(await invite('robot'))).toBe('ACCOUNT_INVALID');
    expect(codeOf(await invite('clerk'))).toBe('ACCOUNT_INVALID');
    expect(codeOf(await invite('nobody'))).toBe('ACCOUNT_UNKNOWN');
  });
});

describe('unlocking', () => {
  const unlock = (session: string, id = 'erin') =>
    bench.ask(session, 'unlockAccount', { id, reason: 'spoke to her' });

  function failSignIns(id: string): void {
    for (let count = 0; count < FAILURES_MAX; count += 1) {
      must(bench.agent.security.lockouts.begin(id)).failed().write();
    }
  }

  it('after wrong passwords is done by one', async () => {
    failSignIns('erin');
    expect(bench.agent.security.lockouts.lockOf('erin')).not.toBeNull();
    expect(must(await unlock(alice))).toEqual({ done: true, message: 'erin was unlocked' });
    expect(bench.agent.security.lockouts.lockOf('erin')).toBeNull();
    expect(bench.agent.lastEntry()).toMatchObject({
      event: 'ACCOUNT_UNLOCKED',
      details: { account: 'erin', lockedBecause: '3 failed sign-ins within 15 minutes' },
    });
  });

  it('after an attack takes two', async () => {
    const erin = await bench.local('erin');
    bench.agent.security.principals.lockAccount('erin', 'probed a quarantined device');
    expect(bench.stateOf(erin)).toBe('ACCOUNT_LOCKED');
    expect(must(await unlock(alice)).done).toBe(false);
    expect(bench.stateOf(erin)).toBe('ACCOUNT_LOCKED');
    expect(must(await unlock(bob))).toEqual({ done: true, message: 'erin was unlocked' });
    expect(bench.stateOf(erin)).toBe('live');
  });

  it('that was asked for before an attack does not lift the lock after it', async () => {
    failSignIns('erin');
    const asked = bench.start(alice, 'unlockAccount', { id: 'erin', reason: '' });
    await Promise.resolve();
    bench.agent.security.principals.lockAccount('erin', 'probed a quarantined device');
    const answer = must(await bench.agent.settle(asked));
    expect(bench.agent.security.lockouts.lockOf('erin')).toMatchObject({ standing: true });
    expect(answer).toEqual({
      done: false,
      message: 'erin was unlocked, and locked anew meanwhile',
    });
  });

  it('is nothing that anybody does for the own account', async () => {
    expect(codeOf(await unlock(alice, 'alice'))).toBe('NOT_PERMITTED');
  });
});

describe('the list of accounts', () => {
  it('says who is locked, enrolled, and how much is open, and no secret', async () => {
    await bench.enrolled('erin');
    await bench.local('erin');
    await bench.byToken('erin');
    bench.agent.security.principals.lockAccount('clerk', 'probed a quarantined device');
    const { accounts } = must(await bench.ask(alice, 'accounts', {}));
    const of = (id: string) => accounts.find((account) => account.id === id);
    expect(of('erin')).toEqual({
      ...bench.record('erin'),
      enrolled: true,
      lockedUntilWallMs: 0,
      lockedBecause: '',
      sessions: 3,
      tokens: 1,
    });
    expect(of('clerk')).toMatchObject({
      enrolled: false,
      lockedBecause: 'probed a quarantined device',
      lockedUntilWallMs: expect.any(Number),
    });
    expect(of('clerk')?.lockedUntilWallMs).toBeGreaterThan(bench.clock.wallMs());
  });

  it('is for administrators', async () => {
    expect(codeOf(await bench.ask(await bench.local('erin'), 'accounts', {}))).toBe(
      'NOT_PERMITTED',
    );
  });
});
