// What the interface track believes the devices look like: the board, the last kernel snapshot, and how old it is.
// Invariants: a quarantined device is shown from the board alone; a picture that is old or cut off is marked stale.

import type { Clock } from '#foundation/clock';
import type { Board } from '#model/board';
import {
  DEVICE_COUNT_MAX,
  type DeviceDescriptor,
  type LinearId,
  permanentlyQuarantined,
} from '#model/device';
import {
  type BusState,
  type KernelDeviceState,
  type KernelSnapshot,
  OverallStatus,
  PowerState,
} from '#model/snapshot';

/** A picture older than this is stale. */
export const PICTURE_STALE_MS = 5_000;

export interface DevicePictureEntry {
  readonly device: DeviceDescriptor;
  readonly state: KernelDeviceState;
  readonly status: OverallStatus;
  readonly quarantined: boolean;
  readonly stale: boolean;
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

export class DevicePicture {
  readonly #clock: Clock;
  readonly #devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly #states = new Map<LinearId, KernelDeviceState>();
  #snapshot: KernelSnapshot | null = null;
  #takenAtMs = Number.NEGATIVE_INFINITY;
  #available = true;

  constructor(clock: Clock, board: Board) {
    this.#clock = clock;
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

  stale(): boolean {
    return !this.#available || this.ageMs() > PICTURE_STALE_MS;
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

  quarantined(id: LinearId): boolean {
    return permanentlyQuarantined(id) || (this.#devices.get(id)?.quarantined ?? false);
  }

  entry(id: LinearId): DevicePictureEntry | undefined {
    const device = this.#devices.get(id);
    if (device === undefined) return undefined;
    const quarantined = this.quarantined(id);
    const state = quarantined ? unseen(id) : (this.#states.get(id) ?? unseen(id));
    return {
      device,
      state,
      status: quarantined ? OverallStatus.QUARANTINED : state.status,
      quarantined,
      stale: this.stale(),
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
}
