// One-time codes: the vectors of RFC 4226 and RFC 6238, tolerance, single use, and the address for authenticators.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  base32,
  codeAt,
  codeUri,
  fromBase32,
  newCodeSecret,
  STEP_MS,
  stepAt,
  stepOf,
} from '#tracks/security/identity/one-time-codes';

/** The secret of both RFCs. */
const RFC_SECRET = Buffer.from('12345678901234567890');
const SECRET = base32(RFC_SECRET);

describe('a one-time code', () => {
  it.each([
    [0, '755224'],
    [1, '287082'],
    [2, '359152'],
    [3, '969429'],
    [4, '338314'],
    [5, '254676'],
    [6, '287922'],
    [7, '162583'],
    [8, '399871'],
    [9, '520489'],
  ])('of counter %i is that of RFC 4226 appendix D', (counter, code) => {
    expect(codeAt(RFC_SECRET, counter)).toBe(code);
  });

  it.each([
    [59, '94287082'],
    [1_111_111_109, '07081804'],
    [1_111_111_111, '14050471'],
    [1_234_567_890, '89005924'],
    [2_000_000_000, '69279037'],
    [20_000_000_000, '65353130'],
  ])('at %i s is that of RFC 6238 appendix B', (seconds, code) => {
    expect(codeAt(RFC_SECRET, stepAt(seconds * 1_000), 8)).toBe(code);
  });
});

const wallTimes = fc.integer({ min: 10 * STEP_MS, max: 4_102_444_800_000 });

describe('a code that somebody shows', () => {
  it('is good in its own step and in the one before and after, and in no other', () => {
    fc.assert(
      fc.property(wallTimes, fc.integer({ min: -5, max: 5 }), (wallMs, away) => {
        const step = stepAt(wallMs) + away;
        const found = stepOf(RFC_SECRET, codeAt(RFC_SECRET, step), wallMs, 0);
        // Another step may have the same six digits by chance, but never one out of reach.
        if (Math.abs(away) <= 1) expect(found).not.toBeNull();
        else if (found !== null) expect(codeAt(RFC_SECRET, found)).toBe(codeAt(RFC_SECRET, step));
        if (found !== null) expect(Math.abs(found - stepAt(wallMs))).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('is good once: neither it nor an older one after it was used', () => {
    fc.assert(
      fc.property(wallTimes, fc.integer({ min: -1, max: 1 }), (wallMs, away) => {
        const now = stepAt(wallMs);
        const used = now + away;
        for (let step = now - 1; step <= used; step++) {
          const found = stepOf(RFC_SECRET, codeAt(RFC_SECRET, step), wallMs, used);
          expect(found === null || found > used).toBe(true);
        }
      }),
    );
  });

  it('may have spaces between its digits, and nothing else', () => {
    const wallMs = 59_000;
    expect(stepOf(RFC_SECRET, ' 287 082 ', wallMs, 0)).toBe(1);
    for (const wrong of ['', '287083', '28708', '2870820', '287082x', '٢٨٧٠٨٢', 'NaN', '-87082'])
      expect(stepOf(RFC_SECRET, wrong, wallMs, 0)).toBeNull();
  });

  it('is none before 1970', () => {
    expect(stepOf(RFC_SECRET, codeAt(RFC_SECRET, 0), -1, -1)).toBe(0);
    expect(stepOf(RFC_SECRET, codeAt(RFC_SECRET, 0), -STEP_MS * 2, -1)).toBeNull();
  });
});

describe('the secret', () => {
  it('has 160 bits, is another each time, and comes back from base32 as it went in', () => {
    const secrets = Array.from({ length: 20 }, newCodeSecret);
    expect(new Set(secrets.map(base32)).size).toBe(20);
    for (const secret of secrets) {
      expect(base32(secret)).toMatch(/^[A-Z2-7]{32}$/);
      expect([...fromBase32(base32(secret))]).toEqual([...secret]);
      expect(secret).toHaveLength(20);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        expect([...fromBase32(base32(bytes))]).toEqual([...bytes]);
      }),
    );
  });

  it.each([
    ['f', 'MY'],
    ['fo', 'MZXQ'],
    ['foo', 'MZXW6'],
    ['foobar', 'MZXW6YTBOI'],
  ])('of %s is %s in base32, as in RFC 4648 without padding', (text, expected) => {
    expect(base32(Buffer.from(text))).toBe(expected);
  });

  it('goes to authenticators in the usual address', () => {
    const uri = new URL(codeUri('demo-operator', SECRET));
    expect([uri.protocol, uri.host, uri.pathname]).toEqual([
      'otpauth:',
      'totp',
      '/DSMIL:demo-operator',
    ]);
    expect(Object.fromEntries(uri.searchParams)).toEqual({
      secret: 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ',
      issuer: 'DSMIL',
      algorithm: 'SHA1',
      digits: '6',
      period: '30',
    });
  });
});
