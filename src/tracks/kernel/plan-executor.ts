// Performs one plan on metal, step by step, and says honestly what became of it.
// Invariants: stop and deadline are tested before every write, guarded temperatures before every step; every write is
// read back where the plan says so; a plan commits only when the registers under its protection hold what they held;
// after a failure the writes already made are undone in reverse order, or the devices are reported in doubt.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import type { EffectOutcome, RegisterReading } from '#model/operation';
import type { ReadStep, RegisterPlan, RegisterStep, WriteStep } from '#model/plan';
import { formatWord, type RegisterSpec, type Word, widthMask } from '#model/register';
import { needsPrior } from '#model/written-word';
import { Priority } from './bus-queue.ts';
import type { DeviceAccess } from './device-access.ts';
import { judgeTemperatures, judgeUnchanged } from './plan-guards.ts';
import { checkAgainstPrior, checkStep } from './register-policy.ts';
import { readInTurn } from './register-reader.ts';

export interface Execution {
  readonly effect: EffectOutcome;
  readonly readings: readonly RegisterReading[];
  /** Why it did not commit. */
  readonly fault?: Fault;
  /** Devices that may hold half a transaction. */
  readonly inDoubt: readonly LinearId[];
}

export interface ExecutorParts {
  readonly access: DeviceAccess;
  readonly clock: Clock;
  /** Asked between any two writes; no operation begins on a device for which it is true. */
  readonly stopEngaged: (device: LinearId) => boolean;
  /** Whether that is because the device goes into quarantine; never where absent. */
  readonly leaving?: (device: LinearId) => boolean;
  /** Whether it is because somebody put the device on hold meanwhile, and no stop came; never where absent. */
  readonly doubted?: (device: LinearId) => boolean;
  /** Why no further write may be made although nothing is stopped, or null; what was written is undone. */
  readonly holdReason: () => string | null;
}

/** A write that reached the bus, and what to write to undo it. */
export interface MadeWrite {
  readonly step: WriteStep;
  readonly spec: RegisterSpec;
  readonly prior: Word | undefined;
}

const READ_BACK_TRIES = 3;
const READ_BACK_INTERVAL_MS = 1;
/** Time kept for undoing after the plan's own deadline has passed, milliseconds. */
const ROLLBACK_BUDGET_MS = 2_000;

export class PlanExecutor {
  readonly #parts: ExecutorParts;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
  }

  /** `guarded`: what the registers of `guards.unchanged` held in prepare. */
  async execute(
    plan: RegisterPlan,
    deadline: Deadline,
    guarded: readonly RegisterReading[] = [],
  ): Promise<Execution> {
    const readings: RegisterReading[] = [];
    const done: MadeWrite[] = [];
    const watched = plan.guards.thermal.length > 0;
    for (let index = 0; index < plan.steps.length; ) {
      const step = plan.steps[index];
      if (step === undefined) break;
      const hot = watched ? await this.#temperature(plan, step, deadline) : undefined;
      if (hot !== undefined) return this.#failed(plan, hot, done, readings);
      if (step.kind === 'read') {
        const reads = watched ? [step] : readsFrom(plan, index);
        readings.push(...(await this.#read(reads, deadline)));
        index += reads.length;
        continue;
      }
      const failure = await this.#write(step, deadline, done, readings);
      if (failure !== undefined) return this.#failed(plan, failure, done, readings);
      index += 1;
    }
    const changed = done.length > 0 ? await this.#protected(plan, deadline, guarded) : undefined;
    if (changed !== undefined) return this.#failed(plan, changed, done, readings);
    const broken = readings.find((reading) => reading.fault !== undefined);
    if (done.length > 0) return { effect: 'committed', readings, inDoubt: [] };
    // A plan of reads alone fails only when nothing at all could be read.
    const everyReadFailed =
      readings.length > 0 && readings.every((reading) => reading.fault !== undefined);
    if (everyReadFailed && broken?.fault !== undefined) {
      return { effect: 'none', readings, fault: broken.fault, inDoubt: [] };
    }
    return { effect: 'none', readings, inDoubt: [] };
  }

  /** Why the next step may not be made, judged by the thermometers of all devices of the plan. */
  async #temperature(
    plan: RegisterPlan,
    next: RegisterStep,
    deadline: Deadline,
  ): Promise<Fault | undefined> {
    const { access } = this.#parts;
    const obstacle = next.kind === 'write' ? this.#obstacle(next, deadline) : undefined;
    if (obstacle !== undefined) return obstacle;
    const found = await readInTurn(access, plan.guards.thermal, deadline);
    return judgeTemperatures(access, plan.guards.thermal, found);
  }

  /** The first register that the plan does not write and that is no longer what it was. */
  async #protected(
    plan: RegisterPlan,
    deadline: Deadline,
    guarded: readonly RegisterReading[],
  ): Promise<Fault | undefined> {
    const { access } = this.#parts;
    const { unchanged } = plan.guards;
    if (unchanged.length === 0) return undefined;
    const found = await readInTurn(access, unchanged, deadline);
    return judgeUnchanged(access, unchanged, guarded, found);
  }

  async #read(steps: readonly ReadStep[], deadline: Deadline): Promise<RegisterReading[]> {
    const { access } = this.#parts;
    const refused = steps.map((step) => checkStep(access.devices.get(step.device), step));
    const allowed = steps.filter((_, index) => refused[index]?.ok === true);
    const words = await access.readMany(allowed, deadline, Priority.OPERATION);
    let next = 0;
    return steps.map((step, index) => {
      const verdict = refused[index];
      const place = { device: step.device, register: step.register };
      if (verdict !== undefined && !verdict.ok) return { ...place, fault: verdict.fault };
      const word = words[next++];
      if (word === undefined) return place;
      return word.ok ? { ...place, value: word.value } : { ...place, fault: word.fault };
    });
  }

  async #write(
    step: WriteStep,
    deadline: Deadline,
    done: MadeWrite[],
    readings: RegisterReading[],
  ): Promise<Fault | undefined> {
    const { access } = this.#parts;
    const place = access.placeOf(step);
    const obstacle = this.#obstacle(step, deadline);
    if (obstacle !== undefined) return obstacle;
    const allowed = checkStep(access.devices.get(step.device), step);
    if (!allowed.ok) return allowed.fault;
    const spec = allowed.value;
    let prior: Word | undefined;
    if (needsPrior(spec, step)) {
      const before = await access.read(step, deadline, Priority.OPERATION);
      if (!before.ok) return before.fault;
      prior = before.value;
    }
    const word = checkAgainstPrior(place, spec, step, prior);
    if (!word.ok) return word.fault;
    // Reading the prior may have taken a while on a slow bus.
    const late = this.#obstacle(step, deadline);
    if (late !== undefined) return late;
    const written = await access.write(step, word.value, deadline, Priority.OPERATION);
    if (!written.ok) {
      if (written.fault.metal !== 'untouched') done.push({ step, spec, prior });
      return written.fault;
    }
    done.push({ step, spec, prior });
    const readBack = await this.#readBack(step, spec, deadline);
    if (!readBack.ok) return readBack.fault;
    readings.push({
      device: step.device,
      register: step.register,
      value: readBack.value ?? word.value,
      ...(prior === undefined ? {} : { before: prior }),
    });
    return undefined;
  }

  #whatStops({ device }: WriteStep): string {
    if (this.#parts.leaving?.(device) === true) return 'the device went into quarantine';
    const doubted = this.#parts.doubted?.(device) === true;
    return doubted ? 'the device was held as in doubt' : 'the stop came';
  }

  #obstacle(step: WriteStep, deadline: Deadline): Fault | undefined {
    const place = this.#parts.access.placeOf(step);
    if (this.#parts.stopEngaged(step.device)) {
      return fault('STOPPED_MIDWAY', {
        place,
        finding: `${this.#whatStops(step)} before this write`,
      });
    }
    const held = this.#parts.holdReason();
    if (held !== null) return fault('INTERLOCK_OPEN', { place, finding: held });
    if (deadline.expired()) {
      return fault('DEADLINE_EXCEEDED', {
        place,
        finding: 'the deadline passed before this write',
      });
    }
    return undefined;
  }

  /** The word read back, or nothing where the plan does not compare. */
  async #readBack(
    step: WriteStep,
    spec: RegisterSpec,
    deadline: Deadline,
  ): Promise<Outcome<Word | undefined>> {
    const { clock, access } = this.#parts;
    if (step.settleUs > 0) await clock.sleep(Math.ceil(step.settleUs / 1000));
    if (step.expect === null) return succeed(undefined);
    let seen: Word = 0n;
    for (let attempt = 1; attempt <= READ_BACK_TRIES; attempt++) {
      const read = await access.read(step, deadline, Priority.OPERATION);
      if (!read.ok) return refuse({ ...read.fault, metal: 'touched' });
      seen = read.value;
      if ((seen & step.expect.mask) === (step.expect.value & step.expect.mask))
        return succeed(seen);
      if (attempt < READ_BACK_TRIES) {
        await clock.sleep(Math.max(READ_BACK_INTERVAL_MS, Math.ceil(step.settleUs / 1000)));
      }
    }
    const wrote = formatWord(step.expect.value & step.expect.mask, spec.widthBits);
    const finding = `wrote ${wrote}, read back ${formatWord(seen & step.expect.mask, spec.widthBits)} three times`;
    return refuse(
      fault('READ_BACK_MISMATCH', { place: access.placeOf(step), finding, metal: 'touched' }),
    );
  }

  async #failed(
    plan: RegisterPlan,
    cause: Fault,
    done: readonly MadeWrite[],
    readings: readonly RegisterReading[],
  ): Promise<Execution> {
    const stopped = done.find(({ step }) => this.#parts.stopEngaged(step.device));
    if (stopped !== undefined || cause.code === 'STOPPED_MIDWAY') {
      // A safe value that arrives between a write and its read-back looks like a mismatch, and is none.
      const finding =
        cause.code === 'STOPPED_MIDWAY' || stopped === undefined
          ? cause.finding
          : `${this.#whatStops(stopped.step)} during this write`;
      return this.#stopped(plan, { ...cause, finding }, done, readings);
    }
    if (done.length === 0) {
      return { effect: 'none', readings, fault: { ...cause, metal: 'untouched' }, inDoubt: [] };
    }
    const stuck = await this.undo(done);
    if (stuck.length === 0) {
      const consequence = `${done.length} of ${done.length} writes rolled back`;
      return {
        effect: 'rolled-back',
        readings,
        fault: { ...cause, consequence, metal: 'touched' },
        inDoubt: [],
      };
    }
    const undone = done.length - stuck.length;
    const consequence = `${undone} of ${done.length} writes rolled back, the device is inhibited until a person releases it`;
    const inDoubt = [...new Set(stuck)];
    return {
      effect: 'in-doubt',
      readings,
      fault: { ...cause, consequence, metal: 'touched' },
      inDoubt,
    };
  }

  /** Stopped devices go to their safe values; what was written to others, which the stop does not concern, is undone. */
  async #stopped(
    plan: RegisterPlan,
    cause: Fault,
    done: readonly MadeWrite[],
    readings: readonly RegisterReading[],
  ): Promise<Execution> {
    const total = plan.steps.filter((step) => step.kind === 'write').length;
    const stuck = await this.undo(done.filter(({ step }) => !this.#parts.stopEngaged(step.device)));
    const inDoubt = [...new Set(stuck)];
    const told = fault('STOPPED_MIDWAY', {
      place: cause.place,
      finding: cause.finding,
      consequence: `${done.length} of ${total} writes were made; the stopped devices go to their safe values`,
      metal: done.length === 0 ? 'untouched' : 'touched',
    });
    return { effect: 'stopped', readings, fault: told, inDoubt };
  }

  /** Undoes in reverse order; gives the devices of writes that could not be undone and seen to be undone. */
  async undo(done: readonly MadeWrite[]): Promise<readonly LinearId[]> {
    const { access, clock } = this.#parts;
    const deadline = Deadline.after(clock, ROLLBACK_BUDGET_MS);
    const stuck: LinearId[] = [];
    for (const { step, spec, prior } of [...done].reverse()) {
      if (step.irreversible || prior === undefined) {
        stuck.push(step.device);
        continue;
      }
      const back = prior & ~spec.selfClearingMask;
      const written = await access.write(step, back, deadline, Priority.OPERATION);
      const mask = spec.readBackMask & widthMask(spec.widthBits);
      const expect = mask === 0n ? null : { mask, value: back };
      const seen = written.ok ? await this.#readBack({ ...step, expect }, spec, deadline) : written;
      if (!seen.ok) stuck.push(step.device);
    }
    return stuck;
  }
}

function readsFrom(plan: RegisterPlan, start: number): readonly ReadStep[] {
  const reads: ReadStep[] = [];
  for (let index = start; index < plan.steps.length; index++) {
    const step = plan.steps[index];
    if (step?.kind !== 'read') break;
    reads.push(step);
  }
  return reads;
}
