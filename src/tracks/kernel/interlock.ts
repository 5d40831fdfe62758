// Everything that forbids a write right now: the stop, silence of security, and the holds on single devices.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { type DeviceDescriptor, formatToken, type LinearId } from '#model/device';
import type { DeviceHold, HoldKind } from '#model/hold';
import { OperationType } from '#model/operation';
import type { StopLatch } from '#model/stop';

/** Outlives the process, not the machine: a restarted kernel knows whom it must not touch before anybody tells it. */
export interface QuarantineMemory {
  recall(): readonly DeviceHold[];
  remember(holds: readonly DeviceHold[]): void;
}

/** What may be done to a device between the reset of a stop and its activation. */
const WHILE_DEACTIVATED: ReadonlySet<OperationType> = new Set([
  OperationType.READ,
  OperationType.ACTIVATE,
  OperationType.DEACTIVATE,
  OperationType.RESET,
]);

export class Interlock {
  readonly #latch: StopLatch;
  #quarantine: QuarantineMemory | null = null;
  readonly #holds = new Map<LinearId, Map<HoldKind, DeviceHold>>();
  /** Driven to their safe values for the last time; their quarantine follows. */
  readonly #leaving = new Set<LinearId>();
  #holdReason: string | null = null;
  #holdCount = 0;

  constructor(latch: StopLatch, quarantine: QuarantineMemory | null = null) {
    this.#latch = latch;
    for (const hold of quarantine?.recall() ?? []) this.add(hold);
    this.#quarantine = quarantine;
  }

  /** True when no operation may write another register of this device: what is at work on it ends like by a stop. */
  withheld(device: LinearId): boolean {
    return this.stopEngaged(device) || this.has(device, 'in-doubt');
  }

  /** True when the device is stopped, or goes into quarantine: it belongs to its safe values. */
  stopEngaged(device: LinearId): boolean {
    return this.#latch.engaged() || this.has(device, 'stopped') || this.leaving(device);
  }

  /** True from `leave` on, and in quarantine: nothing but its own safe values may reach the device. */
  leaving(device: LinearId): boolean {
    return this.#leaving.has(device) || this.has(device, 'quarantined');
  }

  /** The device goes into quarantine: no operation writes it any more, its safe values still do; ends with that hold. */
  leave(device: LinearId): void {
    this.#leaving.add(device);
  }

  /** Why writes are on hold everywhere, or null. */
  get holdReason(): string | null {
    return this.#holdReason;
  }

  /** Refuses new writes and has running plans undone until `resume`. */
  hold(reason: string): void {
    this.#holdReason = reason;
    this.#holdCount += 1;
  }

  /** Counts the calls of `hold`. */
  get holdCount(): number {
    return this.#holdCount;
  }

  /** Nothing when writes were put on hold again after `sinceHoldCount`: whoever wanted to resume did not know of that. */
  resume(sinceHoldCount = this.#holdCount): void {
    if (sinceHoldCount === this.#holdCount) this.#holdReason = null;
  }

  /** The first reason and time stand when the device is held so already. */
  add(hold: DeviceHold): void {
    const held = this.#holds.get(hold.device) ?? new Map<HoldKind, DeviceHold>();
    if (held.has(hold.kind)) return;
    held.set(hold.kind, hold);
    this.#holds.set(hold.device, held);
    if (hold.kind !== 'quarantined') return;
    this.#leaving.delete(hold.device);
    this.#rememberQuarantine();
  }

  lift(device: LinearId, kind: HoldKind): void {
    const lifted = this.#holds.get(device)?.delete(kind);
    if (lifted === true && kind === 'quarantined') this.#rememberQuarantine();
  }

  #rememberQuarantine(): void {
    this.#quarantine?.remember(this.holds().filter((hold) => hold.kind === 'quarantined'));
  }

  liftAll(kind: HoldKind): readonly LinearId[] {
    return [...this.#holds].flatMap(([device, held]) => (held.delete(kind) ? [device] : []));
  }

  has(device: LinearId, kind: HoldKind): boolean {
    return this.#holds.get(device)?.has(kind) === true;
  }

  kindsOf(device: LinearId): readonly HoldKind[] {
    return [...(this.#holds.get(device)?.keys() ?? [])];
  }

  holds(): readonly DeviceHold[] {
    return [...this.#holds.values()].flatMap((held) => [...held.values()]);
  }

  /** May a plan of this type touch the device? */
  check(device: DeviceDescriptor, type: OperationType, effect: 'reads' | 'writes'): Outcome<void> {
    const place = device.slug;
    const held = this.#holds.get(device.id);
    if (held?.has('quarantined') === true) {
      const finding = `device ${formatToken(device.id)} was quarantined: ${held.get('quarantined')?.reason}`;
      return refuse(fault('DEVICE_QUARANTINED', { place, finding }));
    }
    if (this.#leaving.has(device.id)) {
      const finding = `device ${formatToken(device.id)} goes into quarantine`;
      return refuse(fault('DEVICE_QUARANTINED', { place, finding }));
    }
    if (effect === 'reads') return succeed(undefined);
    if (this.#latch.engaged()) {
      return refuse(
        fault('EMERGENCY_STOPPED', { place, finding: 'the emergency stop is engaged' }),
      );
    }
    if (held?.has('stopped') === true) {
      return refuse(fault('EMERGENCY_STOPPED', { place, finding: 'the device is stopped' }));
    }
    if (this.#holdReason !== null) {
      return refuse(fault('INTERLOCK_OPEN', { place, finding: this.#holdReason }));
    }
    const doubt = held?.get('in-doubt');
    if (doubt !== undefined) {
      return refuse(fault('DEVICE_INHIBITED', { place, finding: doubt.reason }));
    }
    if (held?.has('deactivated') === true && !WHILE_DEACTIVATED.has(type)) {
      const finding = 'the stop was reset and the device has not been activated since';
      return refuse(fault('DEVICE_DEACTIVATED', { place, finding }));
    }
    return succeed(undefined);
  }
}
