// One byte sequence for one value: JSON with sorted keys and big integers in hexadecimal, for digests and chains.
// Invariants: the text is JSON; a big integer reads back as the string of its hexadecimal digits, yet no string has its text.

import { createHash } from 'node:crypto';

export type Canonical =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Canonical[]
  | { readonly [key: string]: Canonical | undefined };

/** Text that is equal exactly when the values are; `undefined` members are left out. */
export function canonicalText(value: Canonical): string {
  // The first zero is escaped, which JSON.stringify never does: 42n and '0x2a' parse alike but differ in bytes.
  if (typeof value === 'bigint') return `"\\u0030x${value.toString(16)}"`;
  if (value === null || typeof value !== 'object') {
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw new RangeError(`canonical text of ${value} is not defined`);
    }
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`;
  const record = value as { readonly [key: string]: Canonical | undefined };
  const members: string[] = [];
  for (const key of Object.keys(record).sort()) {
    const member = record[key];
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${canonicalText(member)}`);
  }
  return `{${members.join(',')}}`;
}

/** SHA-256 of the canonical text, 64 lower-case hexadecimal digits (FIPS 180-4). */
export function canonicalDigest(value: Canonical): string {
  return createHash('sha256').update(canonicalText(value)).digest('hex');
}
