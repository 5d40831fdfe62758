// The telephone of a person: one-time codes by RFC 6238, written anew so that the agent's own are held against it.

import { createHmac } from 'node:crypto';

const STEP_MS = 30_000;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

function secretBytes(base32: string): Buffer {
  let bits = '';
  for (const letter of base32) bits += ALPHABET.indexOf(letter).toString(2).padStart(5, '0');
  const bytes = bits.match(/.{8}/g) ?? [];
  return Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2)));
}

export class Authenticator {
  readonly #secret: Buffer;
  /** The step before the present one, so that three codes are good at once. */
  #step = Math.floor(Date.now() / STEP_MS) - 1;

  constructor(base32: string) {
    this.#secret = secretBytes(base32);
  }

  /** Each call gives the code of the next step: none is good twice. At most three in half a minute. */
  next(): string {
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64BE(BigInt(this.#step));
    this.#step += 1;
    const mac = createHmac('sha1', this.#secret).update(counter).digest();
    const word = mac.readUInt32BE((mac[19] ?? 0) & 0x0f) & 0x7fff_ffff;
    return String(word % 1_000_000).padStart(6, '0');
  }
}
