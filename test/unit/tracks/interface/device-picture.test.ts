// The interface's picture of the devices: what people are shown while tracks agree, differ, go away or come back.

import { beforeEach, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { DisplayState, OverallStatus, SecurityStatus } from '#model/snapshot';
import { DevicePicture, type DevicePictureEntry } from '#tracks/interface/device-picture';
import { smallBoard } from '../../../support/small-board.ts';
import { kernelDevice, kernelSnapshot, unifiedState } from '../../../support/unified-states.ts';

let clock: VirtualClock;
let picture: DevicePicture;
let latched: boolean;

beforeEach(() => {
  clock = new VirtualClock();
  latched = false;
  picture = new DevicePicture(clock, smallBoard(), () => latched);
});

function entry(id: number): DevicePictureEntry {
  const found = picture.entry(id);
  if (found === undefined) throw new Error(`device ${id} is not in the picture`);
  return found;
}

function engage(): void {
  latched = true;
}

const seen = (...devices: Parameters<typeof kernelDevice>[]) =>
  picture.update(kernelSnapshot({ devices: devices.map((given) => kernelDevice(...given)) }));

it('shows what kernel says until the tracks are compared, then what they say together', () => {
  seen([1, { version: 4, status: OverallStatus.OPERATIONAL }]);
  expect(entry(1)).toMatchObject({ status: OverallStatus.OPERATIONAL, unified: null });
  picture.takeUnified([unifiedState(1, { overall: OverallStatus.MAINTENANCE })]);
  expect(entry(1)).toMatchObject({
    status: OverallStatus.MAINTENANCE,
    display: DisplayState.HIGHLIGHTED,
    stale: false,
  });
});

it('takes the worse of both while kernel is ahead of the comparison', () => {
  picture.takeUnified([unifiedState(1, { overall: OverallStatus.OPERATIONAL })]);
  seen([1, { version: 5, status: OverallStatus.FAULT }]);
  expect(entry(1).status).toBe(OverallStatus.FAULT);
  picture.takeUnified([unifiedState(1, { overall: OverallStatus.DEGRADED })]);
  seen([1, { version: 6, status: OverallStatus.OPERATIONAL }]);
  expect(entry(1).status).toBe(OverallStatus.DEGRADED);
});

it('shows what a comparison saw on the metal before kernel has published it', () => {
  seen([1, { version: 1, status: OverallStatus.UNKNOWN }]);
  const kernel = kernelDevice(1, { version: 2, status: OverallStatus.OPERATIONAL });
  picture.takeUnified([unifiedState(1, { kernel, overall: OverallStatus.OPERATIONAL })]);
  expect(entry(1)).toMatchObject({ status: OverallStatus.OPERATIONAL, state: { version: 2 } });
  // A new life of kernel counts from one again.
  seen([1, { version: 1, status: OverallStatus.UNKNOWN }]);
  expect(entry(1).status).toBe(OverallStatus.UNKNOWN);
});

it('shows a device that a conflict overrides as the conflict says', () => {
  seen([1]);
  picture.takeUnified([unifiedState(1, { displayOverride: DisplayState.CRITICAL })]);
  expect(entry(1).display).toBe(DisplayState.CRITICAL);
});

it.each<[string, () => void]>([
  ['kernel holds it', () => seen([1, { holds: ['quarantined'] }])],
  [
    'security says so',
    () => {
      const { security } = unifiedState(1);
      const status = SecurityStatus.QUARANTINED;
      picture.takeUnified([unifiedState(1, { security: { ...security, status } })]);
    },
  ],
  [
    'the hold is on record',
    () => picture.takeHolds([{ device: 1, kind: 'quarantined', reason: 'odd', sinceWallMs: 1 }]),
  ],
])(
  'shows a device as quarantined when %s, without a reading, and not as one of the five',
  (_why, tell) => {
    seen([1], [0]);
    tell();
    expect(picture.quarantined(1)).toBe(true);
    expect(picture.quarantinedForGood(1)).toBe(false);
    expect(entry(1)).toMatchObject({
      status: OverallStatus.QUARANTINED,
      quarantined: true,
      display: DisplayState.LOCKED_OUT,
      state: { readings: [] },
    });
    expect(entry(0)).toMatchObject({ quarantined: false });
  },
);

it('opens a device again once nobody holds it any more', () => {
  seen([1, { holds: ['quarantined'] }]);
  picture.takeHolds([{ device: 1, kind: 'quarantined', reason: 'odd', sinceWallMs: 1 }]);
  seen([1, { holds: [] }]);
  expect(picture.quarantined(1)).toBe(true);
  picture.takeHolds([]);
  expect(picture.quarantined(1)).toBe(false);
});

it("opens a device at security's later word, though nobody asked for the holds again", () => {
  seen([1]);
  picture.takeHolds([{ device: 1, kind: 'quarantined', reason: 'odd', sinceWallMs: 1 }]);
  picture.takeUnified([unifiedState(1)]);
  expect(picture.quarantined(1)).toBe(false);
  expect(entry(1).quarantined).toBe(false);
});

it('shows a permanently quarantined device from the board alone, whatever is said of it', () => {
  seen([9, { status: OverallStatus.OPERATIONAL }]);
  picture.takeUnified([unifiedState(9)]);
  expect(entry(9)).toMatchObject({
    status: OverallStatus.QUARANTINED,
    unified: null,
    state: { readings: [], operationCount: 0 },
  });
});

it.each<[string, () => void]>([
  ['the latch is engaged', () => engage()],
  ['kernel says so', () => picture.update(kernelSnapshot({ stopEngaged: true }))],
  ['kernel holds the device', () => seen([1, { version: 4, holds: ['stopped'] }])],
  [
    'the tracks together say so',
    () => picture.takeUnified([unifiedState(1, { emergencyStopApplied: true })]),
  ],
])('shows a device as stopped when %s', (_why, tell) => {
  seen([1]);
  tell();
  expect(entry(1)).toMatchObject({ stopped: true, status: OverallStatus.EMERGENCY_STOPPED });
});

it('is stale at once when security goes, and current again when it is back', () => {
  seen([1]);
  expect([picture.stale(), entry(1).stale]).toEqual([false, false]);
  picture.setAvailable(false);
  expect([picture.stale(), entry(1).stale, entry(1).display]).toEqual([
    true,
    true,
    DisplayState.STALE,
  ]);
  picture.setAvailable(true);
  expect(entry(1).stale).toBe(false);
});

it('is stale at once when kernel goes, and keeps the last state', () => {
  seen([1], [0]);
  picture.takeUnified([unifiedState(1, { staleTracks: ['kernel'] }), unifiedState(0)]);
  expect([entry(1).stale, entry(0).stale, picture.stale()]).toEqual([true, false, false]);
  picture.takeUnified([unifiedState(0, { staleTracks: ['kernel'] })]);
  expect(picture.stale()).toBe(true);
  expect(entry(0).state.readings).toHaveLength(1);
  picture.takeUnified([unifiedState(0), unifiedState(1)]);
  expect([entry(1).stale, picture.stale()]).toEqual([false, false]);
});

it('does not take its own silence for that of the metal', () => {
  seen([1]);
  picture.takeUnified([unifiedState(1, { staleTracks: ['interface'] })]);
  expect(entry(1).stale).toBe(false);
});

it('grows stale by age, and says when the device was last seen on the wall clock', async () => {
  await clock.advance(10_000);
  seen([1, { lastAccessMs: clock.nowMs() - 2_000 }]);
  expect(entry(1).lastAccessWallMs).toBe(clock.wallMs() - 2_000);
  await clock.advance(5_001);
  expect(entry(1).stale).toBe(true);
  expect(entry(12).lastAccessWallMs).toBe(0);
});
