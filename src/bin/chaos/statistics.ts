// The little statistics that timing needs: order statistics, and whether two series differ.
// Invariants: pure. The test is Mann and Whitney's U with ties and the normal approximation (n from 20 on), because times
// are anything but normally distributed.

export interface Summary {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly most: number;
}

export function summaryOf(values: readonly number[]): Summary {
  const sorted = [...values].sort((left, right) => left - right);
  return {
    count: sorted.length,
    p50: quantile(sorted, 0.5),
    p95: quantile(sorted, 0.95),
    most: sorted.at(-1) ?? Number.NaN,
  };
}

/** Of sorted values; the smallest one that at least this share does not exceed. */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

export interface Comparison {
  /** Median of the second series less that of the first. */
  readonly difference: number;
  /** How probable so much of a difference is where there is none. */
  readonly probability: number;
  /** The smallest shift that these series would have shown with 80 % certainty at 1 % error. */
  readonly detectable: number;
}

/** z of 0.995 and of 0.80. */
const Z_ERROR = 2.575_829;
const Z_POWER = 0.841_621;
/** Of the test beside Student's, for normal distributions (Lehmann, Nonparametrics, 1975): 3 / pi. */
const EFFICIENCY = 3 / Math.PI;
/** Of a normal distribution: standard deviation over median absolute deviation. */
const DEVIATIONS = 1.4826;

export function compare(first: readonly number[], second: readonly number[]): Comparison {
  const difference = summaryOf(second).p50 - summaryOf(first).p50;
  const { statistic, variance } = rankSum(first, second);
  const mean = (first.length * second.length) / 2;
  const distance = Math.max(0, Math.abs(statistic - mean) - 0.5);
  const probability = variance === 0 ? 1 : 2 * upperTail(distance / Math.sqrt(variance));
  const spread = Math.sqrt((spreadOf(first) ** 2 + spreadOf(second) ** 2) / 2);
  const per = 1 / first.length + 1 / second.length;
  const detectable = (Z_ERROR + Z_POWER) * spread * Math.sqrt(per / EFFICIENCY);
  return { difference, probability: Math.min(1, probability), detectable };
}

/** U of the first series, and its variance where both are alike, corrected for ties. */
function rankSum(first: readonly number[], second: readonly number[]) {
  const all = [
    ...first.map((value) => ({ value, own: true })),
    ...second.map((value) => ({ value, own: false })),
  ].sort((left, right) => left.value - right.value);
  let rank = 0;
  let ties = 0;
  for (let start = 0; start < all.length; ) {
    let end = start;
    while (end < all.length && all[end]?.value === all[start]?.value) end += 1;
    const count = end - start;
    const own = all.slice(start, end).filter((one) => one.own).length;
    rank += own * (start + (count + 1) / 2);
    ties += count ** 3 - count;
    start = end;
  }
  const [n, m] = [first.length, second.length];
  const total = n + m;
  const correction = total > 1 ? ties / (total * (total - 1)) : 0;
  return {
    statistic: rank - (n * (n + 1)) / 2,
    variance: Math.max(0, ((n * m) / 12) * (total + 1 - correction)),
  };
}

/** As the standard deviation of a normal distribution, but deaf to outliers. */
function spreadOf(values: readonly number[]): number {
  const middle = summaryOf(values).p50;
  return DEVIATIONS * summaryOf(values.map((value) => Math.abs(value - middle))).p50;
}

/** Of the standard normal distribution beyond z; Abramowitz and Stegun 26.2.17, error below 7.5e-8. */
function upperTail(z: number): number {
  const t = 1 / (1 + 0.231_641_9 * z);
  const terms = [0.319_381_53, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
  const sum = terms.reduceRight((inner, term) => (inner + term) * t, 0);
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * sum;
}
