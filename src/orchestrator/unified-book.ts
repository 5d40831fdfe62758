// The unified state of each device as it was last told, and what about it is worth a line of history.
// Invariants: a state is made anew only when a version, a flag or a conflict has moved; nothing is compared as text.

import type { Clock } from '#foundation/clock';
import type { LinearId } from '#model/device';
import type { HoldKind } from '#model/hold';
import { OverallStatus } from '#model/snapshot';
import { TRACKS, type TrackName } from '#model/track-name';
import type { SyncTrigger, UnifiedDeviceState } from '#model/unified-state';
import type { ConflictDesk } from './conflict-desk.ts';
import { powerName, securityStatusName, statusName } from './conflicts.ts';
import type { DeviceHistory } from './device-history.ts';
import type { DeviceView } from './device-view.ts';
import { currentRiskOf, overallOf } from './unified-device.ts';

interface Page {
  state: UnifiedDeviceState;
  readonly orders: readonly number[];
}

export class UnifiedBook {
  readonly #clock: Clock;
  readonly #desk: ConflictDesk;
  readonly #history: DeviceHistory;
  readonly #pages = new Map<LinearId, Page>();

  constructor(clock: Clock, desk: ConflictDesk, history: DeviceHistory) {
    this.#clock = clock;
    this.#desk = desk;
    this.#history = history;
  }

  /** The new state when anything visible has changed, else nothing. */
  update(
    view: DeviceView,
    stopCovers: boolean,
    staleTracks: readonly TrackName[],
    trigger: SyncTrigger,
  ): UnifiedDeviceState | undefined {
    const { id } = view.descriptor;
    const wallMs = this.#clock.wallMs();
    const orders = [this.#desk.revisionOf(id), ...TRACKS.map((track) => view.orderOf(track))];
    const { kernel, security, interface: panels } = view.parts;
    const page = this.#pages.get(id);
    const before = page?.state;
    if (
      page !== undefined &&
      before !== undefined &&
      same(page.orders, orders) &&
      before.emergencyStopApplied === stopCovers &&
      same(before.staleTracks, staleTracks)
    ) {
      page.state = { ...before, kernel, trigger, lastSyncWallMs: wallMs };
      return undefined;
    }
    const surroundings = { stopCovers, staleTracks };
    const displayOverride = this.#desk.displayFor(id);
    const state: UnifiedDeviceState = {
      device: id,
      kernel,
      security,
      interface: panels,
      currentRisk: currentRiskOf(view.descriptor, view.parts, surroundings),
      overall: overallOf(view.parts, surroundings),
      emergencyStopApplied: stopCovers,
      lastChangeWallMs: wallMs,
      changeCount: (before?.changeCount ?? 0) + 1,
      lastSyncWallMs: wallMs,
      trigger,
      conflictsDetected: this.#desk.detectedOn(id),
      openConflicts: this.#desk.openOf(id),
      ...(displayOverride === undefined ? {} : { displayOverride }),
      staleTracks,
    };
    this.#pages.set(id, { state, orders });
    // The first look after a start finds out; it changes nothing.
    if (before !== undefined && before.kernel.status !== OverallStatus.UNKNOWN) {
      this.#remember(before, state);
    }
    return state;
  }

  stateOf(view: DeviceView): UnifiedDeviceState | undefined {
    return this.#pages.get(view.descriptor.id)?.state;
  }

  #remember(before: UnifiedDeviceState, after: UnifiedDeviceState): void {
    const line = (what: string, from: string, to: string) => {
      if (from !== to) this.#history.add(after.device, what, from, to);
    };
    line('power', powerName(before.kernel.power), powerName(after.kernel.power));
    line('status', statusName(before.overall), statusName(after.overall));
    line(
      'security status',
      securityStatusName(before.security.status),
      securityStatusName(after.security.status),
    );
    if (before.kernel.holds !== after.kernel.holds) {
      line('holds', holdsText(before.kernel.holds), holdsText(after.kernel.holds));
    }
  }
}

function holdsText(holds: readonly HoldKind[]): string {
  return holds.length === 0 ? 'none' : [...holds].sort().join(', ');
}

function same<T>(left: readonly T[], right: readonly T[]): boolean {
  return left.length === right.length && left.every((item, index) => item === right[index]);
}
