// Seeded randomness for the simulated hardware: one seed replays one run.

export interface Random {
  /** 0 <= x < 1. */
  next(): number;
  /** Whole number, both ends inclusive. */
  between(minimum: number, maximum: number): number;
}

/** Mulberry32: 32 bits of state, good enough for drift and chaos, never for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (minimum, maximum) => minimum + Math.floor(next() * (maximum - minimum + 1)),
  };
}
