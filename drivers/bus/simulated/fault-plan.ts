// The faults that are injected into the simulated hardware now: where, which, how often or how long.
// Invariants: a fault on one access is used up by that access; a fault of a state holds until undone or expired;
// applying and undoing are reported exactly once each, in order.

import type { Cancel, Clock } from '#foundation/clock';
import type { BusKind } from '#model/bus';

/** Misbehaviour of one transaction on the wire. */
export type AccessFault =
  | { readonly kind: 'late'; readonly ms: number }
  | { readonly kind: 'bad-crc' }
  | { readonly kind: 'silent' }
  | { readonly kind: 'wrong-unit' }
  | { readonly kind: 'exception'; readonly code: number }
  | { readonly kind: 'nack' }
  | { readonly kind: 'stuck' }
  | { readonly kind: 'arbitration' };

/** Misbehaviour that lasts. */
export type StateFault =
  | { readonly kind: 'vanish' }
  | { readonly kind: 'eio' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'garbage' }
  | { readonly kind: 'stuck-bits'; readonly mask: bigint; readonly value: bigint }
  | { readonly kind: 'truncate'; readonly sizeBytes: number };

export type HardwareFault = AccessFault | StateFault;
export type FaultKindName = HardwareFault['kind'];

const ACCESS_FAULTS: Readonly<Record<AccessFault['kind'], BusKind>> = {
  late: 'serial',
  'bad-crc': 'serial',
  silent: 'serial',
  'wrong-unit': 'serial',
  exception: 'serial',
  nack: 'i2c',
  stuck: 'i2c',
  arbitration: 'i2c',
};

/** What each lasting fault is a fault of: the bus it fits and whether it takes the whole bus, or attributes. */
const STATE_FAULTS: Readonly<
  Record<
    StateFault['kind'],
    { readonly bus: BusKind | 'any'; readonly scope: 'bus' | 'device' | 'register' }
  >
> = {
  vanish: { bus: 'serial', scope: 'bus' },
  eio: { bus: 'sysfs', scope: 'device' },
  absent: { bus: 'sysfs', scope: 'device' },
  garbage: { bus: 'sysfs', scope: 'device' },
  'stuck-bits': { bus: 'any', scope: 'register' },
  truncate: { bus: 'memory', scope: 'bus' },
};

/** A bus, one device on it, or one register of that device. */
export interface FaultTarget {
  readonly busId: string;
  readonly busKind: BusKind;
  readonly device: string | null;
  readonly register: string | null;
}

export interface FaultLimits {
  /** Accesses to spoil; null for all until cleared. */
  readonly count: number | null;
  /** Milliseconds until the fault ends by itself; null for never. */
  readonly durationMs: number | null;
}

export interface PlannedFault {
  readonly target: FaultTarget;
  readonly fault: HardwareFault;
  /** Accesses still to be spoiled; null for no bound. */
  readonly remaining: number | null;
}

/** A mechanism that makes lasting faults real. */
export interface FaultListener {
  apply(target: FaultTarget, fault: StateFault): void;
  undo(target: FaultTarget, fault: StateFault): void;
}

interface Entry {
  readonly target: FaultTarget;
  readonly fault: HardwareFault;
  remaining: number | null;
  cancel: Cancel;
}

export function isAccessFault(fault: HardwareFault): fault is AccessFault {
  return Object.hasOwn(ACCESS_FAULTS, fault.kind);
}

export const FAULT_KINDS: readonly string[] = [
  ...Object.keys(ACCESS_FAULTS),
  ...Object.keys(STATE_FAULTS),
];

/** Why this fault cannot be injected there, or null when it can. */
export function misplaced(
  target: FaultTarget,
  fault: HardwareFault,
  limits: FaultLimits,
): string | null {
  if (isAccessFault(fault)) {
    const bus = ACCESS_FAULTS[fault.kind];
    if (bus !== target.busKind)
      return `${fault.kind} is a fault of ${bus} buses, ${target.busId} is ${target.busKind}`;
    return target.register === null
      ? null
      : `${fault.kind} applies to a device or a bus, not to one register`;
  }
  const { bus, scope } = STATE_FAULTS[fault.kind];
  if (bus !== 'any' && bus !== target.busKind) {
    return `${fault.kind} is a fault of ${bus} buses, ${target.busId} is ${target.busKind}`;
  }
  if (limits.count !== null) return `${fault.kind} lasts: give durationMs, not count`;
  if (scope === 'bus' && target.device !== null) return `${fault.kind} applies to a whole bus`;
  if (scope !== 'bus' && target.device === null) return `${fault.kind} needs a device`;
  if (scope === 'register' && target.register === null) return `${fault.kind} needs a register`;
  return null;
}

export class FaultPlan {
  readonly #clock: Clock;
  readonly #entries: Entry[] = [];
  readonly #listeners: FaultListener[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  listen(listener: FaultListener): void {
    this.#listeners.push(listener);
  }

  /** The caller has asked `misplaced` first. A lasting fault replaces the same kind on the same target. */
  inject(target: FaultTarget, fault: HardwareFault, limits: FaultLimits): void {
    if (!isAccessFault(fault)) {
      this.#remove((entry) => entry.fault.kind === fault.kind && sameTarget(entry.target, target));
    }
    const entry: Entry = { target, fault, remaining: limits.count, cancel: () => undefined };
    this.#entries.push(entry);
    if (!isAccessFault(fault))
      for (const listener of this.#listeners) listener.apply(target, fault);
    if (limits.durationMs !== null) {
      entry.cancel = this.#clock.after(limits.durationMs, () =>
        this.#remove((other) => other === entry),
      );
    }
  }

  /** The fault that spoils this access, used up by it; null for a clean access. */
  spoil(busId: string, device: string | null): AccessFault | null {
    for (const entry of this.#entries) {
      if (!isAccessFault(entry.fault) || !covers(entry.target, busId, device, null)) continue;
      if (entry.remaining !== null) {
        entry.remaining -= 1;
        if (entry.remaining <= 0) this.#remove((other) => other === entry);
      }
      return entry.fault;
    }
    return null;
  }

  /** Lasting faults that cover one register of a device. */
  lasting(busId: string, device: string, register: string): readonly StateFault[] {
    const found: StateFault[] = [];
    for (const entry of this.#entries) {
      if (isAccessFault(entry.fault)) continue;
      if (covers(entry.target, busId, device, register)) found.push(entry.fault);
    }
    return found;
  }

  /** Ends every fault inside the target: of the bus and all on it, of a device, or of a register. Returns how many. */
  restore(target: FaultTarget): number {
    return this.#remove(
      (entry) =>
        entry.target.busId === target.busId &&
        (target.device === null || entry.target.device === target.device) &&
        (target.register === null || entry.target.register === target.register),
    );
  }

  clear(): number {
    return this.#remove(() => true);
  }

  list(): readonly PlannedFault[] {
    return this.#entries.map(({ target, fault, remaining }) => ({ target, fault, remaining }));
  }

  #remove(chosen: (entry: Entry) => boolean): number {
    const removed = this.#entries.filter(chosen);
    for (const entry of removed) {
      this.#entries.splice(this.#entries.indexOf(entry), 1);
      entry.cancel();
      const { fault } = entry;
      if (isAccessFault(fault)) continue;
      for (const listener of this.#listeners) listener.undo(entry.target, fault);
    }
    return removed.length;
  }
}

function sameTarget(left: FaultTarget, right: FaultTarget): boolean {
  return (
    left.busId === right.busId && left.device === right.device && left.register === right.register
  );
}

function covers(
  target: FaultTarget,
  busId: string,
  device: string | null,
  register: string | null,
): boolean {
  return (
    target.busId === busId &&
    (target.device === null || target.device === device) &&
    (target.register === null || target.register === register)
  );
}
