// What security says about itself and about each device, with versions that move only with what is shown.

import type { AuditEntry, AuditEventName } from '#model/audit-entry';
import type { DeviceDescriptor, LinearId } from '#model/device';
import type { DeviceHold, HoldKind } from '#model/hold';
import { OperationType } from '#model/operation';
import { ClearanceLevel } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { type SecurityDeviceState, type SecuritySnapshot, SecurityStatus } from '#model/snapshot';
import { clearanceNeeded } from './access-table.ts';

/** Entries that tell of somebody who wanted something of a device and did not get it. */
const FAILED_ACCESS: readonly AuditEventName[] = ['OPERATION_REFUSED', 'QUARANTINE_PROBE'];
/** Entries that are a security event of the devices they name. */
const SECURITY_EVENTS: readonly AuditEventName[] = [
  ...FAILED_ACCESS,
  'EMERGENCY_STOP',
  'DEVICE_HELD',
  'DEVICE_RELEASED',
  'DEVICE_QUARANTINED',
  'CONFLICT_OPENED',
  'UNSUPERVISED_ACCESS',
  'INCIDENT_OPENED',
  'INCIDENT_ESCALATED',
  'INCIDENT_CLOSED',
];

export interface SecurityStateParts {
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly isQuarantined: (device: DeviceDescriptor) => boolean;
  readonly holds: () => readonly DeviceHold[];
  readonly incidentOn: (device: LinearId) => boolean;
  readonly underReview: (device: LinearId) => boolean;
  readonly stopEngaged: () => boolean;
  readonly auditWritable: () => boolean;
  readonly auditSequence: () => number;
}

interface DeviceRecord {
  state: SecurityDeviceState;
  failedAccessAttempts: number;
  lastEventWallMs: number;
  auditSequence: number;
}

export class SecurityState {
  readonly #parts: SecurityStateParts;
  readonly #records = new Map<LinearId, DeviceRecord>();
  #version = 0;
  #shown = '';

  constructor(parts: SecurityStateParts) {
    this.#parts = parts;
    for (const device of parts.devices.values()) {
      const counts = { failedAccessAttempts: 0, lastEventWallMs: 0, auditSequence: 0 };
      this.#records.set(device.id, { state: unsaid(device), ...counts });
    }
  }

  /** Every entry of the audit chain passes here once it is on disk. */
  noteEntry(entry: AuditEntry): void {
    for (const device of entry.devices) {
      const record = this.#records.get(device);
      if (record === undefined) continue;
      record.auditSequence = entry.sequence;
      if (FAILED_ACCESS.includes(entry.event)) record.failedAccessAttempts += 1;
      if (SECURITY_EVENTS.includes(entry.event)) record.lastEventWallMs = entry.wallMs;
    }
  }

  /** The present state of these devices, in their order. */
  states(devices: readonly LinearId[]): readonly SecurityDeviceState[] {
    const held = kindsByDevice(this.#parts.holds());
    const surroundings = {
      stopEngaged: this.#parts.stopEngaged(),
      auditWritable: this.#parts.auditWritable(),
    };
    return devices.flatMap((id) => {
      const device = this.#parts.devices.get(id);
      const record = this.#records.get(id);
      if (device === undefined || record === undefined) return [];
      const state = this.#stateOf(device, record, held.get(id) ?? [], surroundings);
      if (differ(record.state, state)) {
        record.state = { ...state, version: record.state.version + 1 };
      }
      return record.state;
    });
  }

  /** The version moves only when what is shown of the track as a whole has changed. */
  snapshot(devices: readonly LinearId[] = [...this.#parts.devices.keys()]): SecuritySnapshot {
    const auditWritable = this.#parts.auditWritable();
    const quarantined = [...this.#parts.devices.values()]
      .filter((device) => this.#parts.isQuarantined(device))
      .map((device) => device.id);
    const shown = `${auditWritable}|${quarantined.join(',')}`;
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#version += 1;
    }
    return {
      track: 'security',
      version: this.#version,
      devices: this.states(devices),
      auditSequence: this.#parts.auditSequence(),
      auditWritable,
      quarantined,
    };
  }

  #stateOf(
    device: DeviceDescriptor,
    record: DeviceRecord,
    holds: readonly HoldKind[],
    surroundings: { readonly stopEngaged: boolean; readonly auditWritable: boolean },
  ): SecurityDeviceState {
    const { stopEngaged, auditWritable } = surroundings;
    const status = this.#statusOf(device, holds);
    const open =
      status !== SecurityStatus.QUARANTINED &&
      status !== SecurityStatus.LOCKED &&
      !holds.includes('stopped');
    return {
      device: device.id,
      version: record.state.version,
      status,
      accessAuthorized: open && !stopEngaged && auditWritable,
      requiredClearance: readClearance(device),
      failedAccessAttempts: record.failedAccessAttempts,
      lastEventWallMs: record.lastEventWallMs,
      auditEnabled: auditWritable,
      auditSequence: record.auditSequence,
    };
  }

  #statusOf(device: DeviceDescriptor, holds: readonly HoldKind[]): SecurityStatus {
    const { isQuarantined, incidentOn, underReview } = this.#parts;
    if (isQuarantined(device) || holds.includes('quarantined')) return SecurityStatus.QUARANTINED;
    if (holds.includes('in-doubt')) return SecurityStatus.LOCKED;
    if (incidentOn(device.id)) return SecurityStatus.ALERT;
    if (underReview(device.id)) return SecurityStatus.UNDER_REVIEW;
    return holds.length > 0 ? SecurityStatus.RESTRICTED : SecurityStatus.NORMAL;
  }
}

/** Of reading it at its base risk, as the access table has it; for a device that nobody reads the highest there is. */
function readClearance(device: DeviceDescriptor): ClearanceLevel {
  const { baseRisk } = device;
  const quarantined = device.quarantined || baseRisk === RiskLevel.QUARANTINED;
  if (quarantined) return ClearanceLevel.COSMIC;
  const needed = clearanceNeeded(OperationType.READ, readRisk(baseRisk)) ?? ClearanceLevel.COSMIC;
  return Math.max(needed, device.clearanceMinimum) as ClearanceLevel;
}

/** Kernel's risk of reading a device (DECISIONS section 3): the base score is SAFE 0 to CRITICAL 4, reading adds none. */
function readRisk(base: RiskLevel): RiskLevel {
  if (base === RiskLevel.SAFE || base === RiskLevel.LOW) return RiskLevel.SAFE;
  if (base === RiskLevel.MODERATE || base === RiskLevel.HIGH) return RiskLevel.LOW;
  return RiskLevel.MODERATE;
}

function kindsByDevice(holds: readonly DeviceHold[]): ReadonlyMap<LinearId, readonly HoldKind[]> {
  const held = new Map<LinearId, HoldKind[]>();
  for (const { device, kind } of holds) {
    const kinds = held.get(device);
    if (kinds === undefined) held.set(device, [kind]);
    else kinds.push(kind);
  }
  return held;
}

function unsaid(device: DeviceDescriptor): SecurityDeviceState {
  return {
    device: device.id,
    version: 0,
    status: SecurityStatus.UNKNOWN,
    accessAuthorized: false,
    requiredClearance: readClearance(device),
    failedAccessAttempts: 0,
    lastEventWallMs: 0,
    auditEnabled: false,
    auditSequence: 0,
  };
}

/** Member by member, as this is asked of every device again and again. */
function differ(left: SecurityDeviceState, right: SecurityDeviceState): boolean {
  return (
    left.status !== right.status ||
    left.accessAuthorized !== right.accessAuthorized ||
    left.requiredClearance !== right.requiredClearance ||
    left.failedAccessAttempts !== right.failedAccessAttempts ||
    left.lastEventWallMs !== right.lastEventWallMs ||
    left.auditEnabled !== right.auditEnabled ||
    left.auditSequence !== right.auditSequence
  );
}
