// Tests the stop path again and again without stopping anything; a failure makes the system DEGRADED.

import type { StopTest } from '#model/stop';

export class StopSelfTest {
  #last: StopTest | null = null;

  /** The last test's finding; null before the first. */
  get last(): StopTest | null {
    return this.#last;
  }
}
