import { expect, it } from 'vitest';
import { DEFAULT_THREATS } from '#model/safety-policy';
import {
  type Baseline,
  judge,
  learn,
  NO_BASELINE,
  type OperationSeen,
  usualOperations,
} from '#tracks/security/threats/threat-baseline';

const DAY_MS = 86_400_000;
const NINE_MS = 9 * 3_600_000;
let sequence = 0;

const seen = (day: number, changes: Partial<OperationSeen> = {}): OperationSeen => ({
  sequence: ++sequence,
  wallMs: (20_000 + day) * DAY_MS + NINE_MS,
  changed: true,
  devices: [1],
  clockQuality: 'synchronized',
  block: day * 144,
  ...changes,
});

function worked(days: number, perDay: number, changes: Partial<OperationSeen> = {}): Baseline {
  let baseline = NO_BASELINE;
  for (let day = 0; day < days; day++) {
    for (let turn = 0; turn < perDay; turn++) baseline = learn(baseline, seen(day, changes));
  }
  return baseline;
}

const unusual = (baseline: Baseline, operation: OperationSeen) =>
  judge(baseline, operation, DEFAULT_THREATS);

it('calls nothing unusual before two hundred operations on three days', () => {
  const odd = (day: number) => seen(day, { devices: [7], wallMs: (20_000 + day) * DAY_MS });
  expect(unusual(worked(2, 500), odd(2))).toEqual({ device: false, hour: false });
  expect(unusual(worked(3, 66), odd(3))).toEqual({ device: false, hour: false });
  expect(unusual(worked(3, 67), odd(3))).toEqual({ device: true, hour: true });
});

it('knows devices from another day, and hours within one of those it knows', () => {
  const baseline = worked(4, 60);
  const at = (hour: number) => seen(4, { wallMs: 20_004 * DAY_MS + hour * 3_600_000 });
  expect(unusual(baseline, at(9))).toEqual({ device: false, hour: false });
  expect([8, 10].map((hour) => unusual(baseline, at(hour)).hour)).toEqual([false, false]);
  expect([7, 11, 23, 0].map((hour) => unusual(baseline, at(hour)).hour)).toEqual(
    Array(4).fill(true),
  );
});

it('takes a device for unusual on the whole of the first day, and for usual on the next', () => {
  let baseline = worked(4, 60);
  for (let turn = 0; turn < 5; turn++) {
    const first = seen(4, { devices: [7] });
    expect(unusual(baseline, first).device).toBe(true);
    baseline = learn(baseline, first);
  }
  expect(unusual(baseline, seen(5, { devices: [7] })).device).toBe(false);
});

it('judges only what changes something, and nothing while the clock is not to be trusted', () => {
  const baseline = worked(4, 60);
  expect(unusual(baseline, seen(4, { devices: [7], changed: false })).device).toBe(false);
  const untrusted = seen(4, { devices: [7], clockQuality: 'unsynchronized' });
  expect(unusual(baseline, untrusted).device).toBe(false);
  expect(learn(baseline, untrusted)).toBe(baseline);
});

it('does not take known devices for new ones when the clock is set back to 1970', () => {
  const baseline = worked(4, 60);
  expect(unusual(baseline, seen(0, { wallMs: NINE_MS }))).toEqual({ device: false, hour: false });
});

it('learns each entry once', () => {
  const once = seen(0);
  const baseline = learn(NO_BASELINE, once);
  expect(learn(baseline, once)).toBe(baseline);
  expect(learn(baseline, { ...once, sequence: once.sequence - 1 })).toBe(baseline);
});

it('has the usual rate from windows in which the person worked, the later ones weighing more', () => {
  const at = (baseline: Baseline) => usualOperations(baseline, 20_009 * DAY_MS, DEFAULT_THREATS);
  expect(at(worked(2, 30))).toBeNull();
  expect(at(worked(9, 30))).toBe(30);
  let busy = worked(9, 30);
  for (let day = 9; day < 40; day++) {
    for (let turn = 0; turn < 90; turn++) busy = learn(busy, seen(day));
  }
  expect(busy.rate).toBeGreaterThan(80);
  expect(busy.rate).toBeLessThan(90);
});

it('does not take one burst for what is usual: a window teaches twice the usual rate at most', () => {
  let baseline = worked(9, 30);
  for (let turn = 0; turn < 20_000; turn++) baseline = learn(baseline, seen(9));
  baseline = learn(baseline, seen(10));
  expect(baseline.rate).toBeCloseTo(33, 6);
  // Where next to nothing is usual, work may still begin.
  let rare = worked(200, 1);
  for (let turn = 0; turn < 50; turn++) rare = learn(rare, seen(200));
  expect(learn(rare, seen(201)).rate).toBeCloseTo(2.4, 6);
});
