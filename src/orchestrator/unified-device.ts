// Puts one device together from the parts of the three tracks: pure; the worse word counts wherever they differ.

import type { DeviceDescriptor } from '#model/device';
import { RiskLevel, raiseRisk } from '#model/risk';
import {
  AttentionLevel,
  DisplayState,
  type InterfaceDeviceState,
  type KernelDeviceState,
  OverallStatus,
  PowerState,
  type SecurityDeviceState,
  SecurityStatus,
} from '#model/snapshot';
import type { TrackName } from '#model/track-name';
import { type DeviceParts, faulty } from './conflicts.ts';

export interface UnifiedSurroundings {
  readonly stopCovers: boolean;
  readonly staleTracks: readonly TrackName[];
}

export function overallOf(parts: DeviceParts, surroundings: UnifiedSurroundings): OverallStatus {
  const { kernel, security } = parts;
  if (
    security.status === SecurityStatus.QUARANTINED ||
    kernel.status === OverallStatus.QUARANTINED
  ) {
    return OverallStatus.QUARANTINED;
  }
  if (surroundings.stopCovers || kernel.status === OverallStatus.EMERGENCY_STOPPED) {
    return OverallStatus.EMERGENCY_STOPPED;
  }
  if (faulty(kernel) || kernel.holds.includes('in-doubt')) return OverallStatus.FAULT;
  if (kernel.status === OverallStatus.UNKNOWN) return OverallStatus.UNKNOWN;
  const limited =
    surroundings.staleTracks.includes('kernel') ||
    kernel.holds.length > 0 ||
    security.status === SecurityStatus.ALERT ||
    security.status === SecurityStatus.LOCKED;
  if (limited) return OverallStatus.DEGRADED;
  return kernel.status;
}

/** The board's base risk, raised for what is known of the device now. */
export function currentRiskOf(
  descriptor: DeviceDescriptor,
  parts: DeviceParts,
  surroundings: UnifiedSurroundings,
): RiskLevel {
  const { kernel, security } = parts;
  if (descriptor.quarantined || security.status === SecurityStatus.QUARANTINED) {
    return RiskLevel.QUARANTINED;
  }
  let level: RiskLevel = descriptor.baseRisk;
  if (faulty(kernel)) level = raiseRisk(level, 1);
  if (kernel.holds.includes('in-doubt')) level = raiseRisk(level, 2);
  else if (kernel.holds.length > 0 || surroundings.stopCovers) level = raiseRisk(level, 1);
  if (security.status === SecurityStatus.ALERT) level = raiseRisk(level, 2);
  if (security.status === SecurityStatus.UNDER_REVIEW) level = raiseRisk(level, 1);
  if (surroundings.staleTracks.includes('kernel')) level = raiseRisk(level, 1);
  // A quarantine alone is QUARANTINED: everything else ends at CRITICAL.
  return level === RiskLevel.QUARANTINED ? RiskLevel.CRITICAL : level;
}

export function unseenKernel(descriptor: DeviceDescriptor): KernelDeviceState {
  const { id, quarantined } = descriptor;
  return {
    device: id,
    version: 0,
    power: quarantined ? PowerState.LOCKED : PowerState.UNKNOWN,
    status: quarantined ? OverallStatus.QUARANTINED : OverallStatus.UNKNOWN,
    readings: [],
    operationCount: 0,
    lastAccessMs: 0,
    lastFault: '',
    inhibited: false,
    holds: [],
    changeCount: 0,
    unexplained: '',
  };
}

export function unseenSecurity(descriptor: DeviceDescriptor): SecurityDeviceState {
  return {
    device: descriptor.id,
    version: 0,
    status: descriptor.quarantined ? SecurityStatus.QUARANTINED : SecurityStatus.UNKNOWN,
    accessAuthorized: false,
    requiredClearance: descriptor.clearanceMinimum,
    failedAccessAttempts: 0,
    lastEventWallMs: 0,
    auditEnabled: false,
    auditSequence: 0,
  };
}

export function unseenInterface(descriptor: DeviceDescriptor): InterfaceDeviceState {
  return {
    device: descriptor.id,
    version: 0,
    monitored: false,
    display: DisplayState.UNKNOWN,
    activeSessions: 0,
    lastInteractionWallMs: 0,
    notificationsPending: false,
    attention: AttentionLevel.UNKNOWN,
  };
}
