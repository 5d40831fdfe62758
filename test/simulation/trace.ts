// What happened in one simulated run, line by line: the last lines for people, a digest of all of them for comparison.

import { createHash } from 'node:crypto';
import type { Clock } from '#foundation/clock';

const KEPT_LINES = 400;

export class Trace {
  readonly #clock: Clock;
  readonly #print: (line: string) => void;
  readonly #hash = createHash('sha256');
  readonly #last: string[] = [];
  #count = 0;

  constructor(clock: Clock, print: (line: string) => void) {
    this.#clock = clock;
    this.#print = print;
  }

  add(kind: string, text: string): void {
    const line = `${this.#clock.nowMs().toFixed(3).padStart(11)}  ${kind.padEnd(9)} ${text}`;
    this.#count += 1;
    this.#hash.update(`${line}\n`);
    this.#last.push(line);
    if (this.#last.length > KEPT_LINES) this.#last.shift();
    this.#print(line);
  }

  get lines(): number {
    return this.#count;
  }

  last(limit: number): readonly string[] {
    return this.#last.slice(-limit);
  }

  digest(): string {
    return this.#hash.copy().digest('hex');
  }
}
