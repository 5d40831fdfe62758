// The small forms that every JSON answer is made of: names of numbers, words as hexadecimal text, times, devices.

import { formatToken, type LinearId } from '#model/device';

export function nameIn<T extends Readonly<Record<string, number>>>(
  table: T,
  value: number,
): Extract<keyof T, string> | 'UNKNOWN' {
  const names = Object.keys(table) as Extract<keyof T, string>[];
  return names.find((name) => table[name] === value) ?? 'UNKNOWN';
}

export function wordToJson(word: bigint): string {
  return `0x${word.toString(16).toUpperCase()}`;
}

/** RFC 3339; null for 0, which stands for never. */
export function timeOrNull(wallMs: number): string | null {
  return wallMs > 0 ? new Date(wallMs).toISOString() : null;
}

export function deviceRef(device: LinearId) {
  return { device, token: formatToken(device) };
}
