// Holds an attack to its limits: everything sent is counted before it leaves, and nothing leaves that would be too much.
// Faults: throws LimitReached, which ends the attack; what was found until then is lost, the limits are kept.

import type { ScenarioPlan } from '#tracks/security/chaos/scenarios';

export class LimitReached extends Error {}

export class Limits {
  readonly #plan: ScenarioPlan;
  readonly #nowMs: () => number;
  readonly #startedMs: number;
  /** Devices that were changed, also where they were put back. */
  devicesChanged = 0;
  #requests = 0;
  #open = 0;
  #openMost = 0;

  /** `nowMs`: monotonic. */
  constructor(plan: ScenarioPlan, nowMs: () => number) {
    this.#plan = plan;
    this.#nowMs = nowMs;
    this.#startedMs = nowMs();
  }

  get requests(): number {
    return this.#requests;
  }

  get seconds(): number {
    return (this.#nowMs() - this.#startedMs) / 1_000;
  }

  /** How many requests may still be sent. */
  get left(): number {
    return this.#plan.requestsMax - this.#requests;
  }

  /** One request, message or connection without one. */
  spend(): void {
    if (this.left <= 0) {
      throw new LimitReached(`the limit of ${this.#plan.requestsMax} requests is reached`);
    }
    if (this.seconds >= this.#plan.durationSecondsMax) {
      throw new LimitReached(`the limit of ${this.#plan.durationSecondsMax} s is reached`);
    }
    this.#requests += 1;
  }

  /** A connection opens; call what is returned once it is closed. */
  open(): () => void {
    if (this.#open >= this.#plan.connectionsMax) {
      throw new LimitReached(
        `the limit of ${this.#plan.connectionsMax} connections at once is reached`,
      );
    }
    this.#open += 1;
    this.#openMost = Math.max(this.#openMost, this.#open);
    let open = true;
    return () => {
      if (open) this.#open -= 1;
      open = false;
    };
  }

  /** True when nothing went beyond. */
  get kept(): boolean {
    const { requestsMax, connectionsMax, durationSecondsMax, devicesMax } = this.#plan;
    return (
      this.#requests <= requestsMax &&
      this.#openMost <= connectionsMax &&
      this.seconds <= durationSecondsMax &&
      this.devicesChanged <= devicesMax
    );
  }

  /** Each limit beside what was used of it, each a sentence. */
  sentences(): readonly string[] {
    const { requestsMax, connectionsMax, durationSecondsMax, devicesMax, further } = this.#plan;
    return [
      `${this.#requests} of at most ${requestsMax} requests`,
      `${this.#openMost} of at most ${connectionsMax} connections at once`,
      `${this.seconds.toFixed(1)} of at most ${durationSecondsMax} s`,
      `${this.devicesChanged} of at most ${devicesMax} devices changed`,
      ...further,
    ];
  }
}
