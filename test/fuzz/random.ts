// Random numbers that follow from a seed alone, so that a run of the fuzzer can be repeated exactly.

export class FuzzRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed >>> 0, 0x9e37_79b1) ^ Math.floor(seed / 2 ** 32)) >>> 0;
  }

  /** 0 .. 2^32 - 1 (splitmix32). */
  word(): number {
    this.#state = (this.#state + 0x9e37_79b9) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** 0 .. limit - 1; 0 for a limit of 0. */
  below(limit: number): number {
    return limit <= 1 ? 0 : this.word() % limit;
  }

  /** One time in `count`. */
  once(count: number): boolean {
    return this.below(count) === 0;
  }

  pick<T>(values: readonly [T, ...T[]]): T;
  pick<T>(values: readonly T[]): T;
  pick<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined && values.length === 0) throw new RangeError('nothing to pick from');
    return value as T;
  }

  bytes(count: number): Buffer {
    const bytes = Buffer.alloc(count);
    for (let at = 0; at < count; at++) bytes[at] = this.word() & 0xff;
    return bytes;
  }
}
