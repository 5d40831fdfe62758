// Kernel's risk: the score of device and operation, written out as the decisions have it.

import { describe, expect, it } from 'vitest';
import type { DeviceDescriptor } from '#model/device';
import { OperationType } from '#model/operation';
import { planOf, type RegisterStep } from '#model/plan';
import { RiskLevel, riskName } from '#model/risk';
import { assessKernelRisk } from '#tracks/kernel/assess';
import { memoryDevice, writeStep } from '../../../support/kernel-bench.ts';

const { SAFE, LOW, MODERATE, HIGH, CRITICAL } = RiskLevel;

function assess(
  type: OperationType,
  devices: readonly DeviceDescriptor[],
  steps: readonly RegisterStep[] = devices.map(
    (device): RegisterStep => ({
      kind: 'read',
      device: device.id,
      register: 'DATA',
      widthBits: 32,
    }),
  ),
) {
  const map = new Map(devices.map((device) => [device.id, device]));
  const assessed = assessKernelRisk(planOf(type, steps, 1), map);
  return { ...assessed, level: riskName(assessed.level) };
}

describe("kernel's risk", () => {
  // Base SAFE 0 LOW 1 MODERATE 2 HIGH 3 CRITICAL 4; levels 0-1 SAFE, 2-3 LOW, 4 MODERATE, 5-6 HIGH, 7+ CRITICAL.
  it.each([
    ['READ', ['SAFE', 'SAFE', 'LOW', 'LOW', 'MODERATE']],
    ['DEACTIVATE', ['SAFE', 'LOW', 'LOW', 'MODERATE', 'HIGH']],
    ['WRITE', ['LOW', 'LOW', 'MODERATE', 'HIGH', 'HIGH']],
    ['CONFIG', ['LOW', 'MODERATE', 'HIGH', 'HIGH', 'CRITICAL']],
    ['ACTIVATE', ['LOW', 'MODERATE', 'HIGH', 'HIGH', 'CRITICAL']],
    ['RESET', ['MODERATE', 'HIGH', 'HIGH', 'CRITICAL', 'CRITICAL']],
  ] as const)('of %s on SAFE, LOW, MODERATE, HIGH and CRITICAL devices is %j', (type, expected) => {
    const levels = [SAFE, LOW, MODERATE, HIGH, CRITICAL].map(
      (base) => assess(OperationType[type], [memoryDevice(0, 'pump', base)]).level,
    );
    expect(levels).toEqual(expected);
  });

  it('grows by one when several devices are concerned, and is that of the worst of them', () => {
    const pump = memoryDevice(0, 'pump', LOW);
    const valve = memoryDevice(1, 'valve', MODERATE);
    expect(assess(OperationType.WRITE, [pump]).level).toBe('LOW');
    expect(assess(OperationType.WRITE, [pump, memoryDevice(2, 'other', LOW)]).level).toBe(
      'MODERATE',
    );
    expect(assess(OperationType.WRITE, [pump, valve]).level).toBe('HIGH');
  });

  it('is never below the floor of a register that is written, but reading it stays cheap', () => {
    const device = memoryDevice(0, 'pump', LOW);
    const registers = device.registers.map((register) =>
      register.spec.name === 'DATA'
        ? { ...register, spec: { ...register.spec, riskFloor: CRITICAL } }
        : register,
    );
    const floored = { ...device, registers };
    const written = assess(OperationType.WRITE, [floored], [writeStep(0, 'DATA', 1n)]);
    expect(written.level).toBe('CRITICAL');
    expect(written.reasons).toContain('pump.DATA: never below CRITICAL');
    expect(assess(OperationType.READ, [floored]).level).toBe('SAFE');
  });

  it('is QUARANTINED for a quarantined device and UNKNOWN for one that kernel does not know', () => {
    const forbidden = memoryDevice(9, 'forbidden', SAFE, 'quarantined');
    expect(assess(OperationType.READ, [forbidden]).level).toBe('QUARANTINED');
    const stranger = [{ kind: 'read', device: 5, register: 'DATA', widthBits: 32 }] as const;
    expect(assess(OperationType.READ, [], stranger).level).toBe('UNKNOWN');
  });

  it('says how it came about', () => {
    const { reasons } = assess(OperationType.WRITE, [memoryDevice(1, 'valve', MODERATE)]);
    expect(reasons).toEqual(['valve: MODERATE device (2) + WRITE (2) = MODERATE']);
  });
});
