// A board of four devices for tests of what lies in front of the metal.

import type { Board } from '#model/board';
import {
  type DeviceDescriptor,
  formatToken,
  type LinearId,
  permanentlyQuarantined,
  tokenOf,
} from '#model/device';
import type { RegisterAccess, RegisterSpec, WidthBits } from '#model/register';
import { RiskLevel } from '#model/risk';

export function registerSpec(
  name: string,
  widthBits: WidthBits,
  access: RegisterAccess,
): RegisterSpec {
  return {
    name,
    widthBits,
    access,
    volatile: true,
    precious: false,
    signed: false,
    unit: '',
    scale: 1,
    description: '',
    fields: [],
    limits: null,
    maxStep: null,
    reservedMask: 0n,
    readBackMask: 0n,
    selfClearingMask: 0n,
    settleUs: 0,
    safeValue: null,
    safeOrder: 0,
    riskFloor: RiskLevel.SAFE,
  };
}

export function smallDevice(id: LinearId, slug: string): DeviceDescriptor {
  const specs = [
    registerSpec('CONTROL', 32, 'rw'),
    registerSpec('STATUS', 32, 'ro'),
    registerSpec('DATA', 64, 'rw'),
  ];
  return {
    id,
    token: tokenOf(id),
    name: `Device ${formatToken(id)}`,
    slug,
    group: Math.floor(id / 12),
    index: id % 12,
    groupName: 'Test group',
    busKind: 'memory',
    busId: 'memory-0',
    profile: 'standard',
    baseRisk: RiskLevel.LOW,
    quarantined: permanentlyQuarantined(id),
    clearanceMinimum: 0,
    compartments: [],
    registers: specs.map((spec, index) => ({
      spec,
      location: { kind: 'memory', address: 0x1000 * id + index * 8 },
    })),
    behaviour: {
      identify: [],
      observe: { registers: [], power: [], status: [] },
      operations: { reset: null, activate: null, deactivate: null, configure: null },
    },
  };
}

/** Devices 0 (`tpm-control`), 1 (`boot-security`), 9 (quarantined) and 12 (`power-controller`). */
export function smallBoard(): Board {
  return {
    name: 'small',
    file: 'small.yaml',
    digest: '0'.repeat(64),
    buses: [],
    devices: [
      smallDevice(0, 'tpm-control'),
      smallDevice(1, 'boot-security'),
      smallDevice(9, 'emergency-wipe'),
      smallDevice(12, 'power-controller'),
    ],
  };
}
