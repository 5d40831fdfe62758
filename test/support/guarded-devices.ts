// Bench devices with thermometers: a pump in mapped memory, a fan on the slow bus, and the valve, which has none.

import type { DeviceDescriptor, PlacedRegister } from '#model/device';
import { RiskLevel } from '#model/risk';
import {
  deviceOf,
  FAN,
  FORBIDDEN,
  MEMORY_ORIGIN,
  memoryDevice,
  PUMP,
  registerSpec,
  VALVE,
} from './kernel-bench.ts';

/** Byte offset of the pump's THERMAL. */
export const THERMAL_OFFSET = 0x20;
/** Highest allowed readings: milli-degrees of the pump, degrees of the fan. */
export const PUMP_MAXIMUM = 85_000;
export const FAN_MAXIMUM = 60;

function pump(): DeviceDescriptor {
  const plain = memoryDevice(PUMP, 'pump', RiskLevel.LOW);
  const spec = registerSpec('THERMAL', {
    access: 'ro',
    volatile: true,
    signed: true,
    unit: 'milli-degC',
  });
  const address = MEMORY_ORIGIN + THERMAL_OFFSET;
  const thermometer: PlacedRegister = { spec, location: { kind: 'memory', address } };
  return {
    ...plain,
    registers: [...plain.registers, thermometer],
    behaviour: { ...plain.behaviour, thermal: { register: 'THERMAL', maximum: PUMP_MAXIMUM } },
  };
}

function fan(): DeviceDescriptor {
  const specs = [
    registerSpec('MODE', { widthBits: 16, safeValue: 0n }),
    registerSpec('LEVEL', { widthBits: 16 }),
    registerSpec('TRIM', { widthBits: 16, selfClearingMask: 0x8000n }),
    registerSpec('FIRE', { widthBits: 16, access: 'wo', readBackMask: 0n }),
    registerSpec('QUEUE', { widthBits: 16, precious: true, readBackMask: 0n }),
    registerSpec('CAUSE', { widthBits: 16, access: 'rc', precious: true }),
    registerSpec('ALARM', { widthBits: 16, access: 'w1c', volatile: true }),
    registerSpec('SPEED', { widthBits: 16, access: 'rw', volatile: true }),
    registerSpec('HEAT', { widthBits: 16, access: 'ro', volatile: true, unit: 'degC' }),
  ];
  const plain = deviceOf({
    id: FAN,
    slug: 'fan',
    busId: 'i2c-0',
    registers: specs.map((spec, command): PlacedRegister => {
      return { spec, location: { kind: 'i2c', chip: 0x43, command, protocol: 'word' } };
    }),
  });
  const thermal = { register: 'HEAT', maximum: FAN_MAXIMUM };
  return { ...plain, behaviour: { ...plain.behaviour, thermal } };
}

export const GUARDED_DEVICES: readonly DeviceDescriptor[] = [
  pump(),
  memoryDevice(VALVE, 'valve', RiskLevel.LOW),
  fan(),
  memoryDevice(FORBIDDEN, 'forbidden', RiskLevel.LOW, 'quarantined'),
];
