// What the orchestrator needs from the security track: plain interfaces, so that it imports no track.

import type { Deadline } from '#foundation/deadline';
import type { Fault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
} from '#model/administration';
import type { AuditEntry, AuditRecord } from '#model/audit-entry';
import type { Authorization } from '#model/authorization';
import type { DeviceDescriptor, LinearId } from '#model/device';
import type { Intent } from '#model/operation';
import type { ApprovalRequest, Session, SessionsEnded } from '#model/orchestrator-port';
import type { Credential, Origin, Principal } from '#model/principal';
import type { RiskLevel } from '#model/risk';

export interface AuditPort {
  readonly lastSequence: number;
  /** Whether operations may rely on being recorded. */
  readonly writable: boolean;
  /** Why not, one sentence. */
  readonly obstacle?: string;
  /** Entries can still be written where only the room on disk is getting short: enough for a move to a safe state. */
  readonly appends?: boolean;
  /** What people must know of the chain, each a sentence. */
  readonly findings?: readonly string[];
  append(record: AuditRecord, beside?: () => void): Promise<Outcome<AuditEntry>>;
  read(fromSequence: number, limit: number): readonly AuditEntry[];
  /** The verdict is on record, with who asked for it. */
  verify(by?: Partial<AuditRecord>): Promise<{
    readonly entries: number;
    readonly intact: boolean;
    readonly finding: string;
  }>;
}

/** Requests beside operations; who may is asked there. */
export interface AdministrationPort {
  perform<K extends AdministrationKey>(
    sessionId: string | null,
    key: K,
    request: AdministrationRequest<K>,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<AdministrationAnswer<K>>>;
}

export interface SessionPort {
  authenticate(credential: Credential, origin: Origin): Promise<Outcome<Session>>;
  session(id: string): Outcome<Session>;
  /** What the session was opened with, as a digest; empty for a session that is not live. */
  credentialOf(sessionId: string): string;
  holder(sessionId: string): Holder;
  lock(sessionId: string, reason: string): void;
  /** The connection is over. */
  end(sessionId: string): void;
  /** The person leaves: what it signed in with at a panel is worth nothing any more, on any connection. */
  signOut(sessionId: string): void;
  onEnded(listen: (ended: SessionsEnded) => void): () => void;
}

export interface AccessQuestion {
  readonly principal: Principal;
  readonly intent: Intent;
  readonly devices: readonly DeviceDescriptor[];
  readonly risk: RiskLevel;
  readonly isQuarantined: (device: DeviceDescriptor) => boolean;
  /** When and as what this person was last told the risk of this plan; absent when never. */
  readonly disclosed?: Disclosed;
}

/** The risk of one plan as one person was told it. */
export interface Disclosed {
  readonly risk: RiskLevel;
  readonly ageMs: number;
}

/**
 * Who holds a session, asked at any later time: also when its connection is over or the person has signed out. Refused
 * once the account, the credential or the session was taken from the person, or is locked.
 */
export type Holder = () => Outcome<Principal>;

/** What somebody proved itself with. */
export interface Proof {
  /** Digest of the credential; empty where nothing was presented, as inside this process. */
  readonly credential: string;
  /** Null where there is no session, as inside this process. */
  readonly holder: Holder | null;
}

export const NO_PROOF: Proof = { credential: '', holder: null };

/** A person and what it signed in with: two people are two only when both differ. */
export interface Signatory {
  readonly principal: Principal;
  /** Digest of the credential; empty where nothing was presented, as inside this process. */
  readonly credential: string;
  /** Whether it still could sign, asked when its word is used; it could where absent. */
  readonly still?: () => Outcome<unknown>;
}

/** What a second person is asked for. */
export interface ApprovalQuestion {
  readonly intent: Intent;
  /** State of the devices it is asked for, see `RegisterPlan.basis`. */
  readonly basis: string;
  /** Of the requester, see `Signatory`. */
  readonly credential: string;
  readonly request: Omit<ApprovalRequest, 'expiresAtWallMs' | 'approvedBy'>;
}

export interface ApprovalPort {
  /** BUSY where one person has asked for too much already. */
  ask(question: ApprovalQuestion): Outcome<ApprovalRequest>;
  find(planDigest: string): Outcome<ApprovalQuestion>;
  /** Why this person cannot approve it, in this state of the devices; null when it can. */
  refusal(planDigest: string, approver: Signatory, basis: string): Fault | null;
  /** `basis`: the state of the devices now. */
  approve(planDigest: string, approver: Signatory, basis: string): Outcome<ApprovalRequest>;
  /** Who approved; nothing when nobody has yet; a fault when the approval has become void. */
  consume(
    planDigest: string,
    requester: Principal,
    risk: RiskLevel,
    basis: string,
  ): Outcome<string | undefined>;
  /** Closes one request, saying why to whoever comes for it. */
  revoke(planDigest: string, finding: string): void;
  /** Closes every request, saying why to whoever comes for one. */
  revokeAll(finding: string): void;
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
}

/** What threat detection has to say here; it hears of everything else by the audit chain. */
export interface ThreatPort {
  /** Everything that this account asks for goes on record, reading too. */
  watches(account: string): boolean;
  /** An attempt on quarantined devices whose entry could not be put on record. */
  probed(device: LinearId, actor: string): void;
  /** Grave incidents that are open, each a sentence. */
  findings(): readonly string[];
}
