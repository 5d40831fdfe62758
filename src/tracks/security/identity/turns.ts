// Changes one after another: what a change was judged by is still so when it is written.
// Invariants: one change at a time; none begins after its deadline; one that threw costs the next nothing.
// Faults: BUSY when too many wait, DEADLINE_EXCEEDED when the turn came too late.

import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse } from '#foundation/outcome';

const WAITING_MAX = 64;

export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  get waiting(): number {
    return this.#waiting;
  }

  async take<T>(
    place: string,
    deadline: Deadline,
    change: () => Promise<Outcome<T>>,
  ): Promise<Outcome<T>> {
    if (this.#waiting >= WAITING_MAX) {
      const finding = `${WAITING_MAX} changes are under way`;
      return refuse(fault('BUSY', { place, finding }));
    }
    this.#waiting += 1;
    const turn = this.#last.then(async () => {
      this.#waiting -= 1;
      if (!deadline.expired()) return change();
      const finding = 'other changes took all of its time';
      return refuse(fault('DEADLINE_EXCEEDED', { place, finding }));
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
