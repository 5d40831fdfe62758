// The hash of the audit chain: SHA-256 over the hash before and the canonical bytes of the entry (FIPS 180-4).
// Invariants: pure; the first entry follows a hash of 32 zero bytes.

import { hash } from 'node:crypto';

export const GENESIS_HASH = '0'.repeat(64);
const HASH_BYTES = 32;
/** UTF-8 needs no more for one UTF-16 unit. */
const BYTES_PER_UNIT_MAX = 3;

/** Keeps its buffer from one entry to the next: a hash object for each costs twice the time. */
export class ChainHasher {
  #buffer = Buffer.alloc(16_384);

  /** Both hashes are 64 lower-case hexadecimal digits. */
  hash(previousHash: string, body: string): string {
    const needed = HASH_BYTES + body.length * BYTES_PER_UNIT_MAX;
    if (this.#buffer.length < needed) this.#buffer = Buffer.alloc(2 * needed);
    this.#buffer.write(previousHash, 0, HASH_BYTES, 'hex');
    const length = this.#buffer.write(body, HASH_BYTES, 'utf8');
    return hash('sha256', this.#buffer.subarray(0, HASH_BYTES + length), 'hex');
  }
}

/**
 * The sequence that a canonical entry names. Members are sorted, so the last one of that name is the entry's own: only
 * the tracks' results and the time come after it.
 */
export function sequenceIn(body: string): number {
  const at = body.lastIndexOf(SEQUENCE_MEMBER);
  if (at < 0) return Number.NaN;
  const start = at + SEQUENCE_MEMBER.length;
  const end = body.indexOf(',', start);
  return end < 0 ? Number.NaN : Number(body.slice(start, end));
}

const SEQUENCE_MEMBER = '"sequence":';
