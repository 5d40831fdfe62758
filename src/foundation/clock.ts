// Time as an argument: monotonic milliseconds for every timer and deadline, wall time only for records.

import { TimerQueue } from './timer-queue.ts';

export type Cancel = () => void;

export interface Clock {
  /** Milliseconds since an arbitrary start (CLOCK_MONOTONIC); the same in every process of one machine. */
  nowMs(): number;
  /** Milliseconds since 1970 by the wall clock, which may jump. */
  wallMs(): number;
  /**
   * Calls back once after `delayMs`. What came from outside before that is heard first, also where the process itself was
   * held up and finds both at once: an answer that was there in time is not taken for a late one.
   */
  after(delayMs: number, call: () => void): Cancel;
  sleep(delayMs: number): Promise<void>;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  nowMs: () => Number(process.hrtime.bigint()) / 1e6,
  wallMs: () => Date.now(),
  after: (delayMs, call) => {
    // The event loop runs timers before it looks at files and sockets, and immediates after that.
    let inTurn: NodeJS.Immediate | undefined;
    const timer = setTimeout(() => {
      inTurn = setImmediate(call);
    }, delayMs);
    return () => {
      clearTimeout(timer);
      clearImmediate(inTurn);
    };
  },
  sleep: (delayMs) => new Promise((resolve) => setTimeout(resolve, delayMs)),
};

/** Lets everything that became possible at one moment happen before time goes on. */
export type Settle = () => Promise<void>;

/** A clock that moves only when told: tests and seeded simulation. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #wallStartMs: number;
  readonly #settle: Settle;
  readonly #timers = new TimerQueue();

  constructor(wallStartMs = 1_767_225_600_000, settle: Settle = settlePromises) {
    this.#wallStartMs = wallStartMs;
    this.#settle = settle;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallStartMs + this.#nowMs;
  }

  /** The wall clock is set forward, or back where `byMs` is negative; monotonic time does not notice. */
  jumpWall(byMs: number): void {
    this.#wallStartMs += byMs;
  }

  after(delayMs: number, call: () => void): Cancel {
    return this.#timers.add(this.#nowMs + Math.max(0, delayMs), call);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Moves time forward, running due timers in order and letting promises settle between them. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      await this.#settle();
      const next = this.#timers.take(untilMs);
      if (next === undefined) break;
      this.#nowMs = next.atMs;
      next.call();
    }
    this.#nowMs = untilMs;
  }
}

async function settlePromises(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve));
}

const QUIET_TURNS_MAX = 10_000;

/**
 * Turns the event loop until nothing is left to do in it at this moment: faster than a fixed number of turns where
 * nothing waits for the world outside, and the same at every run. Throws when something goes on for ever.
 */
export async function settleUntilQuiet(): Promise<void> {
  for (let turn = 0; turn < QUIET_TURNS_MAX; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (!process.getActiveResourcesInfo().includes('Immediate')) return;
  }
  throw new Error(`the event loop was not quiet after ${QUIET_TURNS_MAX} turns`);
}
