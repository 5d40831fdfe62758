// What kernel last saw of every device: polled registers, states from the drivers, counts and faults.
// Invariants: the version moves only when something that others can see has changed.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeFault } from '#foundation/fault';
import type { LinearId } from '#model/device';
import type { Driver } from '#model/driver';
import type { RegisterReading } from '#model/operation';
import type { RegisterReference } from '#model/plan';
import type { Word } from '#model/register';
import {
  type KernelDeviceState,
  type KernelSnapshot,
  OverallStatus,
  PowerState,
} from '#model/snapshot';
import { type BusQueue, Priority } from './bus-queue.ts';
import type { DeviceAccess } from './device-access.ts';
import type { Interlock } from './interlock.ts';

/** The specification's last_register_values[16]. */
const READINGS_MAX = 16;

export interface DeviceMemoryParts {
  readonly access: DeviceAccess;
  readonly drivers: ReadonlyMap<LinearId, Driver>;
  readonly interlock: Interlock;
  readonly clock: Clock;
  readonly stopEngaged: () => boolean;
}

interface Seen {
  readonly values: Map<string, Word>;
  operationCount: number;
  lastAccessMs: number;
  lastFault: string;
}

export class DeviceMemory {
  readonly #parts: DeviceMemoryParts;
  readonly #seen = new Map<LinearId, Seen>();
  readonly #published = new Map<LinearId, string>();
  #version = 0;

  constructor(parts: DeviceMemoryParts) {
    this.#parts = parts;
    for (const id of parts.access.devices.keys()) {
      this.#seen.set(id, { values: new Map(), operationCount: 0, lastAccessMs: 0, lastFault: '' });
    }
  }

  /** Notes what an operation read or wrote. */
  record(readings: readonly RegisterReading[]): void {
    for (const reading of readings) this.#note(reading);
    for (const device of new Set(readings.map((reading) => reading.device))) {
      const seen = this.#seen.get(device);
      if (seen !== undefined) seen.operationCount += 1;
    }
  }

  /** Reads the registers worth watching of one device; a device that fails keeps its last values and its fault. */
  async observe(device: LinearId, timeoutMs: number): Promise<void> {
    const { access, drivers, clock } = this.#parts;
    const driver = drivers.get(device);
    if (driver === undefined || access.pointsOf(device).length === 0) return;
    const references: RegisterReference[] = [];
    for (const register of driver.observeRegisters) {
      const point = access.point(device, register);
      if (point === undefined || point.spec.precious) continue;
      references.push({ device, register, widthBits: point.spec.widthBits });
    }
    const words = await access.readMany(
      references,
      Deadline.after(clock, timeoutMs),
      Priority.OBSERVE,
    );
    for (const [index, word] of words.entries()) {
      const register = references[index]?.register ?? '';
      this.#note(
        word.ok ? { device, register, value: word.value } : { device, register, fault: word.fault },
      );
    }
  }

  /** Devices whose visible state changed since the last call, and the whole on the first one. */
  changes(): KernelSnapshot {
    const devices: KernelDeviceState[] = [];
    for (const id of this.#seen.keys()) {
      const state = this.state(id);
      const shown = visibleText(state);
      if (this.#published.get(id) === shown) continue;
      this.#published.set(id, shown);
      devices.push(state);
    }
    if (devices.length > 0) this.#version += 1;
    return this.#snapshot(devices);
  }

  whole(): KernelSnapshot {
    return this.#snapshot([...this.#seen.keys()].map((id) => this.state(id)));
  }

  state(id: LinearId): KernelDeviceState {
    const { access, drivers, interlock } = this.#parts;
    const seen = this.#seen.get(id);
    const device = access.devices.get(id);
    const driver = drivers.get(id);
    const base = {
      device: id,
      readings: [...(seen?.values ?? [])]
        .slice(0, READINGS_MAX)
        .map(([register, value]) => ({ register, value })),
      operationCount: seen?.operationCount ?? 0,
      lastAccessMs: seen?.lastAccessMs ?? 0,
      lastFault: seen?.lastFault ?? '',
      inhibited: interlock.isInhibited(id),
    };
    if (device?.quarantined === true) {
      return { ...base, power: PowerState.LOCKED, status: OverallStatus.QUARANTINED };
    }
    if (seen === undefined || driver === undefined || seen.lastAccessMs === 0) {
      return { ...base, power: PowerState.UNKNOWN, status: OverallStatus.UNKNOWN };
    }
    const observed = driver.observe(seen.values);
    if (interlock.stopEngaged(id))
      return { ...base, ...observed, status: OverallStatus.EMERGENCY_STOPPED };
    if (seen.lastFault !== '') return { ...base, ...observed, status: OverallStatus.FAULT };
    return { ...base, ...observed };
  }

  #snapshot(devices: readonly KernelDeviceState[]): KernelSnapshot {
    const queues: readonly BusQueue[] = [...this.#parts.access.queues.values()];
    return {
      track: 'kernel',
      version: this.#version,
      stopEngaged: this.#parts.stopEngaged(),
      held: this.#parts.interlock.holdReason !== null,
      devices,
      buses: queues.map((queue) => queue.state()),
    };
  }

  #note(reading: RegisterReading): void {
    const seen = this.#seen.get(reading.device);
    if (seen === undefined) return;
    seen.lastAccessMs = this.#parts.clock.nowMs();
    if (reading.fault !== undefined) seen.lastFault = describeFault(reading.fault);
    else if (reading.value !== undefined) {
      seen.lastFault = '';
      seen.values.set(reading.register, reading.value);
    }
  }
}

/** Everything of a state but the time of its last access, which moves with every poll. */
function visibleText(state: KernelDeviceState): string {
  const values = state.readings.map(
    (reading) => `${reading.register}=${reading.value.toString(16)}`,
  );
  return [
    state.power,
    state.status,
    state.inhibited,
    state.operationCount,
    state.lastFault,
    ...values,
  ].join('|');
}
