// Register entries of a profile as register specifications, with everything checked that a schema cannot say.

import {
  type RegisterField,
  type RegisterSpec,
  type Word,
  widthMask,
  writable,
} from '#model/register';
import { RiskLevel } from '#model/risk';
import {
  type BusFamily,
  type Piece,
  type RegisterText,
  type Report,
  reportAt,
} from './profile-file.ts';
import { bitsOf, hexadecimal, integerOf, rangeOf, type WordText, wordOf } from './words.ts';

/** Where a register lies within its device; the board adds where the device lies. */
export type Placement =
  | { readonly kind: 'memory'; readonly offset: number }
  | { readonly kind: 'sysfs'; readonly attribute: string }
  | {
      readonly kind: 'i2c';
      readonly command: number;
      readonly protocol: 'byte' | 'word' | 'word-swapped' | 'raw';
    }
  | {
      readonly kind: 'modbus';
      readonly table: 'holding' | 'input' | 'coil' | 'discrete';
      readonly address: number;
    };

export interface ProfileRegister {
  readonly spec: RegisterSpec;
  readonly placement: Placement;
}

/** All registers of a profile; what cannot be used is reported and left out. */
export function profileRegisters(
  family: BusFamily,
  pieces: readonly Piece<RegisterText>[],
  report: Report,
): readonly ProfileRegister[] {
  const registers: ProfileRegister[] = [];
  const taken: { readonly piece: Piece<RegisterText>; readonly register: ProfileRegister }[] = [];
  for (const piece of pieces) {
    const spec = specOf(piece, report);
    const placement = placementOf(family, piece, report);
    if (spec === undefined || placement === undefined) continue;
    const register = { spec, placement };
    const other = taken.find((earlier) => collides(earlier.register, register));
    if (other !== undefined) {
      reportAt(report, piece, ['name'], `${spec.name} lies on ${other.register.spec.name}`);
    }
    taken.push({ piece, register });
    registers.push(register);
  }
  return registers;
}

function specOf(piece: Piece<RegisterText>, report: Report): RegisterSpec | undefined {
  const { text } = piece;
  const { width, access } = text;
  const all = widthMask(width);
  let sound = true;
  const wrong = (member: string, finding: string): undefined => {
    sound = false;
    reportAt(report, piece, [member], finding);
  };
  const mask = (member: 'reserved' | 'readBack' | 'selfClearing'): Word | undefined => {
    const given = text[member];
    if (given === undefined) return undefined;
    const value = integerOf(given);
    if (value >= 0n && value <= all) return value;
    return wrong(member, `${hexadecimal(value)} does not fit ${width} bits`);
  };
  const canWrite = writable({ access } as RegisterSpec);
  for (const member of ['readBack', 'selfClearing', 'safeValue', 'maxStep'] as const) {
    if (!canWrite && text[member] !== undefined)
      wrong(member, `a register that is ${access} is never written`);
  }
  const reservedMask = mask('reserved') ?? 0n;
  const selfClearingMask = mask('selfClearing') ?? 0n;
  if ((selfClearingMask & reservedMask) !== 0n) {
    wrong('selfClearing', `bits ${hexadecimal(selfClearingMask & reservedMask)} are also reserved`);
  }
  const readBackMask =
    mask('readBack') ??
    (canWrite && access !== 'wo' ? all & ~reservedMask & ~selfClearingMask : 0n);
  if (access === 'wo' && readBackMask !== 0n)
    wrong('readBack', 'a wo register cannot be read back');
  const limits = limitsOf(text, wrong);
  const maxStep = text.maxStep === undefined ? null : integerOf(text.maxStep);
  if (maxStep !== null && maxStep <= 0n) wrong('maxStep', 'a step must be at least 1');
  if (maxStep !== null && canWrite && (access !== 'rw' || text.precious === true)) {
    wrong('maxStep', 'a step is judged from what the register holds, and this one is not read');
  }
  const safeValue = safeValueOf(text, { limits, reservedMask }, wrong);
  const fields = fieldsOf(piece, report);
  if (!sound || fields === undefined) return undefined;
  return {
    name: text.name,
    widthBits: width,
    access,
    volatile: text.volatile ?? !(access === 'rw' || access === 'wo'),
    precious: text.precious ?? access === 'rc',
    signed: text.signed,
    unit: text.unit,
    scale: text.scale,
    description: text.description,
    fields,
    limits,
    maxStep,
    reservedMask,
    readBackMask,
    selfClearingMask,
    settleUs: text.settleUs,
    safeValue,
    safeOrder: text.safeOrder,
    riskFloor: RiskLevel[text.riskFloor],
  };
}

type Wrong = (member: string, finding: string) => undefined;

function signednessOf(text: RegisterText): 'signed' | 'unsigned' {
  return text.signed ? 'signed' : 'unsigned';
}

function limitsOf(text: RegisterText, wrong: Wrong): RegisterSpec['limits'] {
  if (text.limits === undefined) {
    return text.table === 'coil' ? { minimum: 0n, maximum: 1n } : null;
  }
  const range = rangeOf(text.width, signednessOf(text));
  const minimum = integerOf(text.limits.minimum);
  const maximum = integerOf(text.limits.maximum);
  if (minimum > maximum) {
    wrong('limits', `the minimum ${minimum} is above the maximum ${maximum}`);
  } else if (minimum < range.minimum || maximum > range.maximum) {
    wrong(
      'limits',
      `${minimum} .. ${maximum} is beyond the ${text.width}-bit range ${range.minimum} .. ${range.maximum}`,
    );
  }
  return { minimum, maximum };
}

function safeValueOf(
  text: RegisterText,
  known: { readonly limits: RegisterSpec['limits']; readonly reservedMask: Word },
  wrong: Wrong,
): Word | null {
  if (text.safeValue === undefined) return null;
  const given = integerOf(text.safeValue);
  const word = wordOf(given, text.width, signednessOf(text));
  if (word === undefined) {
    wrong('safeValue', `${given} does not fit ${text.width} bits`);
    return null;
  }
  const { limits, reservedMask } = known;
  const value = text.signed ? BigInt.asIntN(text.width, word) : word;
  if (limits !== null && (value < limits.minimum || value > limits.maximum)) {
    wrong('safeValue', `${value} is outside the limits ${limits.minimum} .. ${limits.maximum}`);
  }
  if ((word & reservedMask) !== 0n) {
    wrong('safeValue', `sets reserved bits ${hexadecimal(word & reservedMask)}`);
  }
  return word;
}

function fieldsOf(
  piece: Piece<RegisterText>,
  report: Report,
): readonly RegisterField[] | undefined {
  const fields: RegisterField[] = [];
  const names = new Set<string>();
  let sound = true;
  for (const [index, { name, bits }] of piece.text.fields.entries()) {
    const range = bitsOf(bits, piece.text.width);
    if (range === undefined) {
      reportAt(report, piece, ['fields', index, 'bits'], outsideBits(bits, piece.text.width));
      sound = false;
      continue;
    }
    if (names.has(name)) {
      reportAt(report, piece, ['fields', index, 'name'], `${name} stands twice`);
      sound = false;
    }
    names.add(name);
    fields.push({ name, bitLow: range.low, bitHigh: range.high });
  }
  return sound ? fields : undefined;
}

export function outsideBits(bits: WordText, width: number): string {
  return `${bits} is not a bit range (high:low) within ${width} bits`;
}

const I2C_WIDTH = { byte: 8, word: 16, 'word-swapped': 16, raw: undefined } as const;

function placementOf(
  family: BusFamily,
  piece: Piece<RegisterText>,
  report: Report,
): Placement | undefined {
  const { text } = piece;
  const wrong = (member: string, finding: string): undefined => {
    reportAt(report, piece, [member], finding);
  };
  switch (family) {
    case 'memory': {
      const offset = text.offset ?? 0;
      const bytes = text.width / 8;
      if (offset % bytes !== 0) {
        return wrong('offset', `${hexadecimal(BigInt(offset))} is not aligned to ${bytes} bytes`);
      }
      return { kind: 'memory', offset };
    }
    case 'sysfs':
      return { kind: 'sysfs', attribute: text.attribute ?? '' };
    case 'i2c': {
      const protocol = text.protocol ?? 'raw';
      const expected = I2C_WIDTH[protocol];
      if (expected !== undefined && expected !== text.width) {
        return wrong('width', `protocol ${protocol} moves ${expected} bits, not ${text.width}`);
      }
      return { kind: 'i2c', command: text.command ?? 0, protocol };
    }
    case 'modbus': {
      const table = text.table ?? 'holding';
      const single = table === 'coil' || table === 'discrete';
      if (single !== (text.width === 8)) {
        const fits = single ? 'the width 8, value 0 or 1' : 'a width of 16, 32 or 64';
        return wrong('width', `table ${table} needs ${fits}`);
      }
      if (
        (table === 'input' || table === 'discrete') &&
        writable({ access: text.access } as RegisterSpec)
      ) {
        return wrong('access', `table ${table} can only be read`);
      }
      return { kind: 'modbus', table, address: text.address ?? 0 };
    }
  }
}

/** Cells that a register takes: bytes, Modbus addresses; one for a command or an attribute. */
export function extentOf(register: ProfileRegister): {
  readonly start: number;
  readonly length: number;
} {
  const { placement, spec } = register;
  switch (placement.kind) {
    case 'memory':
      return { start: placement.offset, length: spec.widthBits / 8 };
    case 'modbus':
      return { start: placement.address, length: Math.max(1, spec.widthBits / 16) };
    case 'i2c':
      return { start: placement.command, length: 1 };
    case 'sysfs':
      return { start: 0, length: 1 };
  }
}

/** One place may be a write-only and a read-only register at once, as on many parts; else a place has one. */
function collides(left: ProfileRegister, right: ProfileRegister): boolean {
  const accesses = [left.spec.access, right.spec.access];
  if (accesses.includes('wo') && accesses.includes('ro')) return false;
  const a = left.placement;
  const b = right.placement;
  if (a.kind === 'sysfs' && b.kind === 'sysfs') return a.attribute === b.attribute;
  if (a.kind === 'modbus' && b.kind === 'modbus' && a.table !== b.table) return false;
  return overlaps(extentOf(left), extentOf(right));
}

export function overlaps(
  left: { readonly start: number; readonly length: number },
  right: { readonly start: number; readonly length: number },
): boolean {
  return left.start < right.start + right.length && right.start < left.start + left.length;
}
