// Settles transactions whose receipt never reached security: from memory where this process took part, else from metal.
// Invariants: says `committed` or `rolled-back` only when every written register was seen to hold the one or the other;
// a transaction that was settled is never performed afterwards, and settles the same way each time it is asked for.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import type { RegisterReading } from '#model/operation';
import { devicesOf, type RegisterReference } from '#model/plan';
import type { Word } from '#model/register';
import type { CommitReceipt } from '#model/track';
import type { RecoveredOutcome, RecoveryRequest } from '#model/transaction';
import { Priority } from './bus-queue.ts';
import type { DeviceAccess } from './device-access.ts';
import type { MadeWrite } from './plan-executor.ts';
import { classify, type Standing, tracesOf } from './register-trace.ts';

/** Receipts and promises of this process kept for a security process that comes back. */
const KEPT_MAX = 256;
/** A bus that is not open yet gets this long, milliseconds: kernel may just have started. */
const OPEN_LIMIT_MS = 1_500;
const READ_TRIES = 3;
const AGAIN_MS = 20;

export interface RecoveryParts {
  readonly access: DeviceAccess;
  readonly clock: Clock;
  readonly stopEngaged: (device: LinearId) => boolean;
  /** Undoes in reverse order; gives the devices that were not seen to be undone. */
  readonly undo: (writes: readonly MadeWrite[]) => Promise<readonly LinearId[]>;
}

interface Running {
  readonly done: Promise<void>;
  readonly end: () => void;
}

export class Recovery {
  readonly #parts: RecoveryParts;
  /** Prepared by this process and not begun: as long as it stays here, nothing was written. */
  readonly #promised = new Set<string>();
  readonly #running = new Map<string, Running>();
  readonly #receipts = new Map<string, CommitReceipt>();
  readonly #settling = new Map<string, Promise<CommitReceipt>>();

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
  }

  /** This process voted yes. */
  promise(operationId: string): void {
    this.#promised.add(operationId);
    const oldest = this.#promised.values().next();
    if (this.#promised.size > KEPT_MAX && oldest.done !== true) this.#promised.delete(oldest.value);
  }

  /** The first write may follow. */
  begin(operationId: string): void {
    this.#promised.delete(operationId);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#running.set(operationId, { done: promise, end: resolve });
  }

  end(operationId: string, receipt: CommitReceipt): void {
    this.#keep(operationId, receipt);
    this.#running.get(operationId)?.end();
    this.#running.delete(operationId);
  }

  /** It ended without a receipt. */
  lose(operationId: string): void {
    this.#running.get(operationId)?.end();
    this.#running.delete(operationId);
  }

  /** Whether it came to its end here, or is being settled: it must not be performed any more. */
  isClosed(operationId: string): boolean {
    return this.#receipts.has(operationId) || this.#settling.has(operationId);
  }

  async settle(request: RecoveryRequest, deadline: Deadline): Promise<Outcome<CommitReceipt>> {
    const { operationId } = request;
    const running = this.#running.get(operationId);
    if (running !== undefined && !(await this.#ended(running, deadline))) {
      const finding = 'it is still being performed';
      const place = `operation ${operationId}`;
      return refuse(fault('DEADLINE_EXCEEDED', { place, finding, metal: 'unknown' }));
    }
    const known = this.#receipts.get(operationId);
    // A stopped one says what was done, not what stands.
    if (known !== undefined && known.effect !== 'stopped') return succeed(known);
    const begun = this.#settling.get(operationId) ?? this.#look(request, deadline);
    this.#settling.set(operationId, begun);
    try {
      const receipt = await begun;
      this.#keep(operationId, receipt);
      return succeed(receipt);
    } finally {
      this.#settling.delete(operationId);
    }
  }

  #keep(operationId: string, receipt: CommitReceipt): void {
    this.#receipts.delete(operationId);
    this.#receipts.set(operationId, receipt);
    const oldest = this.#receipts.keys().next();
    if (this.#receipts.size > KEPT_MAX && oldest.done !== true) this.#receipts.delete(oldest.value);
  }

  #ended(running: Running, deadline: Deadline): Promise<boolean> {
    return new Promise((resolve) => {
      const giveUp = this.#parts.clock.after(deadline.remainingMs(), () => resolve(false));
      void running.done.then(() => {
        giveUp();
        resolve(true);
      });
    });
  }

  async #look(request: RecoveryRequest, deadline: Deadline): Promise<CommitReceipt> {
    const { access, clock } = this.#parts;
    const startMs = clock.nowMs();
    const place = `operation ${request.operationId}`;
    const receipt = (
      effect: RecoveredOutcome,
      readings: readonly RegisterReading[],
      cause?: Fault,
    ): CommitReceipt => {
      const base = { effect, readings, durationMs: clock.nowMs() - startMs };
      return cause === undefined ? base : { ...base, fault: cause };
    };
    const inDoubt = (finding: string, readings: readonly RegisterReading[] = []) =>
      receipt('in-doubt', readings, fault('IN_DOUBT', { place, finding, metal: 'unknown' }));
    if (this.#promised.delete(request.operationId)) {
      const finding = 'kernel promised it and was never asked to perform it';
      const consequence = 'nothing was written';
      return receipt('none', [], fault('INTERRUPTED', { place, finding, consequence }));
    }
    const traced = tracesOf(request.plan, request.priors, access);
    if (!traced.ok) return inDoubt(traced.fault.finding);
    const traces = traced.value;
    await this.#untilOpen(devicesOf(request.plan), deadline);
    const seen = await this.#read(traces, deadline);
    const readings = traces.map(({ device, register, words }, index): RegisterReading => {
      const value = seen[index];
      const before = words[0];
      return {
        device,
        register,
        ...(value === undefined ? {} : { value }),
        ...(before === undefined ? {} : { before }),
      };
    });
    const found = classify(traces, seen, (device) => this.#parts.stopEngaged(device));
    const disturbed = await this.#disturbed(request, found.stands, deadline);
    if (disturbed !== undefined) return inDoubt(disturbed, readings);
    switch (found.stands) {
      case 'target':
        return receipt('committed', readings);
      case 'prior': {
        const finding = 'every register holds what it held before';
        return receipt('rolled-back', readings, interrupted(place, finding));
      }
      case 'safe': {
        const finding = 'the stop drove its devices to their safe values';
        return receipt('rolled-back', readings, interrupted(place, finding));
      }
      case 'part': {
        const stuck = await this.#parts.undo([...found.toUndo]);
        if (stuck.length > 0) return inDoubt(`${found.finding}, and not all was undone`, readings);
        const undone = readings.map(({ device, register, before }) =>
          before === undefined ? { device, register } : { device, register, value: before, before },
        );
        const finding = `${found.finding} and hold again what they held before`;
        return receipt('rolled-back', undone, interrupted(place, finding));
      }
      case 'unknown':
        return inDoubt(found.finding, readings);
    }
  }

  /** Buses that are never opened say so when they are read. */
  async #untilOpen(devices: readonly LinearId[], deadline: Deadline): Promise<void> {
    const { access, clock } = this.#parts;
    const limit = deadline.within(OPEN_LIMIT_MS);
    const queues = new Set(devices.flatMap((id) => access.pointsOf(id).map(({ queue }) => queue)));
    while (!limit.expired() && [...queues].some((queue) => !queue.state().open)) {
      await clock.sleep(AGAIN_MS);
    }
  }

  /** What each register holds; `undefined` where it could not be read. */
  async #read(
    references: readonly RegisterReference[],
    deadline: Deadline,
  ): Promise<readonly (Word | undefined)[]> {
    const { access, clock } = this.#parts;
    const seen: (Word | undefined)[] = references.map(() => undefined);
    for (let attempt = 1; attempt <= READ_TRIES; attempt++) {
      const missing = references.flatMap((one, index) =>
        seen[index] === undefined ? [{ one, index }] : [],
      );
      if (missing.length === 0 || deadline.expired()) break;
      if (attempt > 1) await clock.sleep(AGAIN_MS);
      const words = await access.readMany(
        missing.map(({ one }) => one),
        deadline,
        Priority.OPERATION,
      );
      for (const [at, word] of words.entries()) {
        const index = missing[at]?.index;
        if (word.ok && index !== undefined) seen[index] = word.value;
      }
    }
    return seen;
  }

  /** Why registers that the plan promised to leave alone do not hold what they held; nothing when they do. */
  async #disturbed(
    request: RecoveryRequest,
    stands: Standing['stands'],
    deadline: Deadline,
  ): Promise<string | undefined> {
    const { unchanged } = request.plan.guards;
    if (unchanged.length === 0 || stands === 'unknown') return undefined;
    const seen = await this.#read(unchanged, deadline);
    for (const [index, one] of unchanged.entries()) {
      const place = this.#parts.access.placeOf(one);
      const prior = request.priors.find(
        ({ device, register }) => device === one.device && register === one.register,
      )?.value;
      const now = seen[index];
      // Where nothing of the plan stands there is nothing that a missing comparison could hide.
      if ((prior === undefined || now === undefined) && stands !== 'target') continue;
      if (prior === undefined) return `what ${place} held before is not on record`;
      if (now === undefined) return `${place} cannot be read`;
      if (now !== prior) return `${place} is outside the plan and changed`;
    }
    return undefined;
  }
}

function interrupted(place: string, finding: string): Fault {
  return fault('INTERRUPTED', { place, finding, metal: 'touched' });
}
