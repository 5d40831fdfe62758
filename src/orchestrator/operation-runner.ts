// Runs one operation through its machine: plan, assess, authorize, prepare, decide, commit, record.
// Invariants: every effect and every refusal has an audit entry; nothing is committed before its decision is durable;
// what cannot be known about the metal is reported as in doubt, never as failed alone.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { FAULT_CATALOGUE } from '#foundation/fault-catalogue';
import { type Outcome, succeed } from '#foundation/outcome';
import type { Authorization } from '#model/authorization';
import type { DeviceDescriptor, LinearId } from '#model/device';
import {
  CoordinationResult,
  type EffectOutcome,
  type Intent,
  type OperationReceipt,
  OperationType,
  operationName,
  type RegisterReading,
  type TrackResult,
} from '#model/operation';
import { devicesOf, type RegisterPlan, writesOf } from '#model/plan';
import type { Origin, Principal } from '#model/principal';
import { type RiskAssessment, RiskLevel } from '#model/risk';
import type { KernelTrack, Track } from '#model/track';
import { TRACKS, type TrackName } from '#model/track-name';
import type { HoldBook } from './hold-book.ts';
import type { Journal } from './journal.ts';
import {
  INITIAL,
  type Input,
  isTerminal,
  type Phase,
  stateOf,
  transition,
} from './operation-machine.ts';
import { operationRecord } from './operation-record.ts';
import { describePlan } from './plan-text.ts';
import type { ApprovalPort, AuditPort, AuthorityPort } from './ports.ts';
import { type AggregationRule, aggregateRisk } from './risk-aggregate.ts';

export interface RunnerParts {
  readonly clock: Clock;
  readonly kernel: KernelTrack;
  readonly security: Track;
  readonly interface: Track;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly authority: AuthorityPort;
  readonly approvals: ApprovalPort;
  readonly audit: AuditPort;
  readonly journal: Journal;
  readonly holds: HoldBook;
  readonly aggregation: AggregationRule;
  readonly stopEngaged: () => boolean;
}

/** Who asked, for what, from where, until when. */
export interface OperationOrder {
  readonly intent: Intent;
  readonly principal: Principal;
  readonly origin: Origin;
  readonly deadline: Deadline;
}

/** Longest wait for one track's risk, milliseconds; silence counts as UNKNOWN. */
const ASSESS_LIMIT_MS = 1_000;
/** Longest execution where neither the plan nor the caller says less, milliseconds. */
const EXECUTION_LIMIT_MS = 30_000;

/** Everything learned on the way; the receipt is made from it. */
interface Progress {
  phase: Phase;
  plan: RegisterPlan | null;
  risk: RiskLevel;
  reasons: readonly string[];
  effect: EffectOutcome;
  readings: readonly RegisterReading[];
  readonly tracks: TrackResult[];
  authorization: Authorization | null;
  approvalsNeeded: readonly string[];
  fault: Fault | undefined;
  decided: boolean;
}

export class OperationRunner {
  readonly #parts: RunnerParts;

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  async run(order: OperationOrder): Promise<OperationReceipt> {
    const startMs = this.#parts.clock.nowMs();
    const progress: Progress = {
      phase: INITIAL.phase,
      plan: null,
      risk: RiskLevel.UNKNOWN,
      reasons: [],
      effect: 'none',
      readings: [],
      tracks: [],
      authorization: null,
      approvalsNeeded: [],
      fault: undefined,
      decided: false,
    };
    let effects = INITIAL.effects;
    let auditSequence = 0;
    for (;;) {
      let input: Input | undefined;
      for (const effect of effects) {
        switch (effect) {
          case 'plan':
            input = await this.#plan(order, progress);
            break;
          case 'assess':
            input = await this.#assess(order, progress);
            break;
          case 'authorize':
            input = this.#authorize(order, progress);
            break;
          case 'prepare':
            input = await this.#prepare(order, progress);
            break;
          case 'decide':
            input = await this.#decide(order, progress);
            break;
          case 'commit':
            input = await this.#commit(order, progress);
            break;
          case 'abort':
            await this.#abort(order, progress);
            break;
          case 'record':
            auditSequence = await this.#record(order, progress);
            break;
        }
      }
      if (isTerminal(progress.phase) || input === undefined) break;
      const next = transition(progress.phase, input);
      if (next === undefined)
        throw new Error(`operation machine: ${input} has no meaning in ${progress.phase}`);
      progress.phase = next.phase;
      effects = next.effects;
    }
    return this.#receipt(order, progress, auditSequence, this.#parts.clock.nowMs() - startMs);
  }

  async #plan(order: OperationOrder, progress: Progress): Promise<Input> {
    const quarantined = this.#devicesOf(order.intent).find((device) =>
      this.#parts.authority.isQuarantined(device),
    );
    if (quarantined !== undefined) {
      const finding = `${operationName(order.intent.type)} refused by authorization: the device is quarantined`;
      return refused(progress, fault('DEVICE_QUARANTINED', { place: quarantined.slug, finding }));
    }
    const startMs = this.#parts.clock.nowMs();
    const planned = await this.#parts.kernel.plan(order.intent, order.deadline);
    if (!planned.ok) {
      this.#note(progress, 'kernel', startMs, planned);
      return refused(progress, planned.fault);
    }
    progress.plan = planned.value;
    return 'PLANNED';
  }

  async #assess(order: OperationOrder, progress: Progress): Promise<Input> {
    const { plan } = progress;
    if (plan === null) return 'REFUSED';
    const { intent, principal } = order;
    const limit = order.deadline.within(ASSESS_LIMIT_MS);
    const assessments = await Promise.all(
      this.#involved(order).map(async (name): Promise<RiskAssessment> => {
        const startMs = this.#parts.clock.nowMs();
        const sentAlong = name === 'kernel' ? plan.risk : intent.interfaceRisk;
        const assessed =
          name !== 'security' && sentAlong !== undefined
            ? succeed(sentAlong)
            : await this.#track(name).assess({ intent, plan, principal }, limit);
        this.#note(progress, name, startMs, assessed);
        if (assessed.ok) return assessed.value;
        return { track: name, level: RiskLevel.UNKNOWN, reasons: [assessed.fault.finding] };
      }),
    );
    const { level, reasons } = aggregateRisk(assessments, this.#parts.aggregation);
    progress.risk = level;
    progress.reasons = reasons;
    return 'ASSESSED';
  }

  #authorize(order: OperationOrder, progress: Progress): Input {
    const { plan } = progress;
    if (plan === null) return 'REFUSED';
    const { intent, principal } = order;
    const { authority, approvals } = this.#parts;
    const devices = this.#devicesOf(intent);
    const decided = authority.decideAccess({
      principal,
      intent,
      devices,
      risk: progress.risk,
      isQuarantined: (device) => authority.isQuarantined(device),
    });
    if (!decided.ok) return refused(progress, decided.fault);
    const writes = writesOf(plan).length > 0;
    let approver: string | undefined;
    if (decided.value.dualAuthorization) {
      progress.approvalsNeeded = [
        'a second person with the same rights approves the digest of this plan',
      ];
    }
    if (intent.dryRun) return 'SHOWN';
    // Reads too: some registers clear when they are read. The entry of this refusal shows whether audit works again.
    if (!this.#parts.audit.writable) {
      const finding = 'the last entry could not be written';
      return refused(progress, fault('AUDIT_UNAVAILABLE', { place: 'audit chain', finding }));
    }
    if (writes && this.#parts.stopEngaged()) {
      const place = devices.map((device) => device.slug).join(', ');
      return stoppedBy(
        progress,
        fault('EMERGENCY_STOPPED', { place, finding: 'the emergency stop is engaged' }),
      );
    }
    if (decided.value.dualAuthorization) {
      approver = approvals.consume(plan.digest, principal, progress.risk);
      if (approver === undefined) {
        approvals.ask(intent, progress.risk, {
          planDigest: plan.digest,
          operation: operationName(intent.type),
          devices: devices.map((device) => device.id),
          requestedBy: principal.id,
          justification: intent.justification,
          transactions: this.#transactions(plan),
        });
        const place = devices.map((device) => device.slug).join(', ');
        const finding = `a second person has to approve plan ${plan.digest}`;
        return refused(progress, fault('APPROVAL_NEEDED', { place, finding }));
      }
      progress.approvalsNeeded = [];
    }
    const grantedTo = approver === undefined ? [principal.id] : [principal.id, approver];
    progress.authorization = authority.grant(intent.operationId, plan.digest, grantedTo);
    return writes ? 'PERMITTED' : 'PERMITTED_TO_READ';
  }

  /** Kernel last: only its promise concerns something that cannot be un-happened. */
  async #prepare(order: OperationOrder, progress: Progress): Promise<Input> {
    const { plan, authorization } = progress;
    if (plan === null || authorization === null) return 'REFUSED';
    const request = {
      operationId: order.intent.operationId,
      planDigest: plan.digest,
      authorization,
    };
    const others = this.#involved(order).filter((name) => name !== 'kernel');
    const votes = await Promise.all(
      others.map(async (name) => {
        const vote = await this.#track(name).prepare(
          request,
          order.deadline.within(ASSESS_LIMIT_MS),
        );
        if (!vote.ok) this.#note(progress, name, this.#parts.clock.nowMs(), vote);
        return vote;
      }),
    );
    const no = votes.find((vote) => !vote.ok);
    if (no !== undefined && !no.ok) return refused(progress, no.fault);
    const startMs = this.#parts.clock.nowMs();
    const vote = await this.#parts.kernel.prepare(request, order.deadline);
    if (!vote.ok) {
      this.#note(progress, 'kernel', startMs, vote);
      return refused(progress, vote.fault);
    }
    progress.readings = vote.value.priors;
    return 'PREPARED';
  }

  async #decide(order: OperationOrder, progress: Progress): Promise<Input> {
    if (progress.plan === null) return 'REFUSED';
    const durable = await this.#parts.journal.decide(
      order.intent,
      progress.plan,
      progress.readings,
    );
    if (!durable.ok) return refused(progress, durable.fault);
    progress.decided = true;
    progress.readings = [];
    return 'DECIDED';
  }

  /** Kernel first; the other tracks follow its outcome and cannot change it. */
  async #commit(order: OperationOrder, progress: Progress): Promise<Input> {
    const input = await this.#commitKernel(order, progress);
    const { plan, authorization } = progress;
    if (!progress.decided || plan === null || authorization === null) return input;
    const { operationId } = order.intent;
    const limit = Deadline.after(this.#parts.clock, ASSESS_LIMIT_MS);
    const request = { operationId, planDigest: plan.digest, authorization, deadlineMs: limit.atMs };
    const others = this.#involved(order).filter((name) => name !== 'kernel');
    await Promise.all(
      others.map(async (name) => {
        const startMs = this.#parts.clock.nowMs();
        const track = this.#track(name);
        const settled: Outcome<unknown> =
          input === 'COMMITTED'
            ? await track.commit(request, limit)
            : await track.abort(operationId, limit);
        this.#note(progress, name, startMs, settled);
      }),
    );
    return input;
  }

  async #commitKernel(order: OperationOrder, progress: Progress): Promise<Input> {
    const { plan, authorization } = progress;
    if (plan === null || authorization === null) return 'REFUSED';
    const { clock, kernel } = this.#parts;
    const { operationId, requirements } = order.intent;
    const asked =
      requirements.maxExecutionTimeMs === 0 ? EXECUTION_LIMIT_MS : requirements.maxExecutionTimeMs;
    const limit = order.deadline.within(Math.min(asked, EXECUTION_LIMIT_MS));
    const startMs = clock.nowMs();
    const request = { operationId, planDigest: plan.digest, authorization, deadlineMs: limit.atMs };
    // The executor keeps the limit itself; the extra time is for hearing what became of the metal.
    const patience = Deadline.after(clock, limit.remainingMs() + 5_000);
    const committed = await kernel.commit(request, patience);
    this.#note(progress, 'kernel', startMs, committed);
    if (!committed.ok) {
      // A lost or late answer says nothing about the metal; a refusal says that nothing was done.
      const unknown = progress.decided && committed.fault.metal !== 'untouched';
      progress.effect = unknown ? 'in-doubt' : 'none';
      const cause = committed.fault;
      const finding = `${cause.place}: ${cause.finding}`;
      return refused(
        progress,
        unknown
          ? fault('IN_DOUBT', { place: `operation ${operationId}`, finding, metal: 'unknown' })
          : cause,
      );
    }
    progress.effect = committed.value.effect;
    progress.readings = committed.value.readings;
    if (committed.value.effect === 'stopped') {
      return stoppedBy(
        progress,
        committed.value.fault ?? fault('STOPPED_MIDWAY', { place: 'kernel', finding: 'stopped' }),
      );
    }
    return committed.value.fault === undefined
      ? 'COMMITTED'
      : refused(progress, committed.value.fault);
  }

  async #abort(order: OperationOrder, progress: Progress): Promise<void> {
    if (progress.plan === null) return;
    const limit = Deadline.after(this.#parts.clock, ASSESS_LIMIT_MS);
    await Promise.all(
      this.#involved(order).map((name) => this.#track(name).abort(order.intent.operationId, limit)),
    );
  }

  /** The sequence of the audit entry, 0 when it could not be made durable. */
  async #record(order: OperationOrder, progress: Progress): Promise<number> {
    const { audit } = this.#parts;
    const beside = progress.decided ? () => this.#close(order, progress) : undefined;
    const entry = await audit.append(operationRecord(order, progress), beside);
    if (entry.ok) return entry.value.sequence;
    if (progress.fault === undefined) {
      // Done, but not on record: the person has to know both.
      progress.fault =
        progress.effect === 'none'
          ? entry.fault
          : { ...entry.fault, metal: 'touched', consequence: 'the writes stand without a record' };
      progress.phase = 'FAILED';
      if (progress.effect === 'none') progress.readings = [];
    }
    return 0;
  }

  /** Outcome, and the holds that follow from it, in one transaction with the audit entry. */
  #close(order: OperationOrder, progress: Progress): void {
    const { journal, holds, clock } = this.#parts;
    const { operationId, type } = order.intent;
    journal.close(operationId, progress.effect);
    const devices = progress.plan === null ? [] : devicesOf(progress.plan);
    if (progress.effect === 'in-doubt') {
      const reason = `operation ${operationId} left it in doubt`;
      const sinceWallMs = clock.wallMs();
      holds.addBeside(devices.map((device) => ({ device, kind: 'in-doubt', reason, sinceWallMs })));
    }
    if (progress.effect === 'committed' && type === OperationType.ACTIVATE) {
      for (const device of devices) holds.liftBeside(device, 'deactivated');
    }
  }

  #receipt(
    order: OperationOrder,
    progress: Progress,
    auditSequence: number,
    durationMs: number,
  ): OperationReceipt {
    const { intent } = order;
    const shown = intent.dryRun || progress.approvalsNeeded.length > 0;
    return {
      operationId: intent.operationId,
      type: intent.type,
      state: stateOf(progress.phase),
      result: resultOf(progress),
      risk: progress.risk,
      reasons: progress.reasons,
      effect: progress.effect,
      planDigest: progress.plan?.digest ?? '',
      readings: progress.readings,
      tracks: [...progress.tracks].sort(
        (left, right) => TRACKS.indexOf(left.track) - TRACKS.indexOf(right.track),
      ),
      auditSequence,
      durationMs,
      ...(progress.fault === undefined ? {} : { fault: progress.fault }),
      ...(shown && progress.plan !== null
        ? { transactions: this.#transactions(progress.plan) }
        : {}),
      ...(progress.approvalsNeeded.length === 0
        ? {}
        : { approvalsNeeded: progress.approvalsNeeded }),
    };
  }

  /** The last word of each track stands. */
  #note(progress: Progress, track: TrackName, startMs: number, outcome: Outcome<unknown>): void {
    const durationMs = this.#parts.clock.nowMs() - startMs;
    const at = progress.tracks.findIndex((result) => result.track === track);
    const result: TrackResult = outcome.ok
      ? { track, ok: true, durationMs }
      : { track, ok: false, fault: outcome.fault, durationMs };
    if (at < 0) progress.tracks.push(result);
    else progress.tracks[at] = result;
  }

  /** Kernel and security always; interface unless the caller left it out, and always for a machine. */
  #involved(order: OperationOrder): readonly TrackName[] {
    const { involved } = order.intent;
    const named = involved.length === 0 || involved.includes('interface');
    return named || order.principal.kind === 'machine' ? TRACKS : ['kernel', 'security'];
  }

  #track(name: TrackName): Track {
    return this.#parts[name];
  }

  #devicesOf(intent: Intent): readonly DeviceDescriptor[] {
    const devices: DeviceDescriptor[] = [];
    for (const { device } of intent.targets) {
      const descriptor = this.#parts.devices.get(device);
      if (descriptor !== undefined) devices.push(descriptor);
    }
    return devices;
  }

  #transactions(plan: RegisterPlan): readonly string[] {
    return describePlan(plan, this.#parts.devices);
  }
}

function refused(progress: Progress, cause: Fault): Input {
  progress.fault = cause;
  return cause.code === 'EMERGENCY_STOPPED' || cause.code === 'STOPPED_MIDWAY'
    ? 'STOPPED'
    : 'REFUSED';
}

function stoppedBy(progress: Progress, cause: Fault): Input {
  progress.fault = cause;
  return 'STOPPED';
}

function resultOf(progress: Progress): CoordinationResult {
  if (progress.phase === 'COMPLETED') return CoordinationResult.SUCCESS;
  if (progress.phase === 'EMERGENCY_STOPPED') return CoordinationResult.EMERGENCY_STOPPED;
  const denied =
    progress.fault !== undefined && FAULT_CATALOGUE[progress.fault.code].kind === 'refusal';
  return denied && progress.effect === 'none'
    ? CoordinationResult.DENIED
    : CoordinationResult.FAILED;
}

export const OPERATIONS_WITH_PLANS: ReadonlySet<OperationType> = new Set([
  OperationType.READ,
  OperationType.WRITE,
  OperationType.CONFIG,
  OperationType.RESET,
  OperationType.ACTIVATE,
  OperationType.DEACTIVATE,
]);
