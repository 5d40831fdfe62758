// How secrets are made, kept and compared: random ones as SHA-256 only, digests in constant time.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const TOKEN_BYTES = 32;

/** Hexadecimal SHA-256; enough for secrets of 160 random bits and more, never for passwords. */
export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** 256 random bits as a text that fits in a header (RFC 6750). */
export function newToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url');
}

/** Names something to people; opens nothing. */
export function newHandle(): string {
  return randomBytes(8).toString('hex');
}

/** Whether two digests are the same, in a time that does not tell where they differ. */
export function sameDigest(first: Uint8Array, second: Uint8Array): boolean {
  return first.length === second.length && timingSafeEqual(first, second);
}
