// The telephone of a person: each code once, the present step's neighbours included, so that three are good at once.

import { codeAt, fromBase32, stepAt } from '#tracks/security/identity/one-time-codes';

export class Telephone {
  readonly #secret: Buffer;
  /** One before the present step: the next two are good too, the present one whenever that is. */
  #step = stepAt(Date.now()) - 1;

  constructor(secret: string) {
    this.#secret = fromBase32(secret);
  }

  /** At most three in half a minute. */
  next(): string {
    this.#step = Math.max(this.#step, stepAt(Date.now()) - 1);
    const code = codeAt(this.#secret, this.#step);
    this.#step += 1;
    return code;
  }
}
