// Tokens and linear ids: 84 devices, 24 gaps, and nothing else is a device.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  DEVICE_COUNT_MAX,
  formatToken,
  linearIdOf,
  PERMANENT_QUARANTINE,
  permanentlyQuarantined,
  tokenOf,
} from '#model/device';

const IDS = Array.from({ length: 84 }, (_, id) => id);
/** Written out as the specification does, group by group, so that the formula has something to be compared with. */
const TOKENS = [0x8000, 0x8010, 0x8020, 0x8030, 0x8040, 0x8050, 0x8060].flatMap((first) =>
  Array.from({ length: 12 }, (_, index) => first + index),
);
// 7 groups leave 28 holes; the last group's four lie past the end as well, and are refused like the others.
const GAPS = [0x8000, 0x8010, 0x8020, 0x8030, 0x8040, 0x8050, 0x8060].flatMap((first) =>
  [12, 13, 14, 15].map((index) => first + index),
);

describe('device ids', () => {
  it('convert both ways for all 84 devices', () => {
    expect(DEVICE_COUNT_MAX).toBe(84);
    expect(IDS.map(tokenOf)).toEqual(TOKENS);
    expect(TOKENS.map(linearIdOf)).toEqual(IDS);
    expect(IDS.map(linearIdOf)).toEqual(IDS);
  });

  it('are shown as the specification writes them', () => {
    expect([formatToken(0), formatToken(11), formatToken(12), formatToken(83)]).toEqual([
      '0x8000',
      '0x800B',
      '0x8010',
      '0x806B',
    ]);
  });

  it.each(GAPS)('refuse the gap token %d', (token) => {
    expect(linearIdOf(token)).toBeUndefined();
  });

  it('refuse every number that is neither a linear id nor a token', () => {
    const known = new Set([...IDS, ...TOKENS]);
    const number = fc.oneof(
      fc.integer({ min: -0x1_0000, max: 0x1_0000 }),
      fc.maxSafeInteger(),
      fc.double(),
      // Aliases of real tokens beyond 32 bits, which a bit operation would take for the token itself.
      fc
        .tuple(fc.constantFrom(...TOKENS), fc.integer({ min: 1, max: 0xfffff }))
        .map(([token, high]) => token + high * 2 ** 32),
      fc.integer({ min: 0x8000_0000, max: 0xffff_ffff }),
    );
    fc.assert(
      fc.property(number, (value) => {
        if (known.has(value)) return;
        expect(linearIdOf(value)).toBeUndefined();
      }),
      { numRuns: 2_000 },
    );
  });

  it('refuse what looks like a 32-bit or 64-bit alias of a token', () => {
    for (const alias of [0xffff_fff0, 0x1_0000_8000, 0x8000_8000, -0x8000, 0.5, Number.NaN]) {
      expect([alias, linearIdOf(alias)]).toEqual([alias, undefined]);
    }
  });
});

describe('permanent quarantine', () => {
  it('is these five devices and no other', () => {
    expect([...PERMANENT_QUARANTINE]).toEqual([0x8009, 0x800a, 0x800b, 0x8019, 0x8029]);
    expect(IDS.filter(permanentlyQuarantined)).toEqual([9, 10, 11, 21, 33]);
  });
});
