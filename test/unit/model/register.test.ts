// What a register says about itself: width, direction, sign.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { formatWord, readable, signedValue, widthMask, writable } from '#model/register';
import { registerSpec } from '../../support/kernel-bench.ts';

const width = fc.constantFrom(8 as const, 16 as const, 32 as const, 64 as const);

it('shows a word at the full width of its register', () => {
  fc.assert(
    fc.property(width, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (widthBits, any) => {
      const word = any & widthMask(widthBits);
      const text = formatWord(word, widthBits);
      expect(text).toMatch(new RegExp(`^0x[0-9A-F]{${widthBits / 4}}$`));
      expect(BigInt(text)).toBe(word);
    }),
  );
});

it('reads a signed register as two-s complement and an unsigned one as it is', () => {
  fc.assert(
    fc.property(width, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (widthBits, any) => {
      const word = any & widthMask(widthBits);
      const half = 1n << BigInt(widthBits - 1);
      const expected = word >= half ? word - (half << 1n) : word;
      expect(signedValue(registerSpec('A', { widthBits, signed: true }), word)).toBe(expected);
      expect(signedValue(registerSpec('A', { widthBits }), word)).toBe(word);
    }),
  );
});

it('knows which registers can be read and which written', () => {
  const rights = (['ro', 'rw', 'wo', 'w1c', 'rc'] as const).map((access) => {
    const spec = registerSpec('A', { access });
    return [access, readable(spec), writable(spec)];
  });
  expect(rights).toEqual([
    ['ro', true, false],
    ['rw', true, true],
    ['wo', false, true],
    ['w1c', true, true],
    ['rc', true, false],
  ]);
});
