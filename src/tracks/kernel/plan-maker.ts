// Makes plans from intents: steps from the drivers, guards from the safety requirements, previews for dry runs.
// Invariants: writes nothing, and reads only for a dry run and only what has no side effect; a plan that is not
// remembered here cannot be committed, and the plan of an emergency stop is only shown.
// Faults: those of the drivers and of kernel's rules; REQUIREMENT_UNMET; of a dry run also what prepare would find.

import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  type DeviceDescriptor,
  formatToken,
  type LinearId,
  permanentlyQuarantined,
} from '#model/device';
import type { Driver } from '#model/driver';
import { type Intent, OperationType, type RegisterReading } from '#model/operation';
import {
  devicesOf,
  NO_GUARDS,
  type PlanGuards,
  planOf,
  type RegisterPlan,
  type RegisterStep,
  type WriteStep,
  writesOf,
} from '#model/plan';
import { widthMask } from '#model/register';
import { needsPrior, showable } from '#model/written-word';
import { assessKernelRisk } from './assess.ts';
import type { DeviceAccess } from './device-access.ts';
import type { Interlock } from './interlock.ts';
import { checkRollback, guardsFor, judgeTemperatures, noWayBack } from './plan-guards.ts';
import { type DeviceWatch, judgeWrites, type Preparation, readWatched } from './prepare.ts';
import { type FoundWords, keyOf } from './register-reader.ts';
import { safeStagesOf } from './safe-plan.ts';

export interface PlanMakerParts {
  readonly access: DeviceAccess;
  readonly drivers: ReadonlyMap<LinearId, Driver>;
  readonly interlock: Interlock;
  readonly preparation: Preparation;
  readonly watch: DeviceWatch;
}

/** Plans waiting for their authorization; the oldest is forgotten first. */
const PLANS_MAX = 512;
/** Looks at a register after a write until it holds what was written, and the shortest wait between two. */
const READ_BACKS = 3;
const READ_BACK_INTERVAL_MS = 1;

const NONE: ReadonlySet<FaultCode> = new Set();
/** A dry run during a stop still shows what would be done; only what can never be done is refused. */
const PASSED_BY_DRY_RUNS: ReadonlySet<FaultCode> = new Set(['EMERGENCY_STOPPED']);
/** What keeps operations from a device does not keep the stop from it, but for quarantine. */
const PASSED_BY_THE_STOP: ReadonlySet<FaultCode> = new Set([
  'EMERGENCY_STOPPED',
  'INTERLOCK_OPEN',
  'DEVICE_INHIBITED',
  'DEVICE_DEACTIVATED',
]);

export class PlanMaker {
  readonly #parts: PlanMakerParts;
  readonly #plans = new Map<string, RegisterPlan>();

  constructor(parts: PlanMakerParts) {
    this.#parts = parts;
  }

  async make(intent: Intent, deadline: Deadline): Promise<Outcome<RegisterPlan>> {
    if (intent.type === OperationType.EMERGENCY_STOP && intent.dryRun) {
      return this.#showStop(intent, deadline);
    }
    const steps = this.#steps(intent);
    if (!steps.ok) return steps;
    const { access, preparation, watch } = this.#parts;
    const { requirements, type } = intent;
    const guards = guardsFor(requirements, steps.value, access.devices);
    if (!guards.ok) return guards;
    if (requirements.rollbackCapabilityRequired) {
      const undoable = checkRollback(steps.value, access.devices);
      if (!undoable.ok) return undoable;
    }
    const worstCaseMs = this.#worstCaseMs(steps.value, guards.value);
    const draft = planOf(type, steps.value, worstCaseMs, { guards: guards.value });
    const checked = preparation.check(draft, intent.dryRun ? PASSED_BY_DRY_RUNS : NONE);
    if (!checked.ok) return checked;
    const preview = intent.dryRun ? await this.#look(draft, intent, deadline) : undefined;
    if (preview?.ok === false) return preview;
    // After the look, which may have found that the device changed.
    const plan = { ...draft, basis: watch.basisOf(devicesOf(draft)) };
    this.#remember(plan);
    return succeed(this.#told(plan, preview?.value));
  }

  known(digest: string): Outcome<RegisterPlan> {
    const plan = this.#plans.get(digest);
    if (plan !== undefined) return succeed(plan);
    const place = `plan ${digest.slice(0, 12)}`;
    const finding = 'kernel does not hold this plan (restarted or forgotten)';
    return refuse(fault('PLAN_UNKNOWN', { place, finding }));
  }

  #steps(intent: Intent): Outcome<readonly RegisterStep[]> {
    const steps: RegisterStep[] = [];
    if (intent.targets.length === 0) {
      const place = `operation ${intent.operationId}`;
      return refuse(fault('REQUEST_MALFORMED', { place, finding: 'no device is named' }));
    }
    for (const target of intent.targets) {
      const device = this.#operable(target.device);
      if (!device.ok) return device;
      const driver = this.#parts.drivers.get(target.device);
      if (driver === undefined) {
        const { slug: place, busId } = device.value;
        return refuse(fault('BUS_ABSENT', { place, finding: `bus ${busId} has no driver` }));
      }
      const planned = driver.plan(intent.type, target);
      if (!planned.ok) return planned;
      steps.push(...planned.value.steps);
    }
    return succeed(steps);
  }

  #operable(id: LinearId): Outcome<DeviceDescriptor> {
    const device = this.#parts.access.devices.get(id);
    if (device === undefined) {
      const place = `device ${id}`;
      return refuse(fault('DEVICE_UNKNOWN', { place, finding: 'not on this board' }));
    }
    if (device.quarantined || permanentlyQuarantined(device.id)) {
      const finding = `device ${formatToken(device.id)} is quarantined by kernel policy`;
      return refuse(fault('DEVICE_QUARANTINED', { place: device.slug, finding }));
    }
    return succeed(device);
  }

  /** What the written registers hold now, and every fault that prepare would find in it. */
  async #look(
    plan: RegisterPlan,
    intent: Intent,
    deadline: Deadline,
  ): Promise<Outcome<readonly RegisterReading[]>> {
    const { access, watch } = this.#parts;
    const shown = this.#showableWrites(plan);
    const { thermal } = plan.guards;
    const found = await readWatched(access, watch, [...thermal, ...shown], deadline);
    const hot = judgeTemperatures(access, thermal, found);
    if (hot !== undefined) return refuse(hot);
    const judged = judgeWrites(access, plan, found, 'leave');
    if (!judged.ok) return judged;
    if (intent.requirements.rollbackCapabilityRequired) {
      const unread = this.#unread(plan, found);
      if (!unread.ok) return unread;
    }
    return succeed(readingsOf(shown, found));
  }

  /** A register that has to be read for the way back and cannot be now. */
  #unread(plan: RegisterPlan, found: FoundWords): Outcome<void> {
    const { devices } = this.#parts.access;
    for (const [index, step] of plan.steps.entries()) {
      if (step.kind === 'read') continue;
      const word = found.get(keyOf(step));
      if (word?.ok !== false) continue;
      const obstacle = `what it holds cannot be read: ${word.fault.finding}`;
      const at = [index, plan.steps.length] as const;
      return refuse(noWayBack(step, at, devices.get(step.device), obstacle));
    }
    return succeed(undefined);
  }

  /** Each written register once, where reading it has no effect. */
  #showableWrites(plan: RegisterPlan): readonly WriteStep[] {
    const first = new Map<string, WriteStep>();
    for (const step of writesOf(plan)) {
      const spec = this.#parts.access.point(step.device, step.register)?.spec;
      if (spec !== undefined && showable(spec) && !first.has(keyOf(step))) {
        first.set(keyOf(step), step);
      }
    }
    return [...first.values()];
  }

  /** What a stop of these devices would write, in its order; no devices mean all that have safe values. */
  async #showStop(intent: Intent, deadline: Deadline): Promise<Outcome<RegisterPlan>> {
    const { access, interlock, preparation, watch } = this.#parts;
    const named: DeviceDescriptor[] = [];
    for (const { device: id, registers } of intent.targets) {
      const device = this.#operable(id);
      if (!device.ok) return device;
      if (registers.length > 0) {
        const finding = 'a stop names no registers; the profile says what is written';
        return refuse(fault('REQUEST_MALFORMED', { place: device.value.slug, finding }));
      }
      if (!named.includes(device.value)) named.push(device.value);
    }
    // The stop never touches a quarantined device: of all devices it is left out, named it is refused.
    const all = [...access.devices.values()].filter(
      (device) => !interlock.has(device.id, 'quarantined'),
    );
    const steps = this.#safeWrites(intent.targets.length === 0 ? all : named);
    if (steps.length === 0) {
      const place = named.map((device) => device.slug).join(', ') || 'board';
      const finding = 'no safe values are declared, so that a stop writes nothing';
      return refuse(fault('OPERATION_UNSUPPORTED', { place, finding }));
    }
    const worstCaseMs = this.#worstCaseMs(steps, NO_GUARDS);
    const draft = planOf(intent.type, steps, worstCaseMs);
    const checked = preparation.check(draft, PASSED_BY_THE_STOP);
    if (!checked.ok) return checked;
    const shown = this.#showableWrites(draft);
    const found = await readWatched(access, watch, shown, deadline);
    const plan = { ...draft, basis: watch.basisOf(devicesOf(draft)) };
    return succeed(this.#told(plan, readingsOf(shown, found)));
  }

  /** In the order of the stop, mapped registers of a stage first; whole words, never undone. */
  #safeWrites(devices: readonly DeviceDescriptor[]): readonly WriteStep[] {
    const wanted = new Set(devices.map((device) => device.id));
    return safeStagesOf(this.#parts.access)
      .flatMap(({ immediate, queued }) => [
        ...immediate,
        ...queued.flat().flatMap((device) => device.writes),
      ])
      .filter(({ point }) => wanted.has(point.device.id))
      .map(({ point: { device, spec }, word, mask, expected }) => ({
        kind: 'write',
        device: device.id,
        register: spec.name,
        widthBits: spec.widthBits,
        mask: widthMask(spec.widthBits),
        value: word,
        settleUs: spec.settleUs,
        expect: mask === 0n ? null : { mask, value: expected },
        irreversible: true,
      }));
  }

  #told(plan: RegisterPlan, preview: readonly RegisterReading[] | undefined): RegisterPlan {
    const risk = assessKernelRisk(plan, this.#parts.access.devices);
    return preview === undefined ? { ...plan, risk } : { ...plan, preview, risk };
  }

  #remember(plan: RegisterPlan): void {
    this.#plans.delete(plan.digest);
    this.#plans.set(plan.digest, plan);
    const oldest = this.#plans.keys().next();
    if (this.#plans.size > PLANS_MAX && oldest.done !== true) this.#plans.delete(oldest.value);
  }

  /** Every access of the execution taking its whole time: thermometers before each step, priors, writes, read-backs. */
  #worstCaseMs(steps: readonly RegisterStep[], guards: PlanGuards): number {
    const { access } = this.#parts;
    const accessMs = (place: { readonly device: LinearId; readonly register: string }) =>
      access.point(place.device, place.register)?.queue.accessTimeoutMs ?? 0;
    const sum = (places: readonly { readonly device: LinearId; readonly register: string }[]) =>
      places.reduce((total, place) => total + accessMs(place), 0);
    let totalMs = sum(guards.thermal) * steps.length + sum(guards.unchanged);
    for (const step of steps) {
      const spec = access.point(step.device, step.register)?.spec;
      if (step.kind === 'read' || spec === undefined) {
        totalMs += accessMs(step);
        continue;
      }
      const settleMs = Math.ceil(step.settleUs / 1000);
      const prior = needsPrior(spec, step) ? 1 : 0;
      const looks = step.expect === null ? 0 : READ_BACKS;
      const pauses = Math.max(0, looks - 1) * Math.max(READ_BACK_INTERVAL_MS, settleMs);
      totalMs += accessMs(step) * (prior + 1 + looks) + settleMs + pauses;
    }
    return totalMs;
  }
}

function readingsOf(steps: readonly WriteStep[], found: FoundWords): readonly RegisterReading[] {
  return steps.map(({ device, register }) => {
    const word = found.get(keyOf({ device, register }));
    if (word === undefined) return { device, register };
    return word.ok
      ? { device, register, value: word.value }
      : { device, register, fault: word.fault };
  });
}
