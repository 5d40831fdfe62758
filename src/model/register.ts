// What a register says about itself: width, direction, side effects, limits and safe value.
// After Linux regmap (volatile, precious) and EPICS record fields (drive limits, maximum step, read-back).

import type { RiskLevel } from './risk.ts';

/** The raw content of a register, unsigned, 0 .. 2^width - 1. */
export type Word = bigint;
export type WidthBits = 8 | 16 | 32 | 64;

/** w1c: a one written clears the bit. rc: reading clears the register. */
export type RegisterAccess = 'ro' | 'rw' | 'wo' | 'w1c' | 'rc';

export interface RegisterField {
  readonly name: string;
  readonly bitLow: number;
  readonly bitHigh: number;
}

export interface RegisterSpec {
  readonly name: string;
  readonly widthBits: WidthBits;
  readonly access: RegisterAccess;
  /** Changes by itself, so a cached value is worthless. */
  readonly volatile: boolean;
  /** Reading has a side effect: never read except when a person asks for this register. */
  readonly precious: boolean;
  /** Two's complement when shown and compared with limits. */
  readonly signed: boolean;
  /** Unit of the scaled value (`milli-degC`, `rpm`), or empty. */
  readonly unit: string;
  /** Scaled value = raw value * scale. */
  readonly scale: number;
  readonly description: string;
  readonly fields: readonly RegisterField[];
  /** Raw limits of a written value, inclusive; signed where `signed`. */
  readonly limits: { readonly minimum: bigint; readonly maximum: bigint } | null;
  /** Largest allowed change by one write, raw; null for any. */
  readonly maxStep: bigint | null;
  /** Bits that a write must leave as they were read. */
  readonly reservedMask: Word;
  /** Bits compared when a write is read back; 0 for no comparison. */
  readonly readBackMask: Word;
  /** Bits the device clears by itself after a write (CONTROL reset), read back as 0. */
  readonly selfClearingMask: Word;
  /** Wait between a write and its read-back, microseconds. */
  readonly settleUs: number;
  /** Written when the system stops; null leaves the register alone. */
  readonly safeValue: Word | null;
  /** Order of the safe writes within a device, lowest first. */
  readonly safeOrder: number;
  /** Lowest risk of writing this register. */
  readonly riskFloor: RiskLevel;
}

export function widthMask(widthBits: WidthBits): Word {
  return (1n << BigInt(widthBits)) - 1n;
}

export function readable(spec: RegisterSpec): boolean {
  return spec.access !== 'wo';
}

export function writable(spec: RegisterSpec): boolean {
  return spec.access === 'rw' || spec.access === 'wo' || spec.access === 'w1c';
}

/** The number a register's word stands for: two's complement where the register is signed. */
export function signedValue(spec: RegisterSpec, word: Word): bigint {
  return spec.signed ? BigInt.asIntN(spec.widthBits, word) : word;
}

/** `0x0000002A`: hexadecimal at the register's full width. */
export function formatWord(word: Word, widthBits: WidthBits): string {
  return `0x${word
    .toString(16)
    .toUpperCase()
    .padStart(widthBits / 4, '0')}`;
}
