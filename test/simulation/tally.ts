// What all runs of a simulation did together, and whether that was enough to mean anything.

import type { RunResult } from './simulation.ts';
import { INVARIANTS } from './violation.ts';

/** A simulation in which one of these never happened proves nothing. */
const WANTED: readonly string[] = [
  'effect committed',
  'killed kernel',
  'killed security',
  'killed interface',
  'latch engaged',
  'stop released',
  'stop seen safe',
  'write forward',
  'write undo',
  'write safe',
  'operation judged',
  'link parted',
];

export class Tally {
  readonly counts = new Map<string, number>();
  seeds = 0;
  virtualMs = 0;

  add(result: RunResult): void {
    this.seeds += 1;
    this.virtualMs += result.virtualMs;
    for (const [what, count] of result.counts) {
      this.counts.set(what, (this.counts.get(what) ?? 0) + count);
    }
  }

  /** All counts whose names begin so. */
  sum(prefix: string): number {
    let total = 0;
    for (const [what, count] of this.counts) if (what.startsWith(prefix)) total += count;
    return total;
  }

  line(): string {
    const shown = [
      ['operations', 'receipt'],
      ['committed', 'effect committed'],
      ['rolled back', 'effect rolled-back'],
      ['in doubt', 'effect in-doubt'],
      ['stopped', 'effect stopped'],
      ['stops', 'latch engaged'],
      ['kills', 'killed kernel'],
      ['recovered', 'recovered'],
    ] as const;
    return shown.map(([name, prefix]) => `${this.sum(prefix)} ${name}`).join(', ');
  }

  table(): string {
    const rows = [...this.counts].sort(([left], [right]) => (left < right ? -1 : 1));
    const minutes = (this.virtualMs / 60_000).toFixed(1);
    return [
      `${this.seeds} seeds, ${minutes} virtual minutes`,
      ...rows.map(([what, count]) => `  ${String(count).padStart(8)}  ${what}`),
    ].join('\n');
  }
}

export function missingFrom(tally: Tally): readonly string[] {
  return WANTED.filter((what) => (tally.counts.get(what) ?? 0) === 0);
}

/** Everything that somebody needs to understand and repeat a failure. */
export function reportOf(result: RunResult, minutes: number): string {
  const violations = result.violations.map(
    ({ invariant, atMs, finding }) =>
      `  ${invariant} (${INVARIANTS[invariant]})\n    at ${atMs.toFixed(3)} ms: ${finding}`,
  );
  return [
    `seed ${result.seed} broke ${result.violations.length} invariants`,
    ...violations,
    'the last events:',
    ...result.lastLines.map((line) => `  ${line}`),
    `repeat with: npm run simulate -- --seed ${result.seed} --minutes ${minutes} --trace`,
  ].join('\n');
}
