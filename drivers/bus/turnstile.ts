// Lets one access at a time onto a bus: callers wait in order, until their deadline, in a queue with a bound.
//
// Invariants: a job starts only after the job before it has settled; a caller that gave up never starts.
// Faults: BUS_QUEUE_FULL and BUS_TIMEOUT, both with nothing started.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse } from '#foundation/outcome';

interface Waiter {
  readonly start: () => void;
}

export class Turnstile {
  readonly #clock: Clock;
  readonly #capacity: number;
  readonly #waiting: Waiter[] = [];
  #busy = false;

  constructor(clock: Clock, capacity = 64) {
    this.#clock = clock;
    this.#capacity = capacity;
  }

  async run<T>(
    place: string,
    deadline: Deadline,
    job: () => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> {
    if (this.#busy) {
      if (this.#waiting.length >= this.#capacity) {
        const finding = `${this.#waiting.length} accesses already wait for the bus`;
        return refuse(fault('BUS_QUEUE_FULL', { place, finding }));
      }
      if (!(await this.#turn(deadline))) {
        const finding = 'the bus was busy with other accesses until the deadline';
        return refuse(fault('BUS_TIMEOUT', { place, finding, consequence: 'nothing was sent' }));
      }
    }
    this.#busy = true;
    try {
      return await job();
    } finally {
      this.#next();
    }
  }

  /** True when the turn came, false when the deadline came first. The turn is handed over while busy. */
  #turn(deadline: Deadline): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(deadline.remainingMs(), () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        resolve(false);
      });
      const waiter: Waiter = {
        start: () => {
          cancel();
          resolve(true);
        },
      };
      this.#waiting.push(waiter);
    });
  }

  #next(): void {
    const waiter = this.#waiting.shift();
    if (waiter === undefined) this.#busy = false;
    else waiter.start();
  }
}
