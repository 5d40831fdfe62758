// Devices on the wire: the specification's unified state as far as the interface sees it, and the registers.

import type { DeviceDescriptor, PlacedRegister } from '#model/device';
import type { ApprovalRequest } from '#model/orchestrator-port';
import type { KernelDeviceState, OverallStatus } from '#model/snapshot';
import type * as appliance from './generated/dsmil/appliance/v1/appliance.ts';
import type * as wire from './generated/dsmil/communication/v1/communication.ts';
import { timestampToWire } from './time-message.ts';

/** A device as somebody sees it at one moment. */
export interface SeenDevice {
  readonly device: DeviceDescriptor;
  readonly state: KernelDeviceState;
  readonly status: OverallStatus;
  readonly quarantined: boolean;
  readonly stale: boolean;
}

export function unifiedStateToWire(
  seen: SeenDevice,
  stop: 'running' | 'stopped',
): wire.UnifiedDeviceState {
  const { device, state } = seen;
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
    emergencyStopApplied: stop === 'stopped',
    quarantined: seen.quarantined,
    inhibited: state.inhibited,
    stale: seen.stale,
  };
}

function registerToWire({ spec }: PlacedRegister): appliance.Register {
  return {
    name: spec.name,
    widthBits: spec.widthBits,
    access: spec.access,
    precious: spec.precious,
    signed: spec.signed,
    unit: spec.unit,
    scale: spec.scale,
    description: spec.description,
    minimum: spec.limits?.minimum.toString(),
    maximum: spec.limits?.maximum.toString(),
    riskFloor: spec.riskFloor,
  };
}

/** Everything but where a register lies: locations never leave the machine. */
export function deviceToWire(seen: SeenDevice, stop: 'running' | 'stopped'): appliance.Device {
  const { device } = seen;
  return {
    state: unifiedStateToWire(seen, stop),
    slug: device.slug,
    groupName: device.groupName,
    busKind: device.busKind,
    busId: device.busId,
    profile: device.profile,
    clearanceMinimum: device.clearanceMinimum,
    compartments: [...device.compartments],
    registers: device.registers.map(registerToWire),
  };
}

export function approvalToWire(approval: ApprovalRequest): appliance.Approval {
  return {
    planDigest: approval.planDigest,
    operation: approval.operation,
    deviceIds: [...approval.devices],
    requestedBy: approval.requestedBy,
    justification: approval.justification,
    transactions: [...approval.transactions],
    expiresAt: timestampToWire(approval.expiresAtWallMs),
    approvedBy: approval.approvedBy,
  };
}
