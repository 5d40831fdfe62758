// What a transport hands to the service: an operation as the caller stated it, shapes checked, nothing believed yet.

import type { OperationType, RegisterAccessRequest, SafetyRequirements } from '#model/operation';
import type { RiskLevel } from '#model/risk';
import type { TrackName } from '#model/track-name';

/** A day; the site's own, shorter limit is security's to apply. */
export const SELECT_SECONDS_MAX = 86_400;

export interface RequestedTarget {
  /** As given: a linear id or a token, possibly neither. */
  readonly deviceId: number;
  readonly registers: readonly RegisterAccessRequest[];
}

export interface OperationRequest {
  /** The caller's own id for the operation; empty lets the service choose one. */
  readonly operationId: string;
  readonly type: OperationType;
  readonly targets: readonly RequestedTarget[];
  readonly requirements: SafetyRequirements;
  readonly justification: string;
  readonly confirmedRisk: RiskLevel;
  readonly dryRun: boolean;
  /** Holds the devices for so many seconds and writes nothing; absent operates at once. */
  readonly selectForSeconds?: number;
  readonly involved: readonly TrackName[];
  /** What the body says about who asks and when; recorded, never believed. Empty for nothing. */
  readonly claims: string;
}

export interface StopRequestMessage {
  /** As given; with `groups` empty too, the whole system stops. */
  readonly deviceIds: readonly number[];
  /** As given: numbers of whole groups. */
  readonly groups: readonly number[];
  readonly reason: string;
  readonly priority: number;
  readonly claims: string;
}
