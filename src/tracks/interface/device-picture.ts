// What the interface track believes the devices look like: the board, the last word of kernel and of the orchestrator.
// Invariants: a permanently quarantined device is shown from the board alone; a picture that is old, cut off or without
// kernel is marked stale; what kernel says later than the unified state only ever makes a device look worse.

import type { Clock } from '#foundation/clock';
import type { Board } from '#model/board';
import {
  DEVICE_COUNT_MAX,
  type DeviceDescriptor,
  type LinearId,
  permanentlyQuarantined,
} from '#model/device';
import type { DeviceHold } from '#model/hold';
import {
  type BusState,
  DisplayState,
  type KernelDeviceState,
  type KernelSnapshot,
  OverallStatus,
  PowerState,
  SecurityStatus,
} from '#model/snapshot';
import type { UnifiedDeviceState } from '#model/unified-state';
import { displayOfStatus } from './device-attention.ts';

/** A picture older than this is stale. */
export const PICTURE_STALE_MS = 5_000;

export interface DevicePictureEntry {
  readonly device: DeviceDescriptor;
  readonly state: KernelDeviceState;
  readonly status: OverallStatus;
  /** Permanently or at run time. */
  readonly quarantined: boolean;
  readonly stale: boolean;
  /** An emergency stop covers it. */
  readonly stopped: boolean;
  readonly display: DisplayState;
  /** Wall milliseconds of kernel's last access; 0 for never. */
  readonly lastAccessWallMs: number;
  /** What the tracks together last said; null before the first comparison, and for a permanently quarantined device. */
  readonly unified: UnifiedDeviceState | null;
}

function unseen(device: LinearId): KernelDeviceState {
  return {
    device,
    version: 0,
    power: PowerState.UNKNOWN,
    status: OverallStatus.UNKNOWN,
    readings: [],
    operationCount: 0,
    lastAccessMs: 0,
    lastFault: '',
    inhibited: false,
    holds: [],
    changeCount: 0,
    unexplained: '',
  };
}

/** The worst first; a status that is not known is worse than any but the three that forbid access. */
const WORST_FIRST: readonly OverallStatus[] = [
  OverallStatus.QUARANTINED,
  OverallStatus.EMERGENCY_STOPPED,
  OverallStatus.FAULT,
  OverallStatus.UNKNOWN,
  OverallStatus.DEGRADED,
  OverallStatus.MAINTENANCE,
  OverallStatus.OPERATIONAL,
];

function worseStatus(left: OverallStatus, right: OverallStatus): OverallStatus {
  return WORST_FIRST.indexOf(left) <= WORST_FIRST.indexOf(right) ? left : right;
}

export class DevicePicture {
  readonly #clock: Clock;
  readonly #latched: () => boolean;
  readonly #devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly #states = new Map<LinearId, KernelDeviceState>();
  readonly #unified = new Map<LinearId, UnifiedDeviceState>();
  #heldInQuarantine = new Set<LinearId>();
  #snapshot: KernelSnapshot | null = null;
  #takenAtMs = Number.NEGATIVE_INFINITY;
  #available = true;

  /** `latched` reads the stop latch where this process maps it. */
  constructor(clock: Clock, board: Board, latched: () => boolean = () => false) {
    this.#clock = clock;
    this.#latched = latched;
    this.#devices = new Map(
      board.devices
        .filter((device) => device.id >= 0 && device.id < DEVICE_COUNT_MAX)
        .map((device) => [device.id, device]),
    );
  }

  /** Takes the whole picture or only what changed; a device that is not mentioned is as it was. */
  update(snapshot: KernelSnapshot): void {
    this.#snapshot = snapshot;
    for (const state of snapshot.devices) this.#states.set(state.device, state);
    this.#takenAtMs = this.#clock.nowMs();
  }

  /**
   * Takes the unified states that changed. One made for a person rests on a look whose snapshot kernel has yet to
   * publish; what arrives after kernel's last word and has a higher version is of the same life, so it is the newer.
   */
  takeUnified(states: readonly UnifiedDeviceState[]): void {
    for (const state of states) {
      this.#unified.set(state.device, state);
      // Security's word too, and later than the holds that somebody last asked for.
      if (state.security.status === SecurityStatus.QUARANTINED)
        this.#heldInQuarantine.add(state.device);
      else this.#heldInQuarantine.delete(state.device);
      const held = this.#states.get(state.device);
      if (held !== undefined && held.version < state.kernel.version) {
        this.#states.set(state.device, state.kernel);
      }
    }
  }

  /** Takes every hold on record. */
  takeHolds(holds: readonly DeviceHold[]): void {
    this.#heldInQuarantine = new Set(
      holds.filter(({ kind }) => kind === 'quarantined').map(({ device }) => device),
    );
  }

  /** False while the security track, which passes the snapshots on, is away. */
  setAvailable(available: boolean): void {
    this.#available = available;
  }

  get available(): boolean {
    return this.#available;
  }

  /** Infinity before the first snapshot. */
  ageMs(): number {
    return this.#clock.nowMs() - this.#takenAtMs;
  }

  /** The picture as a whole: of every device, or of all that were compared because kernel does not answer. */
  stale(): boolean {
    if (!this.#available || this.ageMs() > PICTURE_STALE_MS) return true;
    const unified = [...this.#unified.values()];
    return unified.length > 0 && unified.every((state) => state.staleTracks.includes('kernel'));
  }

  version(): number {
    return this.#snapshot?.version ?? 0;
  }

  stopEngaged(): boolean {
    return this.#snapshot?.stopEngaged ?? false;
  }

  buses(): readonly BusState[] {
    return this.#snapshot?.buses ?? [];
  }

  descriptor(id: LinearId): DeviceDescriptor | undefined {
    return this.#devices.get(id);
  }

  /** Nobody may touch it: permanently, by the board file, or by a person at run time. */
  quarantined(id: LinearId): boolean {
    return this.quarantinedForGood(id) || this.#quarantinedNow(id);
  }

  /** One of the five, or one that the board file names: asking for it is a probe. */
  quarantinedForGood(id: LinearId): boolean {
    return permanentlyQuarantined(id) || (this.#devices.get(id)?.quarantined ?? false);
  }

  entry(id: LinearId): DevicePictureEntry | undefined {
    const device = this.#devices.get(id);
    if (device === undefined) return undefined;
    const forGood = this.quarantinedForGood(id);
    const quarantined = forGood || this.#quarantinedNow(id);
    const unified = forGood ? null : (this.#unified.get(id) ?? null);
    const seen = forGood ? unseen(id) : this.#stateOf(id, unified);
    // What was read before the quarantine is not read any more, so it is not shown as if it were.
    const state = quarantined ? { ...seen, readings: [] } : seen;
    const stopped = this.#stopped(state, unified);
    const silent = unified?.staleTracks.some((track) => track !== 'interface') ?? false;
    const stale = silent || this.stale();
    const access = quarantined ? 'quarantined' : stopped ? 'stopped' : 'free';
    const status = statusOf(state, unified, access);
    const shown = unified?.displayOverride ?? displayOfStatus(status, state);
    return {
      device,
      state,
      status,
      quarantined,
      stale,
      stopped,
      display: quarantined ? DisplayState.LOCKED_OUT : stale ? DisplayState.STALE : shown,
      lastAccessWallMs: this.#wallMsOf(state.lastAccessMs),
      unified,
    };
  }

  entries(): readonly DevicePictureEntry[] {
    const entries: DevicePictureEntry[] = [];
    for (const id of this.#devices.keys()) {
      const entry = this.entry(id);
      if (entry !== undefined) entries.push(entry);
    }
    return entries;
  }

  #quarantinedNow(id: LinearId): boolean {
    const unified = this.#unified.get(id);
    return (
      this.#heldInQuarantine.has(id) ||
      this.#stateOf(id, unified ?? null).holds.includes('quarantined') ||
      unified?.security.status === SecurityStatus.QUARANTINED
    );
  }

  /** Kernel's own word where it has come; it travels faster than the comparison of all tracks. */
  #stateOf(id: LinearId, unified: UnifiedDeviceState | null): KernelDeviceState {
    return this.#states.get(id) ?? unified?.kernel ?? unseen(id);
  }

  #stopped(state: KernelDeviceState, unified: UnifiedDeviceState | null): boolean {
    if (this.#latched() || this.stopEngaged() || state.holds.includes('stopped')) return true;
    return unified?.emergencyStopApplied ?? false;
  }

  /** Monotonic time is one clock for all processes of a machine (clock_gettime(2), CLOCK_MONOTONIC). */
  #wallMsOf(monotonicMs: number): number {
    if (monotonicMs <= 0) return 0;
    return this.#clock.wallMs() - (this.#clock.nowMs() - monotonicMs);
  }
}

function statusOf(
  state: KernelDeviceState,
  unified: UnifiedDeviceState | null,
  access: 'quarantined' | 'stopped' | 'free',
): OverallStatus {
  if (access === 'quarantined') return OverallStatus.QUARANTINED;
  if (access === 'stopped') return OverallStatus.EMERGENCY_STOPPED;
  if (unified === null) return state.status;
  // Compared since kernel's last word: the comparison stands. Else the worse of both until the next one.
  if (unified.kernel.version === state.version) return unified.overall;
  return worseStatus(state.status, unified.overall);
}
