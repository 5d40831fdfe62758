// Passwords: which may be chosen, how they are kept, and that checking them stays bounded.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { passwordFinding } from '#tracks/security/identity/password-rules';
import { HASH_COST, Passwords } from '#tracks/security/identity/passwords';
import { codeOf, must } from '../../../../support/kernel-bench.ts';

/** As small as argon2 goes: what is tested here is not its strength. */
const CHEAP = { memoryKib: 8, passes: 1, lanes: 1 };
const PASSWORD = 'a tide of green lanterns';

describe('a password', () => {
  it.each([
    ['short one', /9 characters, at least 12/],
    ['', /0 characters/],
    ['x'.repeat(11), /11 characters/],
    [`${'four words '.repeat(12)}`, /132 characters, at most 128/],
    ['aaaaaaaaaaaa', /a row or a repetition/],
    ['abababababab', /a row or a repetition/],
    ['abcabcabcabcab', /a row or a repetition/],
    ['123456789012', /a row or a repetition/],
    ['zyxwvutsrqpo', /a row or a repetition/],
    ['password1234', /commonest/],
    ['PassPhrase!!2026', /commonest/],
    ['correct horse battery staple', /commonest/],
    ['1q2w3e4r5t6y', /commonest/],
    ['demo-operator', /name of the account/],
    ['DEMO-OPERATOR-2026!', /name of the account/],
    ['demooperator', /name of the account/],
    ['twelve chars\ud800', /half a character/],
  ])('like %j is not taken', (password, finding) => {
    expect(passwordFinding(password, 'demo-operator')).toMatch(finding);
  });

  it.each([
    PASSWORD,
    'zwölf Schneeflocken',
    'purple-kettle',
    `${'🙂'.repeat(6)}sixmore`,
    'no digits needed here',
    '              x',
  ])('like %j is taken: length counts, not kinds of characters', (password) => {
    expect(passwordFinding(password, 'demo-operator')).toBeNull();
  });

  it('is measured in characters as people count them', () => {
    expect(passwordFinding('🙂🙃😉😊😇🥰', 'x')).toMatch(/has 6 characters/);
    expect(passwordFinding('x'.repeat(64) + 'y'.repeat(64), 'x')).toBeNull();
  });
});

describe('a kept password', () => {
  it('is a hash with its parameters, another each time, in which the password does not appear', async () => {
    const passwords = new Passwords();
    const [one, other] = [
      must(await passwords.hash(PASSWORD)),
      must(await passwords.hash(PASSWORD)),
    ];
    expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$/);
    expect(one).not.toBe(other);
    expect(one).not.toContain(PASSWORD);
    expect(must(await passwords.verify(PASSWORD, one))).toEqual({ right: true, outdated: false });
    expect(must(await passwords.verify(`${PASSWORD} `, one)).right).toBe(false);
  });

  it('matches the very text, in whatever way its accents were typed', async () => {
    const passwords = new Passwords(CHEAP);
    const kept = must(await passwords.hash('un caf\u00e9 tr\u00e8s serr\u00e9'));
    expect(must(await passwords.verify('un cafe\u0301 tre\u0300s serre\u0301', kept)).right).toBe(
      true,
    );
    expect(must(await passwords.verify('un cafe tres serre', kept)).right).toBe(false);
  });

  it('is still good after the parameters were raised, and says that it is outdated', async () => {
    const kept = must(await new Passwords(CHEAP).hash(PASSWORD));
    const raised = new Passwords({ ...CHEAP, passes: 2 });
    expect(must(await raised.verify(PASSWORD, kept))).toEqual({ right: true, outdated: true });
    expect(must(await raised.verify('wrong', kept))).toMatchObject({ right: false });
  });

  it.each([
    'nonsense',
    '',
    '$argon2id$v=19$m=9999999,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA',
    '$argon2id$v=19$m=8,t=999,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA',
    '$argon2i$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA',
  ])('that is damaged (%j) opens nothing and takes no memory', async (kept) => {
    expect(must(await new Passwords(CHEAP).verify(PASSWORD, kept)).right).toBe(false);
  });

  it('that nobody has costs the same work and is never right', async () => {
    const passwords = new Passwords(CHEAP);
    await fc.assert(
      fc.asyncProperty(fc.string({ maxLength: 40 }), async (password) => {
        expect(must(await passwords.verify(password, null)).right).toBe(false);
      }),
      { numRuns: 30 },
    );
    const real = new Passwords(HASH_COST);
    const kept = must(await real.hash(PASSWORD));
    // The fastest of a few: what the machine does beside it only adds.
    const fastest = async (work: () => Promise<unknown>) => {
      const times: number[] = [];
      for (let round = 0; round < 5; round++) {
        const startMs = performance.now();
        await work();
        times.push(performance.now() - startMs);
      }
      return Math.min(...times);
    };
    const known = await fastest(() => real.verify('wrong', kept));
    const unknown = await fastest(() => real.verify('wrong', null));
    expect(unknown / known).toBeGreaterThan(0.3);
    expect(unknown / known).toBeLessThan(3);
  });

  it('is worked out one at a time, with a bounded queue', async () => {
    const passwords = new Passwords(CHEAP);
    const all = Array.from({ length: 40 }, () => passwords.hash(PASSWORD));
    expect(passwords.underWay).toBeLessThanOrEqual(17);
    const outcomes = await Promise.all(all);
    expect(outcomes.filter(({ ok }) => ok)).toHaveLength(17);
    expect(new Set(outcomes.filter(({ ok }) => !ok).map(codeOf))).toEqual(new Set(['BUSY']));
    expect(passwords.underWay).toBe(0);
    expect((await passwords.hash(PASSWORD)).ok).toBe(true);
  });
});
