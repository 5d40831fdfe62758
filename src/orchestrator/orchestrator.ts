// The safety orchestrator: the one object behind everything that people and panels may ask for.
// Invariants: every request carries a live session or is refused; at most `operationsMax` operations run at once;
// the stop needs nothing of all this.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { describeFault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AuditEntry, AuditEventName, AuditRecord } from '#model/audit-entry';
import type { Board } from '#model/board';
import { type DeviceDescriptor, formatToken, type LinearId } from '#model/device';
import { type AgentEvent, EventType, Severity } from '#model/event';
import {
  CoordinationResult,
  type Intent,
  type OperationReceipt,
  operationName,
} from '#model/operation';
import {
  type ApprovalRequest,
  type OrchestratorPort,
  OrchestratorState,
  type ResetProgress,
  type Session,
  type StopReport,
  type StopRequest,
  type SystemStatus,
} from '#model/orchestrator-port';
import type { Credential, Origin } from '#model/principal';
import { riskName } from '#model/risk';
import type { KernelSnapshot, TrackHealth } from '#model/snapshot';
import { EmergencyPriority, type StopCause, type StopReceipt } from '#model/stop';
import type { TrackName } from '#model/track-name';
import type { EventHub } from './event-hub.ts';
import type { Journal } from './journal.ts';
import { OPERATIONS_WITH_PLANS, type OperationRunner } from './operation-runner.ts';
import type { ApprovalPort, AuditPort, AuthorityPort, SessionPort } from './ports.ts';
import type { StopCoordinator } from './stop.ts';

export interface OrchestratorParts {
  readonly clock: Clock;
  readonly board: Board;
  readonly bootId: string;
  readonly runner: OperationRunner;
  readonly stops: StopCoordinator;
  readonly sessions: SessionPort;
  readonly approvals: ApprovalPort;
  readonly authority: AuthorityPort;
  readonly audit: AuditPort;
  readonly journal: Journal;
  readonly events: EventHub;
  readonly stopEngaged: () => boolean;
  readonly health: () => readonly TrackHealth[];
}

/** The specification's concurrent operations. */
const OPERATIONS_MAX = 16;
/** Receipts kept for people who ask again. */
const RECEIPTS_MAX = 1_000;
/** Between two tries to record a stop that the disk would not take. */
const RECORD_AGAIN_MS = 1_000;
const UNRECORDED_STOPS_MAX = 32;

export class Orchestrator implements OrchestratorPort {
  readonly #parts: OrchestratorParts;
  readonly #devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly #receipts = new Map<string, OperationReceipt>();
  readonly #running = new Set<string>();
  readonly #snapshotListeners = new Set<(snapshot: KernelSnapshot) => void>();
  readonly #shown = new Map<LinearId, string>();
  #unrecordedStops = 0;

  constructor(parts: OrchestratorParts) {
    this.#parts = parts;
    this.#devices = new Map(parts.board.devices.map((device) => [device.id, device]));
  }

  async authenticate(credential: Credential, origin: Origin): Promise<Outcome<Session>> {
    const session = this.#parts.sessions.authenticate(credential);
    if (!session.ok) {
      void this.#record('AUTHENTICATION_FAILED', 'unknown', origin, [], session.fault.finding);
    }
    return session;
  }

  async endSession(sessionId: string): Promise<Outcome<void>> {
    this.#parts.sessions.end(sessionId);
    return succeed(undefined);
  }

  async operate(
    sessionId: string,
    intent: Intent,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const session = this.#parts.sessions.session(sessionId);
    if (!session.ok) return session;
    const place = `operation ${intent.operationId}`;
    if (!OPERATIONS_WITH_PLANS.has(intent.type)) {
      const finding = `${operationName(intent.type)} is not done through a plan`;
      return refuse(fault('OPERATION_UNSUPPORTED', { place, finding }));
    }
    if (this.#running.has(intent.operationId) || this.#receipts.has(intent.operationId)) {
      return refuse(
        fault('REQUEST_MALFORMED', { place, finding: 'an operation of this id exists already' }),
      );
    }
    if (this.#running.size >= OPERATIONS_MAX) {
      return refuse(fault('BUSY', { place, finding: `${OPERATIONS_MAX} operations are running` }));
    }
    this.#running.add(intent.operationId);
    try {
      const { principal } = session.value;
      const receipt = await this.#parts.runner.run({ intent, principal, origin, deadline });
      if (!intent.dryRun) this.#keep(receipt);
      this.#announce(receipt, intent, session.value);
      return succeed(receipt);
    } finally {
      this.#running.delete(intent.operationId);
    }
  }

  async operation(sessionId: string, operationId: string): Promise<Outcome<OperationReceipt>> {
    const session = this.#parts.sessions.session(sessionId);
    if (!session.ok) return session;
    const receipt = this.#receipts.get(operationId);
    if (receipt !== undefined) return succeed(receipt);
    const finding = 'unknown, or longer ago than the receipts kept here; the audit chain has it';
    return refuse(fault('OPERATION_UNKNOWN', { place: `operation ${operationId}`, finding }));
  }

  async operations(
    sessionId: string,
    limit: number,
  ): Promise<Outcome<readonly OperationReceipt[]>> {
    const session = this.#parts.sessions.session(sessionId);
    if (!session.ok) return session;
    return succeed([...this.#receipts.values()].reverse().slice(0, Math.max(0, limit)));
  }

  async stop(
    sessionId: string,
    request: StopRequest,
    origin: Origin,
  ): Promise<Outcome<StopReport>> {
    const session = this.#parts.sessions.session(sessionId);
    // A locked session is still a person who may see something burn.
    if (!session.ok && session.fault.code !== 'ACCOUNT_LOCKED') return session;
    const actor = session.ok ? session.value.principal.id : 'locked session';
    const report = await this.#parts.stops.stop(request, 'interface', actor);
    this.#stopped(actor, origin, request, report);
    return succeed(report);
  }

  async resetStop(
    sessionId: string,
    reason: string,
    origin: Origin,
  ): Promise<Outcome<ResetProgress>> {
    const session = this.#parts.sessions.session(sessionId);
    if (!session.ok) return session;
    const { principal } = session.value;
    const progress = await this.#parts.stops.requestReset(principal);
    const finding = progress.ok ? progress.value.message : describeFault(progress.fault);
    await this.#record('EMERGENCY_RESET', principal.id, origin, [], finding, { reason });
    if (progress.ok && progress.value.released)
      this.#systemChanged('the emergency stop was reset', Severity.WARNING);
    return progress;
  }

  async approvals(sessionId: string): Promise<Outcome<readonly ApprovalRequest[]>> {
    const session = this.#parts.sessions.session(sessionId);
    return session.ok ? succeed(this.#parts.approvals.open()) : session;
  }

  async approve(
    sessionId: string,
    planDigest: string,
    origin: Origin,
  ): Promise<Outcome<ApprovalRequest>> {
    const session = this.#parts.sessions.session(sessionId);
    if (!session.ok) return session;
    const { principal } = session.value;
    const pending = this.#parts.approvals.find(planDigest);
    if (!pending.ok) return pending;
    const { intent, risk } = pending.value;
    // The approver has to be somebody who could have asked for it, and sees the same risk.
    const entitled = this.#parts.authority.decideAccess({
      principal,
      intent: { ...intent, confirmedRisk: risk },
      devices: this.#devicesOf(intent),
      risk,
      isQuarantined: (device) => this.#parts.authority.isQuarantined(device),
    });
    if (!entitled.ok) return entitled;
    const approved = this.#parts.approvals.approve(planDigest, principal);
    if (!approved.ok) return approved;
    const devices = approved.value.devices;
    const entry = await this.#record(
      'APPROVAL_GRANTED',
      principal.id,
      origin,
      devices,
      `plan ${planDigest}`,
      { planDigest },
    );
    return entry.ok ? approved : entry;
  }

  async status(): Promise<Outcome<SystemStatus>> {
    const { board, stops, audit, bootId } = this.#parts;
    const tracks = this.#parts.health();
    const stopEngaged = this.#parts.stopEngaged();
    const healthy = tracks.every((track) => track.up) && audit.writable;
    const working = healthy ? OrchestratorState.READY : OrchestratorState.DEGRADED;
    return succeed({
      state: stopEngaged ? OrchestratorState.EMERGENCY_STOPPED : working,
      stopEngaged,
      stopCauses: stops.causes,
      tracks,
      activeOperations: this.#running.size,
      auditSequence: audit.lastSequence,
      bootId,
      boardName: board.name,
      boardDigest: board.digest,
    });
  }

  async audit(
    sessionId: string,
    fromSequence: number,
    limit: number,
  ): Promise<Outcome<readonly AuditEntry[]>> {
    const session = this.#parts.sessions.session(sessionId);
    return session.ok ? succeed(this.#parts.audit.read(fromSequence, limit)) : session;
  }

  async verifyAudit(
    sessionId: string,
  ): Promise<
    Outcome<{ readonly entries: number; readonly intact: boolean; readonly finding: string }>
  > {
    const session = this.#parts.sessions.session(sessionId);
    return session.ok ? succeed(await this.#parts.audit.verify()) : session;
  }

  reportRefusal(
    sessionId: string | null,
    origin: Origin,
    code: string,
    finding: string,
    devices: readonly LinearId[],
  ): void {
    const session = sessionId === null ? null : this.#parts.sessions.session(sessionId);
    const actor = session?.ok === true ? session.value.principal.id : 'unknown';
    if (code === 'DEVICE_QUARANTINED') {
      this.#quarantineProbe(actor, sessionId, devices, finding);
      void this.#record('QUARANTINE_PROBE', actor, origin, devices, finding);
      return;
    }
    void this.#record('OPERATION_REFUSED', actor, origin, devices, `${code}: ${finding}`);
  }

  onEvent(listen: (event: AgentEvent) => void): () => void {
    return this.#parts.events.listen(listen);
  }

  onKernelSnapshot(listen: (snapshot: KernelSnapshot) => void): () => void {
    this.#snapshotListeners.add(listen);
    return () => this.#snapshotListeners.delete(listen);
  }

  onAvailable(listen: (available: boolean) => void): () => void {
    listen(true);
    return () => undefined;
  }

  /** Kernel published what changed. */
  takeKernelSnapshot(snapshot: KernelSnapshot): void {
    for (const listen of this.#snapshotListeners) listen(snapshot);
    for (const state of snapshot.devices) {
      const shown = `${state.power}/${state.status}`;
      const before = this.#shown.get(state.device);
      this.#shown.set(state.device, shown);
      if (before === undefined || before === shown) continue;
      this.#parts.events.publish({
        type: EventType.DEVICE_STATE_CHANGED,
        severity: state.lastFault === '' ? Severity.INFO : Severity.WARNING,
        source: 'kernel',
        data: {
          device_id: String(state.device),
          token: formatToken(state.device),
          power_state: String(state.power),
          overall_status: String(state.status),
          finding: state.lastFault,
        },
      });
    }
  }

  /** Kernel stopped by itself or because the latch was engaged outside the orchestrator. */
  kernelStopped(cause: StopCause | null, receipt: StopReceipt): void {
    // A stop that came through `stop` is announced there, with all three receipts.
    if (cause !== null && cause.source === 'interface') return;
    const stopCause: StopCause = cause ?? {
      source: 'kernel',
      reason: 'the stop latch was engaged',
      priority: EmergencyPriority.IMMEDIATE,
      triggeredBy: 'latch',
      wallMs: this.#parts.clock.wallMs(),
    };
    if (this.#parts.stops.causes.length > 0 && cause === null) return;
    this.#parts.stops.note(stopCause);
    const request = { reason: stopCause.reason, priority: stopCause.priority, devices: [] };
    this.#stopped(stopCause.triggeredBy, null, request, {
      success: receipt.ok,
      scope: 'whole system',
      receipts: [receipt],
      durationMs: receipt.durationMs,
    });
  }

  /** Records the start, and every operation whose outcome nobody wrote down before the last end. */
  async started(): Promise<void> {
    const { audit, journal } = this.#parts;
    await this.#record('AGENT_STARTED', 'security', null, [], `board ${this.#parts.board.name}`);
    for (const { operationId, planDigest, devices, priors } of journal.open()) {
      const record: AuditRecord = {
        ...blankRecord('TRANSACTION_RECOVERED', 'security'),
        devices,
        operationId,
        planDigest,
        result: 'in-doubt: the process ended between decision and outcome',
        details: { priors },
      };
      await audit.append(record, () => journal.close(operationId, 'in-doubt'));
    }
  }

  linkCorrupted(track: TrackName, finding: string): void {
    void this.#record('LINK_FAULT', track, null, [], finding);
    this.#systemChanged(`${track}: ${finding}`, Severity.CRITICAL);
  }

  /** A link refused or threw away messages; each sender was told, people hear it here. */
  linkStrained(track: TrackName, finding: string): void {
    void this.#record('LINK_FAULT', track, null, [], finding);
    this.#systemChanged(finding, Severity.WARNING);
  }

  trackChanged(health: TrackHealth): void {
    const event: AuditEventName = health.up ? 'TRACK_RETURNED' : 'TRACK_LOST';
    void this.#record(event, health.track, null, [], health.finding);
    this.#systemChanged(
      `${health.track}: ${health.finding}`,
      health.up ? Severity.INFO : Severity.ERROR,
    );
  }

  auditAppended(entry: AuditEntry): void {
    this.#parts.events.publish({
      type: EventType.AUDIT_ENTRY_CREATED,
      severity: Severity.INFO,
      source: 'security',
      data: {
        audit_sequence: String(entry.sequence),
        event: entry.event,
        actor: entry.actor,
        result: entry.result,
      },
    });
  }

  #stopped(actor: string, origin: Origin | null, request: StopRequest, report: StopReport): void {
    this.#parts.events.publish({
      type: EventType.EMERGENCY_STOP,
      severity: Severity.EMERGENCY,
      source: 'orchestrator',
      data: {
        reason: request.reason,
        triggered_by: actor,
        scope: report.scope,
        success: String(report.success),
        requires_acknowledgment: 'true',
      },
    });
    const unsafe = report.receipts.flatMap((receipt) => receipt.unsafe);
    const result = report.success
      ? `${report.scope} stopped`
      : `${report.scope}: ${unsafe.length} devices not safe`;
    this.#recordStop(actor, origin, request, result);
  }

  /** A stop waits for no record, but its record is made up for when the disk takes it again. */
  #recordStop(
    actor: string,
    origin: Origin | null,
    request: StopRequest,
    result: string,
    sinceWallMs = this.#parts.clock.wallMs(),
  ): void {
    const { clock } = this.#parts;
    const { devices, reason } = request;
    const lateMs = clock.wallMs() - sinceWallMs;
    const told = lateMs < RECORD_AGAIN_MS ? result : `${result} (recorded ${lateMs} ms late)`;
    void this.#record('EMERGENCY_STOP', actor, origin, devices, told, { reason }).then((entry) => {
      if (entry.ok || this.#unrecordedStops >= UNRECORDED_STOPS_MAX) return;
      this.#unrecordedStops += 1;
      clock.after(RECORD_AGAIN_MS, () => {
        this.#unrecordedStops -= 1;
        this.#recordStop(actor, origin, request, result, sinceWallMs);
      });
    });
  }

  #quarantineProbe(
    actor: string,
    sessionId: string | null,
    devices: readonly LinearId[],
    finding: string,
  ): void {
    for (const device of devices) this.#parts.authority.openIncident(device, actor, finding);
    if (sessionId !== null)
      this.#parts.sessions.lock(sessionId, 'locked after an attempt on a quarantined device');
    this.#parts.events.publish({
      type: EventType.SECURITY_ALERT,
      severity: Severity.CRITICAL,
      source: 'security',
      data: {
        reason: 'quarantine probe',
        actor,
        devices: devices.map(formatToken).join(','),
        finding,
      },
    });
  }

  #announce(receipt: OperationReceipt, intent: Intent, session: Session): void {
    if (receipt.fault?.code === 'DEVICE_QUARANTINED') {
      const devices = intent.targets.map((target) => target.device);
      this.#quarantineProbe(session.principal.id, session.id, devices, receipt.fault.finding);
      return;
    }
    if (intent.dryRun) return;
    this.#parts.events.publish({
      type: EventType.OPERATION_COMPLETED,
      severity: severityOf(receipt),
      source: 'orchestrator',
      data: {
        operation_id: receipt.operationId,
        operation: operationName(receipt.type),
        devices: intent.targets.map((target) => formatToken(target.device)).join(','),
        actor: session.principal.id,
        result: String(receipt.result),
        effect: receipt.effect,
        risk: riskName(receipt.risk),
        ...(receipt.fault === undefined
          ? {}
          : { code: receipt.fault.code, finding: describeFault(receipt.fault) }),
      },
    });
  }

  #keep(receipt: OperationReceipt): void {
    this.#receipts.set(receipt.operationId, receipt);
    const oldest = this.#receipts.keys().next();
    if (this.#receipts.size > RECEIPTS_MAX && oldest.done !== true)
      this.#receipts.delete(oldest.value);
  }

  #systemChanged(finding: string, severity: Severity): void {
    this.#parts.events.publish({
      type: EventType.SYSTEM_STATUS_CHANGED,
      severity,
      source: 'orchestrator',
      data: { finding },
    });
  }

  #devicesOf(intent: Intent): readonly DeviceDescriptor[] {
    return intent.targets.flatMap((target) => this.#devices.get(target.device) ?? []);
  }

  #record(
    event: AuditEventName,
    actor: string,
    origin: Origin | null,
    devices: readonly LinearId[],
    result: string,
    more: Partial<Pick<AuditRecord, 'reason' | 'planDigest'>> = {},
  ): Promise<Outcome<AuditEntry>> {
    const record = { ...blankRecord(event, actor), origin, devices, result, ...more };
    return this.#parts.audit.append(record);
  }
}

function blankRecord(event: AuditEventName, actor: string): AuditRecord {
  return {
    event,
    actor,
    origin: null,
    devices: [],
    operationId: '',
    operation: '',
    risk: '',
    planDigest: '',
    decision: '',
    reason: '',
    result: '',
    tracks: [],
    details: {},
  };
}

function severityOf(receipt: OperationReceipt): Severity {
  switch (receipt.result) {
    case CoordinationResult.SUCCESS:
      return Severity.INFO;
    case CoordinationResult.DENIED:
      return Severity.WARNING;
    case CoordinationResult.EMERGENCY_STOPPED:
      return Severity.CRITICAL;
    default:
      return receipt.effect === 'in-doubt' ? Severity.CRITICAL : Severity.ERROR;
  }
}
