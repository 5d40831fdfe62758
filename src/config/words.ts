// Numbers as a person writes them in YAML (0x1F, 31, "0xFFFFFFFFFFFFFFFF", "7:4") as exact integers and masks.

import { type WidthBits, type Word, widthMask } from '#model/register';

/** A safe integer, or the text of any integer, decimal or 0x hexadecimal; the schema has checked the form. */
export type WordText = number | string;

export function integerOf(text: WordText): bigint {
  if (typeof text === 'number') return BigInt(text);
  return text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text);
}

/** The raw word for a value of the width, negative ones in two's complement; undefined when it does not fit. */
export function wordOf(
  value: bigint,
  widthBits: WidthBits,
  signed: 'signed' | 'unsigned',
): Word | undefined {
  const { minimum, maximum } = rangeOf(widthBits, signed);
  // A signed register may also be given as its raw word: 0xFF for -1 in 8 bits.
  if (value < minimum || value > (signed === 'signed' ? widthMask(widthBits) : maximum))
    return undefined;
  return BigInt.asUintN(widthBits, value);
}

export function rangeOf(
  widthBits: WidthBits,
  signed: 'signed' | 'unsigned',
): { readonly minimum: bigint; readonly maximum: bigint } {
  if (signed === 'unsigned') return { minimum: 0n, maximum: widthMask(widthBits) };
  const half = 1n << BigInt(widthBits - 1);
  return { minimum: -half, maximum: half - 1n };
}

export interface BitRange {
  readonly low: number;
  readonly high: number;
  readonly mask: Word;
}

/** `3`, `"3"` or `"7:4"`, highest bit first as data sheets write it; undefined when outside the width. */
export function bitsOf(text: WordText, widthBits: WidthBits): BitRange | undefined {
  const [first, second] = String(text).split(':');
  const high = Number(first);
  const low = second === undefined ? high : Number(second);
  if (low > high || high >= widthBits) return undefined;
  const mask = ((1n << BigInt(high - low + 1)) - 1n) << BigInt(low);
  return { low, high, mask };
}

export function hexadecimal(value: bigint): string {
  return `0x${value.toString(16).toUpperCase()}`;
}
