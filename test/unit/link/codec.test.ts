import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeBody, encodeBody } from '#link/codec';

const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: 'binary' }),
  fc.string().map((tail) => `#${tail}`),
  fc.constantFrom('#', '##', '#u', '#+1f', '#-1', '\\u0023', '__proto__', '"#u"'),
);
const key = text.filter((name) => name !== '__proto__');
const scalar = fc.oneof(
  text,
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.bigInt({ min: -(1n << 70n), max: 1n << 70n }),
);
const { body } = fc.letrec((tie) => ({
  body: fc.oneof(
    { depthSize: 'small' },
    scalar,
    fc.array(fc.oneof(tie('body'), fc.constant(undefined)), { maxLength: 5 }),
    fc.dictionary(key, tie('body'), { maxKeys: 5, noNullPrototype: true }),
  ),
}));

function decoded(value: string): unknown {
  const outcome = decodeBody(value);
  if (!outcome.ok) throw new Error(outcome.fault.finding);
  return outcome.value;
}

describe('codec', () => {
  it('gives back every body it took', () => {
    fc.assert(
      fc.property(body, (value) => {
        expect(decoded(encodeBody(value))).toStrictEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps undefined as a whole body and leaves it out as a member', () => {
    expect(decoded(encodeBody(undefined))).toBeUndefined();
    expect(encodeBody({ a: undefined, b: 1n })).toBe('{"b":"#+1"}');
  });

  it('refuses what is not plain data', () => {
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    const bodies = [() => 1, Symbol('x'), new Map(), new Date(), Number.NaN, Infinity, cyclic];
    for (const value of bodies) expect(() => encodeBody({ value })).toThrow(TypeError);
    expect(() => encodeBody(JSON.parse('{"__proto__": 1}'))).toThrow(TypeError);
  });

  it.each([
    ['a __proto__ member', '{"a":{"__proto__":{"admin":true}}}'],
    ['an escaped __proto__ member', '{"\\u005f_proto__":{"admin":true}}'],
    ['a malformed word', '{"a":"#+xyz"}'],
    ['an endless word', `"#+${'f'.repeat(65)}"`],
    ['an unknown tag', '["#?"]'],
    ['no JSON', '{"a":'],
    ['endless nesting with a tag', `${'['.repeat(5000)}"#u"${']'.repeat(5000)}`],
    ['nesting without end', '['.repeat(1_000_000)],
  ])('refuses a text with %s', (_what, value) => {
    const outcome = decodeBody(value);
    expect(outcome.ok ? 'accepted' : outcome.fault.code).toBe('LINK_PROTOCOL');
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });
});
