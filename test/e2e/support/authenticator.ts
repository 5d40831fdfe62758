// The telephone of a person: one-time codes by RFC 6238, written anew so that the agent's own are held against it.

import { createHmac } from 'node:crypto';
import { pause } from './scene.ts';

const STEP_MS = 30_000;
/** A code that ends sooner may end on its way: on a busy machine a password alone takes seconds. */
const USABLE_MS = 10_000;
const LOOK_AGAIN_MS = 100;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

function secretBytes(base32: string): Buffer {
  let bits = '';
  for (const letter of base32) bits += ALPHABET.indexOf(letter).toString(2).padStart(5, '0');
  const bytes = bits.match(/.{8}/g) ?? [];
  return Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2)));
}

const stepAfter = (ms: number) => Math.floor((Date.now() + ms) / STEP_MS);

export class Authenticator {
  readonly #secret: Buffer;
  /** Codes up to this step were given out. */
  #given = 0;

  constructor(base32: string) {
    this.#secret = secretBytes(base32);
  }

  /** Each call gives the code of another step, for none is good twice; waits where three were given in half a minute. */
  async next(): Promise<string> {
    for (;;) {
      // The step before the present one is good until the present one ends, the one after it already.
      const step = Math.max(this.#given + 1, stepAfter(USABLE_MS) - 1);
      if (step <= stepAfter(0) + 1) {
        this.#given = step;
        return this.#code(step);
      }
      await pause(LOOK_AGAIN_MS);
    }
  }

  #code(step: number): string {
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64BE(BigInt(step));
    const mac = createHmac('sha1', this.#secret).update(counter).digest();
    const word = mac.readUInt32BE((mac[19] ?? 0) & 0x0f) & 0x7fff_ffff;
    return String(word % 1_000_000).padStart(6, '0');
  }
}
