// Hears tests of the stop bell for whoever asked for one: the ring and the question come over different ways, in any order.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';

/** A test that was heard before anybody asked counts for this long. */
const HEARD_VALID_MS = 1_000;

export class StopBell {
  readonly #clock: Clock;
  #heardMs = Number.NEGATIVE_INFINITY;
  #answer: ((heard: boolean) => void) | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The bell rang with the mark of a test. */
  tested(): void {
    if (this.#answer === null) this.#heardMs = this.#clock.nowMs();
    else this.#answer(true);
  }

  /** True once a test was heard that answers no earlier question; false when the deadline comes first. */
  heard(deadline: Deadline): Promise<boolean> {
    // Whoever asked before this one has given up.
    this.#answer?.(false);
    const early = this.#clock.nowMs() - this.#heardMs <= HEARD_VALID_MS;
    this.#heardMs = Number.NEGATIVE_INFINITY;
    if (early) return Promise.resolve(true);
    return new Promise((resolve) => {
      const giveUp = this.#clock.after(deadline.remainingMs(), () => settle(false));
      const settle = (heard: boolean) => {
        if (this.#answer === settle) this.#answer = null;
        giveUp();
        resolve(heard);
      };
      this.#answer = settle;
    });
  }
}
