// The safety orchestrator's front: every request that people and panels may make, each in a live session, to its desk.
// Invariants: every request carries a live session or is refused; the stop needs nothing of all this.

import type { Deadline } from '#foundation/deadline';
import { describeFault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
} from '#model/administration';
import type { AuditEntry, AuditEventName } from '#model/audit-entry';
import { callRefusal } from '#model/call-rule';
import type { LinearId } from '#model/device';
import { type AgentEvent, Severity } from '#model/event';
import type { DeviceHold } from '#model/hold';
import { type Intent, type OperationReceipt, OperationType } from '#model/operation';
import type { OperationKey } from '#model/operation-table';
import type {
  ApprovalRequest,
  HoldProgress,
  OrchestratorPort,
  ResetProgress,
  Session,
  SessionsEnded,
  StopReport,
  StopRequest,
  SystemStatus,
} from '#model/orchestrator-port';
import type { Credential, Origin, Principal } from '#model/principal';
import type { RiskLevel } from '#model/risk';
import type { KernelSnapshot } from '#model/snapshot';
import type { StopAcknowledgment, StopCause, StopReceipt } from '#model/stop';
import {
  type Conflict,
  type ConflictAnswer,
  type HistoryEntry,
  SyncTrigger,
  type UnifiedDeviceState,
} from '#model/unified-state';
import type { ApprovalDesk } from './approval-desk.ts';
import { Attempts, type AttemptsParts } from './attempts.ts';
import type { EventHub } from './event-hub.ts';
import type { HoldDesk } from './hold-desk.ts';
import type { Asker } from './operation-desk.ts';
import type { AdministrationPort, Proof } from './ports.ts';
import { type StatusParts, systemStatus } from './system-status.ts';

export interface OrchestratorParts extends StatusParts, AttemptsParts {
  readonly approvalDesk: ApprovalDesk;
  readonly holdDesk: HoldDesk;
  readonly administration: AdministrationPort;
  readonly events: EventHub;
}

export class Orchestrator implements OrchestratorPort {
  readonly #parts: OrchestratorParts;
  readonly #attempts: Attempts;
  readonly #snapshotListeners = new Set<(snapshot: KernelSnapshot) => void>();
  /** Of the kernel process that spoke last; empty before the first. */
  #kernelLife = '';

  constructor(parts: OrchestratorParts) {
    this.#parts = parts;
    this.#attempts = new Attempts(parts);
  }

  // --- Sessions ----------------------------------------------------------------------------------

  async authenticate(credential: Credential, origin: Origin): Promise<Outcome<Session>> {
    const session = await this.#parts.sessions.authenticate(credential, origin);
    // A source that has to wait was on record often enough.
    if (!session.ok && session.fault.code !== 'RATE_LIMITED')
      this.#attempts.signIn(credential, origin, session.fault);
    return session;
  }

  administer<K extends AdministrationKey>(
    sessionId: string | null,
    key: K,
    request: AdministrationRequest<K>,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<AdministrationAnswer<K>>> {
    return this.#parts.administration.perform(sessionId, key, request, origin, deadline);
  }

  onSessionsEnded(listen: (ended: SessionsEnded) => void): () => void {
    return this.#parts.sessions.onEnded(listen);
  }

  async endSession(sessionId: string): Promise<Outcome<void>> {
    this.#parts.sessions.end(sessionId);
    return succeed(undefined);
  }

  async signOut(sessionId: string): Promise<Outcome<void>> {
    this.#parts.sessions.signOut(sessionId);
    return succeed(undefined);
  }

  // --- Operations --------------------------------------------------------------------------------

  async operate(
    sessionId: string,
    intent: Intent,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const { desk, sessions } = this.#parts;
    if (intent.type === OperationType.EMERGENCY_STOP && !intent.dryRun) {
      const actor = stopActor(sessions.session(sessionId));
      return actor.ok ? succeed(await desk.stop(actor.value, intent, origin)) : actor;
    }
    const session = this.#session(rowOfIntent(intent), sessionId);
    if (!session.ok) return session;
    const receipt = await desk.operate(this.#asker(session.value, origin), intent, deadline);
    if (receipt.ok) this.#announce(receipt.value, intent, session.value);
    if (intent.dryRun) this.#attempts.dryRun(intent, session.value.principal.id, origin);
    return receipt;
  }

  async operateSelected(
    sessionId: string,
    operationId: string,
    confirmedRisk: RiskLevel,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const session = this.#session('operateSelected', sessionId);
    if (!session.ok) return session;
    const { desk } = this.#parts;
    const asker = this.#asker(session.value, origin);
    const done = await desk.operateSelected(asker, operationId, confirmedRisk, deadline);
    if (!done.ok) {
      this.#attempts.refused('operateSelected', asker.principal.id, origin, [], done.fault);
      return done;
    }
    const { receipt, intent } = done.value;
    this.#announce(receipt, intent, session.value);
    return succeed(receipt);
  }

  releaseSelected(sessionId: string, operationId: string, origin: Origin): Promise<Outcome<void>> {
    return this.#as('releaseSelected', sessionId, async (principal) => {
      const released = await this.#parts.desk.releaseSelected({ principal, origin }, operationId);
      if (!released.ok)
        this.#attempts.refused('releaseSelected', principal.id, origin, [], released.fault);
      return released;
    });
  }

  operation(sessionId: string, operationId: string): Promise<Outcome<OperationReceipt>> {
    return this.#as('operation', sessionId, () => this.#parts.desk.receipt(operationId));
  }

  operations(sessionId: string, limit: number): Promise<Outcome<readonly OperationReceipt[]>> {
    return this.#as('operations', sessionId, () => succeed(this.#parts.desk.receipts(limit)));
  }

  // --- Stop --------------------------------------------------------------------------------------

  async stop(
    sessionId: string | null,
    request: StopRequest,
    origin: Origin,
  ): Promise<Outcome<StopReport>> {
    const { sessions, stops, announcer, desk } = this.#parts;
    const actor =
      sessionId === null
        ? succeed(`${origin.peer}, without a session`)
        : stopActor(sessions.session(sessionId));
    if (!actor.ok) return actor;
    const report = await stops.stop(request, 'interface', actor.value);
    announcer.stopped(actor.value, origin, request.reason, report);
    desk.endSelections(report.devices, 'stopped', actor.value);
    return succeed(report);
  }

  resetStop(sessionId: string, reason: string, origin: Origin): Promise<Outcome<ResetProgress>> {
    return this.#as('reset', sessionId, async (principal) => {
      const { stops, announcer, audit } = this.#parts;
      const put = (told: string, beside?: () => void, code?: string) => {
        const more = code === undefined ? { reason } : { reason, details: { code } };
        return announcer.record('EMERGENCY_RESET', principal.id, origin, [], told, more, beside);
      };
      const progress = audit.writable
        ? await stops.requestReset(principal, this.#proof(sessionId), put)
        : refuse(
            fault('AUDIT_UNAVAILABLE', {
              place: 'reset of the stop',
              finding: audit.obstacle ?? 'the audit chain cannot be written',
              consequence: 'the stop stays engaged',
            }),
          );
      // A release has its entry; what was only asked for or refused gets one now.
      if (!progress.ok) await put(describeFault(progress.fault), undefined, progress.fault.code);
      else if (!progress.value.released) await put(progress.value.message);
      if (progress.ok && progress.value.released)
        announcer.systemChanged('the emergency stop was reset', Severity.WARNING);
      return progress;
    });
  }

  acknowledgeStop(
    sessionId: string,
    origin: Origin,
  ): Promise<Outcome<readonly StopAcknowledgment[]>> {
    return this.#as('acknowledgeStop', sessionId, async (principal) => {
      const { stops, announcer } = this.#parts;
      const put = (told: string, beside?: () => void) =>
        announcer.record('STOP_ACKNOWLEDGED', principal.id, origin, [], told, {}, beside);
      const acknowledged = await stops.acknowledge(principal.id, put);
      if (!acknowledged.ok) await put(describeFault(acknowledged.fault));
      return acknowledged;
    });
  }

  // --- Approvals ---------------------------------------------------------------------------------

  approvals(sessionId: string): Promise<Outcome<readonly ApprovalRequest[]>> {
    return this.#as('approvals', sessionId, () => succeed(this.#parts.approvalDesk.open()));
  }

  approve(
    sessionId: string,
    planDigest: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<ApprovalRequest>> {
    const proof = this.#proof(sessionId);
    return this.#as('approve', sessionId, (principal) =>
      this.#parts.approvalDesk.approve(planDigest, { principal, ...proof }, origin, deadline),
    );
  }

  // --- Holds -------------------------------------------------------------------------------------

  releaseDevice(
    sessionId: string,
    device: LinearId,
    reason: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<HoldProgress>> {
    return this.#as('releaseDevice', sessionId, async (principal) => {
      const { holdDesk } = this.#parts;
      const record = (told: string, beside?: () => void, code?: string) =>
        this.#recordHold('DEVICE_RELEASED', principal, device, reason, origin, told, beside, code);
      const proof = this.#proof(sessionId);
      const progress = await holdDesk.release(principal, device, reason, deadline, record, proof);
      // A release has its entry; what was only asked for or refused gets one now.
      if (!progress.ok) await record(describeFault(progress.fault), undefined, progress.fault.code);
      else if (!progress.value.released) await record(progress.value.message);
      if (progress.ok && progress.value.released) await this.#parts.sync.show([device]);
      return progress;
    });
  }

  quarantineDevice(
    sessionId: string,
    device: LinearId,
    reason: string,
    origin: Origin,
  ): Promise<Outcome<DeviceHold>> {
    return this.#as('quarantineDevice', sessionId, async (principal) => {
      const { announcer, desk, holdDesk, sync } = this.#parts;
      const event = 'DEVICE_QUARANTINED';
      const done = { event, actor: principal.id, origin, devices: [device], reason } as const;
      const hold = await holdDesk.quarantine(principal, device, reason, (result, beside) =>
        announcer.insist({ ...done, result, beside }),
      );
      const code = hold.ok ? undefined : hold.fault.code;
      // Held all the same, and the entry is tried again.
      if (hold.ok || code === 'AUDIT_UNAVAILABLE') {
        desk.endSelections([device], 'quarantined', principal.id);
        await sync.show([device]);
        return hold;
      }
      const told = describeFault(hold.fault);
      await this.#recordHold(event, principal, device, reason, origin, told, undefined, code);
      return hold;
    });
  }

  // --- State -------------------------------------------------------------------------------------

  synchronize(
    sessionId: string,
    devices: readonly LinearId[],
    deadline: Deadline,
  ): Promise<Outcome<readonly UnifiedDeviceState[]>> {
    return this.#as('synchronize', sessionId, () =>
      this.#parts.sync.synchronize(devices, SyncTrigger.MANUAL, deadline),
    );
  }

  conflicts(sessionId: string): Promise<Outcome<readonly Conflict[]>> {
    return this.#as('conflicts', sessionId, () => succeed(this.#parts.sync.conflicts()));
  }

  resolveConflict(
    sessionId: string,
    conflictId: number,
    answer: ConflictAnswer,
    reason: string,
    origin: Origin,
  ): Promise<Outcome<Conflict>> {
    return this.#as('resolveConflict', sessionId, async (principal) => {
      const { sync } = this.#parts;
      const device = sync.conflicts().find(({ id }) => id === conflictId)?.device;
      const devices = device === undefined ? [] : [device];
      const resolved = await sync.resolve(principal, conflictId, answer, reason, origin);
      if (!resolved.ok)
        this.#attempts.refused('resolveConflict', principal.id, origin, devices, resolved.fault);
      return resolved;
    });
  }

  history(
    sessionId: string,
    device: LinearId,
    limit: number,
  ): Promise<Outcome<readonly HistoryEntry[]>> {
    return this.#as('history', sessionId, () => succeed(this.#parts.sync.history(device, limit)));
  }

  async status(): Promise<Outcome<SystemStatus>> {
    return succeed(systemStatus(this.#parts));
  }

  // --- Audit and refusals ------------------------------------------------------------------------

  audit(
    sessionId: string,
    fromSequence: number,
    limit: number,
  ): Promise<Outcome<readonly AuditEntry[]>> {
    return this.#as('audit', sessionId, () => succeed(this.#parts.audit.read(fromSequence, limit)));
  }

  verifyAudit(
    sessionId: string,
  ): Promise<
    Outcome<{ readonly entries: number; readonly intact: boolean; readonly finding: string }>
  > {
    return this.#as('verifyAudit', sessionId, async ({ id }) => {
      const { entries, intact, finding } = await this.#parts.audit.verify({ actor: id });
      return succeed({ entries, intact, finding });
    });
  }

  reportRefusal(
    sessionId: string | null,
    origin: Origin,
    code: string,
    finding: string,
    devices: readonly LinearId[],
  ): void {
    this.#attempts.reported(sessionId, origin, code, finding, devices);
  }

  // --- Listening ---------------------------------------------------------------------------------

  onEvent(listen: (event: AgentEvent) => void): () => void {
    return this.#parts.events.listen(listen);
  }

  onKernelSnapshot(listen: (snapshot: KernelSnapshot) => void): () => void {
    this.#snapshotListeners.add(listen);
    return () => this.#snapshotListeners.delete(listen);
  }

  onUnifiedState(listen: (states: readonly UnifiedDeviceState[]) => void): () => void {
    return this.#parts.sync.onChange(listen);
  }

  onAvailable(listen: (available: boolean) => void): () => void {
    listen(true);
    return () => undefined;
  }

  // --- From the other tracks ---------------------------------------------------------------------

  /** Kernel published what changed. */
  takeKernelSnapshot(snapshot: KernelSnapshot): void {
    this.#noteLife(snapshot.life);
    for (const listen of this.#snapshotListeners) listen(snapshot);
    for (const state of snapshot.devices) this.#parts.announcer.deviceSeen(state);
    this.#parts.sync.takeKernel(snapshot);
  }

  /** Kernel stopped by itself or because the latch was engaged outside the orchestrator. */
  kernelStopped(cause: StopCause | null, receipt: StopReceipt): void {
    const { stops, announcer } = this.#parts;
    // A stop that came through `stop` is on record, and announced there with all three receipts.
    const stopCause = stops.kernelStopped(cause);
    if (stopCause === null) return;
    this.#parts.desk.endSelections(stopCause.devices, 'stopped', stopCause.triggeredBy);
    announcer.stopped(stopCause.triggeredBy, null, stopCause.reason, {
      success: receipt.ok,
      scope: stops.scopeText(stopCause.devices),
      devices: stopCause.devices,
      receipts: [receipt],
      durationMs: receipt.durationMs,
    });
  }

  /** The latch stands and nobody said why: the report of kernel was lost with a process. */
  latchFound(): void {
    const { stops, announcer } = this.#parts;
    const cause = stops.latchFound();
    if (cause === null) return;
    const report = { success: false, scope: stops.scopeText([]), devices: [], receipts: [] };
    announcer.stopped(cause.triggeredBy, null, cause.reason, { ...report, durationMs: 0 });
  }

  /** What was promised about devices was promised by one kernel process, and dies with it. */
  #noteLife(life: string): void {
    const restarted = this.#kernelLife !== '' && this.#kernelLife !== life;
    this.#kernelLife = life;
    if (!restarted) return;
    this.#parts.approvalDesk.closeAll('kernel was started again since');
    this.#parts.desk.endSelections([], 'kernel was started again', 'security');
  }

  #announce(receipt: OperationReceipt, intent: Intent, session: Session): void {
    if (this.#attempts.probed(receipt, intent, session)) return;
    // A selection is on record and shown by its receipt; nothing of it is done yet.
    if (intent.dryRun || receipt.selectedUntilWallMs !== undefined) return;
    this.#parts.announcer.operationDone(receipt, intent, session.principal.id);
  }

  #recordHold(
    event: AuditEventName,
    principal: Principal,
    device: LinearId,
    reason: string,
    origin: Origin,
    result: string,
    beside?: () => void,
    /** Of the fault, where it was refused. */
    code?: string,
  ): Promise<Outcome<AuditEntry>> {
    const { announcer } = this.#parts;
    const more = code === undefined ? { reason } : { reason, details: { code } };
    return announcer.record(event, principal.id, origin, [device], result, more, beside);
  }

  #asker(session: Session, origin: Origin): Asker {
    return { principal: session.principal, ...this.#proof(session.id), origin };
  }

  #proof(sessionId: string): Proof {
    const { sessions } = this.#parts;
    return { credential: sessions.credentialOf(sessionId), holder: sessions.holder(sessionId) };
  }

  /** Acts for a live session that may call this row: security asks the table again, whatever interface let through. */
  async #as<T>(
    key: OperationKey,
    sessionId: string,
    act: (principal: Principal) => Promise<Outcome<T>> | Outcome<T>,
  ): Promise<Outcome<T>> {
    const session = this.#session(key, sessionId);
    return session.ok ? act(session.value.principal) : session;
  }

  #session(key: OperationKey, sessionId: string): Outcome<Session> {
    const session = this.#parts.sessions.session(sessionId);
    if (!session.ok) return session;
    const refused = callRefusal(key, session.value);
    const { id } = session.value.principal;
    if (refused === null) {
      this.#attempts.asked(key, id);
      return session;
    }
    // Interface has refused it before, and said so: this came through another door.
    this.#attempts.refused(key, id, null, [], refused);
    return refuse(refused);
  }
}

/** Reading registers is a row of its own; a read may come through either. */
function rowOfIntent(intent: Intent): OperationKey {
  return intent.type === OperationType.READ ? 'readRegisters' : 'operate';
}

/** Who asks for a stop: a locked session too is still a person who may see something burn. */
function stopActor(session: Outcome<Session>): Outcome<string> {
  if (session.ok) return succeed(session.value.principal.id);
  return session.fault.code === 'ACCOUNT_LOCKED' ? succeed('locked session') : session;
}
