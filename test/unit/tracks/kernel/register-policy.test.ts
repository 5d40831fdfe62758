// Kernel's own look at every step: rights, width, reserved bits, limits and steps, whoever planned it.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DeviceDescriptor } from '#model/device';
import type { WriteStep } from '#model/plan';
import type { RegisterSpec } from '#model/register';
import { RiskLevel } from '#model/risk';
import { needsPrior, wordToWrite } from '#model/written-word';
import { checkAgainstPrior, checkStep } from '#tracks/kernel/register-policy';
import {
  codeOf,
  deviceOf,
  memoryDevice,
  registerSpec,
  writeStep,
} from '../../../support/kernel-bench.ts';

function deviceWith(...specs: readonly RegisterSpec[]): DeviceDescriptor {
  return deviceOf({
    id: 0,
    slug: 'pump',
    busId: 'i2c-0',
    registers: specs.map((spec, command) => ({
      spec,
      location: { kind: 'i2c', chip: 0x40, command, protocol: 'word' },
    })),
  });
}

function verdict(spec: RegisterSpec, step: WriteStep): string {
  return codeOf(checkStep(deviceWith(spec), step));
}

describe('a step', () => {
  it('is refused for a device that is not on the board, and for a register it does not have', () => {
    const step = writeStep(0, 'B', 1n);
    expect(codeOf(checkStep(undefined, step))).toBe('DEVICE_UNKNOWN');
    expect(verdict(registerSpec('A'), step)).toBe('REGISTER_UNKNOWN');
  });

  it('is refused for the five, reads too, even when the board says they are free', () => {
    const device = memoryDevice(9, 'forbidden', RiskLevel.SAFE);
    expect(device.quarantined).toBe(false);
    const read = { kind: 'read', device: 9, register: 'DATA', widthBits: 32 } as const;
    expect(codeOf(checkStep(device, read))).toBe('DEVICE_QUARANTINED');
    expect(codeOf(checkStep(device, writeStep(9, 'DATA', 0n)))).toBe('DEVICE_QUARANTINED');
  });

  it('is refused when it was planned for another width', () => {
    const step = writeStep(0, 'A', 1n, { widthBits: 16 });
    expect(verdict(registerSpec('A'), step)).toBe('PLAN_CHANGED');
  });

  it.each([
    ['ro', 'REGISTER_READ_ONLY', 'no fault'],
    ['rc', 'REGISTER_READ_ONLY', 'no fault'],
    ['wo', 'no fault', 'REGISTER_WRITE_ONLY'],
    ['w1c', 'no fault', 'no fault'],
    ['rw', 'no fault', 'no fault'],
  ] as const)('on a %s register: write gives %s, read gives %s', (access, write, read) => {
    const spec = registerSpec('A', { access });
    expect(verdict(spec, writeStep(0, 'A', 1n))).toBe(write);
    const step = { kind: 'read', device: 0, register: 'A', widthBits: 32 } as const;
    expect(codeOf(checkStep(deviceWith(spec), step))).toBe(read);
  });

  it('is refused when value or mask do not fit the register', () => {
    const spec = registerSpec('A', { widthBits: 8 });
    const step = (value: bigint, mask: bigint) =>
      verdict(spec, writeStep(0, 'A', value, { widthBits: 8, mask }));
    expect(step(0xffn, 0xffn)).toBe('no fault');
    expect(step(0x100n, 0xffn)).toBe('VALUE_TOO_WIDE');
    expect(step(-1n, 0xffn)).toBe('VALUE_TOO_WIDE');
    expect(step(1n, 0x1ffn)).toBe('VALUE_TOO_WIDE');
    expect(step(1n, -1n)).toBe('VALUE_TOO_WIDE');
  });

  it('may cover reserved bits only to leave them zero', () => {
    const spec = registerSpec('A', { reservedMask: 0xff00_0000n });
    expect(verdict(spec, writeStep(0, 'A', 0x00ab_cdefn))).toBe('no fault');
    expect(verdict(spec, writeStep(0, 'A', 0x0100_0000n))).toBe('RESERVED_BITS');
    expect(verdict(spec, writeStep(0, 'A', 0x0100_0000n, { mask: 0xffn }))).toBe('no fault');
  });

  it('is refused when it would have to keep bits of a register that is never read before a write', () => {
    const partial = writeStep(0, 'A', 1n, { mask: 0xfn });
    expect(verdict(registerSpec('A', { access: 'wo' }), partial)).toBe('REGISTER_WRITE_ONLY');
    expect(verdict(registerSpec('A', { precious: true }), partial)).toBe('REGISTER_WRITE_ONLY');
    expect(verdict(registerSpec('A', { access: 'w1c' }), partial)).toBe('no fault');
    expect(
      verdict(registerSpec('A', { access: 'wo', reservedMask: ~0xfn & 0xffff_ffffn }), partial),
    ).toBe('no fault');
  });
});

describe('the word that goes to the bus', () => {
  const word = fc.bigInt({ min: 0n, max: 0xffff_ffffn });

  it('takes planned bits from the plan, all others and the reserved ones from the register', () => {
    fc.assert(
      fc.property(word, word, word, word, (prior, value, mask, reserved) => {
        const spec = registerSpec('A', { reservedMask: reserved });
        const made = wordToWrite(spec, writeStep(0, 'A', value, { mask }), prior);
        const planned = mask & ~reserved;
        expect(made & planned).toBe(value & planned);
        expect(made & ~planned & 0xffff_ffffn).toBe(prior & ~planned & 0xffff_ffffn);
      }),
    );
  });

  it('holds only planned ones for a w1c register, so that no other pending bit is cleared', () => {
    const spec = registerSpec('A', { access: 'w1c' });
    const step = writeStep(0, 'A', 0b0110n, { mask: 0b0010n });
    expect(wordToWrite(spec, step, 0b1111n)).toBe(0b0010n);
  });

  it('does not start again what the device is still doing', () => {
    const spec = registerSpec('A', { selfClearingMask: 0b10n });
    expect(wordToWrite(spec, writeStep(0, 'A', 1n, { mask: 1n }), 0b1010n)).toBe(0b1001n);
    expect(wordToWrite(spec, writeStep(0, 'A', 0b10n, { mask: 0b10n }), 0b1000n)).toBe(0b1010n);
  });
});

describe('what a write has to know beforehand', () => {
  it('is the prior content wherever it could be undone, is partial or is limited in its step', () => {
    const whole = writeStep(0, 'A', 1n, { irreversible: true });
    const spec = registerSpec('A');
    expect(needsPrior(spec, writeStep(0, 'A', 1n))).toBe(true);
    expect(needsPrior(spec, whole)).toBe(false);
    expect(needsPrior(spec, { ...whole, mask: 1n })).toBe(true);
    expect(needsPrior(registerSpec('A', { reservedMask: 1n }), whole)).toBe(true);
    expect(needsPrior(registerSpec('A', { maxStep: 1n }), whole)).toBe(true);
  });

  it('is nothing where reading would have an effect or is impossible', () => {
    const step = writeStep(0, 'A', 1n);
    for (const changes of [{ precious: true }, { access: 'wo' }, { access: 'w1c' }] as const) {
      expect(needsPrior(registerSpec('A', { ...changes, maxStep: 1n }), step)).toBe(false);
    }
  });
});

describe('limits and largest step', () => {
  const spec = registerSpec('SPEED', {
    widthBits: 16,
    signed: true,
    unit: 'rpm',
    limits: { minimum: -100n, maximum: 100n },
    maxStep: 60n,
  });
  const raw = (value: number) => BigInt.asUintN(16, BigInt(value));
  const against = (value: number, prior: number | undefined) =>
    checkAgainstPrior(
      'pump.SPEED',
      spec,
      writeStep(0, 'SPEED', raw(value), { widthBits: 16 }),
      prior === undefined ? undefined : raw(prior),
    );

  it('are judged on the signed number, at both ends', () => {
    expect(codeOf(against(100, 50))).toBe('no fault');
    expect(codeOf(against(-100, -50))).toBe('no fault');
    const above = against(101, 100);
    expect(!above.ok && above.fault.finding).toBe('101 is outside -100 .. 100 rpm');
    expect(codeOf(against(-101, -100))).toBe('VALUE_OUT_OF_LIMITS');
  });

  it('refuse a change that is too large, through zero and in both directions', () => {
    expect(codeOf(against(30, -30))).toBe('no fault');
    const tooFar = against(31, -30);
    expect(!tooFar.ok && tooFar.fault.code).toBe('STEP_TOO_LARGE');
    expect(!tooFar.ok && tooFar.fault.finding).toBe(
      'a change of 61 is larger than the allowed step 60 rpm',
    );
    expect(codeOf(against(-31, 30))).toBe('STEP_TOO_LARGE');
  });

  it('are judged on the whole word, so that a partial write cannot slip past', () => {
    const partial = registerSpec('A', { limits: { minimum: 0n, maximum: 0x80n } });
    const step = writeStep(0, 'A', 0x0fn, { mask: 0x0fn });
    expect(codeOf(checkAgainstPrior('pump.A', partial, step, 0x70n))).toBe('no fault');
    expect(codeOf(checkAgainstPrior('pump.A', partial, step, 0x80n))).toBe('VALUE_OUT_OF_LIMITS');
  });

  it('let a word through exactly when it is within limits and step', () => {
    const number = fc.integer({ min: -0x8000, max: 0x7fff });
    fc.assert(
      fc.property(fc.oneof(fc.integer({ min: -160, max: 160 }), number), number, (value, prior) => {
        const fits = Math.abs(value) <= 100 && Math.abs(value - prior) <= 60;
        expect(against(value, prior).ok).toBe(fits);
      }),
    );
  });
});
