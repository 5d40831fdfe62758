// The interface track's risk: what is known about the caller and the picture, never about registers.
// DECISIONS section 3: raised one level for each of an unattended client, a stale picture and a missing confirmation.

import { formatToken } from '#model/device';
import { type RiskAssessment, RiskLevel, raiseRisk } from '#model/risk';
import type { AssessRequest } from '#model/track';
import type { DevicePicture } from './device-picture.ts';

export function assessInterfaceRisk(
  request: Pick<AssessRequest, 'intent' | 'principal'>,
  picture: Pick<DevicePicture, 'stale'>,
): RiskAssessment {
  const { intent, principal } = request;
  const reasons: string[] = [];
  if (principal.kind === 'machine') reasons.push('asked by an unattended client');
  if (picture.stale()) {
    const devices = intent.targets.map((target) => formatToken(target.device)).join(', ');
    reasons.push(`the picture of ${devices} is stale`);
  }
  const confirm = intent.requirements.userConfirmationRequired;
  if (confirm && intent.confirmedRisk === RiskLevel.UNKNOWN) {
    reasons.push('confirmation was required and is missing');
  }
  const level = raiseRisk(RiskLevel.SAFE, reasons.length);
  return { track: 'interface', level, reasons };
}
