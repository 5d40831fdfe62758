// Everything that can be asked of the security track beside operations: request and answer of each row of the operation table.
// Invariants: keys are rows of the operation table, which says who may; secrets appear in requests and first answers only.

import type { Canonical } from '#foundation/canonical';
import type {
  AccountChange,
  AccountRecord,
  AccountView,
  CertificateView,
  Right,
  SessionView,
  SignInWay,
  TokenView,
} from './account.ts';
import type { SignedCheckpoint } from './audit-checkpoint.ts';
import type { LinearId } from './device.ts';
import type { ChaosScenario, Exercise, ExerciseReport } from './exercise.ts';
import type { Incident, ThreatReport, ThreatSubjectKind } from './incident.ts';
import type { OperationType } from './operation.ts';
import type { Principal } from './principal.ts';

/** A change that gives rights: done at once, or after a second administrator has asked for the same. */
export interface ChangeProgress {
  readonly done: boolean;
  readonly message: string;
}

/** A change that gives rights and waits for a second administrator. */
export interface ProposalView {
  /** Of what is asked for, as the audit entries have it; opens nothing. */
  readonly digest: string;
  /** Account of who asked; the second one has to be somebody else. */
  readonly by: string;
  /** Row of the operation table that the second one has to call. */
  readonly operation: string;
  /** For people, to stand after the name: `to give bob the clearance SECRET`. */
  readonly what: string;
  readonly reason: string;
  /** What the second one has to ask for, to the last letter. */
  readonly request: { readonly [member: string]: Canonical };
  readonly expiresAtWallMs: number;
}

export interface SignIn {
  /** Opens the session on every transport until it ends; kept as a hash only. */
  readonly token: string;
  readonly principal: Principal;
  readonly administrator: boolean;
  readonly way: SignInWay;
  readonly expiresAtWallMs: number;
}

interface WithReason {
  readonly reason: string;
}
interface NoMembers {
  readonly [member: string]: never;
}

/** Request and answer by key. */
export interface AdministrationMap {
  // --- Proving who one is; no session needed -------------------------------------------------------
  readonly login: Asked<
    { readonly account: string; readonly password: string; readonly code: string },
    SignIn
  >;
  /** Sets the password and gives the secret of the one-time codes; the invitation stays good until the code is proved. */
  readonly enrol: Asked<
    /** `invitation`: both halves, in any order, with or without spaces and dashes. */
    { readonly invitation: string; readonly password: string },
    { readonly account: string; readonly secret: string; readonly uri: string }
  >;
  readonly confirmEnrolment: Asked<
    { readonly invitation: string; readonly code: string },
    { readonly account: string }
  >;
  // --- One's own -------------------------------------------------------------------------------------
  readonly changePassword: Asked<
    { readonly password: string; readonly code: string; readonly next: string },
    { readonly sessionsEnded: number }
  >;
  readonly rights: Asked<
    {
      /** Rows of the operation table; empty for all. */
      readonly operations: readonly string[];
      readonly devices: readonly LinearId[];
      readonly type: OperationType;
    },
    { readonly rights: readonly Right[] }
  >;
  /** One's own sessions; everybody's for an administrator. */
  readonly sessions: Asked<NoMembers, { readonly sessions: readonly SessionView[] }>;
  readonly revokeSession: Asked<{ readonly handle: string }, { readonly sessionsEnded: number }>;
  // --- Accounts --------------------------------------------------------------------------------------
  readonly accounts: Asked<NoMembers, { readonly accounts: readonly AccountView[] }>;
  /** The newest first, as many as fit into one message. */
  readonly proposals: Asked<NoMembers, { readonly proposals: readonly ProposalView[] }>;
  /**
   * `invitation` is one half to each of the two who ask, for a person: 80 random bits as `ABCD-EFGH-IJKL-MNOP`. The invited
   * one needs both, in any order; empty for a machine.
   */
  readonly createAccount: Asked<
    { readonly account: AccountRecord } & WithReason,
    ChangeProgress & { readonly invitation: string }
  >;
  readonly changeAccount: Asked<
    { readonly id: string; readonly change: AccountChange } & WithReason,
    ChangeProgress
  >;
  /**
   * A new invitation: password and one-time codes of before are worth nothing from then on. `invitation` is one half to each
   * of the two who ask.
   */
  readonly inviteAccount: Asked<
    { readonly id: string } & WithReason,
    ChangeProgress & { readonly invitation: string }
  >;
  readonly unlockAccount: Asked<{ readonly id: string } & WithReason, ChangeProgress>;
  readonly tokens: Asked<NoMembers, { readonly tokens: readonly TokenView[] }>;
  /** For another account of a machine alone: a person makes the own ones. */
  readonly createToken: Asked<
    {
      readonly account: string;
      readonly name: string;
      readonly scope: readonly string[] | null;
      readonly lifetimeDays: number;
    },
    ChangeProgress & { readonly token: string; readonly id: string }
  >;
  readonly revokeToken: Asked<
    { readonly id: string } & WithReason,
    { readonly sessionsEnded: number }
  >;
  // --- Certificates and keys -------------------------------------------------------------------------
  readonly authority: Asked<
    NoMembers,
    { readonly certificatePem: string; readonly revocationListPem: string }
  >;
  readonly certificates: Asked<NoMembers, { readonly certificates: readonly CertificateView[] }>;
  /** For an account, from a PKCS #10 request (RFC 2986): its key never comes here. */
  readonly issueCertificate: Asked<
    { readonly account: string; readonly requestPem: string } & WithReason,
    ChangeProgress & { readonly certificatePem: string }
  >;
  readonly renewCertificate: Asked<
    { readonly serial: string; readonly requestPem: string },
    { readonly certificatePem: string }
  >;
  readonly revokeCertificate: Asked<
    { readonly serial: string } & WithReason,
    { readonly sessionsEnded: number }
  >;
  readonly rotateKey: Asked<
    { readonly key: 'authorization' | 'checkpoint' | 'sealing' } & WithReason,
    ChangeProgress & { readonly publicKeyPem: string }
  >;
  // --- Audit -----------------------------------------------------------------------------------------
  /** The newest signed checkpoint; signs one now where the newest is not the chain's end. */
  readonly auditCheckpoint: Asked<
    NoMembers,
    { readonly checkpoint: SignedCheckpoint | null; readonly publicKeyPem: string }
  >;
  /** JSON Lines from this sequence on: entries, checkpoints and key changes; `next` 0 after the last. */
  readonly exportAudit: Asked<
    { readonly fromSequence: number; readonly limit: number },
    { readonly lines: readonly string[]; readonly next: number }
  >;
  /** Seals what the retention policy lets go into a segment file. */
  readonly archiveAudit: Asked<WithReason, { readonly archived: number; readonly message: string }>;
  // --- Threats ---------------------------------------------------------------------------------------
  readonly incidents: Asked<NoMembers, { readonly incidents: readonly Incident[] }>;
  readonly closeIncident: Asked<
    { readonly id: number } & WithReason,
    { readonly incident: Incident }
  >;
  readonly threat: Asked<
    { readonly kind: ThreatSubjectKind; readonly id: string },
    { readonly report: ThreatReport }
  >;
  // --- Chaos -----------------------------------------------------------------------------------------
  readonly chaosScenarios: Asked<
    NoMembers,
    { readonly simulated: boolean; readonly scenarios: readonly ChaosScenario[] }
  >;
  readonly startChaos: Asked<
    { readonly scenario: string } & WithReason,
    ChangeProgress & { readonly exercise: Exercise | null }
  >;
  readonly endChaos: Asked<
    { readonly id: string; readonly report: ExerciseReport },
    { readonly recorded: boolean }
  >;
}

interface Asked<Request, Answer> {
  readonly request: Request;
  readonly answer: Answer;
}

export type AdministrationKey = keyof AdministrationMap;
export type AdministrationRequest<K extends AdministrationKey> = AdministrationMap[K]['request'];
export type AdministrationAnswer<K extends AdministrationKey> = AdministrationMap[K]['answer'];

/** Keys that are answered without a session. */
export const ENTRY_KEYS = [
  'login',
  'enrol',
  'confirmEnrolment',
] as const satisfies readonly AdministrationKey[];
