// One queue per physical bus: stop before operations before polling, a circuit breaker per device, counters.
// Invariants: at most one access in flight on a queued bus; a quarantined device's cell never reaches the bus.
// Faults: DEVICE_QUARANTINED, BUS_QUEUE_FULL, BUS_CIRCUIT_OPEN, DEADLINE_EXCEEDED before the bus was asked; STOPPED_MIDWAY
// for a write that waited while the stop came.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { type Cell, isImmediate, type RegisterBus } from '#model/bus';
import { formatToken, type LinearId } from '#model/device';
import type { Word } from '#model/register';
import type { BusState } from '#model/snapshot';
import { CircuitBreaker } from './circuit-breaker.ts';

/** Lowest number first. */
export const Priority = { STOP: 0, STOP_INPUT: 1, OPERATION: 2, OBSERVE: 3 } as const;
export type Priority = (typeof Priority)[keyof typeof Priority];

export interface BusQueueLimits {
  /** Accesses waiting on one bus before new ones are refused; the stop and its inputs never are. */
  readonly waitingMax: number;
  /** Consecutive failures of one device that open its circuit. */
  readonly failuresMax: number;
  /** How long a device is left alone then, milliseconds. */
  readonly coolDownMs: number;
  /** Longest single access, milliseconds. */
  readonly accessTimeoutMs: number;
}

export interface BusQueueParts {
  readonly bus: RegisterBus;
  readonly clock: Clock;
  readonly limits: BusQueueLimits;
  readonly isQuarantined: (device: LinearId) => boolean;
  /** Asked right before a write leaves the queue, so that one that waited cannot follow the stop. */
  readonly isStopped: (device: LinearId) => boolean;
}

interface Waiting {
  /** Longest time of its access, milliseconds. */
  readonly limitMs: number;
  readonly run: () => Promise<void>;
}

export class BusQueue {
  readonly bus: RegisterBus;
  readonly accessTimeoutMs: number;
  readonly #parts: BusQueueParts;
  readonly #waiting: readonly [Waiting[], Waiting[], Waiting[], Waiting[]] = [[], [], [], []];
  readonly #breakers = new Map<LinearId, CircuitBreaker>();
  #busy = false;
  /** The access under way: when it began and when it has to be over. */
  #running: { readonly sinceMs: number; readonly limitMs: number } | null = null;
  #open = false;
  #finding = 'not opened yet';
  #refused = 0;

  constructor(parts: BusQueueParts) {
    this.#parts = parts;
    this.bus = parts.bus;
    this.accessTimeoutMs = parts.limits.accessTimeoutMs;
  }

  async open(deadline: Deadline): Promise<Outcome<void>> {
    const result = await this.bus.open(deadline);
    this.#open = result.ok;
    this.#finding = result.ok ? '' : result.fault.finding;
    return result;
  }

  read(cell: Cell, deadline: Deadline, priority: Priority): Promise<Outcome<Word>> {
    return this.#access(cell, deadline, priority, (limit) => this.bus.read(cell, limit));
  }

  write(cell: Cell, word: Word, deadline: Deadline, priority: Priority): Promise<Outcome<void>> {
    return this.#access(cell, deadline, priority, (limit) => {
      if (priority !== Priority.STOP && this.#parts.isStopped(cell.device)) {
        const finding = 'a stop or a hold came while the write waited for its bus';
        return Promise.resolve(refuse(fault('STOPPED_MIDWAY', { place: cell.place, finding })));
      }
      return this.bus.write(cell, word, limit);
    });
  }

  /** Several cells of one device; refused as a whole or one outcome for each. */
  async readMany(
    cells: readonly Cell[],
    deadline: Deadline,
    priority: Priority,
  ): Promise<readonly Outcome<Word>[]> {
    const first = cells[0];
    if (first === undefined) return [];
    const forbidden = cells
      .map((cell) => this.#quarantine(cell))
      .find((found) => found !== undefined);
    if (forbidden !== undefined) return cells.map(() => refuse(forbidden));
    let outcomes: readonly Outcome<Word>[] = [];
    const limit = Math.max(1, cells.length) * this.accessTimeoutMs;
    const whole = await this.#access(
      first,
      deadline,
      priority,
      async (until): Promise<Outcome<void>> => {
        outcomes = await this.bus.readMany(cells, until);
        const failed = outcomes.find((outcome) => !outcome.ok);
        // One answer shows that the device is alive, whatever one of its registers does.
        const answered = outcomes.some((outcome) => outcome.ok);
        return answered || failed === undefined || failed.ok ? succeed(undefined) : failed;
      },
      limit,
    );
    if (outcomes.length === cells.length) return outcomes;
    return cells.map(() => (whole.ok ? refuse(this.#lost(first)) : whole));
  }

  /** For the stop path on mapped memory: no queue, no promise, no breaker. */
  writeNow(cell: Cell, word: Word): Outcome<void> {
    const forbidden = this.#quarantine(cell);
    if (forbidden !== undefined) return refuse(forbidden);
    if (!isImmediate(this.bus)) {
      return refuse(fault('INTERNAL', { place: cell.place, finding: 'its bus is not immediate' }));
    }
    return this.bus.writeNow(cell, word);
  }

  /** To read a safe value back: no queue, no promise, no breaker. */
  readNow(cell: Cell): Outcome<Word> {
    const forbidden = this.#quarantine(cell);
    if (forbidden !== undefined) return refuse(forbidden);
    if (!isImmediate(this.bus)) {
      return refuse(fault('INTERNAL', { place: cell.place, finding: 'its bus is not immediate' }));
    }
    return this.bus.readNow(cell);
  }

  get immediate(): boolean {
    return this.bus.immediate;
  }

  /** How many times its longest time the access under way has taken; 0 when none is, above 1 only when its bus is stuck. */
  get overdue(): number {
    if (this.#running === null) return 0;
    const { sinceMs, limitMs } = this.#running;
    return (this.#parts.clock.nowMs() - sinceMs) / Math.max(1, limitMs);
  }

  /** True while the device's circuit is open: it did not answer of late. */
  suspect(device: LinearId): boolean {
    return this.#breakers.get(device)?.allows() === false;
  }

  state(): BusState {
    return {
      id: this.bus.id,
      kind: this.bus.kind,
      open: this.#open,
      queueLength: this.#waiting.reduce((sum, list) => sum + list.length, this.#busy ? 1 : 0),
      counters: this.bus.counters(),
      finding:
        this.#refused === 0 ? this.#finding : `${this.#refused} accesses refused; ${this.#finding}`,
    };
  }

  /** Forgets a device's failures: after a person released it or the bus was opened again. */
  closeCircuit(device: LinearId): void {
    this.#breakers.delete(device);
  }

  #quarantine(cell: Cell): Fault | undefined {
    if (!this.#parts.isQuarantined(cell.device)) return undefined;
    return fault('DEVICE_QUARANTINED', {
      place: cell.place,
      finding: `device ${formatToken(cell.device)} is quarantined at bus ${this.bus.id}`,
    });
  }

  /** The stop and its inputs have to try even a device that failed before. */
  #circuit(cell: Cell, priority: Priority, breaker: CircuitBreaker): Fault | undefined {
    if (isUrgent(priority) || breaker.allows()) return undefined;
    return fault('BUS_CIRCUIT_OPEN', {
      place: cell.place,
      finding: `${breaker.failures} accesses in a row failed on bus ${this.bus.id}, next try in ${Math.ceil(breaker.remainingMs())} ms`,
    });
  }

  async #access<T>(
    cell: Cell,
    deadline: Deadline,
    priority: Priority,
    call: (limit: Deadline) => Promise<Outcome<T>>,
    limitMs = this.accessTimeoutMs,
  ): Promise<Outcome<T>> {
    const breaker = this.#breaker(cell.device);
    const refusal = this.#quarantine(cell) ?? this.#circuit(cell, priority, breaker);
    if (refusal !== undefined) return refuse(refusal);
    // Nothing of it waits for a device: a limit of its own would only measure how this process was held up.
    if (this.immediate) return this.#judge(breaker, await call(deadline));
    return this.#enqueue(cell, deadline, priority, breaker, call, limitMs);
  }

  #enqueue<T>(
    cell: Cell,
    deadline: Deadline,
    priority: Priority,
    breaker: CircuitBreaker,
    call: (limit: Deadline) => Promise<Outcome<T>>,
    limitMs: number,
  ): Promise<Outcome<T>> {
    const list = this.#waiting[priority];
    if (!isUrgent(priority) && list.length >= this.#parts.limits.waitingMax) {
      this.#refused += 1;
      const finding = `${list.length} accesses already wait on bus ${this.bus.id}`;
      return Promise.resolve(refuse(fault('BUS_QUEUE_FULL', { place: cell.place, finding })));
    }
    return new Promise((resolve) => {
      list.push({
        limitMs,
        run: async () => {
          if (deadline.expired()) {
            const finding = `the deadline passed while waiting for bus ${this.bus.id}`;
            resolve(refuse(fault('DEADLINE_EXCEEDED', { place: cell.place, finding })));
            return;
          }
          // While it waited the device may have gone into quarantine, or the accesses before it have opened the circuit:
          // a dead device holds up the bus no further.
          const refusal = this.#quarantine(cell) ?? this.#circuit(cell, priority, breaker);
          if (refusal !== undefined) {
            resolve(refuse(refusal));
            return;
          }
          resolve(this.#judge(breaker, await call(deadline.within(limitMs))));
        },
      });
      void this.#pump();
    });
  }

  #judge<T>(breaker: CircuitBreaker, outcome: Outcome<T>): Outcome<T> {
    if (outcome.ok) {
      // One device that answers does not make a bus whole of which a part could not be opened.
      breaker.succeeded();
      if (this.#open) this.#finding = '';
    } else if (countsAsFailure(outcome.fault.code)) {
      breaker.failed();
      this.#finding = outcome.fault.finding;
      if (WANTS_OPENING.has(outcome.fault.code)) this.#open = false;
    }
    return outcome;
  }

  #breaker(device: LinearId): CircuitBreaker {
    let breaker = this.#breakers.get(device);
    if (breaker === undefined) {
      const { failuresMax, coolDownMs } = this.#parts.limits;
      breaker = new CircuitBreaker(this.#parts.clock, failuresMax, coolDownMs);
      this.#breakers.set(device, breaker);
    }
    return breaker;
  }

  async #pump(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (;;) {
        const next =
          this.#waiting[0].shift() ??
          this.#waiting[1].shift() ??
          this.#waiting[2].shift() ??
          this.#waiting[3].shift();
        if (next === undefined) return;
        this.#running = { sinceMs: this.#parts.clock.nowMs(), limitMs: next.limitMs };
        await next.run();
      }
    } finally {
      this.#running = null;
      this.#busy = false;
    }
  }

  #lost(cell: Cell): Fault {
    return fault('INTERNAL', {
      place: cell.place,
      finding: `bus ${this.bus.id} gave too few answers`,
    });
  }
}

function isUrgent(priority: Priority): boolean {
  return priority === Priority.STOP || priority === Priority.STOP_INPUT;
}

/** Faults after which the bus, or a window of it, has to be opened again. */
const WANTS_OPENING: ReadonlySet<string> = new Set(['BUS_ABSENT', 'BUS_STALE', 'BUS_ERROR_SIGNAL']);

/** Refusals by the bus's own checks say nothing about the device's health. */
function countsAsFailure(code: string): boolean {
  return (
    code.startsWith('BUS_') &&
    code !== 'BUS_QUEUE_FULL' &&
    code !== 'BUS_CIRCUIT_OPEN' &&
    code !== 'BUS_EXCEPTION'
  );
}
