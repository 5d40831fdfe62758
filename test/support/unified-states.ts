// Unified states, conflicts and snapshots with every member filled, for tests that look at one of them.

import type { LinearId } from '#model/device';
import { RiskLevel } from '#model/risk';
import {
  AttentionLevel,
  DisplayState,
  type KernelDeviceState,
  type KernelSnapshot,
  OverallStatus,
  PowerState,
  SecurityStatus,
} from '#model/snapshot';
import type { StopCause } from '#model/stop';
import { type Conflict, SyncTrigger, type UnifiedDeviceState } from '#model/unified-state';

export function kernelDevice(
  device: LinearId,
  change: Partial<KernelDeviceState> = {},
): KernelDeviceState {
  return {
    device,
    version: 4,
    power: PowerState.ON,
    status: OverallStatus.OPERATIONAL,
    readings: [{ register: 'DATA', value: 5n }],
    operationCount: 2,
    lastAccessMs: 9,
    lastFault: '',
    inhibited: false,
    holds: [],
    changeCount: 3,
    unexplained: '',
    ...change,
  };
}

export function kernelSnapshot(change: Partial<KernelSnapshot> = {}): KernelSnapshot {
  return {
    track: 'kernel',
    life: 'first',
    version: 3,
    stopEngaged: false,
    held: false,
    devices: [],
    buses: [],
    ...change,
  };
}

export function unifiedState(
  device: LinearId,
  change: Partial<UnifiedDeviceState> = {},
): UnifiedDeviceState {
  return {
    device,
    kernel: kernelDevice(device),
    security: {
      device,
      version: 11,
      status: SecurityStatus.NORMAL,
      accessAuthorized: true,
      requiredClearance: 2,
      failedAccessAttempts: 1,
      lastEventWallMs: 1_700_000_000_100,
      auditEnabled: true,
      auditSequence: 77,
    },
    interface: {
      device,
      version: 5,
      monitored: true,
      display: DisplayState.NORMAL,
      activeSessions: 2,
      lastInteractionWallMs: 1_700_000_000_200,
      notificationsPending: true,
      attention: AttentionLevel.ADVISORY,
    },
    currentRisk: RiskLevel.LOW,
    overall: OverallStatus.OPERATIONAL,
    emergencyStopApplied: false,
    lastChangeWallMs: 1_700_000_000_300,
    changeCount: 6,
    lastSyncWallMs: 1_700_000_000_400,
    trigger: SyncTrigger.MANUAL,
    conflictsDetected: 1,
    openConflicts: [],
    staleTracks: [],
    ...change,
  };
}

export function conflictOf(id: number, device: LinearId): Conflict {
  return {
    id,
    rule: 'CHANGED_WITHOUT_OPERATION',
    device,
    finding: 'CONTROL changed from 0x0 to 0x1 and no operation wrote it',
    positions: [
      { track: 'kernel', value: 'CONTROL 0x1', answer: 'INHIBIT' },
      { track: 'security', value: 'no operation', answer: 'REVIEW' },
    ],
    method: 'USER_MEDIATED',
    openedWallMs: 1_700_000_000_000,
    deadlineWallMs: 1_700_000_300_000,
    answer: null,
    resolvedBy: '',
    resolvedWallMs: 0,
  };
}

export function stopCause(change: Partial<StopCause> = {}): StopCause {
  return {
    id: 3,
    devices: [],
    source: 'orchestrator',
    reason: 'fire',
    priority: 4,
    triggeredBy: 'alice',
    wallMs: 1_700_000_000_000,
    ...change,
  };
}
