// Between the text of a sysfs attribute and the word of a register.
//
// Invariants: reading what was written gives the same word; only the first line counts; negative text is two's
// complement at the register's width; text that is no number or does not fit is never rounded into a word.

import type { WidthBits, Word } from '#model/register';
import { widthMask } from '#model/register';

const NEWLINE = 0x0a;
const MINUS = 0x2d;
const ZERO = 0x30;
/** 15 decimal digits stay exact in a double, so most attributes never become a string. */
const EXACT_DIGITS = 15;
const CLIP = 40;

/** The words that an attribute shows in place of numbers, and the number each stands for. */
export type NamedValues = ReadonlyMap<string, Word>;

/**
 * By locator scheme and attribute: GPIO direction (Documentation/admin-guide/gpio/sysfs.rst, where `high` and
 * `low` also mean output), thermal zone mode, and enum POWER_SUPPLY_STATUS_* of linux/power_supply.h.
 */
export const NAMED_VALUES: Readonly<Record<string, NamedValues>> = {
  'gpio:direction': new Map([
    ['in', 0n],
    ['out', 1n],
    ['high', 1n],
    ['low', 1n],
  ]),
  'thermal:mode': new Map([
    ['disabled', 0n],
    ['enabled', 1n],
  ]),
  'power_supply:status': new Map([
    ['Unknown', 0n],
    ['Charging', 1n],
    ['Discharging', 2n],
    ['Not charging', 3n],
    ['Full', 4n],
  ]),
};

/** The register word that the first `length` bytes of `bytes` show, or the clipped text that shows none. */
export function parseAttribute(
  bytes: Buffer,
  length: number,
  widthBits: WidthBits,
  names?: NamedValues,
): Word | string {
  const quick = plainDecimal(bytes, length);
  if (quick !== undefined) {
    return widthBits >= 64 || quick < 2 ** widthBits ? BigInt(quick) : clip(String(quick));
  }
  const line = bytes.toString('latin1', 0, length).split('\n', 1)[0] ?? '';
  const text = line.trim();
  const value = parseNumber(text) ?? names?.get(text);
  if (value === undefined) return clip(text);
  if (value > widthMask(widthBits) || value < -(1n << BigInt(widthBits - 1))) return clip(text);
  return BigInt.asUintN(widthBits, value);
}

/**
 * The text a write sends: signed decimal at the width, unless the register is known to be unsigned.
 * A number without a name is sent as a number, for the kernel driver to refuse.
 */
export function formatAttribute(
  word: Word,
  widthBits: WidthBits,
  signedness: 'signed' | 'unsigned',
  names?: NamedValues,
): string {
  for (const [name, value] of names ?? []) if (value === word) return `${name}\n`;
  return `${signedness === 'signed' ? BigInt.asIntN(widthBits, word) : word}\n`;
}

function plainDecimal(bytes: Buffer, length: number): number | undefined {
  let value = 0;
  let index = 0;
  for (; index < length && index < EXACT_DIGITS; index++) {
    const digit = (bytes[index] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  if (index === 0 || (index < length && bytes[index] !== NEWLINE)) return undefined;
  return value;
}

function parseNumber(text: string): bigint | undefined {
  const negative = text.charCodeAt(0) === MINUS;
  const digits = negative || text.startsWith('+') ? text.slice(1) : text;
  if (!/^(?:0[xX][0-9a-fA-F]{1,32}|\d{1,40})$/.test(digits)) return undefined;
  return negative ? -BigInt(digits) : BigInt(digits);
}

function clip(text: string): string {
  const visible = text.replaceAll(/[^\x20-\x7e]/g, '?');
  return visible.length > CLIP ? `${visible.slice(0, CLIP)}...` : visible;
}
