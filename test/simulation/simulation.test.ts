// The whole agent under seeded trouble: many seeds, the same run for the same seed, and every seed that once failed.

import { describe, expect, it } from 'vitest';
import { simulate } from './simulation.ts';
import { missingFrom, reportOf, Tally } from './tally.ts';

const SEEDS = 500;
const SHORT_MS = 4_000;
/** Seeds that failed, with what they found: each fails again without its fix. */
const REGRESSIONS: readonly {
  readonly seed: number;
  readonly durationMs: number;
  readonly found: string;
}[] = [
  {
    seed: 13,
    durationMs: 4_002,
    found:
      'a late order of a dead security process let kernel write, and nobody called its successor',
  },
  { seed: 5_011, durationMs: 30_000, found: 'a poll that waited read a device in quarantine' },
  { seed: 44, durationMs: 6_000, found: 'a device was let go on a full disk without a record' },
];

const MINUTE_MS = 60_000;

describe('the simulated agent', () => {
  it('does the same again for the same seed', async () => {
    const first = await simulate({ seed: 4_711, durationMs: SHORT_MS });
    const second = await simulate({ seed: 4_711, durationMs: SHORT_MS });
    const other = await simulate({ seed: 4_712, durationMs: SHORT_MS });
    expect(first.lines).toBeGreaterThan(100);
    expect([second.lines, second.digest]).toEqual([first.lines, first.digest]);
    expect(other.digest).not.toBe(first.digest);
  }, 60_000);

  it.each(REGRESSIONS)(
    'keeps its promises where seed $seed found: $found',
    async (regression) => {
      const result = await simulate(regression);
      if (result.violations.length > 0) {
        expect.fail(reportOf(result, regression.durationMs / MINUTE_MS));
      }
    },
    60_000,
  );

  it(`keeps every promise over ${SEEDS} seeds of kills, faults, stops and slow links`, async () => {
    const tally = new Tally();
    const failures: string[] = [];
    for (let seed = 1; seed <= SEEDS && failures.length < 3; seed++) {
      const result = await simulate({ seed, durationMs: SHORT_MS });
      tally.add(result);
      if (result.violations.length > 0) failures.push(reportOf(result, SHORT_MS / MINUTE_MS));
    }
    expect(failures.join('\n\n')).toBe('');
    expect(missingFrom(tally), tally.table()).toEqual([]);
    // For a hang only: ten minutes were too few on a host with a load of 20.
  }, 1_800_000);
});
