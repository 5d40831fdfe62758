// Runs one operation through its machine: plan, assess, authorize, prepare, decide, commit, record.
// Invariants: every effect and every refusal has an audit entry; nothing is committed before its decision is durable;
// what cannot be known about the metal is reported as in doubt, never as failed alone.

import { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { FAULT_CATALOGUE } from '#foundation/fault-catalogue';
import { type Outcome, succeed } from '#foundation/outcome';
import type { Authorization } from '#model/authorization';
import type { DeviceDescriptor } from '#model/device';
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
import type { Track } from '#model/track';
import { TRACKS, type TrackName } from '#model/track-name';
import type { Disclosures } from './disclosures.ts';
import {
  INITIAL,
  type Input,
  isTerminal,
  type Phase,
  stateOf,
  transition,
} from './operation-machine.ts';
import { operationRecord } from './operation-record.ts';
import { PlanAuthorization, type SelectedPlan } from './plan-authorization.ts';
import { previewWrites } from './plan-preview.ts';
import { describePlan } from './plan-text.ts';
import type { ApprovalPort, AuditPort, AuthorityPort, Holder } from './ports.ts';
import { type AggregationRule, aggregateRisk } from './risk-aggregate.ts';
import type { Selections } from './selections.ts';
import { Transaction, type TransactionParts } from './transaction.ts';

export interface RunnerParts extends TransactionParts {
  readonly authority: AuthorityPort;
  readonly approvals: ApprovalPort;
  readonly disclosures: Disclosures;
  readonly selections: Selections;
  readonly audit: AuditPort;
  readonly aggregation: AggregationRule;
  readonly stopEngaged: () => boolean;
}

/** Who asked, for what, from where, until when. */
export interface OperationOrder {
  readonly intent: Intent;
  readonly principal: Principal;
  readonly origin: Origin;
  readonly deadline: Deadline;
  /** Digest of what the person signed in with. */
  readonly credential?: string;
  /** Who that is at any later moment; the same person with the same rights where absent. */
  readonly holder?: Holder | null;
  /** What this operation was selected as. */
  readonly selected?: SelectedPlan;
}

/** Longest wait for one track's risk, milliseconds; silence counts as UNKNOWN. */
const ASSESS_LIMIT_MS = 1_000;

/** Everything learned on the way; the receipt is made from it. */
interface Progress {
  phase: Phase;
  plan: RegisterPlan | null;
  risk: RiskLevel;
  reasons: readonly string[];
  assessments: readonly RiskAssessment[];
  effect: EffectOutcome;
  readings: readonly RegisterReading[];
  readonly tracks: TrackResult[];
  authorization: Authorization | null;
  approvalsNeeded: readonly string[];
  /** State of the devices that a selection is made for. */
  basis: string;
  /** 0 where nothing was selected. */
  selectedUntilWallMs: number;
  fault: Fault | undefined;
  /** Null until there is leave to do it. */
  transaction: Transaction | null;
}

export class OperationRunner {
  readonly #parts: RunnerParts;
  readonly #authorization: PlanAuthorization;

  constructor(parts: RunnerParts) {
    this.#parts = parts;
    this.#authorization = new PlanAuthorization(parts);
  }

  async run(order: OperationOrder): Promise<OperationReceipt> {
    const startMs = this.#parts.clock.nowMs();
    const progress: Progress = {
      phase: INITIAL.phase,
      plan: null,
      risk: RiskLevel.UNKNOWN,
      reasons: [],
      assessments: [],
      effect: 'none',
      readings: [],
      tracks: [],
      authorization: null,
      approvalsNeeded: [],
      basis: '',
      selectedUntilWallMs: 0,
      fault: undefined,
      transaction: null,
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
            input = await this.#authorize(order, progress);
            break;
          case 'select':
            input = await this.#select(order, progress);
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
        // Whose word it is we know; what a track calls itself in it counts for nothing, weights least of all.
        if (assessed.ok) return { ...assessed.value, track: name };
        return { track: name, level: RiskLevel.UNKNOWN, reasons: [assessed.fault.finding] };
      }),
    );
    progress.assessments = assessments;
    const { level, reasons } = aggregateRisk(assessments, this.#parts.aggregation);
    progress.risk = level;
    progress.reasons = reasons;
    return 'ASSESSED';
  }

  async #authorize(order: OperationOrder, progress: Progress): Promise<Input> {
    const { plan } = progress;
    if (plan === null) return 'REFUSED';
    const { permission, approvalsNeeded } = await this.#authorization.rule(
      order,
      plan,
      progress.risk,
    );
    progress.approvalsNeeded = approvalsNeeded;
    switch (permission.kind) {
      case 'shown':
        return 'SHOWN';
      case 'refused':
        return refused(progress, permission.fault);
      case 'selectable':
        progress.basis = permission.basis;
        return 'PERMITTED_TO_SELECT';
      case 'granted':
        progress.authorization = permission.authorization;
        return writesOf(plan).length > 0 ? 'PERMITTED' : 'PERMITTED_TO_READ';
    }
  }

  /** Kernel holds the devices for the operation that is to follow; nothing is prepared and nothing is written. */
  async #select(order: OperationOrder, progress: Progress): Promise<Input> {
    const { plan, basis } = progress;
    const { intent, principal } = order;
    const { clock, kernel, selections } = this.#parts;
    if (plan === null) return 'REFUSED';
    const room = selections.room(intent.operationId, principal.id);
    if (!room.ok) return refused(progress, room.fault);
    const startMs = clock.nowMs();
    const heldMs = (intent.selectForSeconds ?? 0) * 1_000;
    const untilMs = startMs + heldMs;
    const request = { operationId: intent.operationId, planDigest: plan.digest, untilMs };
    const untilWallMs = clock.wallMs() + heldMs;
    const held = await kernel.select(request, order.deadline);
    this.#note(progress, 'kernel', startMs, held);
    if (!held.ok) return refused(progress, held.fault);
    progress.selectedUntilWallMs = untilWallMs;
    const devices = devicesOf(plan);
    selections.add({
      intent,
      by: principal.id,
      planDigest: plan.digest,
      basis,
      devices,
      untilMs,
    });
    return 'SELECTED';
  }

  async #prepare(order: OperationOrder, progress: Progress): Promise<Input> {
    const prepared = await this.#transaction(order, progress)?.prepare();
    if (prepared === undefined) return 'REFUSED';
    return prepared.ok ? 'PREPARED' : refused(progress, prepared.fault);
  }

  async #decide(order: OperationOrder, progress: Progress): Promise<Input> {
    const stands = this.#authorization.stands(order, progress.risk);
    if (!stands.ok) return refused(progress, stands.fault);
    const decided = await this.#transaction(order, progress)?.decide();
    if (decided === undefined) return 'REFUSED';
    return decided.ok ? 'DECIDED' : refused(progress, decided.fault);
  }

  async #commit(order: OperationOrder, progress: Progress): Promise<Input> {
    const receipt = await this.#transaction(order, progress)?.commit();
    if (receipt === undefined) return 'REFUSED';
    progress.effect = receipt.effect;
    progress.readings = receipt.readings;
    const cause = receipt.fault;
    if (receipt.effect === 'stopped') {
      return stoppedBy(
        progress,
        cause ?? fault('STOPPED_MIDWAY', { place: 'kernel', finding: 'stopped' }),
      );
    }
    return cause === undefined ? 'COMMITTED' : refused(progress, cause);
  }

  /** Made once it is known what to do and by whose leave. */
  #transaction(order: OperationOrder, progress: Progress): Transaction | undefined {
    const { plan, authorization } = progress;
    if (plan === null || authorization === null) return undefined;
    progress.transaction ??= new Transaction(this.#parts, {
      intent: order.intent,
      plan,
      authorization,
      requestedBy: order.principal.id,
      involved: this.#involved(order),
      deadline: order.deadline,
      selected: order.selected !== undefined,
      note: (track, startMs, outcome) => this.#note(progress, track, startMs, outcome),
    });
    return progress.transaction;
  }

  async #abort(order: OperationOrder, progress: Progress): Promise<void> {
    if (progress.transaction !== null) return progress.transaction.abort();
    // A selection whose answer was lost: kernel may hold the devices all the same.
    const { clock, kernel } = this.#parts;
    await kernel.abort(order.intent.operationId, Deadline.after(clock, ASSESS_LIMIT_MS));
  }

  /** The sequence of the audit entry, 0 when it could not be made durable. */
  async #record(order: OperationOrder, progress: Progress): Promise<number> {
    const { audit } = this.#parts;
    const decided = progress.transaction?.decided === true ? progress.transaction : undefined;
    const { effect } = progress;
    const beside = decided === undefined ? undefined : () => decided.closeBeside(effect);
    const entry = await audit.append(operationRecord(order, progress), beside);
    await decided?.followed();
    decided?.recorded(entry.ok ? 'durable' : 'failed', effect);
    if (entry.ok) return entry.value.sequence;
    if (progress.fault === undefined) {
      // Done, but not on record: the person has to know both.
      progress.fault =
        progress.effect === 'none'
          ? entry.fault
          : { ...entry.fault, metal: 'touched', consequence: 'the writes stand without a record' };
      progress.phase = 'FAILED';
      if (progress.selectedUntilWallMs > 0) {
        this.#parts.selections.drop(order.intent.operationId, 'it could not be put on record');
        progress.selectedUntilWallMs = 0;
      }
      if (progress.effect === 'none') progress.readings = [];
    }
    return 0;
  }

  #receipt(
    order: OperationOrder,
    progress: Progress,
    auditSequence: number,
    durationMs: number,
  ): OperationReceipt {
    const { intent } = order;
    const shown =
      intent.dryRun ||
      progress.selectedUntilWallMs > 0 ||
      progress.approvalsNeeded.length > 0 ||
      progress.fault?.code === 'CONFIRMATION_NEEDED';
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
      ...(intent.dryRun && progress.plan !== null
        ? {
            preview: previewWrites(progress.plan, this.#parts.devices),
            assessments: progress.assessments,
            worstCaseMs: progress.plan.worstCaseMs,
          }
        : {}),
      ...(progress.approvalsNeeded.length === 0
        ? {}
        : { approvalsNeeded: progress.approvalsNeeded }),
      ...(progress.selectedUntilWallMs === 0
        ? {}
        : { selectedUntilWallMs: progress.selectedUntilWallMs }),
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
