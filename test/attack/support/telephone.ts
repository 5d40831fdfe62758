// The telephone of a person: each code once, the present step's neighbours included, so that three are good at once.

import { codeAt, fromBase32, stepAt } from '#tracks/security/identity/one-time-codes';
import { pause } from '../../e2e/support/scene.ts';

/** A code that ends sooner may end on its way: on a busy machine a password alone takes seconds. */
const USABLE_MS = 10_000;
const LOOK_AGAIN_MS = 100;

export class Telephone {
  readonly #secret: Buffer;
  /** Codes up to this step were given out. */
  #given = 0;

  constructor(secret: string) {
    this.#secret = fromBase32(secret);
  }

  /** The earliest that is good for long enough and was not given out; waits for it where three were in half a minute. */
  async next(): Promise<string> {
    for (;;) {
      // The step before the present one is good until the present one ends.
      const step = Math.max(this.#given + 1, stepAt(Date.now() + USABLE_MS) - 1);
      if (step <= stepAt(Date.now()) + 1) {
        this.#given = step;
        return codeAt(this.#secret, step);
      }
      await pause(LOOK_AGAIN_MS);
    }
  }
}
