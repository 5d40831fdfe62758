// The kernel track's promise for one plan: devices leased, prior contents read, every rule checked; nothing written.
// Invariants: a lease ends by itself with its authorization, so that a security process that died leaves nothing locked;
// a lease whose commit has begun ends only by `release`.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import type { RegisterReading } from '#model/operation';
import { devicesOf, type RegisterPlan, writesOf } from '#model/plan';
import type { Word } from '#model/register';
import { Priority } from './bus-queue.ts';
import type { DeviceAccess } from './device-access.ts';
import type { Interlock } from './interlock.ts';
import { checkAgainstPrior, checkStep, needsPrior } from './register-policy.ts';

interface Lease {
  readonly operationId: string;
  /** Monotonic milliseconds. */
  readonly untilMs: number;
}

export class Preparation {
  readonly #access: DeviceAccess;
  readonly #interlock: Interlock;
  readonly #clock: Clock;
  readonly #leases = new Map<LinearId, Lease>();

  constructor(access: DeviceAccess, interlock: Interlock, clock: Clock) {
    this.#access = access;
    this.#interlock = interlock;
    this.#clock = clock;
  }

  /** Reads what the writes would replace and holds the devices until `release`, or until `untilMs` without a commit. */
  async prepare(
    operationId: string,
    plan: RegisterPlan,
    untilMs: number,
    deadline: Deadline,
  ): Promise<Outcome<readonly RegisterReading[]>> {
    const leased = this.#lease({ operationId, untilMs }, plan);
    if (!leased.ok) return leased;
    const priors = await this.#priors(plan, deadline);
    if (!priors.ok) this.release(operationId);
    return priors;
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

  /** The commit begins: true when every device is still held, and from here on until `release`. */
  begin(operationId: string, plan: RegisterPlan): boolean {
    const devices = devicesOf(plan);
    const held = devices.every((device) => this.#leases.get(device)?.operationId === operationId);
    const untilMs = Number.POSITIVE_INFINITY;
    if (held) for (const device of devices) this.#leases.set(device, { operationId, untilMs });
    return held;
  }

  /** Everything that needs no access to metal. */
  check(plan: RegisterPlan): Outcome<void> {
    for (const step of plan.steps) {
      const allowed = checkStep(this.#access.devices.get(step.device), step);
      if (!allowed.ok) return allowed;
    }
    const effect = writesOf(plan).length === 0 ? 'reads' : 'writes';
    for (const id of devicesOf(plan)) {
      const device = this.#access.devices.get(id);
      if (device === undefined) continue;
      const open = this.#interlock.check(device, plan.type, effect);
      if (!open.ok) return open;
    }
    return succeed(undefined);
  }

  #lease(lease: Lease, plan: RegisterPlan): Outcome<void> {
    const checked = this.check(plan);
    if (!checked.ok) return checked;
    for (const device of devicesOf(plan)) {
      const holder = this.#leases.get(device);
      if (holder === undefined || holder.operationId === lease.operationId) continue;
      if (holder.untilMs <= this.#clock.nowMs()) continue;
      const place = this.#access.devices.get(device)?.slug ?? `device ${device}`;
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

  async #priors(
    plan: RegisterPlan,
    deadline: Deadline,
  ): Promise<Outcome<readonly RegisterReading[]>> {
    const priors: RegisterReading[] = [];
    /** What each register will hold when its turn comes: a later step judges the earlier one's value. */
    const expected = new Map<string, Word>();
    for (const step of writesOf(plan)) {
      const allowed = checkStep(this.#access.devices.get(step.device), step);
      if (!allowed.ok) return allowed;
      const spec = allowed.value;
      const key = `${step.device}.${step.register}`;
      let prior = expected.get(key);
      if (prior === undefined && needsPrior(spec, step)) {
        const read = await this.#access.read(step, deadline, Priority.OPERATION);
        if (!read.ok) return read;
        prior = read.value;
        priors.push({ device: step.device, register: step.register, value: prior });
      }
      const word = checkAgainstPrior(this.#access.placeOf(step), spec, step, prior);
      if (!word.ok) return word;
      expected.set(key, word.value);
    }
    return succeed(priors);
  }
}
