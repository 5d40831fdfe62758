// What the interface track may ask of the security track: the whole surface between network and authority.

import type { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { AuditEntry } from './audit-entry.ts';
import type { LinearId } from './device.ts';
import type { AgentEvent } from './event.ts';
import type { Intent, OperationReceipt } from './operation.ts';
import type { Credential, Origin, Principal } from './principal.ts';
import type { KernelSnapshot, TrackHealth } from './snapshot.ts';
import type { EmergencyPriority, StopCause, StopReceipt } from './stop.ts';

/** A signed-in connection; the id is random, known to interface and security only. */
export interface Session {
  readonly id: string;
  readonly principal: Principal;
  readonly expiresAtWallMs: number;
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

export interface SystemStatus {
  readonly state: OrchestratorState;
  readonly stopEngaged: boolean;
  readonly stopCauses: readonly StopCause[];
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
  /** Empty for the whole system. */
  readonly devices: readonly LinearId[];
}

export interface StopReport {
  /** Every track gave its receipt and every device is safe. */
  readonly success: boolean;
  /** `whole system` or the devices, said plainly. */
  readonly scope: string;
  readonly receipts: readonly StopReceipt[];
  readonly durationMs: number;
}

export interface ApprovalRequest {
  readonly planDigest: string;
  readonly operation: string;
  readonly devices: readonly LinearId[];
  readonly requestedBy: string;
  readonly justification: string;
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

export interface OrchestratorPort {
  authenticate(
    credential: Credential,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<Session>>;
  endSession(sessionId: string, deadline: Deadline): Promise<Outcome<void>>;
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
  stop(
    sessionId: string,
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
  /** `false` when the security track is gone; the interface then serves its last picture, marked stale. */
  onAvailable(listen: (available: boolean) => void): () => void;
}
