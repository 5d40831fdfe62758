// The security track's risk: what is known about the person and about incidents, never about registers.

import type { DeviceDescriptor } from '#model/device';
import { OperationType, operationName } from '#model/operation';
import type { Principal } from '#model/principal';
import { type RiskAssessment, RiskLevel, raiseRisk, worseRisk } from '#model/risk';

export interface SecurityView {
  readonly isQuarantined: (device: DeviceDescriptor) => boolean;
  readonly incidentOn: (device: DeviceDescriptor) => boolean;
  /** The tracks disagree about it and a person has not settled it; nothing is where absent. */
  readonly underReview?: (device: DeviceDescriptor) => boolean;
}

export function assessSecurityRisk(
  type: OperationType,
  devices: readonly DeviceDescriptor[],
  principal: Principal,
  view: SecurityView,
): RiskAssessment {
  const reasons: string[] = [];
  let level: RiskLevel = RiskLevel.SAFE;
  const forceful = type === OperationType.RESET || type === OperationType.ACTIVATE;
  for (const device of devices) {
    if (device.quarantined || view.isQuarantined(device)) {
      return {
        track: 'security',
        level: RiskLevel.QUARANTINED,
        reasons: [`${device.slug} is quarantined`],
      };
    }
    if (forceful && device.baseRisk === RiskLevel.HIGH) {
      level = worseRisk(level, RiskLevel.HIGH);
      reasons.push(`${device.slug}: ${operationName(type)} on a HIGH device is at least HIGH`);
    }
  }
  if (principal.underReview) {
    level = raiseRisk(level, 1);
    reasons.push(`${principal.id} is under review: raised one level`);
  }
  const reviewed = devices.filter((device) => view.underReview?.(device) === true);
  if (reviewed.length > 0) {
    level = raiseRisk(level, 1);
    reasons.push(
      `under review: ${reviewed.map((device) => device.slug).join(', ')}: raised one level`,
    );
  }
  const troubled = devices.filter((device) => view.incidentOn(device));
  if (troubled.length > 0) {
    level = raiseRisk(level, 2);
    reasons.push(
      `open incident on ${troubled.map((device) => device.slug).join(', ')}: raised two levels`,
    );
  }
  return { track: 'security', level, reasons };
}
