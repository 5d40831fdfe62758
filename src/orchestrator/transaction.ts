// One operation's two-phase commit: votes, the durable decision, kernel's commit, and what follows for the others.
// Invariants: kernel votes last and commits first; nothing is committed before its decision is durable; a lost answer is
// settled by recovery, and what cannot be settled in time is told as in doubt with its devices held.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Authorization } from '#model/authorization';
import type { DeviceDescriptor, LinearId } from '#model/device';
import {
  type EffectOutcome,
  type Intent,
  OperationType,
  type RegisterReading,
} from '#model/operation';
import { devicesOf, type RegisterPlan } from '#model/plan';
import type { CommitReceipt, KernelTrack, PrepareRequest, PrepareVote, Track } from '#model/track';
import type { TrackName } from '#model/track-name';
import { NO_VOTES, type TransactionState, type Vote } from '#model/transaction';
import type { HoldBook } from './hold-book.ts';
import type { Journal } from './journal.ts';
import type { TransactionRecovery } from './transaction-recovery.ts';

export interface TransactionParts {
  readonly clock: Clock;
  readonly kernel: KernelTrack;
  readonly security: Track;
  readonly interface: Track;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly journal: Journal;
  readonly holds: HoldBook;
  readonly recovery: TransactionRecovery;
  /** Called as each state is reached. */
  readonly onState?: (state: TransactionState, operationId: string) => void;
  /** New holds stand that kernel does not enforce yet. */
  readonly onHolds: () => void;
}

export interface TransactionOrder {
  readonly intent: Intent;
  readonly plan: RegisterPlan;
  readonly authorization: Authorization;
  /** Principal id. */
  readonly requestedBy: string;
  readonly involved: readonly TrackName[];
  readonly deadline: Deadline;
  /** Kernel holds the devices for this operation already. */
  readonly selected: boolean;
  /** What each track did, for the receipt. */
  readonly note: (track: TrackName, startMs: number, outcome: Outcome<unknown>) => void;
}

/** Longest wait for a track that has no metal, milliseconds. */
const OTHERS_LIMIT_MS = 1_000;
/** Longest execution where the caller says no less, milliseconds. */
const EXECUTION_LIMIT_MS = 30_000;
/** The executor keeps the limit itself; this is for hearing what became of the metal. */
const HEARING_MS = 5_000;
/** Longest wait for recovery, and what is kept of the caller's time for writing down what came of it, milliseconds. */
const RECOVERY_LIMIT_MS = 5_000;
const ANSWER_RESERVE_MS = 300;

/** Of these faults nobody knows whether the track had promised before. */
const MAY_HAVE_PROMISED: ReadonlySet<FaultCode> = new Set([
  'TRACK_UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'LINK_CORRUPT',
  'LINK_PROTOCOL',
  'INTERNAL',
]);

export class Transaction {
  readonly #parts: TransactionParts;
  readonly #order: TransactionOrder;
  readonly #votes: Record<TrackName, Vote> = { ...NO_VOTES };
  readonly #toAbort = new Set<TrackName>();
  #limit: Deadline | null = null;
  #priors: readonly RegisterReading[] = [];
  #decided = false;
  #following: readonly Promise<void>[] = [];
  /** Who writes the outcome down: this object, or recovery because an answer was lost. */
  #closing: 'here' | 'by recovery' | 'later' = 'here';

  constructor(parts: TransactionParts, order: TransactionOrder) {
    this.#parts = parts;
    this.#order = order;
    if (order.selected) this.#toAbort.add('kernel');
  }

  get decided(): boolean {
    return this.#decided;
  }

  /** All at once: kernel's promise reads and writes nothing, and a refusal of another gives the devices free again. */
  async prepare(): Promise<Outcome<void>> {
    this.#reached('PREPARING');
    const { plan } = this.#order;
    const limit = this.#executionLimit();
    for (const device of devicesOf(plan)) {
      const doubt = this.#parts.holds.doubt(device);
      if (doubt === undefined) continue;
      const place = this.#parts.devices.get(device)?.slug ?? `device ${device}`;
      return refuse(fault('DEVICE_INHIBITED', { place, finding: doubt.reason }));
    }
    const asking = this.#ask('kernel', limit);
    const votes = await Promise.all(
      this.#others().map((name) => this.#ask(name, limit.within(OTHERS_LIMIT_MS))),
    );
    const no = votes.find((vote) => !vote.ok);
    if (no !== undefined && !no.ok) return no;
    const vote = await asking;
    if (!vote.ok) return vote;
    this.#priors = vote.value.priors;
    this.#reached('PREPARED');
    return succeed(undefined);
  }

  async decide(): Promise<Outcome<void>> {
    const { journal, recovery, clock } = this.#parts;
    const { intent, plan, requestedBy } = this.#order;
    if (this.#executionLimit().expired()) {
      const place = `operation ${intent.operationId}`;
      const finding = 'its time was over before anything was decided';
      const consequence = 'nothing was written';
      return refuse(fault('DEADLINE_EXCEEDED', { place, finding, consequence }));
    }
    recovery.performing(intent.operationId);
    const durable = await journal.decide({
      intent,
      plan,
      priors: this.#priors,
      votes: { ...this.#votes },
      requestedBy,
      decidedWallMs: clock.wallMs(),
    });
    if (!durable.ok) {
      recovery.performed(intent.operationId);
      return durable;
    }
    this.#decided = true;
    this.#reached('DECIDED');
    return durable;
  }

  /** Kernel first; the other tracks follow its outcome, cannot change it, and are heard while it is written down. */
  async commit(): Promise<CommitReceipt> {
    const receipt = await this.#commitKernel();
    // Recovery tells the others itself, as soon as it knows what to tell.
    if (!this.#decided || this.#closing !== 'here') return receipt;
    const { clock } = this.#parts;
    const limit = Deadline.after(clock, OTHERS_LIMIT_MS);
    const request = { ...this.#request(), deadlineMs: limit.atMs };
    const committed = receipt.fault === undefined;
    this.#following = this.#others().map(async (name) => {
      const startMs = clock.nowMs();
      const track = this.#parts[name];
      const settled: Outcome<unknown> = committed
        ? await track.commit(request, limit)
        : await track.abort(request.operationId, limit);
      this.#order.note(name, startMs, settled);
    });
    return receipt;
  }

  /** Resolves when the other tracks have followed, or had their time to. */
  async followed(): Promise<void> {
    await Promise.all(this.#following);
  }

  /** Reaches whoever promised or may have. */
  async abort(): Promise<void> {
    const limit = Deadline.after(this.#parts.clock, OTHERS_LIMIT_MS);
    const { operationId } = this.#order.intent;
    await Promise.all(
      [...this.#toAbort].map((name) => this.#parts[name].abort(operationId, limit)),
    );
  }

  /** Outcome, and the holds that follow from it; inside the transaction of the audit entry. */
  closeBeside(effect: EffectOutcome): void {
    const { journal, holds, clock } = this.#parts;
    const { intent, plan } = this.#order;
    const { operationId } = intent;
    const devices = devicesOf(plan);
    if (this.#closing === 'here') journal.close(operationId, effect);
    if (this.#closing === 'later') journal.tell(operationId);
    if (effect === 'in-doubt') {
      const reason = `operation ${operationId} left it in doubt`;
      const sinceWallMs = clock.wallMs();
      holds.addBeside(devices.map((device) => ({ device, kind: 'in-doubt', reason, sinceWallMs })));
    }
    if (effect === 'committed' && intent.type === OperationType.ACTIVATE) {
      for (const device of devices) holds.liftBeside(device, 'deactivated');
    }
  }

  /** After the audit entry: what is not on record stays open and is settled once it can be written. */
  recorded(written: 'durable' | 'failed', effect: EffectOutcome): void {
    const { recovery, holds, onHolds } = this.#parts;
    const { intent, plan } = this.#order;
    if (written === 'failed') {
      holds.reread();
      if (this.#closing === 'here') recovery.handOver(intent.operationId, devicesOf(plan));
      return;
    }
    if (this.#closing === 'here') recovery.performed(intent.operationId);
    if (effect === 'in-doubt') onHolds();
    this.#reached('RECORDED');
  }

  async #ask(name: TrackName, deadline: Deadline): Promise<Outcome<PrepareVote>> {
    const startMs = this.#parts.clock.nowMs();
    this.#toAbort.add(name);
    const vote = await this.#parts[name].prepare(this.#request(), deadline);
    this.#votes[name] = vote.ok ? 'yes' : 'no';
    this.#order.note(name, startMs, vote);
    if (!vote.ok) {
      const kept = name === 'kernel' && this.#order.selected;
      if (!MAY_HAVE_PROMISED.has(vote.fault.code) && !kept) this.#toAbort.delete(name);
    }
    return vote;
  }

  async #commitKernel(): Promise<CommitReceipt> {
    const { clock, kernel } = this.#parts;
    const { note, intent } = this.#order;
    const limit = this.#executionLimit();
    const startMs = clock.nowMs();
    const patience = Deadline.after(clock, limit.remainingMs() + HEARING_MS);
    const asking = kernel.commit({ ...this.#request(), deadlineMs: limit.atMs }, patience);
    if (this.#decided) this.#reached('COMMITTING');
    const committed = await asking;
    if (this.#decided) this.#reached('COMMITTED');
    note('kernel', startMs, committed);
    if (committed.ok) return committed.value;
    // A lost or late answer says nothing about the metal; a refusal says that nothing was done.
    if (!this.#decided || committed.fault.metal === 'untouched') {
      if (this.#decided) await kernel.abort(intent.operationId, limit.within(OTHERS_LIMIT_MS));
      return nothingWritten(committed.fault, clock.nowMs() - startMs);
    }
    return this.#recovered(committed.fault, startMs);
  }

  /** The answer was lost: what recovery finds in time is the truth, and else nobody knows. */
  async #recovered(cause: Fault, startMs: number): Promise<CommitReceipt> {
    const { clock, recovery } = this.#parts;
    const { intent, plan, deadline, note } = this.#order;
    const { operationId } = intent;
    this.#closing = 'later';
    const remainingMs = Math.max(0, deadline.remainingMs() - ANSWER_RESERVE_MS);
    const limit = Deadline.after(clock, Math.min(remainingMs, RECOVERY_LIMIT_MS));
    const settled = await recovery.outcome(operationId, devicesOf(plan), limit);
    if (settled !== undefined) {
      this.#closing = 'by recovery';
      note('kernel', startMs, succeed(settled));
      return settled;
    }
    const finding = `${cause.place}: ${cause.finding}`;
    return {
      effect: 'in-doubt',
      readings: [],
      durationMs: clock.nowMs() - startMs,
      fault: fault('IN_DOUBT', { place: `operation ${operationId}`, finding, metal: 'unknown' }),
    };
  }

  #request(): PrepareRequest {
    const { intent, plan, authorization } = this.#order;
    return { operationId: intent.operationId, planDigest: plan.digest, authorization };
  }

  /** From the first vote to the last write: `max_execution_time_ms`, and never longer than the caller waits. */
  #executionLimit(): Deadline {
    const asked = this.#order.intent.requirements.maxExecutionTimeMs;
    const limitMs = asked === 0 ? EXECUTION_LIMIT_MS : Math.min(asked, EXECUTION_LIMIT_MS);
    this.#limit ??= this.#order.deadline.within(limitMs);
    return this.#limit;
  }

  #others(): readonly ('security' | 'interface')[] {
    return (['security', 'interface'] as const).filter((name) =>
      this.#order.involved.includes(name),
    );
  }

  #reached(state: TransactionState): void {
    this.#parts.onState?.(state, this.#order.intent.operationId);
  }
}

function nothingWritten(cause: Fault, durationMs: number): CommitReceipt {
  return { effect: 'none', readings: [], durationMs, fault: cause };
}
