// What kernel last saw of every device: polled registers, states from the drivers, counts, faults and changes.
// Invariants: a version moves only when something that others can see has changed; a register that only operations
// should change and that changed without one is kept as unexplained until somebody accounts for it.

import { canonicalDigest } from '#foundation/canonical';
import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { describeFault } from '#foundation/fault';
import type { LinearId } from '#model/device';
import type { Driver } from '#model/driver';
import type { RegisterReading } from '#model/operation';
import type { RegisterReference } from '#model/plan';
import { formatWord, type RegisterSpec, type Word, widthMask } from '#model/register';
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
  /** Of this process; versions and change counts of another life mean nothing. */
  readonly life: string;
}

interface Seen {
  readonly values: Map<string, Word>;
  /** Registers whose next value is taken as it comes: their content is not known. */
  readonly unknown: Set<string>;
  readonly unexplained: Map<string, string>;
  operating: number;
  operationCount: number;
  changeCount: number;
  lastAccessMs: number;
  lastFault: string;
  version: number;
  shown: string;
}

export class DeviceMemory {
  readonly #parts: DeviceMemoryParts;
  readonly #seen = new Map<LinearId, Seen>();
  readonly #published = new Map<LinearId, number>();
  #version = 0;

  constructor(parts: DeviceMemoryParts) {
    this.#parts = parts;
    for (const id of parts.access.devices.keys()) {
      this.#seen.set(id, {
        values: new Map(),
        unknown: new Set(),
        unexplained: new Map(),
        operating: 0,
        operationCount: 0,
        changeCount: 0,
        lastAccessMs: 0,
        lastFault: '',
        version: 0,
        shown: '',
      });
    }
  }

  /** From here until `operationEnds` the registers of these devices change because we change them. */
  operationBegins(devices: readonly LinearId[]): void {
    for (const device of devices) {
      const seen = this.#seen.get(device);
      if (seen === undefined) continue;
      seen.operating += 1;
      seen.changeCount += 1;
    }
  }

  /** Notes what an operation read and wrote; `written` are the devices it may have changed. */
  operationEnds(written: readonly LinearId[], readings: readonly RegisterReading[]): void {
    for (const device of written) {
      const seen = this.#seen.get(device);
      if (seen === undefined) continue;
      seen.operating -= 1;
      seen.changeCount += 1;
      // A write may change more than its own register.
      for (const register of seen.values.keys()) seen.unknown.add(register);
    }
    for (const reading of readings) this.#note(reading);
    for (const device of new Set(readings.map((reading) => reading.device))) {
      const seen = this.#seen.get(device);
      if (seen !== undefined) seen.operationCount += 1;
    }
  }

  /** The devices are on the way to their safe values, empty means all; the function returned says that they are there. */
  driving(devices: readonly LinearId[]): () => void {
    const driven = devices.length === 0 ? [...this.#seen.keys()] : devices;
    this.operationBegins(driven);
    return () => this.operationEnds(driven, []);
  }

  /** What `plan` found or `prepare` read: a change that nobody made is seen here too. */
  seen(readings: readonly RegisterReading[]): void {
    for (const reading of readings) this.#note(reading);
  }

  /** Somebody has accounted for the unexplained changes, unless there were more since. */
  account(device: LinearId, changeCount: number): void {
    const seen = this.#seen.get(device);
    if (seen?.changeCount === changeCount) seen.unexplained.clear();
  }

  /** Of a plan on these devices, see `RegisterPlan.basis`. */
  basisOf(devices: readonly LinearId[]): string {
    const counts = [...devices]
      .sort((left, right) => left - right)
      .map((device) => ({ device, changes: this.#seen.get(device)?.changeCount ?? 0 }));
    return canonicalDigest({ life: this.#parts.life, counts });
  }

  /** Reads the registers worth watching of one device; a device that fails keeps its last values and its fault. */
  async observe(device: LinearId, deadline: Deadline): Promise<void> {
    const { access, drivers } = this.#parts;
    const driver = drivers.get(device);
    const seen = this.#seen.get(device);
    if (driver === undefined || seen === undefined || access.pointsOf(device).length === 0) return;
    if (this.#parts.interlock.has(device, 'quarantined')) return;
    const references: RegisterReference[] = [];
    for (const register of driver.observeRegisters) {
      const point = access.point(device, register);
      if (point === undefined || point.spec.precious) continue;
      references.push({ device, register, widthBits: point.spec.widthBits });
    }
    const before = seen.changeCount;
    const words = await access.readMany(references, deadline, Priority.OBSERVE);
    // An operation came between: these words may be older than what it left behind.
    if (seen.changeCount !== before || seen.operating > 0) return;
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
      if (this.#published.get(id) === state.version) continue;
      this.#published.set(id, state.version);
      devices.push(state);
    }
    if (devices.length > 0) this.#version += 1;
    return this.#snapshot(devices);
  }

  whole(devices: readonly LinearId[] = [...this.#seen.keys()]): KernelSnapshot {
    return this.#snapshot(devices.map((id) => this.state(id)));
  }

  state(id: LinearId): KernelDeviceState {
    const seen = this.#seen.get(id);
    const state = this.#state(id, seen);
    if (seen === undefined) return state;
    const shown = visibleText(state);
    if (shown !== seen.shown) {
      seen.shown = shown;
      seen.version += 1;
    }
    return { ...state, version: seen.version };
  }

  #state(id: LinearId, seen: Seen | undefined): KernelDeviceState {
    const { access, drivers, interlock } = this.#parts;
    const device = access.devices.get(id);
    const driver = drivers.get(id);
    const base = {
      device: id,
      version: 0,
      readings: [...(seen?.values ?? [])]
        .slice(0, READINGS_MAX)
        .map(([register, value]) => ({ register, value })),
      operationCount: seen?.operationCount ?? 0,
      lastAccessMs: seen?.lastAccessMs ?? 0,
      lastFault: seen?.lastFault ?? '',
      inhibited: interlock.has(id, 'in-doubt'),
      holds: interlock.kindsOf(id),
      changeCount: seen?.changeCount ?? 0,
      unexplained: [...(seen?.unexplained.values() ?? [])].join('; '),
    };
    if (device?.quarantined === true) {
      return { ...base, power: PowerState.LOCKED, status: OverallStatus.QUARANTINED };
    }
    if (seen === undefined || driver === undefined || seen.lastAccessMs === 0) {
      return { ...base, power: PowerState.UNKNOWN, status: OverallStatus.UNKNOWN };
    }
    // Nobody looks at it any more: what was last read says nothing about now.
    if (interlock.has(id, 'quarantined')) {
      return { ...base, power: PowerState.LOCKED, status: OverallStatus.QUARANTINED };
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
      life: this.#parts.life,
      version: this.#version,
      stopEngaged: this.#parts.stopEngaged(),
      held: this.#parts.interlock.holdReason !== null,
      devices,
      buses: queues.map((queue) => queue.state()),
    };
  }

  #note(reading: RegisterReading): void {
    const { device, register, value } = reading;
    const seen = this.#seen.get(device);
    if (seen === undefined) return;
    seen.lastAccessMs = this.#parts.clock.nowMs();
    if (reading.fault !== undefined) {
      seen.lastFault = describeFault(reading.fault);
      return;
    }
    if (value === undefined) return;
    seen.lastFault = '';
    const spec = this.#parts.access.point(device, register)?.spec;
    const before = seen.values.get(register);
    seen.values.set(register, value);
    if (seen.unknown.delete(register) || before === undefined || spec === undefined) return;
    const mask = steadyMask(spec);
    if ((before & mask) === (value & mask) || seen.operating > 0) return;
    seen.changeCount += 1;
    const was = formatWord(before, spec.widthBits);
    seen.unexplained.set(register, `${register} ${was} to ${formatWord(value, spec.widthBits)}`);
  }
}

/** Bits that only a write of ours should change. */
function steadyMask(spec: RegisterSpec): Word {
  if (spec.access !== 'rw' || spec.volatile || spec.precious) return 0n;
  return widthMask(spec.widthBits) & ~spec.selfClearingMask;
}

/** Everything of a state but the time of its last access, which moves with every poll. */
function visibleText(state: KernelDeviceState): string {
  const values = state.readings.map(
    (reading) => `${reading.register}=${reading.value.toString(16)}`,
  );
  return [
    state.power,
    state.status,
    state.holds.join(','),
    state.operationCount,
    state.changeCount,
    state.unexplained,
    state.lastFault,
    ...values,
  ].join('|');
}
