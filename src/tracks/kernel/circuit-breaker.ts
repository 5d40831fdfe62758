// Leaves a failing device alone for a while, so that it cannot slow down its neighbours on the bus.

import type { Clock } from '#foundation/clock';

export class CircuitBreaker {
  readonly #clock: Clock;
  readonly #failuresMax: number;
  readonly #coolDownMs: number;
  #failures = 0;
  #openUntilMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, failuresMax: number, coolDownMs: number) {
    this.#clock = clock;
    this.#failuresMax = failuresMax;
    this.#coolDownMs = coolDownMs;
  }

  get failures(): number {
    return this.#failures;
  }

  /** True when closed, or when the cool-down has passed and one more try may show that the device is back. */
  allows(): boolean {
    return this.#clock.nowMs() >= this.#openUntilMs;
  }

  remainingMs(): number {
    return Math.max(0, this.#openUntilMs - this.#clock.nowMs());
  }

  succeeded(): void {
    this.#failures = 0;
    this.#openUntilMs = Number.NEGATIVE_INFINITY;
  }

  failed(): void {
    this.#failures += 1;
    if (this.#failures >= this.#failuresMax)
      this.#openUntilMs = this.#clock.nowMs() + this.#coolDownMs;
  }
}
