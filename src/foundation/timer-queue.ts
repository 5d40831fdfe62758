// Timers of a virtual clock, the earliest first and in order of asking where times are equal: a binary heap.
// Invariants: a cancelled timer is never taken; taking and adding cost O(log n).

export interface QueuedTimer {
  readonly atMs: number;
  readonly call: () => void;
}

interface Entry extends QueuedTimer {
  readonly order: number;
  cancelled: boolean;
}

export class TimerQueue {
  readonly #heap: Entry[] = [];
  #order = 0;

  /** Returns what cancels it. */
  add(atMs: number, call: () => void): () => void {
    this.#order += 1;
    const entry: Entry = { atMs, call, order: this.#order, cancelled: false };
    this.#heap.push(entry);
    this.#rise(this.#heap.length - 1);
    return () => {
      entry.cancelled = true;
    };
  }

  /** The next timer due at `untilMs` or before, taken out. */
  take(untilMs: number): QueuedTimer | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || (first.atMs > untilMs && !first.cancelled)) return undefined;
      this.#removeFirst();
      if (!first.cancelled) return first;
    }
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#sink(0);
  }

  #rise(from: number): void {
    for (let at = from; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#before(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #sink(from: number): void {
    for (let at = from; ; ) {
      const left = 2 * at + 1;
      let least = at;
      if (this.#before(left, least)) least = left;
      if (this.#before(left + 1, least)) least = left + 1;
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #before(left: number, right: number): boolean {
    const a = this.#heap[left];
    const b = this.#heap[right];
    if (a === undefined || b === undefined) return false;
    return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
  }

  #swap(left: number, right: number): void {
    const a = this.#heap[left];
    const b = this.#heap[right];
    if (a === undefined || b === undefined) return;
    this.#heap[left] = b;
    this.#heap[right] = a;
  }
}
