// Who wrote what to metal and with whose permission: every write is matched to the operation that kernel was performing.
// Invariants: knows plans only as kernel gave them and permissions only as they were signed; believes no receipt.

import type { SimulatedHardware } from '#drivers/bus/simulated/hardware';
import type { Authorization } from '#model/authorization';
import { type LinearId, registerOf } from '#model/device';
import type { RegisterReading } from '#model/operation';
import { planDigest, type RegisterPlan, type WriteStep, writesOf } from '#model/plan';
import type { Word } from '#model/register';

/** One write of a plan that reached the device. */
export interface Forward {
  readonly step: WriteStep;
  readonly index: number;
  readonly value: Word;
  /** What the register held when the write was handed to the bus. */
  readonly before: Word;
  /** It was also the safe value: it may have been the stop that wrote it. */
  readonly ambiguous: boolean;
  undone: boolean;
  /** The register showed the earlier content when the last window closed. */
  restored: boolean;
}

export interface OperationTrack {
  readonly operationId: string;
  readonly plan: RegisterPlan;
  readonly forwards: Forward[];
  /** Next write of the plan, counted in its writes. */
  next: number;
  /** Words that the agent read from the registers of the plan since its devices were leased. */
  readonly reads: Map<string, Set<Word>>;
  /** Prior contents that security named in a request to recover. */
  readonly recoveryPriors: RegisterReading[];
  readonly leasedAtMs: number;
  window: 'closed' | 'commit' | 'recover';
  /** Security signed for what kernel was asked to do now, and in time. */
  permitted: boolean;
  commits: number;
  /** Devices that a stop or a hold covered when the last window closed. */
  covered: ReadonlySet<LinearId>;
  /** Which of the plan's writes the metal held, by index, when the last window closed. */
  holding: ReadonlySet<number>;
  lastClosedMs: number;
}

/** A write as it was handed to a bus. */
export interface Handed {
  readonly device: LinearId;
  readonly register: string;
  readonly word: Word;
  readonly before: Word;
  readonly atMs: number;
  /** The stop stood, or the device was stopped. */
  readonly stopped: boolean;
  readonly operation: OperationTrack | null;
}

export type WriteKind = 'forward' | 'undo' | 'recovery-undo' | 'safe';

export class Ledger {
  readonly #hardware: SimulatedHardware;
  readonly #plans = new Map<string, RegisterPlan>();
  readonly #granted = new Map<string, Authorization[]>();
  readonly operations = new Map<string, OperationTrack>();
  /** The operation that kernel performs on a device now. */
  readonly #open = new Map<LinearId, OperationTrack>();

  constructor(hardware: SimulatedHardware) {
    this.#hardware = hardware;
  }

  /** Null when the plan is what its digest says. */
  planned(plan: RegisterPlan): string | null {
    if (planDigest(plan.type, plan.steps, plan.guards) !== plan.digest)
      return `plan ${plan.digest.slice(0, 12)} is not what its digest says`;
    this.#plans.set(plan.digest, plan);
    return null;
  }

  granted(authorization: Authorization): void {
    const key = `${authorization.operationId} ${authorization.planDigest}`;
    const earlier = this.#granted.get(key);
    if (earlier === undefined) this.#granted.set(key, [authorization]);
    else earlier.push(authorization);
  }

  /** Kernel leases the devices and reads what stands there. */
  preparing(operationId: string, digest: string, nowMs: number): OperationTrack | null {
    const known = this.operations.get(operationId);
    if (known !== undefined) return known;
    const plan = this.#plans.get(digest);
    if (plan === undefined) return null;
    const operation: OperationTrack = {
      operationId,
      plan,
      forwards: [],
      next: 0,
      reads: new Map(),
      recoveryPriors: [],
      leasedAtMs: nowMs,
      window: 'closed',
      permitted: false,
      commits: 0,
      covered: new Set(),
      holding: new Set(),
      lastClosedMs: nowMs,
    };
    this.operations.set(operationId, operation);
    return operation;
  }

  /** Why kernel must not perform this, or null. */
  opens(
    operation: OperationTrack,
    window: 'commit' | 'recover',
    authorization: Authorization,
    nowMs: number,
  ): string | null {
    operation.window = window;
    // Reads share a device with whatever else goes on there.
    if (writesOf(operation.plan).length > 0)
      for (const step of operation.plan.steps) this.#open.set(step.device, operation);
    if (window === 'commit') operation.commits += 1;
    const key = `${operation.operationId} ${operation.plan.digest}`;
    const signed = this.#granted.get(key)?.find((one) => one.signature === authorization.signature);
    operation.permitted = signed !== undefined && signed.expiresAtMs > nowMs;
    if (signed === undefined) return 'security never signed its authorization';
    return operation.permitted ? null : 'its authorization had expired';
  }

  closes(operation: OperationTrack, covered: ReadonlySet<LinearId>, nowMs: number): void {
    operation.window = 'closed';
    operation.covered = covered;
    operation.lastClosedMs = nowMs;
    operation.holding = this.#holding(operation);
    for (const done of operation.forwards) {
      const model = this.#hardware.models.get(done.step.device);
      done.restored = model?.peek(done.step.register) === done.before;
    }
    for (const [device, open] of this.#open) if (open === operation) this.#open.delete(device);
  }

  /** Kernel died: whatever it was doing has ended. */
  openOperations(): readonly OperationTrack[] {
    return [...new Set(this.#open.values())];
  }

  on(device: LinearId): OperationTrack | null {
    return this.#open.get(device) ?? null;
  }

  hasRead(device: LinearId, register: string, word: Word): void {
    for (const operation of this.operations.values()) {
      if (operation.window === 'closed' && operation.commits > 0) continue;
      const key = `${device}.${register}`;
      if (!operation.plan.steps.some((step) => step.device === device)) continue;
      const words = operation.reads.get(key) ?? new Set();
      words.add(word);
      operation.reads.set(key, words);
    }
  }

  /** What this write was; null when nothing explains it. */
  explain(handed: Handed): WriteKind | null {
    const { device, register, word, operation } = handed;
    const spec = this.#spec(device, register);
    const safe = spec?.safeValue === word;
    if (handed.stopped) return safe ? 'safe' : null;
    if (operation?.permitted === false) return safe ? 'safe' : null;
    if (operation !== null && operation.window !== 'recover') {
      if (this.#forward(operation, handed, safe)) return 'forward';
      if (this.#undo(operation, handed)) return 'undo';
    } else if (operation !== null && this.#recoveryUndo(operation, handed)) {
      return 'recovery-undo';
    }
    return safe ? 'safe' : null;
  }

  #forward(operation: OperationTrack, handed: Handed, safe: boolean): boolean {
    const writes = writesOf(operation.plan);
    const step = writes[operation.next];
    if (step === undefined || step.device !== handed.device || step.register !== handed.register)
      return false;
    if ((handed.word & step.mask) !== (step.value & step.mask)) return false;
    operation.forwards.push({
      step,
      index: operation.next,
      value: handed.word,
      before: handed.before,
      ambiguous: safe,
      undone: false,
      restored: false,
    });
    operation.next += 1;
    return true;
  }

  #undo(operation: OperationTrack, handed: Handed): boolean {
    const spec = this.#spec(handed.device, handed.register);
    if (spec === undefined) return false;
    const done = [...operation.forwards]
      .reverse()
      .find(
        ({ step, undone }) =>
          !undone && step.device === handed.device && step.register === handed.register,
      );
    if (done === undefined) return false;
    const read = operation.reads.get(`${handed.device}.${handed.register}`) ?? new Set<Word>();
    const priors = [done.before, ...read].map((word) => word & ~spec.selfClearingMask);
    if (!priors.includes(handed.word)) return false;
    done.undone = true;
    return true;
  }

  #recoveryUndo(operation: OperationTrack, handed: Handed): boolean {
    const spec = this.#spec(handed.device, handed.register);
    if (spec === undefined) return false;
    const named = operation.recoveryPriors.some(
      ({ device, register, value }) =>
        device === handed.device &&
        register === handed.register &&
        value !== undefined &&
        (value & ~spec.selfClearingMask) === handed.word,
    );
    if (!named) return false;
    for (const done of operation.forwards) {
      if (done.step.device === handed.device && done.step.register === handed.register)
        done.undone = true;
    }
    return true;
  }

  #holding(operation: OperationTrack): ReadonlySet<number> {
    const held = new Set<number>();
    for (const [index, step] of writesOf(operation.plan).entries()) {
      const word = this.#hardware.models.get(step.device)?.peek(step.register);
      const { mask, value } = step.expect ?? { mask: 0n, value: 0n };
      if (word !== undefined && (word & mask) === (value & mask)) held.add(index);
    }
    return held;
  }

  #spec(device: LinearId, register: string) {
    const model = this.#hardware.models.get(device);
    return model === undefined ? undefined : registerOf(model.device, register)?.spec;
  }
}
