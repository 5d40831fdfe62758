// Devices on the wire with their registers and what may be written to them, and the approvals of plans.

import type { PlacedRegister } from '#model/device';
import type { ApprovalRequest } from '#model/orchestrator-port';
import type * as appliance from './generated/dsmil/appliance/v1/appliance.ts';
import { timestampToWire } from './time-message.ts';
import { type SeenDevice, unifiedStateToWire } from './unified-message.ts';

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
export function deviceToWire(seen: SeenDevice, running: 'running' | 'idle'): appliance.Device {
  const { device } = seen;
  return {
    state: unifiedStateToWire(seen, running),
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
    risk: approval.risk,
  };
}
