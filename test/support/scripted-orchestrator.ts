// An OrchestratorPort that keeps registers in a map and remembers what it was asked: the far side in adapter tests.

import { randomUUID } from 'node:crypto';
import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
  SignIn,
} from '#model/administration';
import type { AuditEntry } from '#model/audit-entry';
import { type LinearId, permanentlyQuarantined } from '#model/device';
import type { AgentEvent, AgentEventDraft } from '#model/event';
import type { DeviceHold } from '#model/hold';
import {
  CoordinationResult,
  type Intent,
  type OperationReceipt,
  OperationType,
} from '#model/operation';
import {
  type ApprovalRequest,
  type HoldProgress,
  type OpenSelection,
  type OrchestratorPort,
  OrchestratorState,
  type ResetProgress,
  type Session,
  type SessionsEnded,
  type StopReport,
  type StopRequest,
  type SystemStatus,
} from '#model/orchestrator-port';
import { ClearanceLevel, type Credential, type Origin, type Principal } from '#model/principal';
import { RiskLevel } from '#model/risk';
import type { KernelSnapshot } from '#model/snapshot';
import type { StopAcknowledgment } from '#model/stop';
import type {
  Conflict,
  ConflictAnswer,
  HistoryEntry,
  UnifiedDeviceState,
} from '#model/unified-state';
import { conflictOf, unifiedState } from './unified-states.ts';

export function person(id: string, clearance: ClearanceLevel): Principal {
  return {
    id,
    name: id,
    kind: 'person',
    clearance,
    compartments: [],
    devices: null,
    underReview: false,
  };
}

export interface RecordedRefusal {
  readonly origin: Origin;
  readonly sessionId: string | null;
  readonly code: string;
  readonly finding: string;
  readonly devices: readonly LinearId[];
}

export class ScriptedOrchestrator implements OrchestratorPort {
  /** Token, certificate URI or `uid N` to who it is. */
  readonly accounts = new Map<string, Principal>([
    ['token-alice', person('alice', ClearanceLevel.TOP_SECRET)],
    ['token-bob', person('bob', ClearanceLevel.CONFIDENTIAL)],
    ['token-nobody', person('nobody', ClearanceLevel.NONE)],
    ['urn:dsmil:person:alice', person('alice', ClearanceLevel.TOP_SECRET)],
    [`uid ${process.getuid?.() ?? 0}`, person('technician', ClearanceLevel.SECRET)],
  ]);
  readonly administrators = new Set(['alice']);
  /** Scope of a token; the others are good for everything. */
  readonly scopes = new Map<string, readonly string[]>();
  /** What security was asked beside operations. */
  readonly administered: {
    readonly sessionId: string | null;
    readonly key: AdministrationKey;
    readonly request: unknown;
  }[] = [];
  /** Answers to what is asked beside operations, or how they are made; what is not here is refused. */
  readonly answers = new Map<AdministrationKey, unknown>();
  readonly registers = new Map<string, bigint>();
  readonly intents: Intent[] = [];
  readonly stops: StopRequest[] = [];
  readonly refusals: RecordedRefusal[] = [];
  readonly authentications: Credential[] = [];
  readonly receipts: OperationReceipt[] = [];
  readonly sessions = new Map<string, Session>();
  /** Ids of sessions that refuse everything but a stop. */
  readonly lockedSessions = new Set<string>();
  /** Password and code by account; a sign-in gives a token of its own. */
  readonly passwords = new Map<string, string>();
  /** Tokens of sign-ins by password, to whose they are. */
  readonly signedIn = new Map<string, string>();
  /** Awaited by everything asked beside operations before it is answered. */
  administrationGate: Promise<void> = Promise.resolve();
  /** Selected and neither operated nor released. */
  readonly selected = new Map<string, Intent>();
  /** Confirmed risks of operated selections, by operation. */
  readonly confirmed = new Map<string, RiskLevel>();
  readonly acknowledged: StopAcknowledgment[] = [];
  readonly holds: DeviceHold[] = [];
  /** What was said about each hold that a person asked to release. */
  readonly releases: { readonly device: LinearId; readonly reason: string }[] = [];
  readonly synchronized: (readonly LinearId[])[] = [];
  readonly selections: OpenSelection[] = [];
  readonly disputes = new Map<number, Conflict>([[7, conflictOf(7, 1)]]);
  /** Devices that will not take their safe values. */
  unsafe: readonly { readonly device: LinearId; readonly finding: string }[] = [];
  /** Merged into every status. */
  statusMore: Partial<SystemStatus> = {};
  /** Set to make every question to security fail with this. */
  broken: Fault | null = null;
  /** Set to make operations be refused before they become receipts. */
  refusing: Fault | null = null;
  /** Set to make synchronizations fail with this. */
  away: Fault | null = null;
  /** Set to make the next operations throw, as an error in our own code would. */
  throwing: Error | null = null;
  /** Awaited by every operation before it answers. */
  gate: Promise<void> = Promise.resolve();
  #sequence = 0;
  readonly #ended = new Set<(ended: SessionsEnded) => void>();
  readonly #events = new Set<(event: AgentEvent) => void>();
  readonly #snapshots = new Set<(snapshot: KernelSnapshot) => void>();
  readonly #unified = new Set<(states: readonly UnifiedDeviceState[]) => void>();
  readonly #available = new Set<(available: boolean) => void>();

  emit(draft: AgentEventDraft): AgentEvent {
    const event = { ...draft, sequence: ++this.#sequence, wallMs: Date.now() };
    for (const listen of this.#events) listen(event);
    return event;
  }

  sendSnapshot(snapshot: KernelSnapshot): void {
    for (const listen of this.#snapshots) listen(snapshot);
  }

  sendUnified(...states: UnifiedDeviceState[]): void {
    for (const listen of this.#unified) listen(states);
  }

  setAvailable(available: boolean): void {
    for (const listen of this.#available) listen(available);
  }

  async authenticate(credential: Credential): Promise<Outcome<Session>> {
    this.authentications.push(credential);
    if (this.broken !== null) return refuse(this.broken);
    const key =
      credential.kind === 'token'
        ? credential.token
        : credential.kind === 'certificate'
          ? credential.uri
          : `uid ${credential.uid}`;
    const principal = this.accounts.get(key);
    if (principal === undefined) {
      return refuse(
        fault('NOT_AUTHENTICATED', { place: 'sign-in', finding: 'unknown credential' }),
      );
    }
    const session: Session = {
      id: randomUUID(),
      principal,
      administrator: this.administrators.has(principal.id),
      way: this.signedIn.has(key) ? 'password' : credential.kind,
      scope: this.scopes.get(key) ?? null,
      expiresAtWallMs: Date.now() + 3_600_000,
    };
    this.sessions.set(session.id, session);
    return succeed(session);
  }

  async administer<K extends AdministrationKey>(
    sessionId: string | null,
    key: K,
    request: AdministrationRequest<K>,
  ): Promise<Outcome<AdministrationAnswer<K>>> {
    this.administered.push({ sessionId, key, request });
    await this.administrationGate;
    if (this.broken !== null) return refuse(this.broken);
    if (sessionId !== null) {
      const session = this.#session(sessionId);
      if (!session.ok) return session;
    }
    if (key === 'login' && this.passwords.size > 0) {
      return this.#login(request as AdministrationRequest<'login'>) as Outcome<
        AdministrationAnswer<K>
      >;
    }
    const scripted = this.answers.get(key);
    const answer = typeof scripted === 'function' ? scripted(request) : scripted;
    if (answer !== undefined) return succeed(answer as AdministrationAnswer<K>);
    return refuse(fault('OPERATION_UNSUPPORTED', { place: key, finding: 'has no script' }));
  }

  answerWith<K extends AdministrationKey>(
    key: K,
    make: (request: AdministrationRequest<K>) => AdministrationAnswer<K>,
  ): void {
    this.answers.set(key, make);
  }

  onSessionsEnded(listen: (ended: SessionsEnded) => void): () => void {
    this.#ended.add(listen);
    return () => this.#ended.delete(listen);
  }

  /** Security ends sessions of its own accord. */
  endSessions(ended: SessionsEnded): void {
    for (const id of ended.sessionIds) this.sessions.delete(id);
    for (const listen of this.#ended) listen(ended);
  }

  async endSession(sessionId: string): Promise<Outcome<void>> {
    this.sessions.delete(sessionId);
    return succeed(undefined);
  }

  /** As in security: a sign-in by password is over on every connection. */
  async signOut(sessionId: string): Promise<Outcome<void>> {
    const own = this.sessions.get(sessionId);
    const all = [...this.sessions.values()].filter(
      ({ id, way, principal }) =>
        id === sessionId ||
        (own?.way === 'password' && way === 'password' && principal.id === own.principal.id),
    );
    for (const [token, account] of this.signedIn) {
      if (own?.way !== 'password' || account !== own.principal.id) continue;
      this.accounts.delete(token);
      this.signedIn.delete(token);
    }
    this.endSessions({ sessionIds: all.map(({ id }) => id), reason: 'the person signed out' });
    return succeed(undefined);
  }

  async operate(
    sessionId: string,
    intent: Intent,
    _origin: Origin,
    _deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const session = this.#session(sessionId);
    if (!session.ok) return session;
    if (this.refusing !== null) return refuse(this.refusing);
    this.intents.push(intent);
    if (this.throwing !== null) throw this.throwing;
    await this.gate;
    const acts = !intent.dryRun && intent.selectForSeconds === undefined;
    const readings = intent.targets.flatMap((target) =>
      target.registers.map((access) => {
        const key = `${target.device}.${access.register}`;
        const before = this.registers.get(key) ?? 0n;
        if (access.value !== undefined && acts) this.registers.set(key, access.value);
        const value = this.registers.get(key) ?? 0n;
        return { device: target.device, register: access.register, value, before };
      }),
    );
    const receipt: OperationReceipt = {
      operationId: intent.operationId,
      type: intent.type,
      state: 'COMPLETED',
      result: CoordinationResult.SUCCESS,
      risk: RiskLevel.LOW,
      reasons: ['kernel: scripted'],
      effect: intent.type === OperationType.WRITE && acts ? 'committed' : 'none',
      planDigest: 'ab'.repeat(32),
      readings,
      tracks: [{ track: 'kernel', ok: true, durationMs: 0.5 }],
      auditSequence: this.intents.length,
      durationMs: 1.25,
      ...(intent.dryRun ? this.#plan(intent) : {}),
      ...(intent.selectForSeconds === undefined
        ? {}
        : { selectedUntilWallMs: 1_800_000_000_000 + intent.selectForSeconds * 1000 }),
    };
    if (intent.selectForSeconds !== undefined) this.selected.set(intent.operationId, intent);
    this.receipts.push(receipt);
    return succeed(receipt);
  }

  async operation(sessionId: string, operationId: string): Promise<Outcome<OperationReceipt>> {
    const session = this.#session(sessionId);
    if (!session.ok) return session;
    const receipt = this.receipts.find((one) => one.operationId === operationId);
    if (receipt !== undefined) return succeed(receipt);
    return refuse(
      fault('OPERATION_UNKNOWN', { place: `operation ${operationId}`, finding: 'unknown' }),
    );
  }

  async operations(
    sessionId: string,
    limit: number,
  ): Promise<Outcome<readonly OperationReceipt[]>> {
    const session = this.#session(sessionId);
    return session.ok ? succeed(this.receipts.slice(-limit)) : session;
  }

  async stop(sessionId: string | null, request: StopRequest): Promise<Outcome<StopReport>> {
    if (this.broken !== null) return refuse(this.broken);
    const session = sessionId === null ? null : this.#session(sessionId);
    // A locked person too may see something burn, and who has no session at all.
    if (session?.ok === false && session.fault.code !== 'ACCOUNT_LOCKED') return session;
    this.stops.push(request);
    const devices = [
      ...new Set([
        ...request.devices,
        ...request.groups.flatMap((group) => Array.from({ length: 12 }, (_, n) => group * 12 + n)),
      ]),
    ];
    const scope = devices.length === 0 ? 'whole system' : `devices ${devices.join(', ')}`;
    const receipt = {
      track: 'kernel',
      ok: true,
      message: 'stopped',
      unsafe: this.unsafe,
      durationMs: 2,
    } as const;
    return succeed({
      success: this.unsafe.length === 0,
      scope,
      devices,
      receipts: [{ ...receipt, safe: [0, 1] }],
      durationMs: 3,
    });
  }

  async resetStop(sessionId: string): Promise<Outcome<ResetProgress>> {
    const session = this.#session(sessionId);
    return session.ok
      ? succeed({ released: false, message: 'one more person has to ask' })
      : session;
  }

  async operateSelected(
    sessionId: string,
    operationId: string,
    confirmedRisk: RiskLevel,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const session = this.#session(sessionId);
    if (!session.ok) return session;
    const intent = this.selected.get(operationId);
    if (intent === undefined) return refuse(this.#notSelected(operationId));
    this.selected.delete(operationId);
    this.confirmed.set(operationId, confirmedRisk);
    const { selectForSeconds: _held, ...now } = intent;
    return this.operate(sessionId, now, origin, deadline);
  }

  async releaseSelected(sessionId: string, operationId: string): Promise<Outcome<void>> {
    const session = this.#session(sessionId);
    if (!session.ok) return session;
    if (this.selected.delete(operationId)) return succeed(undefined);
    return refuse(this.#notSelected(operationId));
  }

  async acknowledgeStop(sessionId: string): Promise<Outcome<readonly StopAcknowledgment[]>> {
    const session = this.#session(sessionId);
    if (!session.ok) return session;
    this.acknowledged.push({
      stopId: 3,
      by: session.value.principal.id,
      wallMs: 1_700_000_000_000,
    });
    return succeed([...this.acknowledged]);
  }

  async releaseDevice(
    sessionId: string,
    device: LinearId,
    reason: string,
  ): Promise<Outcome<HoldProgress>> {
    const session = this.#session(sessionId);
    if (!session.ok) return session;
    this.releases.push({ device, reason });
    const index = this.holds.findIndex((hold) => hold.device === device);
    if (index >= 0) {
      this.holds.splice(index, 1);
      return succeed({ released: true, message: 'released' });
    }
    const finding = 'is not held';
    return refuse(fault('HOLD_UNKNOWN', { place: `device ${device}`, finding }));
  }

  async quarantineDevice(
    sessionId: string,
    device: LinearId,
    reason: string,
  ): Promise<Outcome<DeviceHold>> {
    const session = this.#session(sessionId);
    if (!session.ok) return session;
    const hold = { device, kind: 'quarantined', reason, sinceWallMs: 1_700_000_000_000 } as const;
    this.holds.push(hold);
    return succeed(hold);
  }

  async synchronize(
    sessionId: string,
    devices: readonly LinearId[],
  ): Promise<Outcome<readonly UnifiedDeviceState[]>> {
    const session = this.#session(sessionId);
    if (!session.ok) return session;
    if (this.away !== null) return refuse(this.away);
    this.synchronized.push(devices);
    const asked = devices.length === 0 ? [0, 1, 9] : devices;
    return succeed(asked.map((device) => unifiedState(device, { openConflicts: [7] })));
  }

  async conflicts(sessionId: string): Promise<Outcome<readonly Conflict[]>> {
    const session = this.#session(sessionId);
    return session.ok ? succeed([...this.disputes.values()]) : session;
  }

  async resolveConflict(
    sessionId: string,
    conflictId: number,
    answer: ConflictAnswer,
    _reason: string,
  ): Promise<Outcome<Conflict>> {
    const session = this.#session(sessionId);
    if (!session.ok) return session;
    const conflict = this.disputes.get(conflictId);
    if (conflict === undefined) {
      const finding = 'is not open';
      return refuse(fault('CONFLICT_UNKNOWN', { place: `conflict ${conflictId}`, finding }));
    }
    const resolvedBy = session.value.principal.id;
    const settled = { ...conflict, answer, resolvedBy, resolvedWallMs: 1_700_000_001_000 };
    this.disputes.set(conflictId, settled);
    return succeed(settled);
  }

  async history(
    sessionId: string,
    device: LinearId,
    limit: number,
  ): Promise<Outcome<readonly HistoryEntry[]>> {
    const session = this.#session(sessionId);
    if (!session.ok) return session;
    const entry = { device, wallMs: 1_700_000_000_000, what: 'power', from: 'OFF', to: 'ON' };
    return succeed(
      Array.from({ length: Math.min(limit, 3) }, (_, n) => ({
        ...entry,
        wallMs: entry.wallMs - n * 1000,
      })),
    );
  }

  async approvals(sessionId: string): Promise<Outcome<readonly ApprovalRequest[]>> {
    const session = this.#session(sessionId);
    return session.ok ? succeed([this.#approval('')]) : session;
  }

  async approve(sessionId: string, _planDigest: string): Promise<Outcome<ApprovalRequest>> {
    const session = this.#session(sessionId);
    return session.ok ? succeed(this.#approval(session.value.principal.id)) : session;
  }

  async status(): Promise<Outcome<SystemStatus>> {
    if (this.broken !== null) return refuse(this.broken);
    return succeed({
      state: OrchestratorState.READY,
      stopEngaged: false,
      stopCauses: [],
      stopAcknowledgments: this.acknowledged,
      stopTest: null,
      holds: this.holds,
      conflictsOpen: [...this.disputes.values()].filter((one) => one.answer === null).length,
      selections: [...this.selections],
      findings: [],
      tracks: [
        { track: 'kernel', up: true, finding: '' },
        { track: 'security', up: true, finding: '' },
        { track: 'interface', up: true, finding: '' },
      ],
      activeOperations: 0,
      auditSequence: 7,
      bootId: 'boot',
      boardName: 'small',
      boardDigest: '0'.repeat(64),
      ...this.statusMore,
    });
  }

  async audit(sessionId: string): Promise<Outcome<readonly AuditEntry[]>> {
    const session = this.#session(sessionId);
    return session.ok ? succeed([]) : session;
  }

  async verifyAudit(
    sessionId: string,
  ): Promise<Outcome<{ entries: number; intact: boolean; finding: string }>> {
    const session = this.#session(sessionId);
    return session.ok ? succeed({ entries: 7, intact: true, finding: '' }) : session;
  }

  reportRefusal(
    sessionId: string | null,
    origin: Origin,
    code: string,
    finding: string,
    devices: readonly LinearId[],
  ): void {
    this.refusals.push({ sessionId, origin, code, finding, devices });
    const probe = code === 'DEVICE_QUARANTINED' && devices.some(permanentlyQuarantined);
    if (probe && sessionId !== null) this.lockedSessions.add(sessionId);
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
    this.#available.add(listen);
    listen(true);
    return () => this.#available.delete(listen);
  }

  #session(id: string): Outcome<Session> {
    if (this.broken !== null) return refuse(this.broken);
    const session = this.sessions.get(id);
    if (this.lockedSessions.has(id)) {
      return refuse(fault('ACCOUNT_LOCKED', { place: 'session', finding: 'is locked' }));
    }
    if (session !== undefined) return succeed(session);
    return refuse(fault('NOT_AUTHENTICATED', { place: 'session', finding: 'unknown or expired' }));
  }

  #login({ account, password, code }: AdministrationRequest<'login'>): Outcome<SignIn> {
    const principal = this.accounts.get(`password ${account}`);
    if (principal === undefined || this.passwords.get(account) !== `${password} ${code}`) {
      const finding = 'account, password or code is wrong';
      return refuse(fault('NOT_AUTHENTICATED', { place: 'sign-in', finding }));
    }
    const token = `signed-in-${randomUUID()}`;
    this.accounts.set(token, principal);
    this.signedIn.set(token, account);
    return succeed({
      token,
      principal,
      administrator: this.administrators.has(account),
      way: 'password',
      expiresAtWallMs: Date.now() + 3_600_000,
    });
  }

  #notSelected(operationId: string): Fault {
    const finding = 'is not selected by this person';
    return fault('SELECTION_UNKNOWN', { place: `operation ${operationId}`, finding });
  }

  #plan(
    intent: Intent,
  ): Pick<OperationReceipt, 'transactions' | 'preview' | 'assessments' | 'worstCaseMs'> {
    return {
      transactions: ['write tpm-control.CONTROL 0x00000001'],
      worstCaseMs: 12.5,
      assessments: [
        { track: 'kernel', level: RiskLevel.LOW, reasons: ['base risk SAFE', 'WRITE +2'] },
        { track: 'security', level: RiskLevel.SAFE, reasons: [] },
      ],
      preview: intent.targets.flatMap((target) =>
        target.registers.map((access) => ({
          device: target.device,
          register: access.register,
          before: this.registers.get(`${target.device}.${access.register}`) ?? 0n,
          ...(access.value === undefined ? {} : { after: access.value }),
          rollback: `write ${access.register} 0x00000000`,
        })),
      ),
    };
  }

  #approval(approvedBy: string): ApprovalRequest {
    return {
      planDigest: 'ab'.repeat(32),
      operation: 'WRITE',
      devices: [0],
      requestedBy: 'bob',
      justification: 'routine calibration',
      risk: RiskLevel.HIGH,
      transactions: ['write tpm-control.CONTROL 0x00000001'],
      expiresAtWallMs: 1_800_000_000_000,
      approvedBy,
    };
  }
}
