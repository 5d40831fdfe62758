// Canonical text is equal exactly when the values are, so that a digest names one value.

import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Canonical, canonicalDigest, canonicalText } from '#foundation/canonical';

const { value: canonicalValue } = fc.letrec<{ value: Canonical }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, false, '', '0x1', '-0x1', 0, 1, 0n, 1n, -1n),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number + 0),
    fc.bigInt(),
    fc.string({ unit: 'binary' }),
    fc.bigInt().map((number) => `0x${number.toString(16)}`),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string(), tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
}));

/** -0 and 0 are one number to everybody who compares them; isDeepStrictEqual alone tells them apart. */
function plain(value: Canonical): Canonical {
  if (value === 0) return 0;
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, plain(member as Canonical)]),
  );
}

function shuffled(value: Canonical): Canonical {
  if (Array.isArray(value)) return value.map(shuffled);
  if (value === null || typeof value !== 'object') return value;
  const members = Object.entries(value).reverse();
  return Object.fromEntries(members.map(([key, member]) => [key, shuffled(member as Canonical)]));
}

describe('canonical text', () => {
  it('is equal for two values exactly when they are equal', () => {
    fc.assert(
      fc.property(canonicalValue, canonicalValue, (left, right) => {
        const equal = isDeepStrictEqual(plain(left), plain(right));
        return (canonicalText(left) === canonicalText(right)) === equal;
      }),
      { numRuns: 2_000 },
    );
  });

  it('tells a big integer from the string of its digits and from the number', () => {
    const texts = [42n, '0x2a', 42, '42', '\\u0030x2a'].map(canonicalText);
    expect(new Set(texts).size).toBe(texts.length);
  });

  it('does not depend on the order in which members were made', () => {
    fc.assert(
      fc.property(
        canonicalValue,
        (value) => canonicalText(value) === canonicalText(shuffled(value)),
      ),
    );
  });

  it('leaves out members without a value, and nothing else', () => {
    expect(canonicalText({ b: undefined, a: null })).toBe('{"a":null}');
    expect(canonicalDigest({ a: 1, b: undefined })).toBe(canonicalDigest({ a: 1 }));
    expect(canonicalDigest({ a: null })).not.toBe(canonicalDigest({}));
  });

  it('is JSON that gives everything back, big integers as hexadecimal strings', () => {
    fc.assert(
      fc.property(canonicalValue, (value) => {
        const expected = JSON.parse(
          JSON.stringify(value, (_, member) =>
            typeof member === 'bigint' ? `0x${member.toString(16)}` : member,
          ),
        );
        expect(JSON.parse(canonicalText(value))).toEqual(expected);
      }),
    );
  });

  it('refuses numbers that no JSON can hold', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => canonicalText({ deep: [value] })).toThrow(RangeError);
    }
  });

  it('has the SHA-256 that anybody can compute', () => {
    // printf '{"a":1}' | sha256sum
    expect(canonicalDigest({ a: 1 })).toBe(
      '015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862',
    );
  });
});
