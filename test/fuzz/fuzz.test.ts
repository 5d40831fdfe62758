// A short turn of every fuzz target, the same in every run of CI, and everything that was ever found.

import { describe, expect, it } from 'vitest';
import { describeFailure, fuzz, replayFound } from './fuzz.ts';
import { FUZZ_TARGETS } from './targets/index.ts';

/** Longer runs start elsewhere, see docs/fuzzing.md. */
const SEED = 1;
const TURN_MS = 900;
/** A valid input of each door goes first, and a failing one is made small; neither is bounded by the turn. */
const TEST_MS = 120_000;

describe.each(FUZZ_TARGETS.map((target) => ({ name: target.name, target })))(
  'damaged input: $name',
  ({ target }) => {
    it('does no harm, and is refused with a clear fault or taken for what it is', {
      timeout: TEST_MS,
    }, async () => {
      const result = await fuzz(target, { seed: SEED, runs: target.runs, forMs: TURN_MS });
      expect(result.failure === null ? null : describeFailure(result)).toBe(null);
      expect(result.runs).toBeGreaterThan(0);
    });

    it('does no harm either where it once did', { timeout: TEST_MS }, async () => {
      expect(await replayFound(target)).toBe(null);
    });
  },
);
