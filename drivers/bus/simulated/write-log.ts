// The last writes that the simulated devices saw, so that tests can prove order and absence of writes.
// Invariants: bounded; a write that is dropped from the log is still counted.

import type { Word } from '#model/register';

export interface SeenWrite {
  /** 1 for the first write, without gaps. */
  readonly sequence: number;
  /** Monotonic milliseconds at which the device saw it (memory and sysfs: at which the simulator noticed). */
  readonly atMs: number;
  readonly device: string;
  readonly register: string;
  readonly value: Word;
  /** False when the device ignored it (read-only register). */
  readonly taken: boolean;
}

export class WriteLog {
  readonly #capacity: number;
  readonly #writes: SeenWrite[] = [];
  readonly #listeners: ((write: SeenWrite) => void)[] = [];
  #count = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Writes seen since the start or since `clear`. */
  get count(): number {
    return this.#count;
  }

  add(write: Omit<SeenWrite, 'sequence'>): void {
    this.#count += 1;
    const seen = { sequence: this.#count, ...write };
    this.#writes.push(seen);
    if (this.#writes.length > this.#capacity) this.#writes.shift();
    for (const listener of this.#listeners) listener(seen);
  }

  /** Calls back at every write, as the device sees it. */
  listen(listener: (write: SeenWrite) => void): void {
    this.#listeners.push(listener);
  }

  /** The last `limit` writes, oldest first, of one device or of all. */
  last(limit: number, device?: string): readonly SeenWrite[] {
    const chosen =
      device === undefined ? this.#writes : this.#writes.filter((write) => write.device === device);
    return limit <= 0 ? [] : chosen.slice(-limit);
  }

  clear(): void {
    this.#writes.length = 0;
    this.#count = 0;
  }
}
