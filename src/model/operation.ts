// What a person asks for and what became of it: intent, plan, states and receipt.

import type { Fault } from '#foundation/fault';
import type { LinearId } from './device.ts';
import type { ClearanceLevel, Compartment } from './principal.ts';
import type { Word } from './register.ts';
import type { RiskAssessment, RiskLevel } from './risk.ts';
import type { TrackName } from './track-name.ts';

export const OperationType = {
  UNKNOWN: 0,
  READ: 1,
  WRITE: 2,
  CONFIG: 3,
  RESET: 4,
  ACTIVATE: 5,
  DEACTIVATE: 6,
  EMERGENCY_STOP: 7,
} as const;
export type OperationType = (typeof OperationType)[keyof typeof OperationType];
export type OperationName = keyof typeof OperationType;

export const OPERATION_NAMES = [
  'UNKNOWN',
  'READ',
  'WRITE',
  'CONFIG',
  'RESET',
  'ACTIVATE',
  'DEACTIVATE',
  'EMERGENCY_STOP',
] as const satisfies readonly OperationName[];

export function operationName(type: OperationType): OperationName {
  return OPERATION_NAMES[type];
}

export interface RegisterAccessRequest {
  readonly register: string;
  /** Raw word to write; absent for a read. */
  readonly value?: Word;
}

/** One device's part of an intent; no registers in a READ means all readable, non-precious ones. */
export interface Target {
  readonly device: LinearId;
  readonly registers: readonly RegisterAccessRequest[];
}

/** The specification's SafetyRequirements; zero and false mean "no more than the rules demand". */
export interface SafetyRequirements {
  readonly memoryProtectionRequired: boolean;
  readonly thermalMonitoringRequired: boolean;
  /** 0 for the agent's own limit. */
  readonly maxExecutionTimeMs: number;
  readonly rollbackCapabilityRequired: boolean;
  readonly requiredClearance: ClearanceLevel;
  readonly dualAuthorizationRequired: boolean;
  readonly auditRequired: boolean;
  readonly requiredCompartments: readonly Compartment[];
  readonly userConfirmationRequired: boolean;
  readonly riskDisclosureRequired: boolean;
  readonly confirmationTimeoutSeconds: number;
}

export const NO_REQUIREMENTS: SafetyRequirements = {
  memoryProtectionRequired: false,
  thermalMonitoringRequired: false,
  maxExecutionTimeMs: 0,
  rollbackCapabilityRequired: false,
  requiredClearance: 0,
  dualAuthorizationRequired: false,
  auditRequired: false,
  requiredCompartments: [],
  userConfirmationRequired: false,
  riskDisclosureRequired: false,
  confirmationTimeoutSeconds: 0,
};

export interface Intent {
  readonly operationId: string;
  readonly type: OperationType;
  readonly targets: readonly Target[];
  readonly requirements: SafetyRequirements;
  readonly justification: string;
  /** The risk the person was shown and accepted; UNKNOWN when nothing was shown. */
  readonly confirmedRisk: RiskLevel;
  /** True to plan, assess and check only: nothing is touched. */
  readonly dryRun: boolean;
  /**
   * Select before operate: prepares nothing and writes nothing, but holds the devices for this operation for so many
   * seconds, until it is operated or released. Absent for an operation that goes through at once.
   */
  readonly selectForSeconds?: number;
  /** Tracks the caller names as involved; kernel and security always are. */
  readonly involved: readonly TrackName[];
  /** What the request body says about who asks and when, at most 200 characters; recorded, never believed. */
  readonly claims?: string;
  /** The interface track's own assessment, sent along by it: saves asking it when the answer is here already. */
  readonly interfaceRisk?: RiskAssessment;
}

/** The specification's coordination_state. */
export type OperationState =
  | 'INITIALIZING'
  | 'SAFETY_CHECKING'
  | 'AUTHORIZING'
  | 'EXECUTING'
  | 'COMPLETED'
  | 'FAILED'
  | 'EMERGENCY_STOPPED';

export const CoordinationResult = {
  UNKNOWN: 0,
  SUCCESS: 1,
  DENIED: 2,
  FAILED: 3,
  EMERGENCY_STOPPED: 4,
} as const;
export type CoordinationResult = (typeof CoordinationResult)[keyof typeof CoordinationResult];

/** What happened to the metal: nothing written, all writes stand, all undone, or nobody knows. */
export type EffectOutcome = 'none' | 'committed' | 'rolled-back' | 'in-doubt' | 'stopped';

export interface RegisterReading {
  readonly device: LinearId;
  readonly register: string;
  /** Absent when the read failed. */
  readonly value?: Word;
  /** Content before the operation's write, where it was read. */
  readonly before?: Word;
  readonly fault?: Fault;
}

export interface TrackResult {
  readonly track: TrackName;
  readonly ok: boolean;
  readonly fault?: Fault;
  readonly durationMs: number;
}

/** One register write of a plan, for people: what is there now, what will be, and how it would be undone. */
export interface WritePreview {
  readonly device: LinearId;
  readonly register: string;
  /** Absent where reading it would have a side effect, or failed. */
  readonly before?: Word;
  readonly after?: Word;
  /** `write pump.CONFIG 0x00000001`, or why it cannot be undone. */
  readonly rollback: string;
}

export interface OperationReceipt {
  readonly operationId: string;
  readonly type: OperationType;
  readonly state: OperationState;
  readonly result: CoordinationResult;
  readonly risk: RiskLevel;
  readonly reasons: readonly string[];
  readonly effect: EffectOutcome;
  readonly planDigest: string;
  readonly readings: readonly RegisterReading[];
  readonly tracks: readonly TrackResult[];
  readonly fault?: Fault;
  /** Sequence of the audit entry that records this outcome; 0 when audit could not be written. */
  readonly auditSequence: number;
  readonly durationMs: number;
  /** Register transactions of a dry run, for people: `write fan-controller.duty 0x00000037`. */
  readonly transactions?: readonly string[];
  /** People still needed before this plan runs, with what each needs. */
  readonly approvalsNeeded?: readonly string[];
  /** Dry runs: registers before and after, and the rollback of each write, last write first. */
  readonly preview?: readonly WritePreview[];
  /** Dry runs: what each involved track said. */
  readonly assessments?: readonly RiskAssessment[];
  /** Dry runs: upper bound of the execution time, milliseconds. */
  readonly worstCaseMs?: number;
  /** Selections: until when the devices are held for this operation. */
  readonly selectedUntilWallMs?: number;
}
