// What each track says about the devices and itself, with a version that only that track bumps.

import type { BusCounters, BusKind } from './bus.ts';
import type { LinearId } from './device.ts';
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

export interface DeviceReading {
  readonly register: string;
  readonly value: Word;
}

export interface KernelDeviceState {
  readonly device: LinearId;
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
  readonly version: number;
  readonly stopEngaged: boolean;
  readonly held: boolean;
  readonly devices: readonly KernelDeviceState[];
  readonly buses: readonly BusState[];
}

export interface SecuritySnapshot {
  readonly track: 'security';
  readonly version: number;
  readonly auditSequence: number;
  readonly auditWritable: boolean;
  readonly quarantined: readonly LinearId[];
}

export interface InterfaceSnapshot {
  readonly track: 'interface';
  readonly version: number;
  readonly sessions: number;
  readonly pictureAgeMs: number;
}

export type TrackSnapshot = KernelSnapshot | SecuritySnapshot | InterfaceSnapshot;

export interface TrackHealth {
  readonly track: TrackName;
  readonly up: boolean;
  readonly finding: string;
}
