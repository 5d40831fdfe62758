// What the orchestrator needs from the security track: plain interfaces, so that it imports no track.

import type { Outcome } from '#foundation/outcome';
import type { AuditEntry, AuditRecord } from '#model/audit-entry';
import type { Authorization } from '#model/authorization';
import type { DeviceDescriptor, LinearId } from '#model/device';
import type { Intent } from '#model/operation';
import type { ApprovalRequest, Session } from '#model/orchestrator-port';
import type { Credential, Principal } from '#model/principal';
import type { RiskLevel } from '#model/risk';

export interface AuditPort {
  readonly lastSequence: number;
  readonly writable: boolean;
  append(record: AuditRecord, beside?: () => void): Promise<Outcome<AuditEntry>>;
  read(fromSequence: number, limit: number): readonly AuditEntry[];
  verify(): Promise<{
    readonly entries: number;
    readonly intact: boolean;
    readonly finding: string;
  }>;
}

export interface SessionPort {
  authenticate(credential: Credential): Outcome<Session>;
  session(id: string): Outcome<Session>;
  lock(sessionId: string, reason: string): void;
  end(sessionId: string): void;
}

export interface AccessQuestion {
  readonly principal: Principal;
  readonly intent: Intent;
  readonly devices: readonly DeviceDescriptor[];
  readonly risk: RiskLevel;
  readonly isQuarantined: (device: DeviceDescriptor) => boolean;
}

export interface ApprovalPort {
  ask(
    intent: Intent,
    risk: RiskLevel,
    request: Omit<ApprovalRequest, 'expiresAtWallMs' | 'approvedBy'>,
  ): ApprovalRequest;
  find(planDigest: string): Outcome<{
    readonly request: ApprovalRequest;
    readonly intent: Intent;
    readonly risk: RiskLevel;
  }>;
  approve(planDigest: string, approver: Principal): Outcome<ApprovalRequest>;
  consume(planDigest: string, requester: Principal, risk: RiskLevel): string | undefined;
  open(): readonly ApprovalRequest[];
}

export interface AuthorityPort {
  decideAccess(question: AccessQuestion): Outcome<{ readonly dualAuthorization: boolean }>;
  isQuarantined(device: DeviceDescriptor): boolean;
  /** `basis`: the state of the devices it holds for; empty for any. */
  grant(
    operationId: string,
    planDigest: string,
    grantedTo: readonly string[],
    basis?: string,
  ): Authorization;
  openIncident(device: LinearId, actor: string, finding: string): void;
}
