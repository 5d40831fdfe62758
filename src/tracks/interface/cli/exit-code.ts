// What the shell is told: one number for each kind of outcome.

import { FAULT_CATALOGUE, type FaultCode } from '#foundation/fault-catalogue';

export const EXIT = {
  ok: 0,
  error: 1,
  usage: 2,
  denied: 3,
  stopped: 4,
  needsPeople: 5,
  inDoubt: 6,
  unreachable: 7,
  /** A record is not what was written: the audit chain or an export of it. */
  tampered: 8,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

const BY_CODE: Partial<Readonly<Record<FaultCode, ExitCode>>> = {
  REQUEST_MALFORMED: EXIT.usage,
  REQUEST_TOO_LARGE: EXIT.usage,
  DEVICE_ID_INVALID: EXIT.usage,
  VALUE_MISSING: EXIT.usage,
  JUSTIFICATION_NEEDED: EXIT.usage,
  NOT_AUTHENTICATED: EXIT.denied,
  AUTHORIZATION_INVALID: EXIT.denied,
  EMERGENCY_STOPPED: EXIT.stopped,
  STOPPED_MIDWAY: EXIT.stopped,
  CONFIRMATION_NEEDED: EXIT.needsPeople,
  APPROVAL_NEEDED: EXIT.needsPeople,
  SECOND_ADMINISTRATOR_NEEDED: EXIT.needsPeople,
  IN_DOUBT: EXIT.inDoubt,
  TRACK_UNAVAILABLE: EXIT.unreachable,
  UNSUPERVISED: EXIT.unreachable,
  ACCOUNT_INVALID: EXIT.usage,
  PASSWORD_UNSUITABLE: EXIT.usage,
  AUDIT_TAMPERED: EXIT.tampered,
};

/** 403 and 423 are refusals of the person; what the table does not name is an error. */
export function exitCodeOf(code: FaultCode): ExitCode {
  const { kind, http } = FAULT_CATALOGUE[code];
  const denied = kind === 'refusal' && (http === 403 || code === 'ACCOUNT_LOCKED');
  return BY_CODE[code] ?? (denied ? EXIT.denied : EXIT.error);
}
