// Why a device may not be operated for now: holds that outlive the operation, the stop or the person that set them.
// Invariants: a hold is on record in security before anyone relies on it, and kernel enforces it; kernel lifts one only
// on a signed act, but for `deactivated`, which a committed ACTIVATE ends.

import { canonicalDigest } from '#foundation/canonical';
import { type LinearId, linearIdOf } from './device.ts';

export const HOLD_KINDS = [
  /** Nobody knows what the metal holds: no write until a person releases it. */
  'in-doubt',
  /** Under an emergency stop of this device: no write until two people reset the stop. */
  'stopped',
  /** The stop was reset and the device not activated since: only ACTIVATE, DEACTIVATE and RESET write. */
  'deactivated',
  /** Quarantined at run time: no access at all, reading included, until two people release it. */
  'quarantined',
] as const;
export type HoldKind = (typeof HOLD_KINDS)[number];

export interface DeviceHold {
  readonly device: LinearId;
  readonly kind: HoldKind;
  readonly reason: string;
  readonly sinceWallMs: number;
}

/** What an authorization to lift a hold is bound to, in place of a plan digest; of the same form. */
export function releaseHoldAct(device: LinearId, kind: HoldKind): string {
  if (linearIdOf(device) === undefined) throw new RangeError(`device ${device}`);
  return canonicalDigest({ act: 'release-hold', device, kind });
}
