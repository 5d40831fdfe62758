// The way back in for an administrator, at the console of the machine: who may ask, for whom, and what it makes worthless.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type LoopbackPair, loopbackPair } from '#link/loopback';
import { EventType, Severity } from '#model/event';
import type { Origin } from '#model/principal';
import { askRecovery, serveFirstSetup } from '../../../../../src/bin/console/first-setup.ts';
import { accountFor } from '../../../../../src/bin/persona.ts';
import { type Enrolled, EntryBench } from '../../../../support/entry-bench.ts';
import { codeOf, must } from '../../../../support/kernel-bench.ts';
import { PERSON, SECOND } from '../people.ts';
import { DeskBench } from './desk-bench.ts';

const OWN_UID = 990;
const ORIGIN: Origin = { transport: 'local', peer: 'uid 0' };
const PASSWORD = 'a tide of green lanterns';
const NEXT = 'seven quiet harbours';

describe('at the console', () => {
  let bench: EntryBench;
  let pair: LoopbackPair | null = null;
  let alice: Enrolled;

  beforeEach(async () => {
    bench = new EntryBench([
      { account: accountFor(PERSON, { administrator: true }), token: 'alice-token' },
      { account: accountFor(SECOND), token: 'bob-token' },
    ]);
    alice = await bench.enrol('alice', PASSWORD, ORIGIN);
  });
  afterEach(() => {
    pair?.left.close();
    bench.close();
  });

  /** Asks over a link of the console, as this user. */
  function recover(uid = 0, account = 'alice') {
    pair?.left.close();
    const onError = (error: unknown) => {
      throw error;
    };
    pair = loopbackPair('security', 'interface', { clock: systemClock, onError });
    const { firstRun, record, administratorRecovery: recovery } = bench.live;
    const parts = { firstRun, recovery, record, ownUid: OWN_UID };
    serveFirstSetup(pair.left, { uid, gid: uid, pid: 7 }, parts);
    return askRecovery(pair.right, { account }, Deadline.after(systemClock, 5_000));
  }

  async function lockedOut(): Promise<void> {
    for (let tries = 0; tries < 3; tries += 1)
      await bench.ask('login', { account: 'alice', password: 'wrong', code: '1' }, ORIGIN);
    expect(bench.identity.lockouts.lockOf('alice')).not.toBeNull();
  }

  it.each([
    ['root', 0],
    ['the user of security', OWN_UID],
  ])('by %s gives a new way in and ends the lock, on record and told', async (_, uid) => {
    await lockedOut();
    const { length } = bench.entries;
    const { account, invitation, expiresAtWallMs } = must(await recover(uid));
    expect(account).toBe('alice');
    expect(expiresAtWallMs).toBeGreaterThan(bench.clock.wallMs());
    expect(bench.recovered).toEqual(['alice']);
    expect(bench.entries.slice(length)).toMatchObject([
      {
        event: 'ACCOUNT_INVITED',
        actor: `uid ${uid}`,
        operation: 'setup',
        origin: { transport: 'local', peer: `uid ${uid}` },
        details: { account: 'alice', recovered: true },
      },
      {
        event: 'ACCOUNT_UNLOCKED',
        actor: `uid ${uid}`,
        details: { account: 'alice', lockedBecause: '3 failed sign-ins within 15 minutes' },
      },
    ]);
    const told = JSON.stringify(bench.entries) + bench.everythingStored();
    expect(told).not.toContain(invitation);
    bench.restart();
    const { secret } = must(await bench.ask('enrol', { invitation, password: NEXT }, ORIGIN));
    must(await bench.ask('confirmEnrolment', { invitation, code: bench.code(secret) }, ORIGIN));
    const signedIn = await bench.signIn({ account: 'alice', password: NEXT, secret }, ORIGIN);
    expect(signedIn.session.principal.id).toBe('alice');
  });

  it('makes the password, the codes and every session of before worthless', async () => {
    const { session, token } = await bench.signIn(alice, ORIGIN);
    const { principals } = bench.identity;
    const credential = { kind: 'token', token: 'alice-token' } as const;
    const byToken = must(await principals.authenticate(credential, ORIGIN));
    const other = must(
      await principals.authenticate({ kind: 'token', token: 'bob-token' }, ORIGIN),
    );
    must(await recover());
    expect(codeOf(principals.session(session.id))).toBe('NOT_AUTHENTICATED');
    expect(codeOf(principals.session(byToken.id))).toBe('NOT_AUTHENTICATED');
    expect(codeOf(principals.session(other.id))).toBe('no fault');
    bench.restart();
    const again = await bench.identity.principals.authenticate({ kind: 'token', token }, ORIGIN);
    expect(codeOf(again)).toBe('NOT_AUTHENTICATED');
    const code = await bench.nextCode(alice.secret);
    const old = await bench.ask('login', { account: 'alice', password: PASSWORD, code }, ORIGIN);
    expect(codeOf(old)).toBe('NOT_AUTHENTICATED');
  });

  it.each([1000, 1, 65_534])('by uid %i is refused, on record', async (uid) => {
    expect(codeOf(await recover(uid))).toBe('NOT_PERMITTED');
    expect(bench.entries.at(-1)).toMatchObject({
      event: 'ADMINISTRATION_REFUSED',
      actor: `uid ${uid}`,
      operation: 'setup',
      details: { code: 'NOT_PERMITTED' },
    });
    expect(bench.live.credentials.enrolled('alice')).toBe(true);
    expect(bench.recovered).toEqual([]);
  });

  it('is refused for who is no administrator, is nobody, or is out of use, on record', async () => {
    expect(codeOf(await recover(0, 'bob'))).toBe('NOT_PERMITTED');
    expect(bench.entries.at(-1)).toMatchObject({
      event: 'ADMINISTRATION_REFUSED',
      actor: 'uid 0',
      result: expect.stringContaining('bob: is no administrator'),
    });
    expect(codeOf(await recover(0, 'nobody'))).toBe('ACCOUNT_UNKNOWN');
    expect(codeOf(await recover(0, '../alice'))).toBe('ACCOUNT_UNKNOWN');
    await bench.identity.change('alice', { kind: 'machine' });
    expect(codeOf(await recover())).toBe('NOT_PERMITTED');
    await bench.identity.change('alice', { kind: 'person', enabled: false });
    expect(codeOf(await recover())).toBe('NOT_PERMITTED');
    await bench.identity.change('alice', { enabled: true, validUntilWallMs: 1_000 });
    expect(codeOf(await recover())).toBe('NOT_PERMITTED');
    expect(bench.live.invitations.of('alice')).toBeUndefined();
    expect(bench.live.invitations.of('bob')).toBeUndefined();
  });

  it('keeps everything as it was where it cannot be put on record', async () => {
    await lockedOut();
    bench.store.database.exec(
      `CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END`,
    );
    expect(codeOf(await recover())).toBe('AUDIT_UNAVAILABLE');
    expect(bench.live.credentials.enrolled('alice')).toBe(true);
    expect(bench.identity.lockouts.lockOf('alice')).not.toBeNull();
    expect(bench.recovered).toEqual([]);
    bench.store.database.exec('DROP TRIGGER full');
    expect((await recover()).ok).toBe(true);
  });

  it('leaves the first setup closed', async () => {
    must(await recover());
    expect(bench.live.firstRun.needed).toBe(false);
  });
});

describe('an administrator locked by an incident, with nobody left to unlock the account', () => {
  let bench: DeskBench;
  beforeEach(async () => {
    bench = await DeskBench.open();
  });
  afterEach(() => bench.close());

  it('is let in by root, who closes nothing else; everybody who watches is told', async () => {
    const { security } = bench.agent;
    security.principals.lockAccount('bob', 'incident 1 (HIGH): probed');
    security.principals.lockAccount('alice', 'incident 2 (HIGH): probed');
    const deadline = Deadline.after(bench.clock, 5_000);
    const caller = { session: null, credential: '', origin: ORIGIN, deadline };
    const { events } = bench.agent;
    const before = events.length;
    const answer = await bench.agent.settle(
      security.administratorRecovery.perform('alice', caller, 'uid 0'),
    );
    const { invitation } = must(answer);
    expect(security.lockouts.lockOf('alice')).toBeNull();
    expect(security.lockouts.lockOf('bob')).toMatchObject({ standing: true });
    const alert = events
      .slice(before)
      .find(({ data }) => data.reason === 'administrator recovered');
    expect(alert).toMatchObject({
      type: EventType.SECURITY_ALERT,
      source: 'security',
      data: { account: 'alice' },
    });
    expect(alert?.severity).toBeGreaterThanOrEqual(Severity.WARNING);
    expect(JSON.stringify(events)).not.toContain(invitation);
    const session = await bench.local('alice');
    expect(must(await bench.enrol(invitation)).account).toBe('alice');
    expect(codeOf(await bench.ask(session, 'accounts', {}))).toBe('no fault');
  });

  it('leaves nothing that was proposed in the name before: a lock that is lifted does not bring it back', async () => {
    const { security } = bench.agent;
    const request = {
      id: 'erin',
      change: { clearance: 'TOP_SECRET' },
      reason: 'as agreed',
    } as const;
    const stolen = await bench.local('alice');
    expect(must(await bench.ask(stolen, 'changeAccount', request)).done).toBe(false);
    security.principals.lockAccount('alice', 'incident 1 (HIGH): probed');
    const deadline = Deadline.after(bench.clock, 5_000);
    const caller = { session: null, credential: '', origin: ORIGIN, deadline };
    must(
      await bench.agent.settle(security.administratorRecovery.perform('alice', caller, 'uid 0')),
    );
    const seconded = must(await bench.ask(await bench.local('bob'), 'changeAccount', request));
    expect(seconded.done).toBe(false);
    expect(bench.record('erin').clearance).not.toBe('TOP_SECRET');
  });
});
