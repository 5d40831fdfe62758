// The kernel track's risk: base risk of the device plus weight of the operation (scores of docs/risk.md).

import type { DeviceDescriptor, LinearId } from '#model/device';
import { registerOf } from '#model/device';
import { OperationType, operationName } from '#model/operation';
import { devicesOf, type RegisterPlan, writesOf } from '#model/plan';
import { type RiskAssessment, RiskLevel, riskName, worseRisk } from '#model/risk';

const OPERATION_WEIGHT: Readonly<Record<OperationType, number>> = {
  [OperationType.UNKNOWN]: 4,
  [OperationType.READ]: 0,
  [OperationType.DEACTIVATE]: 1,
  [OperationType.WRITE]: 2,
  [OperationType.CONFIG]: 3,
  [OperationType.ACTIVATE]: 3,
  [OperationType.RESET]: 4,
  [OperationType.EMERGENCY_STOP]: 0,
};

/** SAFE 0, LOW 1, MODERATE 2, HIGH 3, CRITICAL 4. */
function baseScore(level: RiskLevel): number {
  return level === RiskLevel.UNKNOWN ? 4 : level - 1;
}

function levelOf(score: number): RiskLevel {
  if (score <= 1) return RiskLevel.SAFE;
  if (score <= 3) return RiskLevel.LOW;
  if (score === 4) return RiskLevel.MODERATE;
  if (score <= 6) return RiskLevel.HIGH;
  return RiskLevel.CRITICAL;
}

export function assessKernelRisk(
  plan: RegisterPlan,
  devices: ReadonlyMap<LinearId, DeviceDescriptor>,
): RiskAssessment {
  const reasons: string[] = [];
  const involved = devicesOf(plan);
  const several = involved.length > 1 ? 1 : 0;
  const weight = OPERATION_WEIGHT[plan.type];
  let level: RiskLevel = RiskLevel.SAFE;
  for (const id of involved) {
    const device = devices.get(id);
    if (device === undefined)
      return { track: 'kernel', level: RiskLevel.UNKNOWN, reasons: [`device ${id} is unknown`] };
    if (device.quarantined) {
      return {
        track: 'kernel',
        level: RiskLevel.QUARANTINED,
        reasons: [`${device.slug} is quarantined`],
      };
    }
    const score = baseScore(device.baseRisk) + weight + several;
    level = worseRisk(level, levelOf(score));
    const extra = several === 0 ? '' : ' + 1 for several devices';
    reasons.push(
      `${device.slug}: ${riskName(device.baseRisk)} device (${baseScore(device.baseRisk)}) + ${operationName(plan.type)} (${weight})${extra} = ${riskName(levelOf(score))}`,
    );
  }
  for (const step of writesOf(plan)) {
    const device = devices.get(step.device);
    const floor =
      device === undefined ? RiskLevel.UNKNOWN : registerOf(device, step.register)?.spec.riskFloor;
    if (floor === undefined || worseRisk(level, floor) === level) continue;
    level = floor;
    reasons.push(`${device?.slug}.${step.register}: never below ${riskName(floor)}`);
  }
  return { track: 'kernel', level, reasons };
}
