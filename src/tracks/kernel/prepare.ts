// The kernel track's promise for one plan: devices leased, prior contents read, every rule checked; nothing written.

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

export class Preparation {
  readonly #access: DeviceAccess;
  readonly #interlock: Interlock;
  readonly #leases = new Map<LinearId, string>();

  constructor(access: DeviceAccess, interlock: Interlock) {
    this.#access = access;
    this.#interlock = interlock;
  }

  /** Reads what the writes would replace and holds the devices until `release`. */
  async prepare(
    operationId: string,
    plan: RegisterPlan,
    deadline: Deadline,
  ): Promise<Outcome<readonly RegisterReading[]>> {
    const leased = this.#lease(operationId, plan);
    if (!leased.ok) return leased;
    const priors = await this.#priors(plan, deadline);
    if (!priors.ok) this.release(operationId);
    return priors;
  }

  release(operationId: string): void {
    for (const [device, holder] of this.#leases) {
      if (holder === operationId) this.#leases.delete(device);
    }
  }

  holds(operationId: string, plan: RegisterPlan): boolean {
    return devicesOf(plan).every((device) => this.#leases.get(device) === operationId);
  }

  /** Everything that needs no access to metal. */
  check(plan: RegisterPlan): Outcome<void> {
    for (const step of plan.steps) {
      const allowed = checkStep(this.#access.devices.get(step.device), step);
      if (!allowed.ok) return allowed;
    }
    if (writesOf(plan).length === 0) return succeed(undefined);
    for (const id of devicesOf(plan)) {
      const device = this.#access.devices.get(id);
      const open = device === undefined ? succeed(undefined) : this.#interlock.check(device);
      if (!open.ok) return open;
    }
    return succeed(undefined);
  }

  #lease(operationId: string, plan: RegisterPlan): Outcome<void> {
    const checked = this.check(plan);
    if (!checked.ok) return checked;
    for (const device of devicesOf(plan)) {
      const holder = this.#leases.get(device);
      if (holder === undefined || holder === operationId) continue;
      const place = this.#access.devices.get(device)?.slug ?? `device ${device}`;
      return refuse(
        fault('DEVICE_BUSY', { place, finding: `operation ${holder} holds the device` }),
      );
    }
    for (const device of devicesOf(plan)) this.#leases.set(device, operationId);
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
