// Whether somebody could ask for this plan now: the same question for who approves it, and for who asked some time ago.

import { type Outcome, succeed } from '#foundation/outcome';
import type { DeviceDescriptor, LinearId } from '#model/device';
import type { Intent } from '#model/operation';
import type { Principal } from '#model/principal';
import type { RiskLevel } from '#model/risk';
import type { AuthorityPort } from './ports.ts';

export interface EntitlementParts {
  readonly authority: AuthorityPort;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
}

/** By rights alone: that the risk was shown and confirmed is a matter of the moment in which somebody asks. */
export function entitled(
  { authority, devices }: EntitlementParts,
  { intent, risk }: { readonly intent: Intent; readonly risk: RiskLevel },
  principal: Principal,
): Outcome<void> {
  const requirements = {
    ...intent.requirements,
    riskDisclosureRequired: false,
    confirmationTimeoutSeconds: 0,
  };
  const decided = authority.decideAccess({
    principal,
    intent: { ...intent, requirements, confirmedRisk: risk },
    devices: intent.targets.flatMap((target) => devices.get(target.device) ?? []),
    risk,
    isQuarantined: (device) => authority.isQuarantined(device),
  });
  return decided.ok ? succeed(undefined) : decided;
}
