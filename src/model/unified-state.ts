// One device as all three tracks together see it, the conflicts between them, and how each is settled.
// Invariants: each track's part carries that track's own version; a resolved value is never less safe because of a clock.

import type { LinearId } from './device.ts';
import type { RiskLevel } from './risk.ts';
import type {
  DisplayState,
  InterfaceDeviceState,
  KernelDeviceState,
  OverallStatus,
  SecurityDeviceState,
} from './snapshot.ts';
import type { TrackName } from './track-name.ts';

export const SyncTrigger = {
  UNKNOWN: 0,
  STARTUP: 1,
  PERIODIC: 2,
  OPERATION_COMPLETED: 3,
  STATE_CHANGE_EVENT: 4,
  CONFLICT_RETRY: 5,
  EMERGENCY: 6,
  RECOVERY: 7,
  MANUAL: 8,
} as const;
export type SyncTrigger = (typeof SyncTrigger)[keyof typeof SyncTrigger];

export const ResolutionMethod = {
  UNKNOWN: 0,
  CONSERVATIVE: 1,
  LATEST_VALID: 2,
  AUTHORITY: 3,
  USER_MEDIATED: 4,
} as const;
export type ResolutionMethod = (typeof ResolutionMethod)[keyof typeof ResolutionMethod];
export type ResolutionMethodName = Exclude<keyof typeof ResolutionMethod, 'UNKNOWN'>;

/** Every rule by which two tracks can be found to disagree about a device. */
export const CONFLICT_RULES = [
  /** Kernel sees the device powered or operational; security holds it in quarantine. */
  'ACTIVE_WHILE_QUARANTINED',
  /** Kernel sees the device powered; security has locked it. */
  'ACTIVE_WHILE_LOCKED',
  /** The stop covers the device and kernel still sees it on. */
  'RUNNING_WHILE_STOPPED',
  /** Kernel reports a fault; interface shows the device as normal. */
  'NORMAL_WHILE_FAULT',
  /** Kernel has not reached the device for too long, or is away; interface shows it as current. */
  'CURRENT_WHILE_STALE',
  /** A hold on record in security that kernel does not enforce, or the other way round. */
  'HOLD_DISAGREES',
  /** Registers changed although no operation of ours wrote them. */
  'CHANGED_WITHOUT_OPERATION',
] as const;
export type ConflictRule = (typeof CONFLICT_RULES)[number];

/** What can be done about a conflict, the safest first: that order is the order of safety everywhere. */
export const CONFLICT_ANSWERS = [
  'QUARANTINE',
  'STOP',
  'INHIBIT',
  'REVIEW',
  'SHOW_FAULT',
  'SHOW_STALE',
  'ACCEPT',
] as const;
export type ConflictAnswer = (typeof CONFLICT_ANSWERS)[number];

/** What one track says about the matter in dispute, and which answer would follow from believing it. */
export interface ConflictPosition {
  readonly track: TrackName;
  readonly value: string;
  readonly answer: ConflictAnswer;
}

export interface Conflict {
  /** Counts up over restarts. */
  readonly id: number;
  readonly rule: ConflictRule;
  readonly device: LinearId;
  readonly finding: string;
  readonly positions: readonly ConflictPosition[];
  readonly method: ResolutionMethodName;
  readonly openedWallMs: number;
  /** User-mediated ones: when the conservative answer applies by itself; 0 for settled at once. */
  readonly deadlineWallMs: number;
  /** Null while open. */
  readonly answer: ConflictAnswer | null;
  /** Person, method, `deadline` or `gone` (its cause ended by itself) that settled it; empty while open. */
  readonly resolvedBy: string;
  readonly resolvedWallMs: number;
}

export interface UnifiedDeviceState {
  readonly device: LinearId;
  readonly kernel: KernelDeviceState;
  readonly security: SecurityDeviceState;
  readonly interface: InterfaceDeviceState;
  readonly currentRisk: RiskLevel;
  readonly overall: OverallStatus;
  readonly emergencyStopApplied: boolean;
  readonly lastChangeWallMs: number;
  readonly changeCount: number;
  readonly lastSyncWallMs: number;
  readonly trigger: SyncTrigger;
  readonly conflictsDetected: number;
  readonly openConflicts: readonly number[];
  /** What panels must show in place of their own picture, by a conflict; absent while none says so. */
  readonly displayOverride?: DisplayState;
  /** Tracks whose part is old because they do not answer. */
  readonly staleTracks: readonly TrackName[];
}

/** One line of a device's history. */
export interface HistoryEntry {
  readonly device: LinearId;
  readonly wallMs: number;
  readonly what: string;
  readonly from: string;
  readonly to: string;
}
