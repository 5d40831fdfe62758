// Two administrators: what counts as a second one, until when, and what makes a proposal worthless.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MESSAGE_BYTES_MAX } from '#link/link';
import { PROPOSAL_LIFETIME_MS } from '#tracks/security/identity/second-administrator';
import { codeOf, must } from '../../../../support/kernel-bench.ts';
import { ORIGIN } from '../../../orchestrator/agent-bench.ts';
import { DeskBench } from './desk-bench.ts';
import { administratorOf } from './records.ts';

/** Two bytes each in UTF-8. */
const DIGITS = '\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669';

let bench: DeskBench;
let alice: string;
let bob: string;

beforeEach(async () => {
  bench = await DeskBench.open();
  alice = await bench.local('alice');
  bob = await bench.local('bob');
});
afterEach(() => bench.close());

const RAISE = { id: 'erin', change: { clearance: 'SECRET' as const }, reason: 'a new task' };
const raise = (session: string, request: typeof RAISE = RAISE) =>
  bench.ask(session, 'changeAccount', request);
/** Sessions of so many administrators more. */
async function flock(count: number): Promise<readonly string[]> {
  const { orchestrator, security } = bench.agent;
  const sessions: string[] = [];
  for (let number = 0; number < count; number += 1) {
    const uid = 2_000 + number;
    const record = administratorOf(`admin-${number}`, { localUids: [uid] });
    await bench.agent.settle(security.accounts.save(record));
    const credential = { kind: 'local', uid, gid: uid, pid: 1 } as const;
    const session = bench.agent.settle(orchestrator.authenticate(credential, ORIGIN));
    sessions.push(must(await session).id);
  }
  return sessions;
}
const clearance = () => bench.record('erin').clearance;
/** Asked, and waits for another. */
const waits = {
  done: false,
  message: expect.stringContaining('until a second administrator asks'),
};

describe('a change that gives rights', () => {
  it('waits for a second administrator, and is made when one asks for exactly the same', async () => {
    expect(must(await raise(alice))).toEqual({
      done: false,
      message:
        'alice asks to give erin the clearance SECRET; nothing is changed until a second administrator asks for exactly the same, within 300 s',
    });
    expect(clearance()).toBe('RESTRICTED');
    expect(must(await raise(bob))).toEqual({
      done: true,
      message: 'erin got the clearance SECRET',
    });
    expect(clearance()).toBe('SECRET');
  });

  it('is on record twice, bound by one digest: who proposed it and who made it so', async () => {
    await raise(alice);
    await raise(bob);
    const [proposed, changed] = bench.entries('CHANGE_PROPOSED', 'ACCOUNT_CHANGED');
    const details = {
      account: 'erin',
      before: { clearance: 'RESTRICTED' },
      after: { clearance: 'SECRET' },
    };
    expect(proposed).toMatchObject({
      event: 'CHANGE_PROPOSED',
      actor: 'alice',
      operation: 'changeAccount',
      decision: 'waits for a second administrator',
      reason: 'a new task',
      details,
    });
    expect(changed).toMatchObject({
      event: 'ACCOUNT_CHANGED',
      actor: 'bob',
      operation: 'changeAccount',
      planDigest: proposed?.planDigest,
      details: { ...details, proposedBy: 'alice' },
    });
    expect(proposed?.planDigest).toMatch(/^[0-9a-f]{64}$/);
  });

  it('is used up: the same again finds nothing left to give', async () => {
    await raise(alice);
    await raise(bob);
    await bench.change('erin', { clearance: 'RESTRICTED' });
    expect(must(await raise(bob))).toEqual(waits);
    expect(clearance()).toBe('RESTRICTED');
  });

  it.each([
    ['another reason', { ...RAISE, reason: 'a new task.' }],
    ['more', { ...RAISE, change: { clearance: 'TOP_SECRET' as const } }],
    ['something beside', { ...RAISE, change: { ...RAISE.change, administrator: true } }],
    ['another account', { ...RAISE, id: 'clerk' }],
  ])('is not the same with %s', async (_, other) => {
    await raise(alice);
    expect(must(await bench.ask(bob, 'changeAccount', other))).toEqual(waits);
    expect([clearance(), bench.record('clerk').clearance]).toEqual(['RESTRICTED', 'RESTRICTED']);
  });

  it('that differs in its reason alone is told so, and one about another account is not', async () => {
    await raise(alice);
    const hint = 'not quite as alice does: every member has to be the same, the reason too';
    expect(must(await raise(bob, { ...RAISE, reason: 'else' })).message).toContain(hint);
    expect(must(await raise(bob, { ...RAISE, id: 'clerk' })).message).not.toContain(hint);
  });

  it('is the same however its lists are ordered and whatever it repeats of what is so', async () => {
    const ask = (session: string, change: object) =>
      bench.ask(session, 'changeAccount', { id: 'erin', change, reason: 'maintenance' });
    await ask(alice, { compartments: ['MAINT', 'CRYPTO'], devices: [1, 0] });
    const same = { devices: [0, 1], compartments: ['CRYPTO', 'MAINT'], enabled: true };
    expect(must(await ask(bob, same))).toMatchObject({ done: true });
    expect(bench.record('erin')).toMatchObject({
      compartments: ['CRYPTO', 'MAINT'],
      devices: [0, 1],
    });
  });
});

describe('no second administrator', () => {
  it('is the first one who asks again: that is told, and nothing more', async () => {
    await raise(alice);
    await bench.clock.advance(100_000);
    const again = must(await raise(alice));
    expect(again).toEqual({
      done: false,
      message:
        'alice has asked already; nothing is changed until a second administrator asks for exactly the same, within 200 s',
    });
    expect(bench.entries('CHANGE_PROPOSED')).toHaveLength(1);
  });

  it('is the first one signed in another way', async () => {
    await raise(alice);
    const refused = await raise(await bench.byToken('alice'));
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'SECOND_ADMINISTRATOR_NEEDED',
      place: 'changeAccount',
      finding: 'alice has proposed this, and another sign-in does not make a second person',
    });
    expect(clearance()).toBe('RESTRICTED');
    expect(must(await raise(bob))).toMatchObject({ done: true });
  });

  it('is another account that signed in with the same thing', async () => {
    await raise(alice);
    // The local user of alice becomes bob's: it may still be alice who sits there.
    await bench.change('alice', { localUids: [] });
    await bench.change('bob', { localUids: [1001] });
    const refused = await raise(await bench.local('alice'));
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'SECOND_ADMINISTRATOR_NEEDED',
      finding: 'bob signed in with what alice proposed this with, so that it might be one person',
    });
    expect(clearance()).toBe('RESTRICTED');
  });

  it('is a machine, not even for the first asking', async () => {
    await raise(alice);
    const refused = await raise(await bench.local('robot'));
    expect(!refused.ok && refused.fault).toMatchObject({
      code: 'NOT_PERMITTED',
      finding: 'robot is a machine, and only people can give rights',
    });
    expect(clearance()).toBe('RESTRICTED');
  });

  it('is who administers nothing', async () => {
    await raise(alice);
    const erin = await bench.local('erin');
    const own = { ...RAISE, id: 'clerk' };
    expect(codeOf(await bench.ask(erin, 'changeAccount', own))).toBe('NOT_PERMITTED');
    expect(bench.entries('ADMINISTRATION_REFUSED').at(-1)).toMatchObject({
      actor: 'erin',
      operation: 'changeAccount',
      details: { code: 'NOT_PERMITTED' },
    });
  });
});

describe('a proposal', () => {
  it('lasts 300 s of monotonic time, however the wall clock jumps', async () => {
    await raise(alice);
    await bench.clock.advance(299_000);
    bench.clock.jumpWall(-86_400_000);
    expect(must(await raise(bob))).toMatchObject({ done: true });
  });

  it('that has expired is worth nothing: the second becomes the first', async () => {
    await raise(alice);
    bench.clock.jumpWall(-86_400_000);
    await bench.clock.advance(300_000);
    expect(must(await raise(bob))).toEqual(waits);
    expect(clearance()).toBe('RESTRICTED');
    expect(must(await raise(alice))).toMatchObject({ done: true });
  });

  it('is worth nothing once the account has changed, even when it looks the same to the change', async () => {
    await raise(alice);
    await bench.change('erin', { underReview: true });
    const asked = must(await raise(bob));
    expect(asked.done).toBe(false);
    expect(asked.message).toMatch(
      /^what this is about has changed since alice proposed it, so that it counts no more; bob asks/,
    );
    expect(clearance()).toBe('RESTRICTED');
    // Both know the account as it is now.
    expect(must(await raise(alice))).toMatchObject({ done: true });
  });

  it.each([
    ['no administrator any more', { administrator: false }, 'is no administrator'],
    ['disabled', { enabled: false }, 'is disabled'],
    ['outside the time of validity', { validUntilWallMs: 1 }, 'is not valid any more'],
  ])('is worth nothing when the first one is %s', async (_, changes, because) => {
    await raise(alice);
    await bench.change('alice', changes);
    const asked = must(await raise(bob));
    expect(asked.message).toContain(
      `alice had proposed this and ${because}, so that it counts no more`,
    );
    expect(clearance()).toBe('RESTRICTED');
    const dora = await bench.local('dora');
    expect(must(await raise(dora))).toMatchObject({ done: true });
  });

  it('is worth nothing when the first one was locked for an attack', async () => {
    await raise(alice);
    bench.agent.security.principals.lockAccount('alice', 'probed a quarantined device');
    expect(must(await raise(bob)).message).toContain('alice had proposed this and is locked');
    expect(clearance()).toBe('RESTRICTED');
  });

  const withdrawals: readonly (readonly [string, () => unknown])[] = [
    [
      'an administrator ended the session of the first one',
      () => {
        const { principals } = bench.agent.security;
        const handle = principals.handleOf(alice);
        principals.endSessions((live) => live.handle === handle, 'a stolen panel');
      },
    ],
    [
      'the session of the first one was locked',
      () => bench.agent.security.principals.lock(alice, 'a probe'),
    ],
    [
      'the credential of the first one was taken away',
      () => bench.change('alice', { localUids: [] }),
    ],
  ];
  it.each(withdrawals)('is worth nothing once %s, and is listed no more', async (_, withdraw) => {
    await raise(alice);
    await withdraw();
    expect(must(await bench.ask(bob, 'proposals', {})).proposals).toEqual([]);
    const answer = must(await raise(bob));
    expect(answer.message).toMatch(/alice had proposed this and cannot any more: .*counts no more/);
    expect(clearance()).toBe('RESTRICTED');
    // It is the other one's proposal now.
    expect(must(await raise(await bench.local('dora')))).toMatchObject({ done: true });
  });

  it.each([
    ['has lost the connection', () => bench.agent.security.principals.end(alice)],
    ['has signed out', () => bench.agent.security.principals.signOut(alice)],
  ])('counts also when the first one %s', async (_, leave) => {
    await raise(alice);
    leave();
    expect(must(await raise(bob))).toMatchObject({ done: true });
  });

  it('gives way to newer ones: 64 wait at once, and the oldest is gone', async () => {
    const request = (number: number) => ({ ...RAISE, reason: `task ${number}` });
    const five = await flock(5);
    for (let number = 0; number <= 64; number += 1)
      await raise(five[number % 5] ?? '', request(number));
    expect(must(await raise(bob, request(0)))).toEqual(waits);
    expect(must(await raise(bob, request(64)))).toMatchObject({ done: true });
  });

  it('is refused to who has sixteen that wait, and to nobody else', async () => {
    const request = (number: number) => ({ ...RAISE, reason: `task ${number}` });
    for (let number = 0; number < 16; number += 1) await raise(alice, request(number));
    expect(await raise(alice, request(16))).toMatchObject({
      ok: false,
      fault: {
        code: 'BUSY',
        finding: '16 proposals of alice wait for a second administrator already',
      },
    });
    expect(must(await raise(alice, request(3))).message).toContain('has asked already');
    expect(must(await raise(bob, request(16)))).toEqual(waits);
    expect(must(await raise(bob, request(7)))).toMatchObject({ done: true });
  });

  it('that two make in the same moment is one proposal and its effect', async () => {
    const both = [
      bench.start(alice, 'changeAccount', RAISE),
      bench.start(bob, 'changeAccount', RAISE),
    ];
    const answers = await bench.agent.settle(Promise.all(both));
    const done = answers.map((answer) => must(answer).done);
    // One after another: the second of them is the second administrator.
    expect(done).toEqual([false, true]);
    expect(clearance()).toBe('SECRET');
    expect(bench.entries('ACCOUNT_CHANGED')).toHaveLength(1);
  });
});

describe('when the disk takes no more', () => {
  // Larger than what is left of any page.
  const LARGE = { ...RAISE, reason: 'x'.repeat(4_096) };

  it('a proposal does not count', async () => {
    bench.limitDisk('none');
    expect(codeOf(await raise(alice, LARGE))).toBe('AUDIT_UNAVAILABLE');
    bench.limitDisk('plenty');
    expect(must(await raise(bob, LARGE))).toEqual(waits);
    expect(clearance()).toBe('RESTRICTED');
  });

  it('the change does not count, in memory or on disk, and both have to ask again', async () => {
    await raise(alice, LARGE);
    bench.limitDisk('none');
    expect(codeOf(await raise(bob, LARGE))).toBe('AUDIT_UNAVAILABLE');
    bench.limitDisk('plenty');
    expect(clearance()).toBe('RESTRICTED');
    const { database } = bench.agent.store;
    const row = database.prepare("SELECT body FROM account WHERE id = 'erin'").get();
    expect(JSON.parse(String(row?.body))).toMatchObject({ clearance: 'RESTRICTED' });
    expect(bench.entries('ACCOUNT_CHANGED')).toEqual([]);
    expect(must(await raise(bob, LARGE))).toEqual(waits);
    expect(must(await raise(alice, LARGE))).toMatchObject({ done: true });
  });
});

describe('the list of proposals', () => {
  const list = async (session = bob) => must(await bench.ask(session, 'proposals', {})).proposals;

  it('says who asks for what, why, until when, and what the second one has to ask for', async () => {
    expect(await list()).toEqual([]);
    await raise(alice);
    await bench.clock.advance(100_000);
    const [proposal, ...others] = await list();
    expect(others).toEqual([]);
    expect(proposal).toEqual({
      digest: bench.entries('CHANGE_PROPOSED')[0]?.planDigest,
      by: 'alice',
      operation: 'changeAccount',
      what: 'to give erin the clearance SECRET',
      reason: 'a new task',
      request: RAISE,
      expiresAtWallMs: bench.clock.wallMs() + 200_000,
    });
    const request = proposal?.request as unknown as typeof RAISE;
    expect(must(await raise(bob, request)).done).toBe(true);
    expect(await list()).toEqual([]);
  });

  it('leaves out what ran out and what its proposer may ask for no more', async () => {
    await raise(alice);
    await bench.change('alice', { administrator: false });
    expect(await list()).toEqual([]);
    await bench.change('alice', { administrator: true });
    expect(await list()).toHaveLength(1);
    await bench.clock.advance(PROPOSAL_LIFETIME_MS);
    expect(await list()).toEqual([]);
  });

  it('holds no half of an invitation', async () => {
    const request = { id: 'erin', reason: 'lost the telephone' };
    const { invitation } = must(await bench.ask(alice, 'inviteAccount', request));
    const proposals = await list();
    expect(proposals).toMatchObject([{ operation: 'inviteAccount', request }]);
    expect(JSON.stringify(proposals)).not.toContain(invitation);
  });

  it('is for administrators alone', async () => {
    const erin = await bench.local('erin');
    expect(codeOf(await bench.ask(erin, 'proposals', {}))).toBe('NOT_PERMITTED');
  });

  it('fits into one message of the link, the newest first', async () => {
    const reason = (at: number) => `${at}`.padStart(4, '0').repeat(1_024);
    const four = await flock(4);
    for (let at = 0; at < 64; at += 1)
      await raise(four[at % 4] ?? '', {
        ...RAISE,
        reason: `${reason(at)}`.replace(/./g, (digit) => DIGITS[Number(digit)] ?? ''),
      });
    const proposals = await list();
    expect(Buffer.byteLength(JSON.stringify(proposals))).toBeLessThan(MESSAGE_BYTES_MAX);
    expect(proposals.length).toBeGreaterThan(16);
    expect(proposals[0]?.reason.slice(0, 4)).toBe('\u0660\u0660\u0666\u0663');
  });
});
