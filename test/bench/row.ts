// One figure of the bench, always beside its limit or plainest alternative measured in the same run.

export type BenchUnit = 'ns' | 'us' | 'ms' | 's' | 'MiB';

export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

export interface BenchRow extends Percentiles {
  readonly name: string;
  readonly bus: string;
  readonly unit: BenchUnit;
  readonly n: number;
  readonly beside: Percentiles & { readonly name: string };
  /** p95 / beside.p95. */
  readonly ratio: number;
  /** What this project wants, in words; kept when `reached`. */
  readonly goal: string;
  readonly reached: boolean | null;
}

export function percentiles(samples: readonly number[]): Percentiles {
  const sorted = [...samples].sort((left, right) => left - right);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

export function scaled(value: Percentiles, divisor: number): Percentiles {
  return { p50: value.p50 / divisor, p95: value.p95 / divisor, p99: value.p99 / divisor };
}

export interface RowParts {
  readonly name: string;
  readonly bus: string;
  readonly unit: BenchUnit;
  readonly n: number;
  readonly figure: Percentiles;
  readonly beside: Percentiles & { readonly name: string };
  readonly goal?: {
    readonly text: string;
    readonly reached: (row: Percentiles, ratio: number) => boolean;
  };
}

export function rowOf(parts: RowParts): BenchRow {
  const ratio = parts.figure.p95 / parts.beside.p95;
  return {
    name: parts.name,
    bus: parts.bus,
    unit: parts.unit,
    ...rounded(parts.figure),
    n: parts.n,
    beside: { name: parts.beside.name, ...rounded(parts.beside) },
    ratio: round(ratio),
    goal: parts.goal?.text ?? '',
    reached: parts.goal?.reached(parts.figure, ratio) ?? null,
  };
}

function rounded(value: Percentiles): Percentiles {
  return { p50: round(value.p50), p95: round(value.p95), p99: round(value.p99) };
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}
