// What is usual for one person: how many operations, on which devices, at which hours of the day in UTC.
// Invariants: pure; learned from successful operations only; nothing is usual on the day it is first done, so that the answer is
// the same before and after a restart; while the wall clock is not to be trusted nothing is learned or judged.

import type { AuditEntry } from '#model/audit-entry';
import type { LinearId } from '#model/device';
import type { ThreatPolicy } from '#model/safety-policy';

export interface Baseline {
  readonly operations: number;
  /** Before the day of the last one. */
  readonly operationsBefore: number;
  /** Days on which it operated before that day. */
  readonly daysBefore: number;
  /** Days since 1970 by the wall clock; null before the first operation. */
  readonly lastDay: number | null;
  /** Mean operations in one window in which it operated at all, the later ones weighing more, a burst not; null before the first is over. */
  readonly rate: number | null;
  /** The window that is being counted, by number, and the operations in it. */
  readonly block: number;
  readonly inBlock: number;
  /** Day of the first change of each device. */
  readonly devices: Readonly<Record<string, number>>;
  /** Day of the first change at each hour. */
  readonly hours: Readonly<Record<string, number>>;
  /** Sequence of the newest entry it was learned from. */
  readonly learnedThrough: number;
}

export const NO_BASELINE: Baseline = {
  operations: 0,
  operationsBefore: 0,
  daysBefore: 0,
  lastDay: null,
  rate: null,
  block: 0,
  inBlock: 0,
  devices: {},
  hours: {},
  learnedThrough: 0,
};

/** What one operation was like. */
export interface OperationSeen {
  readonly sequence: number;
  readonly wallMs: number;
  readonly changed: boolean;
  readonly devices: readonly LinearId[];
  readonly clockQuality: AuditEntry['clockQuality'];
  /** Number of the window it fell into, of windows side by side. */
  readonly block: number;
}

export interface Unusual {
  readonly device: boolean;
  readonly hour: boolean;
}

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const HOURS = 24;
/** Weight of the newest window in the mean. */
const RATE_WEIGHT = 0.1;
/** A window counts for no more than so many times the mean: a single burst must not become what is usual. */
const GROWTH_MAX = 2;
/** As many teach in any case: where hardly anything is usual, work may still begin. */
const LEARNED_AT_LEAST = 15;
const NOTHING_UNUSUAL: Unusual = { device: false, hour: false };

/** Whether enough is known to call anything unusual. */
export function learned(
  baseline: Baseline,
  day: number,
  { baseline: rule }: ThreatPolicy,
): boolean {
  const newDay = baseline.lastDay !== null && baseline.lastDay !== day;
  const operations = newDay ? baseline.operations : baseline.operationsBefore;
  const days = baseline.daysBefore + (newDay ? 1 : 0);
  return operations >= rule.operationsMin && days >= rule.daysMin;
}

/** Operations in one window that are usual; null while too little is known. */
export function usualOperations(
  baseline: Baseline,
  wallMs: number,
  policy: ThreatPolicy,
): number | null {
  return learned(baseline, dayOf(wallMs), policy) ? baseline.rate : null;
}

export function judge(baseline: Baseline, seen: OperationSeen, policy: ThreatPolicy): Unusual {
  if (!seen.changed || seen.clockQuality !== 'synchronized') return NOTHING_UNUSUAL;
  const day = dayOf(seen.wallMs);
  if (!learned(baseline, day, policy)) return NOTHING_UNUSUAL;
  const before = (first: number | undefined) => first !== undefined && first !== day;
  const hour = hourOf(seen.wallMs);
  // Whoever begins at seven now and then begins five minutes before.
  const near = [hour, (hour + 1) % HOURS, (hour + HOURS - 1) % HOURS];
  return {
    device: seen.devices.some((device) => !before(baseline.devices[device])),
    hour: !near.some((one) => before(baseline.hours[one])),
  };
}

/** The same object where the operation is known already or teaches nothing. */
export function learn(baseline: Baseline, seen: OperationSeen): Baseline {
  if (seen.sequence <= baseline.learnedThrough || seen.clockQuality !== 'synchronized')
    return baseline;
  const day = dayOf(seen.wallMs);
  const newDay = baseline.lastDay !== null && baseline.lastDay !== day;
  const over = baseline.inBlock > 0 && baseline.block !== seen.block;
  const { rate, inBlock } = baseline;
  return {
    operations: baseline.operations + 1,
    operationsBefore: newDay ? baseline.operations : baseline.operationsBefore,
    daysBefore: baseline.daysBefore + (newDay ? 1 : 0),
    lastDay: day,
    rate: over ? meanWith(rate, inBlock) : rate,
    block: seen.block,
    inBlock: over ? 1 : inBlock + 1,
    devices: seen.changed ? withFirst(baseline.devices, seen.devices, day) : baseline.devices,
    hours: seen.changed ? withFirst(baseline.hours, [hourOf(seen.wallMs)], day) : baseline.hours,
    learnedThrough: seen.sequence,
  };
}

function meanWith(rate: number | null, inBlock: number): number {
  if (rate === null) return inBlock;
  const counted = Math.min(inBlock, Math.max(LEARNED_AT_LEAST, GROWTH_MAX * rate));
  return rate + RATE_WEIGHT * (counted - rate);
}

function withFirst(
  known: Readonly<Record<string, number>>,
  keys: readonly number[],
  day: number,
): Readonly<Record<string, number>> {
  const fresh = keys.filter((key) => known[key] === undefined);
  if (fresh.length === 0) return known;
  return { ...known, ...Object.fromEntries(fresh.map((key) => [key, day])) };
}

function dayOf(wallMs: number): number {
  return Math.floor(wallMs / DAY_MS);
}

function hourOf(wallMs: number): number {
  return Math.floor((((wallMs % DAY_MS) + DAY_MS) % DAY_MS) / HOUR_MS);
}
