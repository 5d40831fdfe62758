// A point in monotonic time after which an attempt is given up.

import type { Clock } from './clock.ts';

export class Deadline {
  readonly #clock: Clock;
  /** Monotonic milliseconds; comparable between processes of one machine. */
  readonly atMs: number;

  constructor(clock: Clock, atMs: number) {
    this.#clock = clock;
    this.atMs = atMs;
  }

  static after(clock: Clock, delayMs: number): Deadline {
    return new Deadline(clock, clock.nowMs() + delayMs);
  }

  remainingMs(): number {
    return Math.max(0, this.atMs - this.#clock.nowMs());
  }

  expired(): boolean {
    return this.#clock.nowMs() >= this.atMs;
  }

  /** The earlier of this deadline and one `delayMs` from now. */
  within(delayMs: number): Deadline {
    return new Deadline(this.#clock, Math.min(this.atMs, this.#clock.nowMs() + delayMs));
  }
}
