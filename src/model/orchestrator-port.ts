// What the interface track may ask of the security track: the whole surface between network and authority.

import type { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { SignInWay } from './account.ts';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
} from './administration.ts';
import type { AuditEntry } from './audit-entry.ts';
import type { LinearId } from './device.ts';
import type { AgentEvent } from './event.ts';
import type { DeviceHold } from './hold.ts';
import type { Intent, OperationReceipt } from './operation.ts';
import type { Credential, Origin, Principal } from './principal.ts';
import type { RiskLevel } from './risk.ts';
import type { KernelSnapshot, TrackHealth } from './snapshot.ts';
import type {
  EmergencyPriority,
  StopAcknowledgment,
  StopCause,
  StopReceipt,
  StopTest,
} from './stop.ts';
import type {
  Conflict,
  ConflictAnswer,
  HistoryEntry,
  UnifiedDeviceState,
} from './unified-state.ts';

/** A signed-in connection; the id is random, known to interface and security only. */
export interface Session {
  readonly id: string;
  readonly principal: Principal;
  readonly administrator: boolean;
  readonly way: SignInWay;
  /** Rows of the operation table it is good for; null for all that its principal may. */
  readonly scope: readonly string[] | null;
  readonly expiresAtWallMs: number;
}

/** Sessions that are over, and why in one sentence; whoever serves them cuts them off now. */
export interface SessionsEnded {
  readonly sessionIds: readonly string[];
  readonly reason: string;
}

export const OrchestratorState = {
  UNKNOWN: 0,
  INITIALIZING: 1,
  READY: 2,
  DEGRADED: 3,
  EMERGENCY_STOPPED: 4,
  RECOVERING: 5,
  SHUTTING_DOWN: 6,
} as const;
export type OrchestratorState = (typeof OrchestratorState)[keyof typeof OrchestratorState];

export interface OpenSelection {
  readonly operationId: string;
  /** Account that selected, and alone may operate or release it. */
  readonly by: string;
  readonly operation: string;
  readonly devices: readonly LinearId[];
  readonly untilWallMs: number;
}

export interface SystemStatus {
  readonly state: OrchestratorState;
  readonly stopEngaged: boolean;
  readonly stopCauses: readonly StopCause[];
  readonly stopAcknowledgments: readonly StopAcknowledgment[];
  /** The last test of the stop path; null before the first. */
  readonly stopTest: StopTest | null;
  readonly holds: readonly DeviceHold[];
  /** Conflicts that wait for a person. */
  readonly conflictsOpen: number;
  /** What people have selected and not yet operated or released. */
  readonly selections: readonly OpenSelection[];
  /** Why the system is not READY, each a sentence; empty when it is. */
  readonly findings: readonly string[];
  readonly tracks: readonly TrackHealth[];
  readonly activeOperations: number;
  readonly auditSequence: number;
  readonly bootId: string;
  readonly boardName: string;
  readonly boardDigest: string;
}

export interface StopRequest {
  readonly reason: string;
  readonly priority: EmergencyPriority;
  /** Devices to stop beside those of the groups. */
  readonly devices: readonly LinearId[];
  /** Whole groups to stop; with `devices` empty too, the whole system stops. */
  readonly groups: readonly number[];
}

export interface StopReport {
  /** Every track gave its receipt and every device is safe. */
  readonly success: boolean;
  /** `whole system`, or the groups and devices, said plainly. */
  readonly scope: string;
  /** Devices covered; empty for the whole system. */
  readonly devices: readonly LinearId[];
  readonly receipts: readonly StopReceipt[];
  readonly durationMs: number;
}

export interface ApprovalRequest {
  readonly planDigest: string;
  readonly operation: string;
  readonly devices: readonly LinearId[];
  readonly requestedBy: string;
  readonly justification: string;
  /** Of the exact plan, when it was asked for; an approval is void once it has risen. */
  readonly risk: RiskLevel;
  readonly transactions: readonly string[];
  readonly expiresAtWallMs: number;
  /** Empty while open. */
  readonly approvedBy: string;
}

export interface ResetProgress {
  /** True when the stop is released; false when one more person has to ask. */
  readonly released: boolean;
  readonly message: string;
}

/** The end of a hold: at once, or after a second person has asked too. */
export interface HoldProgress {
  readonly released: boolean;
  readonly message: string;
}

export interface OrchestratorPort {
  authenticate(
    credential: Credential,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<Session>>;
  /** The connection of this session is over; a sign-in with a password stays good for other connections. */
  endSession(sessionId: string, deadline: Deadline): Promise<Outcome<void>>;
  /** The person leaves: the sign-in of this session is worth nothing any more, on any connection or transport. */
  signOut(sessionId: string, deadline: Deadline): Promise<Outcome<void>>;
  /** Accounts, certificates, audit, threats, chaos; `sessionId` is null for what needs no session. */
  administer<K extends AdministrationKey>(
    sessionId: string | null,
    key: K,
    request: AdministrationRequest<K>,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<AdministrationAnswer<K>>>;
  /** Sessions ended by a person, a revocation or a lock, as it happens. */
  onSessionsEnded(listen: (ended: SessionsEnded) => void): () => void;
  /** Plans, or plans and executes. A refusal by rule is a receipt with DENIED; a fault is for bad sessions and a lost track. */
  operate(
    sessionId: string,
    intent: Intent,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>>;
  operation(
    sessionId: string,
    operationId: string,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>>;
  operations(
    sessionId: string,
    limit: number,
    deadline: Deadline,
  ): Promise<Outcome<readonly OperationReceipt[]>>;
  /** `sessionId` is null for a connection that is authenticated and has no session: it may stop all the same. */
  stop(
    sessionId: string | null,
    request: StopRequest,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<StopReport>>;
  resetStop(
    sessionId: string,
    reason: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<ResetProgress>>;
  /** Performs what this person selected; the plan must still be the selected one. */
  operateSelected(
    sessionId: string,
    operationId: string,
    confirmedRisk: RiskLevel,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>>;
  /** Frees the devices of a selection without an operation. */
  releaseSelected(
    sessionId: string,
    operationId: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<void>>;
  /** The person has seen every stop that stands now. */
  acknowledgeStop(
    sessionId: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<readonly StopAcknowledgment[]>>;
  /** Ends a hold: `in-doubt` by one person with SECRET, `quarantined` by two; the others end by reset and activation. */
  releaseDevice(
    sessionId: string,
    device: LinearId,
    reason: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<HoldProgress>>;
  /** Quarantines a device until two people release it. */
  quarantineDevice(
    sessionId: string,
    device: LinearId,
    reason: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<DeviceHold>>;
  /** Collects, compares and resolves now; empty `devices` means all. */
  synchronize(
    sessionId: string,
    devices: readonly LinearId[],
    deadline: Deadline,
  ): Promise<Outcome<readonly UnifiedDeviceState[]>>;
  /** Open conflicts first, then the last settled ones. */
  conflicts(sessionId: string, deadline: Deadline): Promise<Outcome<readonly Conflict[]>>;
  resolveConflict(
    sessionId: string,
    conflictId: number,
    answer: ConflictAnswer,
    reason: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<Conflict>>;
  /** Newest first. */
  history(
    sessionId: string,
    device: LinearId,
    limit: number,
    deadline: Deadline,
  ): Promise<Outcome<readonly HistoryEntry[]>>;
  approvals(sessionId: string, deadline: Deadline): Promise<Outcome<readonly ApprovalRequest[]>>;
  approve(
    sessionId: string,
    planDigest: string,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<ApprovalRequest>>;
  status(deadline: Deadline): Promise<Outcome<SystemStatus>>;
  audit(
    sessionId: string,
    fromSequence: number,
    limit: number,
    deadline: Deadline,
  ): Promise<Outcome<readonly AuditEntry[]>>;
  verifyAudit(
    sessionId: string,
    deadline: Deadline,
  ): Promise<
    Outcome<{ readonly entries: number; readonly intact: boolean; readonly finding: string }>
  >;
  /** Records an attempt that interface refused by itself before anything was asked of security (quarantine, rate). */
  reportRefusal(
    sessionId: string | null,
    origin: Origin,
    code: string,
    finding: string,
    devices: readonly LinearId[],
  ): void;
  onEvent(listen: (event: AgentEvent) => void): () => void;
  onKernelSnapshot(listen: (snapshot: KernelSnapshot) => void): () => void;
  /** Devices whose unified state changed, as they change. */
  onUnifiedState(listen: (states: readonly UnifiedDeviceState[]) => void): () => void;
  /** `false` when the security track is gone; the interface then serves its last picture, marked stale. */
  onAvailable(listen: (available: boolean) => void): () => void;
}
