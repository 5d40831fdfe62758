// Devices, their unified state, conflicts, holds, history and the system's status in JSON.
// Invariants: no locations, no internal texts; what is not known yet is null, never a made-up value.

import { formatToken } from '#model/device';
import type { DeviceHold } from '#model/hold';
import { OrchestratorState, type SystemStatus } from '#model/orchestrator-port';
import { clearanceName } from '#model/principal';
import { riskName } from '#model/risk';
import {
  AttentionLevel,
  DisplayState,
  OverallStatus,
  PowerState,
  SecurityStatus,
} from '#model/snapshot';
import { EmergencyPriority, type StopAcknowledgment, type StopCause } from '#model/stop';
import {
  type Conflict,
  type HistoryEntry,
  SyncTrigger,
  type UnifiedDeviceState,
} from '#model/unified-state';
import { deviceRef, nameIn, timeOrNull, wordToJson } from './json-parts.ts';
import type { SeenDevice } from './unified-message.ts';

export function deviceToJson(seen: SeenDevice) {
  const { device, state, unified } = seen;
  return {
    id: device.id,
    token: formatToken(device.id),
    name: device.name,
    slug: device.slug,
    group: device.group,
    groupName: device.groupName,
    index: device.index,
    bus: device.busId,
    busKind: device.busKind,
    profile: device.profile,
    baseRisk: riskName(device.baseRisk),
    quarantined: seen.quarantined,
    status: nameIn(OverallStatus, seen.status),
    power: nameIn(PowerState, state.power),
    stopped: seen.stopped,
    inhibited: state.inhibited,
    holds: state.holds,
    stale: seen.stale,
    security: unified === null ? null : nameIn(SecurityStatus, unified.security.status),
    risk: unified === null ? null : riskName(unified.currentRisk),
    display: nameIn(DisplayState, seen.display),
    attention: unified === null ? null : nameIn(AttentionLevel, unified.interface.attention),
    openConflicts: unified?.openConflicts ?? [],
    operationCount: state.operationCount,
    lastAccess: timeOrNull(seen.lastAccessWallMs),
    lastFault: state.lastFault,
    unexplained: state.unexplained,
    readings: state.readings.map(({ register, value }) => ({ register, value: wordToJson(value) })),
  };
}
export type DeviceJson = ReturnType<typeof deviceToJson>;

function unifiedToJson(unified: UnifiedDeviceState) {
  const { security, interface: shown } = unified;
  return {
    risk: riskName(unified.currentRisk),
    status: nameIn(OverallStatus, unified.overall),
    emergencyStopApplied: unified.emergencyStopApplied,
    lastChange: timeOrNull(unified.lastChangeWallMs),
    changeCount: unified.changeCount,
    security: {
      status: nameIn(SecurityStatus, security.status),
      accessAuthorized: security.accessAuthorized,
      requiredClearance: clearanceName(security.requiredClearance),
      failedAccessAttempts: security.failedAccessAttempts,
      lastEvent: timeOrNull(security.lastEventWallMs),
      auditEnabled: security.auditEnabled,
      auditSequence: security.auditSequence,
    },
    interface: {
      monitored: shown.monitored,
      display: nameIn(DisplayState, shown.display),
      activeSessions: shown.activeSessions,
      lastInteraction: timeOrNull(shown.lastInteractionWallMs),
      notificationsPending: shown.notificationsPending,
      attention: nameIn(AttentionLevel, shown.attention),
    },
    synchronization: {
      versions: {
        kernel: unified.kernel.version,
        security: security.version,
        interface: shown.version,
      },
      lastSync: timeOrNull(unified.lastSyncWallMs),
      trigger: nameIn(SyncTrigger, unified.trigger),
      conflictsDetected: unified.conflictsDetected,
      openConflicts: unified.openConflicts,
      staleTracks: unified.staleTracks,
    },
  };
}

/** A device with everything that the tracks together say about it; `unified` is null before they were compared. */
export function seenDeviceToJson(seen: SeenDevice) {
  const { unified } = seen;
  return { ...deviceToJson(seen), unified: unified === null ? null : unifiedToJson(unified) };
}
export type SeenDeviceJson = ReturnType<typeof seenDeviceToJson>;

function stopCauseToJson(cause: StopCause) {
  return {
    id: cause.id,
    scope: cause.devices.length === 0 ? ('whole system' as const) : ('devices' as const),
    devices: cause.devices.map((id) => deviceRef(id)),
    source: cause.source,
    reason: cause.reason,
    priority: nameIn(EmergencyPriority, cause.priority),
    triggeredBy: cause.triggeredBy,
    at: new Date(cause.wallMs).toISOString(),
  };
}

export function acknowledgmentToJson(given: StopAcknowledgment) {
  return { stopId: given.stopId, by: given.by, at: new Date(given.wallMs).toISOString() };
}
export type AcknowledgmentJson = ReturnType<typeof acknowledgmentToJson>;

export function holdToJson(hold: DeviceHold) {
  return {
    ...deviceRef(hold.device),
    kind: hold.kind,
    reason: hold.reason,
    since: new Date(hold.sinceWallMs).toISOString(),
  };
}
export type HoldJson = ReturnType<typeof holdToJson>;

export function statusToJson(status: SystemStatus) {
  const test = status.stopTest;
  return {
    state: nameIn(OrchestratorState, status.state),
    findings: status.findings,
    stopEngaged: status.stopEngaged,
    stopCauses: status.stopCauses.map(stopCauseToJson),
    stopAcknowledgments: status.stopAcknowledgments.map(acknowledgmentToJson),
    stopTest:
      test === null
        ? null
        : {
            ok: test.ok,
            finding: test.finding,
            at: new Date(test.wallMs).toISOString(),
            durationMs: test.durationMs,
          },
    holds: status.holds.map(holdToJson),
    conflictsOpen: status.conflictsOpen,
    selections: status.selections.map(({ operationId, by, operation, devices, untilWallMs }) => ({
      operationId,
      by,
      operation,
      devices: devices.map((id) => deviceRef(id)),
      until: new Date(untilWallMs).toISOString(),
    })),
    tracks: status.tracks,
    activeOperations: status.activeOperations,
    auditSequence: status.auditSequence,
    bootId: status.bootId,
    board: { name: status.boardName, digest: status.boardDigest },
  };
}
export type StatusJson = ReturnType<typeof statusToJson>;

export function conflictToJson(conflict: Conflict) {
  return {
    id: conflict.id,
    rule: conflict.rule,
    ...deviceRef(conflict.device),
    finding: conflict.finding,
    positions: conflict.positions,
    method: conflict.method,
    opened: new Date(conflict.openedWallMs).toISOString(),
    deadline: timeOrNull(conflict.deadlineWallMs),
    answer: conflict.answer,
    resolvedBy: conflict.resolvedBy,
    resolved: timeOrNull(conflict.resolvedWallMs),
  };
}
export type ConflictJson = ReturnType<typeof conflictToJson>;

export function historyEntryToJson(entry: HistoryEntry) {
  return {
    ...deviceRef(entry.device),
    at: new Date(entry.wallMs).toISOString(),
    what: entry.what,
    from: entry.from,
    to: entry.to,
  };
}
export type HistoryEntryJson = ReturnType<typeof historyEntryToJson>;
