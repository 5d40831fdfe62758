// Time-based one-time codes (RFC 6238 over RFC 4226): HMAC-SHA-1, 30 s, 6 digits, one step of tolerance to either side.
// Invariants: pure; a step that was used, or an earlier one, is never found again. Steps go by the real wall clock and not by
// the wall floor: a floor that is ahead would fit no person's telephone, and used steps do not come back with an older time.

import { createHmac, randomBytes } from 'node:crypto';
import { sameDigest } from './secrets.ts';

export const STEP_MS = 30_000;
const DIGITS = 6;
const TOLERANCE_STEPS = 1;
/** As long as the hash, as RFC 4226 section 4 recommends. */
const SECRET_BYTES = 20;
const ISSUER = 'DSMIL';
/** RFC 4648 section 6. */
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

export function newCodeSecret(): Buffer {
  return randomBytes(SECRET_BYTES);
}

export function stepAt(wallMs: number): number {
  return Math.floor(wallMs / STEP_MS);
}

/** The code of one step (RFC 4226 section 5.3). */
export function codeAt(secret: Uint8Array, step: number, digits = DIGITS): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', secret).update(counter).digest();
  const offset = (mac[mac.length - 1] ?? 0) & 0x0f;
  const word = mac.readUInt32BE(offset) & 0x7fff_ffff;
  return String(word % 10 ** digits).padStart(digits, '0');
}

/**
 * The step whose code this is: the current one or one beside it, later than `lastStep`; null when it is none. Looks at all
 * of them whatever it finds, and takes spaces, which applications put between the digits.
 */
export function stepOf(
  secret: Uint8Array,
  code: string,
  wallMs: number,
  lastStep: number,
): number | null {
  const given = Buffer.from(code.replace(/\s/g, ''));
  const now = stepAt(wallMs);
  let found: number | null = null;
  for (let step = now - TOLERANCE_STEPS; step <= now + TOLERANCE_STEPS; step++) {
    if (step < 0) continue;
    const same = sameDigest(given, Buffer.from(codeAt(secret, step)));
    if (same && step > lastStep && found === null) found = step;
  }
  return found;
}

/** `secret` in base32. For the QR code (github.com/google/google-authenticator/wiki/Key-Uri-Format). */
export function codeUri(account: string, secret: string): string {
  const label = `${encodeURIComponent(ISSUER)}:${encodeURIComponent(account)}`;
  return `otpauth://totp/${label}?secret=${secret}&issuer=${encodeURIComponent(ISSUER)}&algorithm=SHA1&digits=${DIGITS}&period=${STEP_MS / 1000}`;
}

/** Without padding, as authenticator applications take it. */
export function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += BASE32[(held >>> bits) & 0x1f];
    }
    held &= (1 << bits) - 1;
  }
  return bits === 0 ? text : text + BASE32[(held << (5 - bits)) & 0x1f];
}

/** What is no digit of base32 ends the secret: what lies in the store was made here. */
export function fromBase32(text: string): Buffer {
  const bytes: number[] = [];
  let bits = 0;
  let held = 0;
  for (const digit of text) {
    const value = BASE32.indexOf(digit);
    if (value < 0) break;
    held = (held << 5) | value;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((held >>> bits) & 0xff);
    held &= (1 << bits) - 1;
  }
  return Buffer.from(bytes);
}
