// Time as an argument: monotonic milliseconds for every timer and deadline, wall time only for records.

export type Cancel = () => void;

export interface Clock {
  /** Milliseconds since an arbitrary start (CLOCK_MONOTONIC); the same in every process of one machine. */
  nowMs(): number;
  /** Milliseconds since 1970 by the wall clock, which may jump. */
  wallMs(): number;
  /** Calls back once after `delayMs`. */
  after(delayMs: number, call: () => void): Cancel;
  sleep(delayMs: number): Promise<void>;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  nowMs: () => Number(process.hrtime.bigint()) / 1e6,
  wallMs: () => Date.now(),
  after: (delayMs, call) => {
    const timer = setTimeout(call, delayMs);
    return () => clearTimeout(timer);
  },
  sleep: (delayMs) => new Promise((resolve) => setTimeout(resolve, delayMs)),
};

/** A clock that moves only when told: tests and seeded simulation. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  readonly #wallStartMs: number;
  #order = 0;
  readonly #timers = new Map<number, { readonly atMs: number; readonly call: () => void }>();

  constructor(wallStartMs = 1_767_225_600_000) {
    this.#wallStartMs = wallStartMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallStartMs + this.#nowMs;
  }

  after(delayMs: number, call: () => void): Cancel {
    const id = ++this.#order;
    this.#timers.set(id, { atMs: this.#nowMs + Math.max(0, delayMs), call });
    return () => this.#timers.delete(id);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Moves time forward, running due timers in order and letting promises settle between them. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      await settlePromises();
      const due = [...this.#timers].filter(([, timer]) => timer.atMs <= untilMs);
      const next = due.sort(([a, x], [b, y]) => x.atMs - y.atMs || a - b)[0];
      if (next === undefined) break;
      this.#timers.delete(next[0]);
      this.#nowMs = next[1].atMs;
      next[1].call();
    }
    this.#nowMs = untilMs;
  }
}

async function settlePromises(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve));
}
