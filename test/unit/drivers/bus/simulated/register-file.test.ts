// What reads and writes do to simulated registers, for any word.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RegisterFile } from '#drivers/bus/simulated/register-file';
import type { RegisterAccess, RegisterSpec, WidthBits } from '#model/register';
import { RiskLevel } from '#model/risk';

function spec(access: RegisterAccess, more: Partial<RegisterSpec> = {}): RegisterSpec {
  return {
    name: 'R',
    widthBits: 32,
    access,
    volatile: false,
    precious: false,
    signed: false,
    unit: '',
    scale: 1,
    description: '',
    fields: [],
    limits: null,
    maxStep: null,
    reservedMask: 0n,
    readBackMask: 0n,
    selfClearingMask: 0n,
    settleUs: 0,
    safeValue: null,
    safeOrder: 0,
    riskFloor: RiskLevel.SAFE,
    ...more,
  };
}

const file = (register: RegisterSpec, word = 0n): RegisterFile =>
  new RegisterFile([register], new Map([['R', word]]));
const word32 = fc.bigInt({ min: 0n, max: 0xffff_ffffn });
const wide = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

describe('a simulated register', () => {
  it('clears exactly the bits written as ones when it is write-1-to-clear', () => {
    fc.assert(
      fc.property(word32, word32, (held, written) => {
        const registers = file(spec('w1c'), held);
        registers.write('R', written);
        expect(registers.peek('R')).toBe(held & ~written);
      }),
    );
  });

  it('ignores every write when it is read-only, and says so', () => {
    fc.assert(
      fc.property(word32, word32, (held, written) => {
        const registers = file(spec('ro'), held);
        expect(registers.write('R', written).taken).toBe(false);
        expect(registers.read('R')).toBe(held);
      }),
    );
  });

  it('never stores self-clearing bits and reports them as strobes', () => {
    fc.assert(
      fc.property(word32, word32, (mask, written) => {
        const registers = file(spec('rw', { selfClearingMask: mask }));
        expect(registers.write('R', written).strobes).toBe(written & mask);
        expect(registers.read('R')).toBe(written & ~mask);
      }),
    );
  });

  it('keeps reserved bits as they were after power-on', () => {
    fc.assert(
      fc.property(word32, word32, word32, (held, mask, written) => {
        const registers = file(spec('rw', { reservedMask: mask }), held);
        registers.write('R', written);
        expect(registers.read('R')).toBe((held & mask) | (written & ~mask));
      }),
    );
  });

  it('shows a read-clears register once, and looking does not clear it', () => {
    fc.assert(
      fc.property(word32, (held) => {
        const registers = file(spec('rc'), held);
        expect(registers.peek('R')).toBe(held);
        expect(registers.read('R')).toBe(held);
        expect(registers.read('R')).toBe(0n);
      }),
    );
  });

  it('holds what was written when it is read-write, and shows zeros when it is write-only', () => {
    fc.assert(
      fc.property(word32, (written) => {
        const readable = file(spec('rw'));
        readable.write('R', written);
        expect(readable.read('R')).toBe(written);
        const blind = file(spec('wo'));
        blind.write('R', written);
        expect(blind.read('R')).toBe(0n);
        expect(blind.peek('R')).toBe(written);
      }),
    );
  });

  it('never holds more bits than it is wide', () => {
    fc.assert(
      fc.property(fc.constantFrom<WidthBits>(8, 16, 32, 64), wide, wide, (widthBits, a, b) => {
        const registers = file(spec('rw', { widthBits }), a);
        registers.write('R', b);
        expect(registers.read('R')).toBe(BigInt.asUintN(widthBits, b));
        registers.poke('R', a);
        expect(registers.read('R')).toBe(BigInt.asUintN(widthBits, a));
      }),
    );
  });

  it('shows stuck bits whatever is written, and what was written once they are free', () => {
    fc.assert(
      fc.property(word32, word32, word32, (mask, value, written) => {
        const registers = file(spec('rw'));
        registers.stick('R', { mask, value });
        registers.write('R', written);
        expect(registers.read('R')).toBe((written & ~mask) | (value & mask));
        registers.stick('R', null);
        expect(registers.read('R')).toBe(written);
      }),
    );
  });

  it('returns to its power-on content at reset', () => {
    fc.assert(
      fc.property(word32, word32, (held, written) => {
        const registers = file(spec('rw'), held);
        registers.write('R', written);
        registers.reset();
        expect(registers.read('R')).toBe(held);
      }),
    );
  });
});
