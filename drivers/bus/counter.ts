// Counts what happened on one bus, so that every fault a caller sees is also a number an operator sees.

import type { Fault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import type { BusCounters } from '#model/bus';

type CounterName = keyof BusCounters;

export class BusTally {
  readonly #counts: Record<CounterName, number> = {
    reads: 0,
    writes: 0,
    timeouts: 0,
    corruptAnswers: 0,
    noAnswers: 0,
    otherFailures: 0,
    resynchronizations: 0,
    strayAnswers: 0,
  };

  add(name: CounterName, count = 1): void {
    this.#counts[name] += count;
  }

  /** Counts one finished access and the fault it ended in, if any; gives the outcome back. */
  finish<T>(access: 'reads' | 'writes', outcome: Outcome<T>): Outcome<T> {
    this.#counts[access] += 1;
    if (!outcome.ok) this.#counts[counterOf(outcome.fault)] += 1;
    return outcome;
  }

  counters(): BusCounters {
    return { ...this.#counts };
  }
}

function counterOf(fault: Fault): CounterName {
  switch (fault.code) {
    case 'BUS_TIMEOUT':
      return 'timeouts';
    case 'BUS_CORRUPT':
      return 'corruptAnswers';
    case 'BUS_NO_ANSWER':
      return 'noAnswers';
    default:
      return 'otherFailures';
  }
}
