// Everything that forbids a write right now: the stop, a hold while security is silent, inhibited and stopped devices.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { DeviceDescriptor, LinearId } from '#model/device';
import type { StopLatch } from '#model/stop';

export class Interlock {
  readonly #latch: StopLatch;
  readonly #inhibited = new Map<LinearId, string>();
  readonly #stopped = new Set<LinearId>();
  #holdReason: string | null = null;

  constructor(latch: StopLatch) {
    this.#latch = latch;
  }

  /** True when the executor must not write another register of this device. */
  stopEngaged(device: LinearId): boolean {
    return this.#latch.engaged() || this.#stopped.has(device);
  }

  /** Why writes are on hold, or null. */
  get holdReason(): string | null {
    return this.#holdReason;
  }

  /** Refuses new writes and has running plans undone until `resume`. */
  hold(reason: string): void {
    this.#holdReason = reason;
  }

  resume(): void {
    this.#holdReason = null;
  }

  /** A device nobody can vouch for: no write until a person releases it. */
  inhibit(device: LinearId, reason: string): void {
    this.#inhibited.set(device, reason);
  }

  isInhibited(device: LinearId): boolean {
    return this.#inhibited.has(device);
  }

  stopDevices(devices: readonly LinearId[]): void {
    for (const device of devices) this.#stopped.add(device);
  }

  releaseStoppedDevices(): void {
    this.#stopped.clear();
  }

  /** May a plan with writes on this device begin? */
  check(device: DeviceDescriptor): Outcome<void> {
    const place = device.slug;
    if (this.#latch.engaged()) {
      return refuse(
        fault('EMERGENCY_STOPPED', { place, finding: 'the emergency stop is engaged' }),
      );
    }
    if (this.#stopped.has(device.id)) {
      return refuse(fault('EMERGENCY_STOPPED', { place, finding: 'the device is stopped' }));
    }
    if (this.#holdReason !== null) {
      return refuse(fault('INTERLOCK_OPEN', { place, finding: this.#holdReason }));
    }
    const reason = this.#inhibited.get(device.id);
    if (reason !== undefined) return refuse(fault('DEVICE_INHIBITED', { place, finding: reason }));
    return succeed(undefined);
  }
}
