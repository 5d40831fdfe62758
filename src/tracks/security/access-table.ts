// Who may do what: clearance by operation and assessed risk, compartments, justification, confirmation, approval.
// Invariants: pure; UNKNOWN risk permits nothing; a refusal says which condition failed and who could satisfy it.

import { type Fault, fault } from '#foundation/fault';
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
  /** Threat detection demands a second person on this device; on none where absent. */
  readonly dualRequired?: (device: DeviceDescriptor) => boolean;
}

export interface Disclosed {
  readonly risk: RiskLevel;
  readonly ageMs: number;
}

export interface AccessGrant {
  readonly dualAuthorization: boolean;
}

/** What a person has to do beside being allowed to: `fault` where it was not done, none where that shows later. */
export interface Conduct {
  readonly kind: 'justification' | 'confirmation' | 'second-person';
  /** One sentence, for people. */
  readonly demand: string;
  readonly fault: Fault | null;
}

export interface AccessExplanation {
  /** Every condition of person, devices and risk that fails, in the order in which `decideAccess` meets them. */
  readonly missing: readonly Fault[];
  readonly conduct: readonly Conduct[];
}

/** The first condition that fails, in a fixed order, or what the grant still needs. */
export function decideAccess(question: AccessQuestion): Outcome<AccessGrant> {
  const { missing, conduct } = explainAccess(question);
  const first = missing[0] ?? conduct.find(({ fault: undone }) => undone !== null)?.fault;
  if (first !== undefined && first !== null) return refuse(first);
  return succeed({ dualAuthorization: conduct.some(({ kind }) => kind === 'second-person') });
}

/** Every condition that fails, and everything that conduct demands of this operation. */
export function explainAccess(question: AccessQuestion): AccessExplanation {
  const { intent, devices, risk } = question;
  const missing = quarantineFaults(question);
  // What a stop would do is shown to anybody who may ask for it, which is everybody; the stop itself is no plan.
  if (intent.type === OperationType.EMERGENCY_STOP && intent.dryRun)
    return { missing, conduct: [] };
  const place = devices.map((device) => device.slug).join(', ');
  const needed = clearanceNeeded(intent.type, risk);
  missing.push(...deviceFaults(question));
  if (risk === RiskLevel.UNKNOWN) {
    const finding = 'an involved track gave no risk assessment';
    missing.push(fault('RISK_UNKNOWN', { place, finding }));
  } else if (needed === undefined) {
    const finding = `${operationName(intent.type)} at risk ${riskName(risk)} is open to nobody`;
    missing.push(fault('NOT_PERMITTED', { place, finding }));
  }
  // What devices and request demand is known even where no clearance suffices.
  missing.push(...clearanceFaults(question, needed ?? ClearanceLevel.NONE, place));
  missing.push(...compartmentFaults(question, place));
  return { missing, conduct: conductOf(question, place) };
}

function quarantineFaults(question: AccessQuestion): Fault[] {
  const what = operationName(question.intent.type);
  return question.devices
    .filter(
      (device) =>
        device.quarantined || permanentlyQuarantined(device.id) || question.isQuarantined(device),
    )
    .map((device) => {
      const finding = `${what} refused: device ${formatToken(device.id)} is quarantined`;
      return fault('DEVICE_QUARANTINED', { place: device.slug, finding });
    });
}

function deviceFaults({ principal, devices }: AccessQuestion): readonly Fault[] {
  return devices
    .filter((device) => principal.devices !== null && !principal.devices.includes(device.id))
    .map((device) => {
      const finding = `${principal.id} may not operate this device`;
      return fault('NOT_PERMITTED', { place: device.slug, finding });
    });
}

function clearanceFaults(
  question: AccessQuestion,
  needed: ClearanceLevel,
  place: string,
): readonly Fault[] {
  const { principal, intent, devices, risk } = question;
  let clearance = Math.max(needed, intent.requirements.requiredClearance);
  for (const device of devices) clearance = Math.max(clearance, device.clearanceMinimum);
  if (principal.clearance >= clearance) return [];
  const wanted = clearanceName(clearance as ClearanceLevel);
  return [
    fault('CLEARANCE_TOO_LOW', {
      place,
      finding: `${operationName(intent.type)} at risk ${riskName(risk)} needs ${wanted}, ${principal.id} has ${clearanceName(principal.clearance)}`,
      consequence: `nothing was done; a person with ${wanted} can`,
    }),
  ];
}

function compartmentFaults(question: AccessQuestion, place: string): readonly Fault[] {
  const { principal, intent, devices } = question;
  const wanted = new Set<Compartment>(intent.requirements.requiredCompartments);
  for (const device of devices)
    for (const compartment of device.compartments) wanted.add(compartment);
  const missing = [...wanted].filter(
    (compartment) => !principal.compartments.includes(compartment),
  );
  if (missing.length === 0) return [];
  return [
    fault('COMPARTMENT_MISSING', {
      place,
      finding: `${principal.id} does not hold ${missing.join(', ')}`,
      consequence: `nothing was done; a person who holds ${[...wanted].join(', ')} can`,
    }),
  ];
}

/** Justification and confirmation from MODERATE up, a second person from HIGH up and for every RESET. */
function conductOf(question: AccessQuestion, place: string): readonly Conduct[] {
  const { intent, risk } = question;
  const conduct: Conduct[] = [];
  const demanding = riskRank(risk) >= riskRank(RiskLevel.MODERATE);
  const { length } = intent.justification.trim();
  const unsaid =
    length > JUSTIFICATION_LENGTH_MAX || (demanding && length < JUSTIFICATION_LENGTH_MIN);
  if (demanding || unsaid) {
    const finding = `the justification has ${length} characters, ${JUSTIFICATION_LENGTH_MIN} to ${JUSTIFICATION_LENGTH_MAX} are needed at risk ${riskName(risk)}`;
    conduct.push({
      kind: 'justification',
      demand: `say why, in ${JUSTIFICATION_LENGTH_MIN} to ${JUSTIFICATION_LENGTH_MAX} characters`,
      fault: unsaid ? fault('JUSTIFICATION_NEEDED', { place, finding }) : null,
    });
  }
  const { userConfirmationRequired, riskDisclosureRequired } = intent.requirements;
  if (demanding || userConfirmationRequired || riskDisclosureRequired) {
    const finding = intent.dryRun ? undefined : confirmationMissing(question);
    conduct.push({
      kind: 'confirmation',
      demand: `have the risk of the plan shown and confirm it, at least as ${riskName(risk)}`,
      fault: finding === undefined ? null : fault('CONFIRMATION_NEEDED', { place, finding }),
    });
  }
  const because = secondPersonBecause(question);
  if (because !== null) {
    const demand = `have a second person approve the exact plan: ${because}`;
    conduct.push({ kind: 'second-person', demand, fault: null });
  }
  return conduct;
}

function secondPersonBecause({
  intent,
  risk,
  devices,
  dualRequired,
}: AccessQuestion): string | null {
  if (riskRank(risk) >= riskRank(RiskLevel.HIGH)) return `the risk is ${riskName(risk)}`;
  if (intent.type === OperationType.RESET) return 'every RESET takes two';
  if (intent.requirements.dualAuthorizationRequired) return 'the request demands it';
  const watched = devices.filter((device) => dualRequired?.(device) === true);
  if (watched.length === 0) return null;
  return `threat detection demands it for ${watched.map((device) => device.slug).join(', ')}`;
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
