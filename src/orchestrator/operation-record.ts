// The audit entry of one operation, made from what was learned on its way.

import type { Canonical } from '#foundation/canonical';
import { describeFault, type Fault } from '#foundation/fault';
import { FAULT_CATALOGUE } from '#foundation/fault-catalogue';
import type { AuditEventName, AuditRecord } from '#model/audit-entry';
import {
  type EffectOutcome,
  type Intent,
  OperationType,
  operationName,
  type RegisterReading,
  type TrackResult,
} from '#model/operation';
import type { RegisterPlan } from '#model/plan';
import type { Origin, Principal } from '#model/principal';
import { type RiskLevel, riskName } from '#model/risk';
import type { Phase } from './operation-machine.ts';

export interface RecordedOrder {
  readonly intent: Intent;
  readonly principal: Principal;
  readonly origin: Origin;
}

export interface RecordedProgress {
  readonly phase: Phase;
  readonly plan: RegisterPlan | null;
  readonly risk: RiskLevel;
  readonly effect: EffectOutcome;
  readonly readings: readonly RegisterReading[];
  readonly tracks: readonly TrackResult[];
  readonly authorization: { readonly grantedTo: readonly string[] } | null;
  /** 0 where nothing was selected. */
  readonly selectedUntilWallMs: number;
  readonly fault: Fault | undefined;
}

export function operationRecord(order: RecordedOrder, progress: RecordedProgress): AuditRecord {
  const { intent, principal, origin } = order;
  return {
    event: eventOf(progress),
    actor: principal.id,
    origin,
    devices: intent.targets.map((target) => target.device),
    operationId: intent.operationId,
    operation: operationName(intent.type),
    risk: riskName(progress.risk),
    planDigest: progress.plan?.digest ?? '',
    decision: decisionOf(order, progress),
    reason: intent.justification,
    result:
      progress.fault === undefined
        ? progress.effect
        : `${progress.effect}: ${describeFault(progress.fault)}`,
    tracks: progress.tracks.map(({ track, ok, durationMs }) => ({ track, ok, durationMs })),
    details: {
      code: progress.fault?.code ?? '',
      ...(progress.selectedUntilWallMs === 0
        ? {}
        : { selectedUntilWallMs: Math.round(progress.selectedUntilWallMs) }),
      ...(intent.claims === undefined ? {} : { claims: intent.claims }),
      registers: progress.readings.map(
        ({ device, register, value, before }): Canonical => ({ device, register, value, before }),
      ),
      ...(intent.type === OperationType.READ
        ? {}
        : {
            requested: intent.targets.map(
              (target): Canonical => ({
                device: target.device,
                registers: target.registers.map(
                  ({ register, value }): Canonical => ({ register, value }),
                ),
              }),
            ),
          }),
    },
  };
}

function decisionOf(order: RecordedOrder, progress: RecordedProgress): string {
  if (progress.authorization !== null)
    return `granted to ${progress.authorization.grantedTo.join(' and ')}`;
  return progress.selectedUntilWallMs > 0 ? `selected by ${order.principal.id}` : 'refused';
}

function eventOf(progress: RecordedProgress): AuditEventName {
  if (progress.fault === undefined)
    return progress.selectedUntilWallMs > 0 ? 'SELECTED' : 'OPERATION_COMPLETED';
  if (progress.fault.code === 'DEVICE_QUARANTINED') return 'QUARANTINE_PROBE';
  const refusal = FAULT_CATALOGUE[progress.fault.code].kind === 'refusal';
  return refusal && progress.effect === 'none' ? 'OPERATION_REFUSED' : 'OPERATION_FAILED';
}
