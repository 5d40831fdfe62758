// The specification's coordination messages against the model's request and receipt.
// Invariants: pure; `receiptFromWire(receiptToWire(receipt))` is the receipt without internal texts.

import { describeFault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  CoordinationResult,
  type OperationReceipt,
  OperationType,
  type RegisterReading,
  type WritePreview,
} from '#model/operation';
import { COMPARTMENTS, type Compartment } from '#model/principal';
import { TRACKS, type TrackName } from '#model/track-name';
import {
  clearanceFromWire,
  effectFromWire,
  effectToWire,
  operationTypeFromWire,
  resultFromWire,
  riskFromWire,
  sourceFromWire,
  sourceToWire,
  stateFromWire,
  stateToWire,
} from './enumerations.ts';
import { faultFromWire, faultToWire } from './fault-message.ts';
import type * as wire from './generated/dsmil/communication/v1/communication.ts';
import type { OperationRequest, RequestedTarget } from './operation-request.ts';
import {
  durationFromWire,
  durationToWire,
  timestampFromWire,
  timestampToWire,
} from './time-message.ts';

/**
 * The devices a message names. A stop without targets names none, the whole system, for its `device_id` 0 cannot be told
 * from an absent one: device 0 alone is stopped by its token or through targets.
 */
function targetsFromWire(message: wire.OperationCoordinationRequest): readonly RequestedTarget[] {
  if (message.targets.length > 0) {
    return message.targets.map((target) => targetFromWire(target.deviceId, target.registers));
  }
  const stop = operationTypeFromWire(message.operationType) === OperationType.EMERGENCY_STOP;
  if (stop && message.deviceId === 0) return [];
  return [targetFromWire(message.deviceId, message.registers)];
}

function isCompartment(name: string): name is Compartment {
  return (COMPARTMENTS as readonly string[]).includes(name);
}

function malformed(place: string, finding: string): Outcome<never> {
  return refuse(fault('REQUEST_MALFORMED', { place, finding }));
}

function targetFromWire(
  deviceId: number,
  registers: readonly wire.RegisterAccess[],
): RequestedTarget {
  return {
    deviceId,
    registers: registers.map((access) =>
      access.value === undefined
        ? { register: access.name }
        : { register: access.name, value: access.value },
    ),
  };
}

/** One line of what the body claims about its sender, for the record; at most 200 characters. */
export function claimsOf(user: string, session: string, requestedAtWallMs: number): string {
  const parts: string[] = [];
  if (user !== '') parts.push(`user ${user}`);
  if (session !== '') parts.push(`session ${session}`);
  if (requestedAtWallMs > 0 && requestedAtWallMs < 8.64e15) {
    parts.push(`at ${new Date(requestedAtWallMs).toISOString()}`);
  }
  return parts
    .join(', ')
    .replace(/\p{Cc}/gu, '?')
    .slice(0, 200);
}

export function operationRequestFromWire(
  message: wire.OperationCoordinationRequest,
): Outcome<OperationRequest> {
  if (message.targets.length > 0 && message.registers.length > 0) {
    return malformed('registers', 'given beside targets, which name their own registers');
  }
  const security = message.safetyRequirements?.securitySafety;
  const kernel = message.safetyRequirements?.kernelSafety;
  const display = message.safetyRequirements?.interfaceSafety;
  const compartments: Compartment[] = [];
  for (const name of security?.requiredCompartments ?? []) {
    if (!isCompartment(name)) {
      return malformed(
        'security_safety.required_compartments',
        'names a compartment that does not exist',
      );
    }
    compartments.push(name);
  }
  const involvement = message.trackInvolvement;
  const named: Readonly<Record<TrackName, boolean>> = {
    kernel: involvement?.kernelTrack ?? false,
    security: involvement?.securityTrack ?? false,
    interface: involvement?.interfaceTrack ?? false,
  };
  return succeed({
    operationId: message.coordinationId,
    type: operationTypeFromWire(message.operationType),
    targets: targetsFromWire(message),
    requirements: {
      memoryProtectionRequired: kernel?.memoryProtectionRequired ?? false,
      thermalMonitoringRequired: kernel?.thermalMonitoringRequired ?? false,
      maxExecutionTimeMs: kernel?.maxExecutionTimeMs ?? 0,
      rollbackCapabilityRequired: kernel?.rollbackCapabilityRequired ?? false,
      requiredClearance: clearanceFromWire(security?.requiredClearance ?? 0),
      dualAuthorizationRequired: security?.dualAuthorizationRequired ?? false,
      auditRequired: security?.auditRequired ?? false,
      requiredCompartments: compartments,
      userConfirmationRequired: display?.userConfirmationRequired ?? false,
      riskDisclosureRequired: display?.riskDisclosureRequired ?? false,
      confirmationTimeoutSeconds: display?.confirmationTimeoutSeconds ?? 0,
    },
    justification: message.justification,
    confirmedRisk: riskFromWire(message.confirmedRisk),
    dryRun: message.dryRun,
    ...(message.selectForSeconds === 0 ? {} : { selectForSeconds: message.selectForSeconds }),
    involved: TRACKS.filter((track) => named[track]),
    claims: claimsOf(
      message.authContext?.userId ?? '',
      message.authContext?.sessionId ?? '',
      timestampFromWire(message.requestedAt),
    ),
  });
}

/** What a client sends; the inverse of `operationRequestFromWire` but for claims. */
export function operationRequestToWire(
  request: OperationRequest,
): wire.OperationCoordinationRequest {
  const [first] = request.targets;
  // See `targetsFromWire`.
  const listed = request.type === OperationType.EMERGENCY_STOP;
  const alone = request.targets.length === 1 && first !== undefined && !listed;
  const needs = request.requirements;
  const registersOf = (target: RequestedTarget): wire.RegisterAccess[] =>
    target.registers.map((access) => ({ name: access.register, value: access.value }));
  return {
    coordinationId: request.operationId,
    deviceId: alone ? first.deviceId : 0,
    operationType: request.type,
    trackInvolvement: {
      kernelTrack: request.involved.includes('kernel'),
      securityTrack: request.involved.includes('security'),
      interfaceTrack: request.involved.includes('interface'),
    },
    safetyRequirements: {
      kernelSafety: {
        memoryProtectionRequired: needs.memoryProtectionRequired,
        thermalMonitoringRequired: needs.thermalMonitoringRequired,
        maxExecutionTimeMs: needs.maxExecutionTimeMs,
        rollbackCapabilityRequired: needs.rollbackCapabilityRequired,
      },
      securitySafety: {
        requiredClearance: needs.requiredClearance,
        dualAuthorizationRequired: needs.dualAuthorizationRequired,
        auditRequired: needs.auditRequired,
        requiredCompartments: [...needs.requiredCompartments],
      },
      interfaceSafety: {
        userConfirmationRequired: needs.userConfirmationRequired,
        riskDisclosureRequired: needs.riskDisclosureRequired,
        confirmationTimeoutSeconds: needs.confirmationTimeoutSeconds,
      },
    },
    authContext: undefined,
    justification: request.justification,
    requestedAt: undefined,
    registers: alone ? registersOf(first) : [],
    targets: alone
      ? []
      : request.targets.map((target) => ({
          deviceId: target.deviceId,
          registers: registersOf(target),
        })),
    dryRun: request.dryRun,
    confirmedRisk: request.confirmedRisk,
    selectForSeconds: request.selectForSeconds ?? 0,
  };
}

export function readingToWire(reading: RegisterReading): wire.RegisterReading {
  return {
    deviceId: reading.device,
    register: reading.register,
    value: reading.value,
    before: reading.before,
    fault: reading.fault === undefined ? undefined : faultToWire(reading.fault),
  };
}

export function readingFromWire(reading: wire.RegisterReading): RegisterReading {
  return {
    device: reading.deviceId,
    register: reading.register,
    ...(reading.value === undefined ? {} : { value: reading.value }),
    ...(reading.before === undefined ? {} : { before: reading.before }),
    ...(reading.fault === undefined ? {} : { fault: faultFromWire(reading.fault) }),
  };
}

export function receiptToWire(receipt: OperationReceipt): wire.OperationCoordinationResponse {
  return {
    coordinationId: receipt.operationId,
    result: receipt.result,
    assessedRisk: receipt.risk,
    trackResults: receipt.tracks.map((track) => ({
      track: sourceToWire(track.track),
      success: track.ok,
      errorMessage: track.fault === undefined ? '' : describeFault(track.fault),
      duration: durationToWire(track.durationMs),
      fault: track.fault === undefined ? undefined : faultToWire(track.fault),
    })),
    errorMessage: receipt.fault === undefined ? '' : describeFault(receipt.fault),
    coordinationTime: durationToWire(receipt.durationMs),
    effect: effectToWire(receipt.effect),
    planDigest: receipt.planDigest,
    readings: receipt.readings.map(readingToWire),
    reasons: [...receipt.reasons],
    faultCode: receipt.fault?.code ?? '',
    auditSequence: BigInt(receipt.auditSequence),
    transactions: [...(receipt.transactions ?? [])],
    approvalsNeeded: [...(receipt.approvalsNeeded ?? [])],
    state: stateToWire(receipt.state),
    operationType: receipt.type,
    fault: receipt.fault === undefined ? undefined : faultToWire(receipt.fault),
    preview: (receipt.preview ?? []).map((write) => ({
      deviceId: write.device,
      register: write.register,
      before: write.before,
      after: write.after,
      rollback: write.rollback,
    })),
    assessments: (receipt.assessments ?? []).map(({ track, level, reasons }) => ({
      track: sourceToWire(track),
      level,
      reasons: [...reasons],
    })),
    worstCase: receipt.worstCaseMs === undefined ? undefined : durationToWire(receipt.worstCaseMs),
    selectedUntil:
      receipt.selectedUntilWallMs === undefined
        ? undefined
        : timestampToWire(receipt.selectedUntilWallMs),
  };
}

function previewFromWire(write: wire.WritePreview): WritePreview {
  return {
    device: write.deviceId,
    register: write.register,
    ...(write.before === undefined ? {} : { before: write.before }),
    ...(write.after === undefined ? {} : { after: write.after }),
    rollback: write.rollback,
  };
}

function trackOf(value: number): TrackName {
  const source = sourceFromWire(value);
  return source === 'orchestrator' ? 'security' : source;
}

export function receiptFromWire(message: wire.OperationCoordinationResponse): OperationReceipt {
  return {
    operationId: message.coordinationId,
    type: operationTypeFromWire(message.operationType),
    state: stateFromWire(message.state),
    result: resultFromWire(message.result),
    risk: riskFromWire(message.assessedRisk),
    reasons: message.reasons,
    effect: effectFromWire(message.effect),
    planDigest: message.planDigest,
    readings: message.readings.map(readingFromWire),
    tracks: message.trackResults.map((track) => ({
      track: trackOf(track.track),
      ok: track.success,
      durationMs: durationFromWire(track.duration),
      ...(track.fault === undefined ? {} : { fault: faultFromWire(track.fault) }),
    })),
    auditSequence: Number(message.auditSequence),
    durationMs: durationFromWire(message.coordinationTime),
    ...(message.fault === undefined ? {} : { fault: faultFromWire(message.fault) }),
    ...(message.transactions.length === 0 ? {} : { transactions: message.transactions }),
    ...(message.approvalsNeeded.length === 0 ? {} : { approvalsNeeded: message.approvalsNeeded }),
    ...(message.preview.length === 0 ? {} : { preview: message.preview.map(previewFromWire) }),
    ...(message.assessments.length === 0
      ? {}
      : {
          assessments: message.assessments.map(({ track, level, reasons }) => ({
            track: trackOf(track),
            level: riskFromWire(level),
            reasons,
          })),
        }),
    ...(message.worstCase === undefined
      ? {}
      : { worstCaseMs: durationFromWire(message.worstCase) }),
    ...(message.selectedUntil === undefined
      ? {}
      : { selectedUntilWallMs: timestampFromWire(message.selectedUntil) }),
  };
}

/** True when the operation was not carried out and the answer's fault says why. */
export function refused(receipt: OperationReceipt): boolean {
  return receipt.result !== CoordinationResult.SUCCESS;
}
