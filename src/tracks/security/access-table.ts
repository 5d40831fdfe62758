// Who may do what: clearance by operation and assessed risk, compartments, justification, confirmation, approval.
// Invariants: pure; UNKNOWN risk permits nothing; a refusal says which condition failed and who could satisfy it.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { type DeviceDescriptor, formatToken, permanentlyQuarantined } from '#model/device';
import { type Intent, OperationType, operationName } from '#model/operation';
import { ClearanceLevel, type Compartment, clearanceName, type Principal } from '#model/principal';
import { RiskLevel, riskName, riskRank } from '#model/risk';

type Column = 'low' | 'moderate' | 'high' | 'critical';
type Row = Readonly<Record<Column, ClearanceLevel>>;

const { RESTRICTED, CONFIDENTIAL, SECRET, TOP_SECRET } = ClearanceLevel;
const READ: Row = { low: RESTRICTED, moderate: CONFIDENTIAL, high: SECRET, critical: SECRET };
const WRITE: Row = { low: CONFIDENTIAL, moderate: SECRET, high: SECRET, critical: TOP_SECRET };
const CONFIG: Row = { low: CONFIDENTIAL, moderate: SECRET, high: TOP_SECRET, critical: TOP_SECRET };
const RESET: Row = { low: SECRET, moderate: SECRET, high: TOP_SECRET, critical: TOP_SECRET };

function rowOf(type: OperationType): Row | undefined {
  switch (type) {
    case OperationType.READ:
      return READ;
    case OperationType.WRITE:
    case OperationType.DEACTIVATE:
      return WRITE;
    case OperationType.CONFIG:
      return CONFIG;
    case OperationType.RESET:
    case OperationType.ACTIVATE:
      return RESET;
    case OperationType.EMERGENCY_STOP:
    case OperationType.UNKNOWN:
      return undefined;
  }
}

function columnOf(risk: RiskLevel): Column | undefined {
  switch (risk) {
    case RiskLevel.SAFE:
    case RiskLevel.LOW:
      return 'low';
    case RiskLevel.MODERATE:
      return 'moderate';
    case RiskLevel.HIGH:
      return 'high';
    case RiskLevel.CRITICAL:
      return 'critical';
    case RiskLevel.QUARANTINED:
    case RiskLevel.UNKNOWN:
      return undefined;
  }
}

/** Clearance needed, or nothing where no clearance suffices. */
export function clearanceNeeded(type: OperationType, risk: RiskLevel): ClearanceLevel | undefined {
  const column = columnOf(risk);
  return column === undefined ? undefined : rowOf(type)?.[column];
}

const JUSTIFICATION_LENGTH_MIN = 10;
const JUSTIFICATION_LENGTH_MAX = 512;
/** How long a disclosure lasts where the request does not say, seconds. */
export const DISCLOSURE_SECONDS = 300;

export interface AccessQuestion {
  readonly principal: Principal;
  readonly intent: Intent;
  readonly devices: readonly DeviceDescriptor[];
  readonly risk: RiskLevel;
  /** Quarantined at run time, beside the permanent ones. */
  readonly isQuarantined: (device: DeviceDescriptor) => boolean;
  /** When and as what this person was last told the risk of this plan; absent when never. */
  readonly disclosed?: Disclosed;
}

export interface Disclosed {
  readonly risk: RiskLevel;
  readonly ageMs: number;
}

export interface AccessGrant {
  readonly dualAuthorization: boolean;
}

/** The first condition that fails, in a fixed order, or what the grant still needs. */
export function decideAccess(question: AccessQuestion): Outcome<AccessGrant> {
  const { principal, intent, devices, risk } = question;
  const what = operationName(intent.type);
  for (const device of devices) {
    if (device.quarantined || permanentlyQuarantined(device.id) || question.isQuarantined(device)) {
      const finding = `${what} refused: device ${formatToken(device.id)} is quarantined`;
      return refuse(fault('DEVICE_QUARANTINED', { place: device.slug, finding }));
    }
  }
  // What a stop would do is shown to anybody who may ask for it, which is everybody; the stop itself is no plan.
  if (intent.type === OperationType.EMERGENCY_STOP && intent.dryRun)
    return succeed({ dualAuthorization: false });
  for (const device of devices) {
    if (principal.devices !== null && !principal.devices.includes(device.id)) {
      const finding = `${principal.id} may not operate this device`;
      return refuse(fault('NOT_PERMITTED', { place: device.slug, finding }));
    }
  }
  const place = devices.map((device) => device.slug).join(', ');
  if (risk === RiskLevel.UNKNOWN) {
    return refuse(
      fault('RISK_UNKNOWN', { place, finding: 'an involved track gave no risk assessment' }),
    );
  }
  const needed = clearanceNeeded(intent.type, risk);
  if (needed === undefined) {
    const finding = `${what} at risk ${riskName(risk)} is open to nobody`;
    return refuse(fault('NOT_PERMITTED', { place, finding }));
  }
  const cleared = checkClearance(question, needed, place);
  if (!cleared.ok) return cleared;
  const compartments = checkCompartments(question, place);
  if (!compartments.ok) return compartments;
  return checkConduct(question, place);
}

function checkClearance(
  question: AccessQuestion,
  needed: ClearanceLevel,
  place: string,
): Outcome<void> {
  const { principal, intent, devices, risk } = question;
  let clearance = Math.max(needed, intent.requirements.requiredClearance);
  for (const device of devices) clearance = Math.max(clearance, device.clearanceMinimum);
  if (principal.clearance >= clearance) return succeed(undefined);
  const wanted = clearanceName(clearance as ClearanceLevel);
  return refuse(
    fault('CLEARANCE_TOO_LOW', {
      place,
      finding: `${operationName(intent.type)} at risk ${riskName(risk)} needs ${wanted}, ${principal.id} has ${clearanceName(principal.clearance)}`,
      consequence: `nothing was done; a person with ${wanted} can`,
    }),
  );
}

function checkCompartments(question: AccessQuestion, place: string): Outcome<void> {
  const { principal, intent, devices } = question;
  const wanted = new Set<Compartment>(intent.requirements.requiredCompartments);
  for (const device of devices)
    for (const compartment of device.compartments) wanted.add(compartment);
  const missing = [...wanted].filter(
    (compartment) => !principal.compartments.includes(compartment),
  );
  if (missing.length === 0) return succeed(undefined);
  return refuse(
    fault('COMPARTMENT_MISSING', {
      place,
      finding: `${principal.id} does not hold ${missing.join(', ')}`,
      consequence: `nothing was done; a person who holds ${[...wanted].join(', ')} can`,
    }),
  );
}

/** Justification and confirmation from MODERATE up, a second person from HIGH up and for every RESET. */
function checkConduct(question: AccessQuestion, place: string): Outcome<AccessGrant> {
  const { intent, risk } = question;
  const demanding = riskRank(risk) >= riskRank(RiskLevel.MODERATE);
  const { length } = intent.justification.trim();
  if (length > JUSTIFICATION_LENGTH_MAX || (demanding && length < JUSTIFICATION_LENGTH_MIN)) {
    const finding = `the justification has ${length} characters, ${JUSTIFICATION_LENGTH_MIN} to ${JUSTIFICATION_LENGTH_MAX} are needed at risk ${riskName(risk)}`;
    return refuse(fault('JUSTIFICATION_NEEDED', { place, finding }));
  }
  const { userConfirmationRequired, riskDisclosureRequired } = intent.requirements;
  const confirm = demanding || userConfirmationRequired || riskDisclosureRequired;
  const unconfirmed = confirm && !intent.dryRun ? confirmationMissing(question) : undefined;
  if (unconfirmed !== undefined)
    return refuse(fault('CONFIRMATION_NEEDED', { place, finding: unconfirmed }));
  const dualAuthorization =
    riskRank(risk) >= riskRank(RiskLevel.HIGH) ||
    intent.type === OperationType.RESET ||
    intent.requirements.dualAuthorizationRequired;
  return succeed({ dualAuthorization });
}

/** What keeps the confirmation of the request from counting; nothing when it counts. */
function confirmationMissing(question: AccessQuestion): string | undefined {
  const { principal, intent, risk, disclosed } = question;
  const { confirmedRisk } = intent;
  const { riskDisclosureRequired, confirmationTimeoutSeconds } = intent.requirements;
  const name = riskName(risk);
  if (confirmedRisk === RiskLevel.UNKNOWN) return `risk ${name} was not confirmed`;
  if (riskRank(confirmedRisk) < riskRank(risk))
    return `risk ${name} was confirmed only as ${riskName(confirmedRisk)}`;
  if (!riskDisclosureRequired && confirmationTimeoutSeconds === 0) return undefined;
  if (disclosed === undefined)
    return `the risk of this plan was never shown to ${principal.id}: ask for the plan first`;
  if (disclosed.risk === RiskLevel.UNKNOWN || riskRank(disclosed.risk) < riskRank(risk))
    return `${principal.id} was shown risk ${riskName(disclosed.risk)}, it is ${name} now`;
  const limitSeconds =
    confirmationTimeoutSeconds === 0 ? DISCLOSURE_SECONDS : confirmationTimeoutSeconds;
  if (disclosed.ageMs <= limitSeconds * 1_000) return undefined;
  const asked = confirmationTimeoutSeconds === 0 ? 'that a disclosure lasts' : 'asked for';
  return `the risk was shown ${Math.ceil(disclosed.ageMs / 1_000)} s ago, more than the ${limitSeconds} s ${asked}`;
}
