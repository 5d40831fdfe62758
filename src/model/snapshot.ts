// What each track says about the devices and itself, with a version that only that track bumps.

import type { BusCounters, BusKind } from './bus.ts';
import type { LinearId } from './device.ts';
import type { HoldKind } from './hold.ts';
import type { ClearanceLevel } from './principal.ts';
import type { Word } from './register.ts';
import type { TrackName } from './track-name.ts';

export const PowerState = {
  UNKNOWN: 0,
  OFF: 1,
  SUSPENDED: 2,
  STANDBY: 3,
  ON: 4,
  FAULT: 5,
  LOCKED: 6,
} as const;
export type PowerState = (typeof PowerState)[keyof typeof PowerState];

export const OverallStatus = {
  UNKNOWN: 0,
  OPERATIONAL: 1,
  DEGRADED: 2,
  FAULT: 3,
  QUARANTINED: 4,
  EMERGENCY_STOPPED: 5,
  MAINTENANCE: 6,
} as const;
export type OverallStatus = (typeof OverallStatus)[keyof typeof OverallStatus];

export const SecurityStatus = {
  UNKNOWN: 0,
  NORMAL: 1,
  RESTRICTED: 2,
  UNDER_REVIEW: 3,
  ALERT: 4,
  LOCKED: 5,
  QUARANTINED: 6,
} as const;
export type SecurityStatus = (typeof SecurityStatus)[keyof typeof SecurityStatus];

export const DisplayState = {
  UNKNOWN: 0,
  HIDDEN: 1,
  NORMAL: 2,
  HIGHLIGHTED: 3,
  WARNING: 4,
  CRITICAL: 5,
  LOCKED_OUT: 6,
  STALE: 7,
} as const;
export type DisplayState = (typeof DisplayState)[keyof typeof DisplayState];

export const AttentionLevel = {
  UNKNOWN: 0,
  NONE: 1,
  INFO: 2,
  ADVISORY: 3,
  WARNING: 4,
  CRITICAL: 5,
  EMERGENCY: 6,
} as const;
export type AttentionLevel = (typeof AttentionLevel)[keyof typeof AttentionLevel];

export interface DeviceReading {
  readonly register: string;
  readonly value: Word;
}

export interface KernelDeviceState {
  readonly device: LinearId;
  /** Moves only when something else in this state has changed; starts anew with each life of the kernel process. */
  readonly version: number;
  readonly power: PowerState;
  readonly status: OverallStatus;
  /** Last seen register contents, at most 16, non-precious only. */
  readonly readings: readonly DeviceReading[];
  readonly operationCount: number;
  /** Monotonic milliseconds of the last access; 0 for never. */
  readonly lastAccessMs: number;
  /** Sentence of the last failed access, empty when the last one worked. */
  readonly lastFault: string;
  readonly inhibited: boolean;
  readonly holds: readonly HoldKind[];
  /** Counts every change of the device, by an operation or without one; an approval is void once it has moved. */
  readonly changeCount: number;
  /** Registers that changed without an operation of ours and that nobody has accounted for; empty for none. */
  readonly unexplained: string;
}

export interface BusState {
  readonly id: string;
  readonly kind: BusKind;
  readonly open: boolean;
  readonly queueLength: number;
  readonly counters: BusCounters;
  readonly finding: string;
}

export interface KernelSnapshot {
  readonly track: 'kernel';
  /** Of this life of the process: versions of different lives cannot be compared. */
  readonly life: string;
  readonly version: number;
  readonly stopEngaged: boolean;
  readonly held: boolean;
  readonly devices: readonly KernelDeviceState[];
  readonly buses: readonly BusState[];
}

export interface SecurityDeviceState {
  readonly device: LinearId;
  readonly version: number;
  readonly status: SecurityStatus;
  /** Whether anyone at all may operate it now. */
  readonly accessAuthorized: boolean;
  /** Least clearance for reading it. */
  readonly requiredClearance: ClearanceLevel;
  readonly failedAccessAttempts: number;
  /** Wall milliseconds of the last refusal, incident or hold; 0 for never. */
  readonly lastEventWallMs: number;
  readonly auditEnabled: boolean;
  /** Sequence of the last audit entry about it; 0 for none since the start. */
  readonly auditSequence: number;
}

export interface SecuritySnapshot {
  readonly track: 'security';
  readonly version: number;
  readonly devices: readonly SecurityDeviceState[];
  readonly auditSequence: number;
  readonly auditWritable: boolean;
  readonly quarantined: readonly LinearId[];
}

export interface InterfaceDeviceState {
  readonly device: LinearId;
  readonly version: number;
  /** Whether any client watches it. */
  readonly monitored: boolean;
  readonly display: DisplayState;
  readonly activeSessions: number;
  /** Wall milliseconds of the last request about it; 0 for never. */
  readonly lastInteractionWallMs: number;
  readonly notificationsPending: boolean;
  readonly attention: AttentionLevel;
}

export interface InterfaceSnapshot {
  readonly track: 'interface';
  readonly version: number;
  readonly devices: readonly InterfaceDeviceState[];
  readonly sessions: number;
  readonly pictureAgeMs: number;
}

export type TrackSnapshot = KernelSnapshot | SecuritySnapshot | InterfaceSnapshot;

export interface TrackHealth {
  readonly track: TrackName;
  readonly up: boolean;
  readonly finding: string;
}
