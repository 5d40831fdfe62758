// Who may settle a conflict: a person with SECRET for less than caution demands, with CONFIDENTIAL for no less.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { DeviceDescriptor } from '#model/device';
import { ClearanceLevel, clearanceName, type Principal } from '#model/principal';
import type { ConflictAnswer, ConflictRule } from '#model/unified-state';
import { RULES } from './conflicts.ts';
import { lessSafe } from './resolution.ts';

const REASON_LENGTH_MIN = 10;
const REASON_LENGTH_MAX = 512;

export interface ConflictQuestion {
  readonly principal: Principal;
  readonly device: DeviceDescriptor;
  readonly conflictId: number;
  readonly rule: ConflictRule;
  readonly conservative: ConflictAnswer;
  readonly answer: ConflictAnswer;
  readonly reason: string;
}

/** The first condition that fails, in a fixed order. */
export function mayAnswer(question: ConflictQuestion): Outcome<void> {
  const { principal, device, rule, answer, conservative } = question;
  const place = `conflict ${question.conflictId} of ${device.slug}`;
  const { answers } = RULES[rule];
  if (!answers.includes(answer)) {
    const finding = `${answer} is no answer to ${rule}; possible: ${answers.join(', ')}`;
    return refuse(fault('REQUEST_MALFORMED', { place, finding }));
  }
  if (principal.kind !== 'person') {
    return refuse(fault('NOT_PERMITTED', { place, finding: 'only people settle conflicts' }));
  }
  if (principal.devices !== null && !principal.devices.includes(device.id)) {
    const finding = `${principal.id} may not operate this device`;
    return refuse(fault('NOT_PERMITTED', { place, finding }));
  }
  const base = lessSafe(answer, conservative) ? ClearanceLevel.SECRET : ClearanceLevel.CONFIDENTIAL;
  const needed = Math.max(base, device.clearanceMinimum) as ClearanceLevel;
  if (principal.clearance < needed) {
    const finding = `${answer} needs ${clearanceName(needed)}, ${principal.id} has ${clearanceName(principal.clearance)}`;
    return refuse(fault('CLEARANCE_TOO_LOW', { place, finding }));
  }
  const missing = device.compartments.filter((one) => !principal.compartments.includes(one));
  if (missing.length > 0) {
    const finding = `${principal.id} does not hold ${missing.join(', ')}`;
    return refuse(fault('COMPARTMENT_MISSING', { place, finding }));
  }
  const { length } = question.reason.trim();
  if (length < REASON_LENGTH_MIN || length > REASON_LENGTH_MAX) {
    const finding = `the reason has ${length} characters, not ${REASON_LENGTH_MIN} to ${REASON_LENGTH_MAX}`;
    return refuse(fault('JUSTIFICATION_NEEDED', { place, finding }));
  }
  return succeed(undefined);
}
