// Answers that units still owe after a time-out, and the requests that must wait for them.
//
// Invariants: a request waits while its unit owes an answer to the same function; after the late window an answer
// is taken as lost. Length and address do not count: an exception answer has neither.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { functionOf, type ModbusRequest } from './modbus-frame.ts';
import { type ExchangeFailure, exchangeFailed } from './modbus-transport.ts';

export class OwedAnswers {
  readonly #clock: Clock;
  readonly #lateWindowMs: number;
  /** By unit and function, so at most as many as there are units times functions. */
  readonly #untilMs = new Map<string, number>();
  #wake: () => void = () => {};

  constructor(clock: Clock, lateWindowMs: number) {
    this.#clock = clock;
    this.#lateWindowMs = lateWindowMs;
  }

  add(request: ModbusRequest): void {
    this.#untilMs.set(
      shapeOf(request.unit, functionOf(request)),
      this.#clock.nowMs() + this.#lateWindowMs,
    );
  }

  /** An answer came that nobody waited for. */
  arrived(unit: number, functionCode: number): void {
    this.#untilMs.delete(shapeOf(unit, functionCode));
    this.#wake();
  }

  /** Null once no late answer can be mistaken for the request's own, or why that was not so by the deadline. */
  async settled(request: ModbusRequest, deadline: Deadline): Promise<ExchangeFailure | null> {
    const shape = shapeOf(request.unit, functionOf(request));
    for (;;) {
      const waitMs = (this.#untilMs.get(shape) ?? 0) - this.#clock.nowMs();
      if (waitMs <= 0) {
        this.#untilMs.delete(shape);
        return null;
      }
      if (deadline.expired()) {
        const finding = `unit ${request.unit} still owes an answer that could be mistaken for this one's`;
        return exchangeFailed('BUS_TIMEOUT', finding, 'nothing');
      }
      await this.#wokenOrAfter(Math.min(waitMs, deadline.remainingMs()));
    }
  }

  #wokenOrAfter(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(delayMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }
}

function shapeOf(unit: number, functionCode: number): string {
  return `${unit}/${functionCode}`;
}
