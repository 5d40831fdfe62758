// The kernel track's risk: base risk of the device plus weight of the operation (scores of docs/risk.md).

import { baseRiskOf, baseScore, OPERATION_WEIGHT } from '#model/base-risk';
import type { DeviceDescriptor, LinearId } from '#model/device';
import { registerOf } from '#model/device';
import { operationName } from '#model/operation';
import { devicesOf, type RegisterPlan, writesOf } from '#model/plan';
import { type RiskAssessment, RiskLevel, riskName, worseRisk } from '#model/risk';

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
    const found = baseRiskOf(plan.type, device.baseRisk, involved.length);
    level = worseRisk(level, found);
    const extra = several === 0 ? '' : ' + 1 for several devices';
    reasons.push(
      `${device.slug}: ${riskName(device.baseRisk)} device (${baseScore(device.baseRisk)}) + ${operationName(plan.type)} (${weight})${extra} = ${riskName(found)}`,
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
