// Two things in the very same moment, in one commit of the store: what takes a way in away has the last word, in memory, on disk
// and over a restart, whichever of the two was asked for first.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { Origin } from '#model/principal';
import { STEP_MS } from '#tracks/security/identity/one-time-codes';
import { accountFor } from '../../../../../src/bin/persona.ts';
import { type Enrolled, EntryBench } from '../../../../support/entry-bench.ts';
import { codeOf, must } from '../../../../support/kernel-bench.ts';
import { PERSON, SECOND } from '../people.ts';

const ORIGIN: Origin = { transport: 'rest', peer: '10.0.0.1:4000' };
const CONSOLE: Origin = { transport: 'local', peer: 'uid 0' };
const PASSWORD = 'a tide of green lanterns';
const NEXT = 'seven quiet harbours';
const OTHER = 'nineteen slow windmills';

let bench: EntryBench;
beforeEach(() => {
  bench = new EntryBench([
    { account: accountFor(PERSON, { administrator: true }), token: 'alice-token' },
    { account: accountFor(SECOND), token: 'bob-token' },
  ]);
});
afterEach(() => bench.close());

/** Another invitation, whose rows wait for the next commit when this returns. */
function replaceInvitation(): Promise<string> {
  const made = bench.live.invitations.make('alice');
  return bench.store
    .transact(() => made.write())
    .then(() => {
      made.noteSaved();
      return made.text;
    });
}

function recover() {
  const deadline = Deadline.after(bench.clock, 10_000);
  const caller = { session: null, credential: '', origin: CONSOLE, deadline };
  return bench.live.administratorRecovery.perform('alice', caller, 'uid 0');
}

/** What happens as soon as a password was worked out, before whoever waited for it goes on. */
function onceHashed(act: () => void): void {
  const { passwords } = bench.live;
  const hash = passwords.hash.bind(passwords);
  passwords.hash = async (password) => {
    const done = await hash(password);
    passwords.hash = hash;
    act();
    return done;
  };
}

/** And as soon as one was compared, after whoever waited for it has gone as far as the disk: commits wait for a turn of the loop. */
function afterCompared(act: () => void): void {
  const { passwords } = bench.live;
  const verify = passwords.verify.bind(passwords);
  passwords.verify = async (password, kept) => {
    const done = await verify(password, kept);
    passwords.verify = verify;
    process.nextTick(act);
    return done;
  };
}

const events = () => bench.entries.map(({ event }) => event);
const opens = async (token: string) =>
  codeOf(await bench.identity.principals.authenticate({ kind: 'token', token }, ORIGIN));

describe('an invitation that is replaced', () => {
  it('completes no enrolment, and none comes to life with a restart', async () => {
    const invitation = await bench.invite('alice');
    const { secret } = must(await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN));
    const replaced = replaceInvitation();
    const code = bench.code(secret);
    const confirmed = await bench.ask('confirmEnrolment', { invitation, code }, ORIGIN);
    const next = await replaced;
    expect(codeOf(confirmed)).toBe('INVITATION_INVALID');
    expect(events()).not.toContain('ACCOUNT_ENROLLED');
    bench.restart();
    expect(bench.live.credentials.enrolled('alice')).toBe(false);
    const request = { account: 'alice', password: PASSWORD, code: await bench.nextCode(secret) };
    expect(codeOf(await bench.ask('login', request, ORIGIN))).toBe('NOT_AUTHENTICATED');
    expect(bench.live.invitations.find(next)).toBeDefined();
  });

  it('is not put back by a password that was chosen with it', async () => {
    const invitation = await bench.invite('alice');
    let replaced: Promise<string> = Promise.resolve('');
    onceHashed(() => {
      replaced = replaceInvitation();
    });
    const enrolled = await bench.ask('enrol', { invitation, password: PASSWORD }, ORIGIN);
    const next = await replaced;
    expect(codeOf(enrolled)).toBe('INVITATION_INVALID');
    expect(events()).not.toContain('PASSWORD_CHANGED');
    bench.restart();
    expect(bench.live.invitations.find(invitation)).toBeUndefined();
    expect(bench.live.invitations.find(next)).toBeDefined();
  });
});

describe('a recovery', () => {
  let alice: Enrolled;
  beforeEach(async () => {
    alice = await bench.enrol('alice', PASSWORD, ORIGIN);
    bench.entries.length = 0;
  });

  it('ends a sign-in that was written down just before it', async () => {
    const code = await bench.nextCode(alice.secret);
    let recovered: Promise<Outcome<unknown>> | undefined;
    afterCompared(() => {
      recovered = recover();
    });
    const answer = await bench.ask('login', { account: 'alice', password: PASSWORD, code }, ORIGIN);
    must((await recovered) as Outcome<unknown>);
    // Both in one commit, the sign-in first.
    expect(events().slice(0, 2)).toEqual(['SIGNED_IN', 'ACCOUNT_INVITED']);
    expect(bench.identity.principals.liveSessions()).toEqual([]);
    if (answer.ok) expect(await opens(answer.value.token)).toBe('NOT_AUTHENTICATED');
    bench.restart();
    expect(bench.identity.principals.liveSessions()).toEqual([]);
    if (answer.ok) expect(await opens(answer.value.token)).toBe('NOT_AUTHENTICATED');
  });

  it('leaves no row of a sign-in that comes just after it', async () => {
    const code = await bench.nextCode(alice.secret);
    let recovered: Promise<Outcome<unknown>> | undefined;
    const { passwords } = bench.live;
    const verify = passwords.verify.bind(passwords);
    passwords.verify = async (password, kept) => {
      const done = await verify(password, kept);
      recovered = recover();
      // As far as the disk: the commit waits for a turn of the loop.
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      return done;
    };
    const answer = await bench.ask('login', { account: 'alice', password: PASSWORD, code }, ORIGIN);
    must((await recovered) as Outcome<unknown>);
    expect(codeOf(answer)).toBe('NOT_AUTHENTICATED');
    expect(events()).not.toContain('SIGNED_IN');
    expect(bench.store.database.prepare('SELECT * FROM sign_in').all()).toEqual([]);
  });
});

describe('two changes of one password', () => {
  it('are one: the other is refused, on disk as in memory', async () => {
    const alice = await bench.enrol('alice', PASSWORD, ORIGIN);
    const { session } = await bench.signIn(alice, ORIGIN);
    await bench.clock.advance(2 * STEP_MS);
    const change = (next: string, code: string) =>
      bench.ask('changePassword', { password: PASSWORD, next, code }, ORIGIN, session.id);
    const answers = await Promise.all([
      change(NEXT, bench.code(alice.secret)),
      change(OTHER, bench.code(alice.secret, 1)),
    ]);
    expect(answers.map(({ ok }) => ok)).toEqual([true, false]);
    expect(events().filter((event) => event === 'PASSWORD_CHANGED')).toHaveLength(2);
    bench.restart();
    await bench.clock.advance(2 * STEP_MS);
    const login = (password: string, code: string) =>
      bench.ask('login', { account: 'alice', password, code }, ORIGIN);
    expect(codeOf(await login(OTHER, bench.code(alice.secret)))).toBe('NOT_AUTHENTICATED');
    expect((await login(NEXT, bench.code(alice.secret, 1))).ok).toBe(true);
  });
});

it('a hash that cannot be renewed costs nobody the sign-in, and no name its sign-ins', async () => {
  const alice = await bench.enrol('alice', PASSWORD, ORIGIN);
  // Impossible for argon2, as memory that is not there would be.
  bench.restart({ memoryKib: 8, passes: 0, lanes: 1 });
  for (let turn = 0; turn < 4; turn++) {
    const code = await bench.nextCode(alice.secret);
    const request = { account: 'alice', password: PASSWORD, code };
    expect((await bench.ask('login', request, ORIGIN)).ok).toBe(true);
  }
});
