// The checks an operation passes before anything is sent to security: shape, bounds, devices, quarantine, registers.
// Invariants: pure but for the board it reads; quarantine is refused here as the API's of the five places.

import { randomUUID } from 'node:crypto';
import {
  type OperationRequest,
  type RequestedTarget,
  SELECT_SECONDS_MAX,
} from '#contract/operation-request';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  DEVICE_COUNT_MAX,
  type DeviceDescriptor,
  formatToken,
  type LinearId,
  linearIdOf,
  registerOf,
} from '#model/device';
import {
  CoordinationResult,
  type Intent,
  type OperationReceipt,
  OperationType,
  operationName,
  type Target,
} from '#model/operation';
import { RiskLevel } from '#model/risk';
import type { DevicePicture } from './device-picture.ts';

export const OPERATION_LIMITS = {
  targets: DEVICE_COUNT_MAX,
  registersPerTarget: 64,
  justificationLength: 512,
  operationIdLength: 64,
} as const;

/** A refusal stays a sentence. */
const REGISTERS_NAMED_MAX = 24;
const OPERATION_ID = /^(?!.*\.\.)[A-Za-z0-9._:-]{1,64}$/;
/** Ways to somewhere else, and what cannot be seen: no register is called so on any board. */
const NO_REGISTER = /\.\.|[/\\\p{C}]/u;

function malformed(place: string, finding: string): { readonly ok: false; readonly fault: Fault } {
  return refuse(fault('REQUEST_MALFORMED', { place, finding }));
}

/** The linear id for a caller's device id, if the board has that device. */
export function findDevice(deviceId: number, picture: DevicePicture): Outcome<LinearId> {
  const id = linearIdOf(deviceId);
  if (id === undefined) {
    return refuse(
      fault('DEVICE_ID_INVALID', {
        place: `device ${deviceId}`,
        finding: 'is neither a linear id 0 to 83 nor a device token',
      }),
    );
  }
  // Quarantine comes before the board: the five are refused as such even where a board leaves them out.
  if (picture.descriptor(id) === undefined && !picture.quarantined(id)) {
    return refuse(
      fault('DEVICE_UNKNOWN', {
        place: `device ${formatToken(id)}`,
        finding: 'is not on this board',
      }),
    );
  }
  return succeed(id);
}

/** Accepts 1 to 64 letters, digits and `._:-`; makes a random id where the caller gave none. */
export function chooseOperationId(given: string): Outcome<string> {
  if (given === '') return succeed(randomUUID());
  if (OPERATION_ID.test(given)) return succeed(given);
  return malformed('operation id', 'is not 1 to 64 letters, digits or ._:- without two dots');
}

/** Devices in the order asked for; duplicates are refused. */
function findTargets(
  targets: readonly RequestedTarget[],
  picture: DevicePicture,
): Outcome<readonly Target[]> {
  if (targets.length === 0) return malformed('targets', 'names no device');
  if (targets.length > OPERATION_LIMITS.targets) {
    return malformed(
      'targets',
      `names ${targets.length} devices, more than ${OPERATION_LIMITS.targets}`,
    );
  }
  const found: Target[] = [];
  const seen = new Set<LinearId>();
  for (const target of targets) {
    const device = findDevice(target.deviceId, picture);
    if (!device.ok) return device;
    if (seen.has(device.value)) {
      return malformed(`device ${formatToken(device.value)}`, 'is named twice in one operation');
    }
    seen.add(device.value);
    found.push({ device: device.value, registers: target.registers });
  }
  return succeed(found);
}

/** What a device has instead, for whoever may see the device at all. */
function registersOf(device: DeviceDescriptor, own: readonly LinearId[] | null): string {
  if (own !== null && !own.includes(device.id)) return '';
  const names = device.registers.map(({ spec }) => spec.name);
  const more = names.length - REGISTERS_NAMED_MAX;
  const shown = names.slice(0, REGISTERS_NAMED_MAX).join(', ');
  return `; it has ${shown}${more > 0 ? ` and ${more} more` : ''}`;
}

function checkRegisters(
  type: OperationType,
  target: Target,
  picture: DevicePicture,
  own: readonly LinearId[] | null,
): Fault | null {
  const device = picture.descriptor(target.device);
  if (device === undefined) return null;
  const place = `${device.slug} (${formatToken(device.id)})`;
  if (target.registers.length > OPERATION_LIMITS.registersPerTarget) {
    return fault('REQUEST_MALFORMED', {
      place,
      finding: `${target.registers.length} registers are named, more than ${OPERATION_LIMITS.registersPerTarget}`,
    });
  }
  if (type === OperationType.WRITE && target.registers.length === 0) {
    return fault('VALUE_MISSING', { place, finding: 'a write names no register' });
  }
  const seen = new Set<string>();
  for (const access of target.registers) {
    if (NO_REGISTER.test(access.register)) {
      return fault('REQUEST_MALFORMED', { place, finding: 'a register name is no identifier' });
    }
    // The name came from outside: only a register of the profile is ever repeated in an answer.
    if (registerOf(device, access.register) === undefined) {
      const finding = `has no register of the given name${registersOf(device, own)}`;
      return fault('REGISTER_UNKNOWN', { place, finding });
    }
    const register = `${device.slug}.${access.register}`;
    if (seen.has(access.register)) {
      return fault('REQUEST_MALFORMED', { place: register, finding: 'is named twice' });
    }
    seen.add(access.register);
    if (type === OperationType.READ && access.value !== undefined) {
      return fault('REQUEST_MALFORMED', { place: register, finding: 'a read carries a value' });
    }
    if (type === OperationType.WRITE && access.value === undefined) {
      return fault('VALUE_MISSING', { place: register, finding: 'a write carries no value' });
    }
  }
  return null;
}

export interface CheckedOperation {
  readonly intent: Intent;
  /** Quarantined devices among the targets; the operation must then not go on. */
  readonly quarantined: readonly LinearId[];
}

/** A selection has a length, and holds devices for something that is really to be done. */
function checkSelection({ selectForSeconds, dryRun }: OperationRequest): Fault | null {
  if (selectForSeconds === undefined) return null;
  const place = 'selection';
  if (dryRun) {
    const finding = 'a dry run holds no device; ask for one of the two';
    return fault('REQUEST_MALFORMED', { place, finding });
  }
  if (selectForSeconds >= 1 && selectForSeconds <= SELECT_SECONDS_MAX) return null;
  const finding = `${selectForSeconds} s is not 1 to ${SELECT_SECONDS_MAX} s`;
  return fault('REQUEST_MALFORMED', { place, finding });
}

/**
 * Everything but an emergency stop, which is checked by its own, milder rules. `own`: the caller's devices, of which a refusal
 * may tell the registers; null for all.
 */
export function checkOperation(
  request: OperationRequest,
  picture: DevicePicture,
  own: readonly LinearId[] | null,
): Outcome<CheckedOperation> {
  const operationId = chooseOperationId(request.operationId);
  if (!operationId.ok) return operationId;
  if (request.type === OperationType.UNKNOWN) {
    return malformed('operation type', 'is not one that the agent knows');
  }
  const held = checkSelection(request);
  if (held !== null) return refuse(held);
  if (request.justification.length > OPERATION_LIMITS.justificationLength) {
    return refuse(
      fault('JUSTIFICATION_NEEDED', {
        place: 'justification',
        finding: `has ${request.justification.length} characters, more than ${OPERATION_LIMITS.justificationLength}`,
      }),
    );
  }
  const targets = findTargets(request.targets, picture);
  if (!targets.ok) return targets;
  const intent: Intent = {
    operationId: operationId.value,
    type: request.type,
    targets: targets.value,
    requirements: request.requirements,
    justification: request.justification,
    confirmedRisk: request.confirmedRisk,
    dryRun: request.dryRun,
    ...(request.selectForSeconds === undefined
      ? {}
      : { selectForSeconds: request.selectForSeconds }),
    involved: request.involved,
    ...(request.claims === '' ? {} : { claims: request.claims }),
  };
  const quarantined = targets.value
    .map((target) => target.device)
    .filter((device) => picture.quarantined(device));
  if (quarantined.length > 0) return succeed({ intent, quarantined });
  for (const target of targets.value) {
    const finding = checkRegisters(request.type, target, picture, own);
    if (finding !== null) return refuse(finding);
  }
  return succeed({ intent, quarantined });
}

/** The answer to an operation on a quarantined device: denied by rule, nothing touched. */
export function quarantineReceipt(
  intent: Intent,
  quarantined: readonly LinearId[],
  durationMs: number,
): OperationReceipt {
  return {
    operationId: intent.operationId,
    type: intent.type,
    state: 'FAILED',
    result: CoordinationResult.DENIED,
    risk: RiskLevel.QUARANTINED,
    reasons: [`interface: ${quarantined.map(formatToken).join(', ')} in quarantine`],
    effect: 'none',
    planDigest: '',
    readings: [],
    tracks: [],
    fault: fault('DEVICE_QUARANTINED', {
      place: quarantined.map((id) => `device ${formatToken(id)}`).join(', '),
      finding: `${operationName(intent.type)} was asked of a device in quarantine`,
    }),
    auditSequence: 0,
    durationMs,
  };
}
