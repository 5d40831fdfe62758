// Lockouts: three failures within 15 minutes lock a name for 30, over restarts, transports and clocks that go back.

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { DEFAULT_IDENTITY } from '#model/safety-policy';
import {
  FAILURE_WINDOW_MS,
  FAILURES_MAX,
  LOCK_MS,
  type Lockouts,
  NAMES_MAX,
  STANDING_UNTIL_WALL_MS,
} from '#tracks/security/identity/lockouts';
import { accountFor } from '../../../../../src/bin/persona.ts';
import { IdentityBench } from '../../../../support/identity-bench.ts';
import { codeOf, must } from '../../../../support/kernel-bench.ts';
import { PERSON } from '../people.ts';

let bench: IdentityBench;

beforeEach(() => {
  bench = new IdentityBench([{ account: accountFor(PERSON), token: null }]);
});
afterEach(() => bench.close());

/** A failed sign-in that reached the disk. */
async function fail(name: string, lockouts: Lockouts = bench.lockouts): Promise<boolean> {
  const { locked, write } = must(lockouts.begin(name)).failed();
  await bench.store.transact(write);
  return locked;
}

describe.each([
  ['an account', 'alice'],
  ['nobody', 'mallory'],
])('the name of %s', (_, name) => {
  it('is locked by the third failure, for 30 minutes', async () => {
    expect([await fail(name), await fail(name), await fail(name)]).toEqual([false, false, true]);
    expect(codeOf(bench.lockouts.begin(name))).toBe('ACCOUNT_LOCKED');
    await bench.clock.advance(LOCK_MS - 1);
    expect(codeOf(bench.lockouts.begin(name))).toBe('ACCOUNT_LOCKED');
    await bench.clock.advance(1);
    expect(bench.lockouts.lockOf(name)).toBeNull();
    // The failures that locked it are not counted again.
    expect(await fail(name)).toBe(false);
  });

  it('stays locked over a restart, neither shorter nor longer', async () => {
    for (let round = 0; round < FAILURES_MAX; round++) await fail(name);
    await bench.clock.advance(LOCK_MS / 2);
    bench.restart();
    await bench.clock.advance(LOCK_MS / 2 - 1);
    expect(bench.lockouts.lockOf(name)).not.toBeNull();
    await bench.clock.advance(1);
    expect(bench.lockouts.lockOf(name)).toBeNull();
  });

  it('keeps its count over a restart', async () => {
    await fail(name);
    await fail(name);
    bench.restart();
    expect(await fail(name)).toBe(true);
  });

  it('is not guessed at in parallel more often than one after another', () => {
    const attempts = Array.from({ length: 10 }, () => bench.lockouts.begin(name));
    const begun = attempts.filter(({ ok }) => ok);
    expect(begun).toHaveLength(FAILURES_MAX);
    expect(codeOf(attempts[FAILURES_MAX] ?? must(null as never))).toBe('BUSY');
    const locked = begun.map((attempt) => must(attempt).failed().locked);
    expect(locked).toEqual([false, false, true]);
  });

  it('is not locked longer, and not sooner, by attempts that were abandoned', async () => {
    for (let round = 0; round < 20; round++) must(bench.lockouts.begin(name)).abandoned();
    expect(await fail(name)).toBe(false);
    const attempt = must(bench.lockouts.begin(name));
    attempt.abandoned();
    expect(() => attempt.failed()).toThrow('ended twice');
  });
});

it('forgets failures after a success, and those that are 15 minutes old', async () => {
  await fail('alice');
  await fail('alice');
  await bench.store.transact(must(bench.lockouts.begin('alice')).succeeded().write);
  expect([await fail('alice'), await fail('alice')]).toEqual([false, false]);
  await bench.clock.advance(FAILURE_WINDOW_MS);
  expect([await fail('alice'), await fail('alice'), await fail('alice')]).toEqual([
    false,
    false,
    true,
  ]);
});

it('locks exactly when three failures lie within 15 minutes, whenever they come', async () => {
  const gaps = fc.array(fc.integer({ min: 0, max: FAILURE_WINDOW_MS }), {
    minLength: 1,
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(gaps, fc.boolean(), async (waits, restarts) => {
      const one = new IdentityBench([], new VirtualClock());
      try {
        let counted: number[] = [];
        for (const waitMs of waits) {
          await one.clock.advance(waitMs);
          if (restarts) one.restart();
          const nowMs = one.clock.wallMs();
          counted = counted.filter((atMs) => atMs > nowMs - FAILURE_WINDOW_MS);
          const begun = one.lockouts.begin('mallory');
          if (!begun.ok) {
            // Within the lock that the third of them began.
            expect(counted).toHaveLength(0);
            continue;
          }
          const { locked, write } = begun.value.failed();
          await one.store.transact(write);
          counted.push(nowMs);
          expect(locked).toBe(counted.length >= FAILURES_MAX);
          if (!locked) continue;
          counted = [];
          await one.clock.advance(LOCK_MS - 1);
          expect(codeOf(one.lockouts.begin('mallory'))).toBe('ACCOUNT_LOCKED');
          await one.clock.advance(1);
        }
      } finally {
        one.close();
      }
    }),
    { numRuns: 25 },
  );
});

it.each([
  ['a day back', -86_400_000],
  ['to 1970', -1_767_225_600_000],
])('is not shortened by a clock that is set %s, in this life or the next', async (_, byMs) => {
  bench.floor.note(bench.clock.wallMs());
  for (let round = 0; round < FAILURES_MAX; round++) await fail('alice');
  await bench.clock.advance(1_000);
  bench.clock.jumpWall(byMs);
  expect(codeOf(bench.lockouts.begin('alice'))).toBe('ACCOUNT_LOCKED');
  await bench.clock.advance(LOCK_MS / 2);
  expect(codeOf(bench.lockouts.begin('alice'))).toBe('ACCOUNT_LOCKED');
  // Time that passed still counts.
  await bench.clock.advance(LOCK_MS / 2);
  expect(bench.lockouts.begin('alice').ok).toBe(true);
});

describe('a lock for a threat', () => {
  it('stands until a person lifts it, over failures, successes, years and restarts', async () => {
    bench.lockouts.lock('alice', 'guessed at quarantined devices');
    expect(bench.lockouts.lockOf('alice')).toEqual({
      because: 'guessed at quarantined devices',
      untilWallMs: STANDING_UNTIL_WALL_MS,
      standing: true,
    });
    await bench.store.transact(() => undefined);
    await bench.clock.advance(365 * 86_400_000);
    bench.restart();
    const refused = bench.lockouts.begin('alice');
    expect(codeOf(refused)).toBe('ACCOUNT_LOCKED');
    expect(JSON.stringify(refused)).not.toContain('quarantined');
    await bench.store.transact(() => bench.lockouts.writeUnlocked('alice'));
    bench.lockouts.noteUnlocked('alice');
    expect(bench.lockouts.begin('alice').ok).toBe(true);
    bench.restart();
    expect(bench.lockouts.lockOf('alice')).toBeNull();
  });

  it('that comes while a sign-in is checked outlives its success and its failure', async () => {
    const [good, bad] = [must(bench.lockouts.begin('alice')), must(bench.lockouts.begin('alice'))];
    bench.lockouts.lock('alice', 'a threat');
    await bench.store.transact(good.succeeded().write);
    expect(bench.lockouts.lockOf('alice')?.standing).toBe(true);
    await bench.store.transact(bad.failed().write);
    bench.restart();
    expect(bench.lockouts.lockOf('alice')).toMatchObject({ because: 'a threat', standing: true });
  });
});

it('keeps at most 4,096 names, and lets no flood of made-up ones free an account', async () => {
  for (let round = 0; round < FAILURES_MAX; round++) await fail('alice');
  for (let at = 0; at < NAMES_MAX + 50; at++) must(bench.lockouts.begin(`made-up-${at}`)).failed();
  expect(bench.lockouts.size).toBe(NAMES_MAX);
  expect(codeOf(bench.lockouts.begin('alice'))).toBe('ACCOUNT_LOCKED');
});

it('keeps a name that nobody has as a digest: it may be a password in the wrong field', async () => {
  await fail('my secret password');
  const rows = bench.store.database.prepare('SELECT name FROM lockout').all();
  expect(rows).toEqual([{ name: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) }]);
});

it('counts on a disk that takes nothing', () => {
  bench.store.database.exec(
    `CREATE TRIGGER full BEFORE INSERT ON lockout BEGIN SELECT RAISE(ABORT, 'full'); END`,
  );
  for (let round = 0; round < FAILURES_MAX; round++) must(bench.lockouts.begin('alice')).failed();
  expect(codeOf(bench.lockouts.begin('alice'))).toBe('ACCOUNT_LOCKED');
});

it('locks by the policy of the site', async () => {
  const policy = {
    ...DEFAULT_IDENTITY,
    failuresMax: 2,
    failureWindowMinutes: 5,
    lockMinutes: 7,
  };
  const site = new IdentityBench([], undefined, policy);
  try {
    const failAt = () => must(site.lockouts.begin('nobody')).failed().locked;
    expect(failAt()).toBe(false);
    await site.clock.advance(5 * 60_000);
    // The first is forgotten: it is as if this were the first.
    expect(failAt()).toBe(false);
    expect(failAt()).toBe(true);
    expect(site.lockouts.lockOf('nobody')?.because).toBe('2 failed sign-ins within 5 minutes');
    await site.clock.advance(7 * 60_000 - 1);
    expect(codeOf(site.lockouts.begin('nobody'))).toBe('ACCOUNT_LOCKED');
    await site.clock.advance(1);
    expect(site.lockouts.lockOf('nobody')).toBeNull();
  } finally {
    site.close();
  }
});
