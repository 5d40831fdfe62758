// The word of a write, what it leaves behind and whether it can be undone, over every access and any content.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RegisterAccess, RegisterSpec } from '#model/register';
import { contentAfter, obstacleToUndo, showable, wordToWrite } from '#model/written-word';
import { registerSpec, writeStep } from '../../support/kernel-bench.ts';

const word = fc.bigInt({ min: 0n, max: 0xffff_ffffn });
const ALL = 0xffff_ffffn;

describe('what a register holds after a write', () => {
  it('of an rw register is (before & ~mask) | (value & mask), apart from reserved and self-clearing bits', () => {
    fc.assert(
      fc.property(word, word, word, word, word, (before, value, mask, reserved, clearing) => {
        const selfClearingMask = clearing & ~reserved;
        const spec = registerSpec('A', { reservedMask: reserved, selfClearingMask });
        const step = writeStep(0, 'A', value, { mask });
        const after = contentAfter(spec, wordToWrite(spec, step, before), before) ?? -1n;
        const plain = ALL & ~reserved & ~selfClearingMask;
        expect(after & plain).toBe(((before & ~mask) | (value & mask)) & plain);
        expect(after & reserved).toBe(before & reserved);
        expect(after & selfClearingMask).toBe(0n);
      }),
    );
  });

  it('of a w1c register is what was pending without the named bits, and unknown when that is', () => {
    fc.assert(
      fc.property(word, word, word, (before, value, mask) => {
        const spec = registerSpec('A', { access: 'w1c' });
        const written = wordToWrite(spec, writeStep(0, 'A', value, { mask }), before);
        expect(written & ~mask).toBe(0n);
        expect(contentAfter(spec, written, before)).toBe(before & ~(value & mask));
        expect(contentAfter(spec, written, undefined)).toBeUndefined();
      }),
    );
  });

  it('of a wo register is what was written, though nobody can look', () => {
    const spec = registerSpec('A', { access: 'wo' });
    const written = wordToWrite(spec, writeStep(0, 'A', 5n), undefined);
    expect(contentAfter(spec, written, undefined)).toBe(5n);
  });
});

describe('a register', () => {
  const shown = (access: RegisterAccess, changes: Partial<RegisterSpec> = {}) =>
    showable(registerSpec('A', { access, ...changes }));

  it('is shown where reading has no side effect', () => {
    expect([shown('rw'), shown('ro'), shown('w1c')]).toEqual([true, true, true]);
    expect([shown('rc'), shown('wo'), shown('rw', { precious: true })]).toEqual([
      false,
      false,
      false,
    ]);
  });

  it('is written back to undo a write, unless it clears, acts, or was never read', () => {
    const step = writeStep(0, 'A', 1n);
    const obstacle = (changes: Partial<RegisterSpec>, irreversible = false) =>
      obstacleToUndo(registerSpec('A', changes), { ...step, irreversible });
    expect(obstacle({})).toBeNull();
    expect(obstacle({ access: 'w1c' })).toMatch(/^a written one clears/);
    expect(obstacle({ access: 'wo' })).toMatch(/^the register cannot be read/);
    expect(obstacle({ precious: true })).toMatch(/^reading the register has a side effect/);
    expect(obstacle({}, true)).toMatch(/^the device acts/);
  });
});
