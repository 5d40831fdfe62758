// The orchestrator in the security process, as the interface process sees it: the same port, over a link.

import type { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
} from '#model/administration';
import type { AuditEntry } from '#model/audit-entry';
import type { LinearId } from '#model/device';
import type { AgentEvent } from '#model/event';
import type { DeviceHold } from '#model/hold';
import type { Intent, OperationReceipt } from '#model/operation';
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
import type { Credential, Origin } from '#model/principal';
import type { RiskLevel } from '#model/risk';
import type { KernelSnapshot } from '#model/snapshot';
import type { StopAcknowledgment } from '#model/stop';
import type {
  Conflict,
  ConflictAnswer,
  HistoryEntry,
  UnifiedDeviceState,
} from '#model/unified-state';
import { type Link, MessageType } from './link.ts';
import { eventsShape, kernelSnapshotShape, sessionsEndedShape } from './message-schema.ts';
import type { Shape } from './shape.ts';
import { askChecked } from './track-client.ts';
import { listenChecked } from './track-server.ts';

/** Security is the more trusted side and checked what it sends where it came from, so only the kind is looked at. */
function anObject<T>(): Shape<T> {
  return (value) => (typeof value === 'object' && value !== null ? null : ': not an object');
}
function aList<T>(): Shape<readonly T[]> {
  return (value) => (Array.isArray(value) ? null : ': not a list');
}
const anything: Shape<void> = () => null;

type Effect = 'writes' | 'none';

class OrchestratorClient implements OrchestratorPort {
  readonly #link: Link;
  readonly #events = new Set<(event: AgentEvent) => void>();
  readonly #ended = new Set<(ended: SessionsEnded) => void>();
  readonly #snapshots = new Set<(snapshot: KernelSnapshot) => void>();
  readonly #unified = new Set<(states: readonly UnifiedDeviceState[]) => void>();

  constructor(link: Link) {
    this.#link = link;
    listenChecked(link, 'port.events', eventsShape, (events) => {
      for (const event of events) {
        for (const listen of [...this.#events]) listen(event);
      }
    });
    listenChecked(link, 'port.sessions-ended', sessionsEndedShape, (ended) => {
      for (const listen of [...this.#ended]) listen(ended);
    });
    listenChecked(link, 'port.kernel-snapshot', kernelSnapshotShape, (snapshot) => {
      for (const listen of [...this.#snapshots]) listen(snapshot);
    });
    listenChecked(link, 'port.unified-state', aList<UnifiedDeviceState>(), (states) => {
      for (const listen of [...this.#unified]) listen(states);
    });
  }

  authenticate(
    credential: Credential,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<Session>> {
    return this.#ask('port.authenticate', { credential, origin }, deadline, 'none');
  }

  administer<K extends AdministrationKey>(
    sessionId: string | null,
    key: K,
    request: AdministrationRequest<K>,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<AdministrationAnswer<K>>> {
    return this.#ask('port.administer', { sessionId, key, request, origin }, deadline, 'none');
  }

  onSessionsEnded(listen: (ended: SessionsEnded) => void): () => void {
    this.#ended.add(listen);
    return () => this.#ended.delete(listen);
  }

  endSession(sessionId: string, deadline: Deadline): Promise<Outcome<void>> {
    return this.#askNothing('port.end-session', { sessionId }, deadline);
  }

  signOut(sessionId: string, deadline: Deadline): Promise<Outcome<void>> {
    return this.#askNothing('port.sign-out', { sessionId }, deadline);
  }

  operate(
    sessionId: string,
    intent: Intent,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    return this.#ask(
      'port.operate',
      { sessionId, intent, origin },
      deadline,
      intent.dryRun ? 'none' : 'writes',
    );
  }

  operation(
    sessionId: string,
    operationId: string,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    return this.#ask('port.operation', { sessionId, operationId }, deadline, 'none');
  }

  operations(
    sessionId: string,
    limit: number,
    deadline: Deadline,
  ): Promise<Outcome<readonly OperationReceipt[]>> {
    return this.#ask('port.operations', { sessionId, limit }, deadline, 'none');
  }

  stop(
    sessionId: string | null,
    request: StopRequest,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<StopReport>> {
    const body = { sessionId, request, origin };
    return this.#ask('port.stop', body, deadline, 'writes', MessageType.EMERGENCY_STOP);
  }

  resetStop(
    sessionId: string,
    reason: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<ResetProgress>> {
    return this.#ask('port.reset-stop', { sessionId, reason, origin }, deadline, 'none');
  }

  operateSelected(
    sessionId: string,
    operationId: string,
    confirmedRisk: RiskLevel,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const body = { sessionId, operationId, confirmedRisk, origin };
    return this.#ask('port.operate-selected', body, deadline, 'writes');
  }

  releaseSelected(
    sessionId: string,
    operationId: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<void>> {
    return this.#askNothing('port.release-selected', { sessionId, operationId, origin }, deadline);
  }

  acknowledgeStop(
    sessionId: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<readonly StopAcknowledgment[]>> {
    return this.#ask('port.acknowledge-stop', { sessionId, origin }, deadline, 'none');
  }

  releaseDevice(
    sessionId: string,
    device: LinearId,
    reason: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<HoldProgress>> {
    const body = { sessionId, device, reason, origin };
    return this.#ask('port.release-device', body, deadline, 'none');
  }

  quarantineDevice(
    sessionId: string,
    device: LinearId,
    reason: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<DeviceHold>> {
    const body = { sessionId, device, reason, origin };
    return this.#ask('port.quarantine-device', body, deadline, 'writes');
  }

  synchronize(
    sessionId: string,
    devices: readonly LinearId[],
    deadline: Deadline,
  ): Promise<Outcome<readonly UnifiedDeviceState[]>> {
    const body = { sessionId, devices };
    return this.#ask('port.synchronize', body, deadline, 'none', MessageType.STATE_SYNC);
  }

  conflicts(sessionId: string, deadline: Deadline): Promise<Outcome<readonly Conflict[]>> {
    return this.#ask('port.conflicts', { sessionId }, deadline, 'none');
  }

  resolveConflict(
    sessionId: string,
    conflictId: number,
    answer: ConflictAnswer,
    reason: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<Conflict>> {
    const body = { sessionId, conflictId, answer, reason, origin };
    return this.#ask('port.resolve-conflict', body, deadline, 'writes');
  }

  history(
    sessionId: string,
    device: LinearId,
    limit: number,
    deadline: Deadline,
  ): Promise<Outcome<readonly HistoryEntry[]>> {
    return this.#ask('port.history', { sessionId, device, limit }, deadline, 'none');
  }

  approvals(sessionId: string, deadline: Deadline): Promise<Outcome<readonly ApprovalRequest[]>> {
    return this.#ask('port.approvals', { sessionId }, deadline, 'none');
  }

  approve(
    sessionId: string,
    planDigest: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<ApprovalRequest>> {
    return this.#ask('port.approve', { sessionId, planDigest, origin }, deadline, 'none');
  }

  status(deadline: Deadline): Promise<Outcome<SystemStatus>> {
    return this.#ask('port.status', undefined, deadline, 'none', MessageType.HEALTH);
  }

  audit(
    sessionId: string,
    fromSequence: number,
    limit: number,
    deadline: Deadline,
  ): Promise<Outcome<readonly AuditEntry[]>> {
    return this.#ask('port.audit', { sessionId, fromSequence, limit }, deadline, 'none');
  }

  verifyAudit(
    sessionId: string,
    deadline: Deadline,
  ): Promise<
    Outcome<{ readonly entries: number; readonly intact: boolean; readonly finding: string }>
  > {
    return this.#ask('port.verify-audit', { sessionId }, deadline, 'none');
  }

  reportRefusal(
    sessionId: string | null,
    origin: Origin,
    code: string,
    finding: string,
    devices: readonly LinearId[],
  ): void {
    // Lost while security is away; the refusal itself stands, and the link counts what it could not send.
    this.#link.notify(MessageType.EVENT, 'port.report-refusal', {
      sessionId,
      origin,
      code,
      finding,
      devices,
    });
  }

  onEvent(listen: (event: AgentEvent) => void): () => void {
    this.#events.add(listen);
    return () => this.#events.delete(listen);
  }

  onKernelSnapshot(listen: (snapshot: KernelSnapshot) => void): () => void {
    this.#snapshots.add(listen);
    return () => this.#snapshots.delete(listen);
  }

  onUnifiedState(listen: (states: readonly UnifiedDeviceState[]) => void): () => void {
    this.#unified.add(listen);
    return () => this.#unified.delete(listen);
  }

  onAvailable(listen: (available: boolean) => void): () => void {
    let last = this.#link.peerState === 'up';
    return this.#link.onPeer((state) => {
      const now = state === 'up';
      if (now === last) return;
      last = now;
      listen(now);
    });
  }

  #askNothing(method: string, body: unknown, deadline: Deadline): Promise<Outcome<void>> {
    const call = { type: MessageType.OPERATION_REQUEST, method, body } as const;
    return askChecked(this.#link, { ...call, shape: anything, effect: 'none' }, deadline);
  }

  #ask<T>(
    method: string,
    body: unknown,
    deadline: Deadline,
    effect: Effect,
    type: MessageType = MessageType.OPERATION_REQUEST,
  ): Promise<Outcome<T>> {
    return askChecked(this.#link, { type, method, body, shape: anObject<T>(), effect }, deadline);
  }
}

/** The orchestrator served at the other end of `link`. */
export function orchestratorClient(link: Link): OrchestratorPort {
  return new OrchestratorClient(link);
}
