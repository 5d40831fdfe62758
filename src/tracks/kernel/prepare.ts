// The kernel track's promise for one plan: devices leased, prior contents read, every rule checked; nothing written.
// Invariants: a lease ends by itself with its authorization, so that a security process that died leaves nothing locked;
// a lease whose commit has begun ends only by `release`; a commit begins only for what was prepared.
// Faults: PLAN_CHANGED when the devices are no longer what was approved; DEVICE_BUSY; THERMAL_LIMIT; those of the rules.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import type { RegisterReading } from '#model/operation';
import { devicesOf, type RegisterPlan, type RegisterReference, writesOf } from '#model/plan';
import type { Word } from '#model/register';
import { contentAfter, needsPrior } from '#model/written-word';
import type { DeviceAccess } from './device-access.ts';
import type { Interlock } from './interlock.ts';
import { judgeTemperatures } from './plan-guards.ts';
import { checkAgainstPrior, checkStep } from './register-policy.ts';
import { type FoundWords, keyOf, readInTurn } from './register-reader.ts';

/** What remembers the devices: it is told what was read, and knows what an approval was given for. */
export interface DeviceWatch {
  seen(readings: readonly RegisterReading[]): void;
  basisOf(devices: readonly LinearId[]): string;
}

export interface PreparationParts {
  readonly access: DeviceAccess;
  readonly interlock: Interlock;
  readonly clock: Clock;
  readonly watch: DeviceWatch;
}

export interface PreparationOrder {
  readonly operationId: string;
  readonly plan: RegisterPlan;
  /** What the devices were like when the plan was approved, see `RegisterPlan.basis`; empty when any state will do. */
  readonly basis: string;
  /** Monotonic milliseconds after which the devices are free again if no commit has begun. */
  readonly untilMs: number;
}

interface Lease {
  readonly operationId: string;
  /** Monotonic milliseconds. */
  readonly untilMs: number;
  /** What the registers of `guards.unchanged` held in prepare; absent while the devices are only selected. */
  readonly guarded?: readonly RegisterReading[];
}

const NONE: ReadonlySet<FaultCode> = new Set();

export class Preparation {
  readonly #parts: PreparationParts;
  readonly #leases = new Map<LinearId, Lease>();

  constructor(parts: PreparationParts) {
    this.#parts = parts;
  }

  /**
   * Reads what the writes would replace and holds the devices until `release`, or until `untilMs` without a commit. Gives
   * that content, then what the registers of `guards.unchanged` hold.
   */
  async prepare(
    order: PreparationOrder,
    deadline: Deadline,
  ): Promise<Outcome<readonly RegisterReading[]>> {
    const { operationId, untilMs, plan } = order;
    const leased = this.#lease({ operationId, untilMs }, plan);
    if (!leased.ok) return leased;
    const promised = await this.#promise(order, deadline);
    if (!promised.ok) {
      this.release(operationId);
      return promised;
    }
    const { priors, guarded } = promised.value;
    const lost = devicesOf(plan).find((device) => !this.#holds(device, operationId));
    if (lost !== undefined) {
      // On a slow bus the lease may have ended, or have been taken back, while the registers were read.
      this.release(operationId);
      const place = this.#parts.access.devices.get(lost)?.slug ?? `device ${lost}`;
      const finding = 'the device was let go while its registers were read';
      return refuse(fault('DEVICE_BUSY', { place, finding }));
    }
    for (const device of devicesOf(plan))
      this.#leases.set(device, { operationId, untilMs, guarded });
    return succeed([...priors, ...guarded]);
  }

  #holds(device: LinearId, operationId: string): boolean {
    const lease = this.#leases.get(device);
    return lease?.operationId === operationId && lease.untilMs > this.#parts.clock.nowMs();
  }

  /** Frees everything that no commit has begun on: whoever prepared or selected it is gone. */
  releaseIdle(): void {
    for (const [device, lease] of this.#leases) {
      if (lease.untilMs !== Number.POSITIVE_INFINITY) this.#leases.delete(device);
    }
  }

  release(operationId: string): void {
    for (const [device, lease] of this.#leases) {
      if (lease.operationId === operationId) this.#leases.delete(device);
    }
  }

  /** Holds the devices for an operation that is to follow, until `untilMs` or `release`. */
  select(operationId: string, plan: RegisterPlan, untilMs: number): Outcome<void> {
    return this.#lease({ operationId, untilMs }, plan);
  }

  /**
   * The commit begins, and the devices are held until `release`. Gives what the registers of `guards.unchanged` held in
   * prepare, or nothing when the plan was not prepared or a device is no longer held.
   */
  begin(operationId: string, plan: RegisterPlan): readonly RegisterReading[] | undefined {
    const devices = devicesOf(plan);
    const held = devices.map((device) => this.#leases.get(device));
    const lease = held[0];
    const whole = held.every(
      (each) => each?.operationId === operationId && each.guarded !== undefined,
    );
    if (!whole || lease?.guarded === undefined) return undefined;
    const untilMs = Number.POSITIVE_INFINITY;
    for (const device of devices) this.#leases.set(device, { ...lease, untilMs });
    return lease.guarded;
  }

  /** Everything that needs no access to metal. `passed`: faults of the interlock that are no reason to refuse. */
  check(plan: RegisterPlan, passed: ReadonlySet<FaultCode> = NONE): Outcome<void> {
    const { access, interlock } = this.#parts;
    for (const step of plan.steps) {
      const allowed = checkStep(access.devices.get(step.device), step);
      if (!allowed.ok) return allowed;
    }
    const effect = writesOf(plan).length === 0 ? 'reads' : 'writes';
    for (const id of devicesOf(plan)) {
      const device = access.devices.get(id);
      if (device === undefined) continue;
      const open = interlock.check(device, plan.type, effect);
      if (!open.ok && !passed.has(open.fault.code)) return open;
    }
    return succeed(undefined);
  }

  /** Whether the devices are still what they were when the plan was approved. */
  checkBasis(plan: RegisterPlan, basis: string): Outcome<void> {
    const devices = devicesOf(plan);
    if (basis === '' || basis === this.#parts.watch.basisOf(devices)) return succeed(undefined);
    const { access } = this.#parts;
    const place = devices.map((id) => access.devices.get(id)?.slug ?? `device ${id}`).join(', ');
    const finding = 'the device changed since the plan was approved';
    return refuse(fault('PLAN_CHANGED', { place, finding }));
  }

  #lease(lease: Lease, plan: RegisterPlan): Outcome<void> {
    const checked = this.check(plan);
    if (!checked.ok) return checked;
    for (const device of devicesOf(plan)) {
      const holder = this.#leases.get(device);
      if (holder === undefined || holder.operationId === lease.operationId) continue;
      if (holder.untilMs <= this.#parts.clock.nowMs()) continue;
      const place = this.#parts.access.devices.get(device)?.slug ?? `device ${device}`;
      return refuse(
        fault('DEVICE_BUSY', {
          place,
          finding: `operation ${holder.operationId} holds the device`,
        }),
      );
    }
    for (const device of devicesOf(plan)) this.#leases.set(device, lease);
    return succeed(undefined);
  }

  async #promise(
    order: PreparationOrder,
    deadline: Deadline,
  ): Promise<
    Outcome<{
      readonly priors: readonly RegisterReading[];
      readonly guarded: readonly RegisterReading[];
    }>
  > {
    const { access, watch } = this.#parts;
    const { plan } = order;
    const { thermal, unchanged } = plan.guards;
    const replaced = writesOf(plan).filter((step) => {
      const spec = access.point(step.device, step.register)?.spec;
      return spec !== undefined && needsPrior(spec, step);
    });
    const wanted = [...thermal, ...replaced, ...unchanged];
    const found = await readWatched(access, watch, wanted, deadline);
    const same = this.checkBasis(plan, order.basis);
    if (!same.ok) return same;
    const hot = judgeTemperatures(access, thermal, found);
    if (hot !== undefined) return refuse(hot);
    const judged = judgeWrites(access, plan, found, 'refuse');
    if (!judged.ok) return judged;
    const guarded: RegisterReading[] = [];
    for (const register of unchanged) {
      const word = found.get(keyOf(register));
      if (word?.ok === false) return word;
      if (word === undefined) continue;
      guarded.push({ device: register.device, register: register.register, value: word.value });
    }
    return succeed({ priors: judged.value, guarded });
  }
}

/** Reads registers and tells the watch, but for devices that something else changed meanwhile: those words may be old. */
export async function readWatched(
  access: DeviceAccess,
  watch: DeviceWatch,
  wanted: readonly RegisterReference[],
  deadline: Deadline,
): Promise<FoundWords> {
  const devices = [...new Set(wanted.map((reference) => reference.device))];
  const bases = new Map(devices.map((device) => [device, watch.basisOf([device])]));
  const found = await readInTurn(access, wanted, deadline);
  const current = new Set(
    devices.filter((device) => watch.basisOf([device]) === bases.get(device)),
  );
  const readings: RegisterReading[] = [];
  for (const { device, register } of new Map(wanted.map((each) => [keyOf(each), each])).values()) {
    const word = found.get(keyOf({ device, register }));
    if (word?.ok === true && current.has(device)) {
      readings.push({ device, register, value: word.value });
    }
  }
  if (readings.length > 0) watch.seen(readings);
  return found;
}

/**
 * Judges every write by what its register will hold when its turn comes, and gives what the registers hold now, each
 * once. `unread` says what becomes of a write whose register was to be read and could not be: refused, or not judged.
 */
export function judgeWrites(
  access: DeviceAccess,
  plan: RegisterPlan,
  found: FoundWords,
  unread: 'refuse' | 'leave',
): Outcome<readonly RegisterReading[]> {
  const priors: RegisterReading[] = [];
  const expected = new Map<string, Word | undefined>();
  for (const step of writesOf(plan)) {
    const allowed = checkStep(access.devices.get(step.device), step);
    if (!allowed.ok) return allowed;
    const spec = allowed.value;
    const key = keyOf(step);
    let prior = expected.get(key);
    if (!expected.has(key) && needsPrior(spec, step)) {
      const read = found.get(key);
      if (read?.ok === true) {
        prior = read.value;
        priors.push({ device: step.device, register: step.register, value: prior });
      } else if (unread === 'refuse') {
        const place = access.placeOf(step);
        const finding = 'what the register holds was not read';
        return read ?? refuse(fault('INTERNAL', { place, finding }));
      }
    }
    if (prior === undefined && needsPrior(spec, step)) {
      expected.set(key, undefined);
      continue;
    }
    const word = checkAgainstPrior(access.placeOf(step), spec, step, prior);
    if (!word.ok) return word;
    expected.set(key, contentAfter(spec, word.value, prior));
  }
  return succeed(priors);
}
