// The unified state of a device on the wire: every field of the specification's structure, and what we add to it.

import type { DeviceDescriptor } from '#model/device';
import type {
  DisplayState,
  InterfaceDeviceState,
  KernelDeviceState,
  OverallStatus,
  SecurityDeviceState,
} from '#model/snapshot';
import type { UnifiedDeviceState } from '#model/unified-state';
import { holdKindToWire, sourceToWire } from './enumerations.ts';
import type * as wire from './generated/dsmil/communication/v1/communication.ts';
import { timestampOrNone } from './time-message.ts';

/** A device as somebody sees it at one moment. */
export interface SeenDevice {
  readonly device: DeviceDescriptor;
  readonly state: KernelDeviceState;
  readonly status: OverallStatus;
  readonly quarantined: boolean;
  readonly stale: boolean;
  readonly stopped: boolean;
  readonly display: DisplayState;
  /** Wall milliseconds of kernel's last access; 0 for never. */
  readonly lastAccessWallMs: number;
  /** Null before the tracks have been compared once. */
  readonly unified: UnifiedDeviceState | null;
}

function securityToWire(state: SecurityDeviceState): wire.SecurityDeviceState {
  return {
    securityStatus: state.status,
    accessAuthorized: state.accessAuthorized,
    requiredClearance: state.requiredClearance,
    failedAccessAttempts: state.failedAccessAttempts,
    lastSecurityEvent: timestampOrNone(state.lastEventWallMs),
    auditEnabled: state.auditEnabled,
    auditSequenceNumber: BigInt(state.auditSequence),
  };
}

function interfaceToWire(
  state: InterfaceDeviceState,
  display: DisplayState,
): wire.InterfaceDeviceState {
  return {
    uiMonitored: state.monitored,
    displayState: display,
    activeUiSessions: state.activeSessions,
    lastUiInteraction: timestampOrNone(state.lastInteractionWallMs),
    userNotificationsPending: state.notificationsPending,
    attentionRequired: state.attention,
  };
}

function synchronizationToWire(
  unified: UnifiedDeviceState,
  running: 'running' | 'idle',
): wire.SynchronizationState {
  return {
    kernelSyncVersion: BigInt(unified.kernel.version),
    securitySyncVersion: BigInt(unified.security.version),
    interfaceSyncVersion: BigInt(unified.interface.version),
    lastSync: timestampOrNone(unified.lastSyncWallMs),
    syncInProgress: running === 'running',
    syncConflictsDetected: BigInt(unified.conflictsDetected),
    triggerReason: unified.trigger,
    staleTracks: unified.staleTracks.map(sourceToWire),
  };
}

/** `running` while somebody's synchronization has not been answered. */
export function unifiedStateToWire(
  seen: SeenDevice,
  running: 'running' | 'idle' = 'idle',
): wire.UnifiedDeviceState {
  const { device, state, unified } = seen;
  return {
    deviceId: device.id,
    token: device.token,
    deviceName: device.name,
    deviceGroup: device.group,
    deviceIndex: device.index,
    kernelActive: state.lastAccessMs > 0 && !seen.stale,
    powerState: state.power,
    lastRegisterValues: state.readings.map((reading) => ({
      deviceId: device.id,
      register: reading.register,
      value: reading.value,
      before: undefined,
      fault: undefined,
    })),
    kernelOperationCount: BigInt(state.operationCount),
    lastKernelError: state.lastFault,
    baseRisk: device.baseRisk,
    overallStatus: seen.status,
    emergencyStopApplied: seen.stopped,
    quarantined: seen.quarantined,
    inhibited: state.inhibited,
    stale: seen.stale,
    lastKernelAccess: timestampOrNone(seen.lastAccessWallMs),
    holds: state.holds.map(holdKindToWire),
    unexplainedChange: state.unexplained,
    securityState: unified === null ? undefined : securityToWire(unified.security),
    interfaceState: unified === null ? undefined : interfaceToWire(unified.interface, seen.display),
    currentRisk: unified?.currentRisk ?? 0,
    lastStateChange: unified === null ? undefined : timestampOrNone(unified.lastChangeWallMs),
    stateChangeCount: BigInt(unified?.changeCount ?? 0),
    synchronization: unified === null ? undefined : synchronizationToWire(unified, running),
    openConflicts: (unified?.openConflicts ?? []).map(BigInt),
  };
}
