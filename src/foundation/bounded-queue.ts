// A first-in first-out queue with a bound and a counter of what it refused.

export class BoundedQueue<T> {
  readonly capacity: number;
  #items: T[] = [];
  #refused = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get length(): number {
    return this.#items.length;
  }

  get refused(): number {
    return this.#refused;
  }

  /** False, and counted, when the queue is full. */
  push(item: T): boolean {
    if (this.#items.length >= this.capacity) {
      this.#refused += 1;
      return false;
    }
    this.#items.push(item);
    return true;
  }

  shift(): T | undefined {
    return this.#items.shift();
  }

  /** Takes everything out, oldest first. */
  drain(): T[] {
    const items = this.#items;
    this.#items = [];
    return items;
  }
}
