// What one audit entry says against whom: the only place that knows the events and fault codes threat detection counts.
// Invariants: pure; a stop never counts against anybody; what an unknown name did counts for its source alone; what comes
// with ordinary work (an approval that is still missing, a device that is busy) counts for nobody.

import type { FaultCode } from '#foundation/fault-catalogue';
import type { AuditEntry } from '#model/audit-entry';
import { DEVICES_PER_GROUP, type LinearId } from '#model/device';
import type { ThreatSubjectKind } from '#model/incident';
import type { Sign } from './threat-window.ts';

export interface Observation {
  readonly kind: ThreatSubjectKind;
  readonly id: string;
  readonly signs: readonly Sign[];
  /** Who did it, where the subject is a device. */
  readonly person?: string;
}

export interface SignContext {
  readonly isAccount: (name: string) => boolean;
  readonly criticalGroups: ReadonlySet<number>;
  /** Never open to anybody: asking for a device that people quarantined yesterday is no attack. */
  readonly forbidden: (device: LinearId) => boolean;
}

/** The place of what no address did. */
export const AUDIT_CHAIN = 'audit chain';

const BEYOND_RIGHTS: ReadonlySet<string> = new Set<FaultCode>([
  'CLEARANCE_TOO_LOW',
  'COMPARTMENT_MISSING',
  'NOT_PERMITTED',
  'SCOPE_EXCEEDED',
]);

/** Requests that cannot have been meant: who sends many of them is trying what happens. */
const ODD_REQUESTS: ReadonlySet<string> = new Set<FaultCode>([
  'REQUEST_MALFORMED',
  'REQUEST_TOO_LARGE',
  'DEVICE_ID_INVALID',
  'DEVICE_UNKNOWN',
  'REGISTER_UNKNOWN',
  'REGISTER_READ_ONLY',
  'REGISTER_WRITE_ONLY',
  'OPERATION_UNSUPPORTED',
  'VALUE_MISSING',
  'VALUE_TOO_WIDE',
  'VALUE_OUT_OF_LIMITS',
  'STEP_TOO_LARGE',
  'RESERVED_BITS',
  'MEMORY_PROTECTION',
  'ORIGIN_REFUSED',
  'AUTHORIZATION_INVALID',
  'APPROVAL_INVALID',
  'ACCOUNT_UNKNOWN',
  'INVITATION_INVALID',
  'TOKEN_UNKNOWN',
  'SESSION_UNKNOWN',
  'CERTIFICATE_UNKNOWN',
  'CERTIFICATE_REFUSED',
]);

const NONE: readonly Observation[] = [];

/** Everything but operations that were done, which only say what is usual. */
export function observationsOf(entry: AuditEntry, context: SignContext): readonly Observation[] {
  switch (entry.event) {
    case 'QUARANTINE_PROBE':
      return probe(entry, context);
    case 'AUTHENTICATION_FAILED':
      return failedSignIn(entry, context);
    case 'CONFLICT_OPENED':
      if (entry.details.rule !== 'CHANGED_WITHOUT_OPERATION') return NONE;
      return entry.devices.map((device) => ofDevice(device, ['handChange']));
    case 'AUDIT_TAMPERED':
      return [{ kind: 'source', id: AUDIT_CHAIN, signs: ['tampered'] }];
    case 'EMERGENCY_STOP':
    case 'OPERATION_COMPLETED':
    case 'OPERATION_FAILED':
    case 'WATCHED_ACCESS':
      return NONE;
    default:
      return refusal(entry, context);
  }
}

/** Whatever the event is called: a record with the code of a refusal is one. */
function refusal(entry: AuditEntry, context: SignContext): readonly Observation[] {
  const { code } = entry.details;
  if (typeof code !== 'string' || code === '') return NONE;
  const beyond = BEYOND_RIGHTS.has(code);
  const observations: Observation[] = [];
  const known = context.isAccount(entry.actor);
  if (known && entry.event === 'APPROVAL_REFUSED' && beyond) {
    observations.push({ kind: 'person', id: entry.actor, signs: ['approvalRefused'] });
  } else if (known && beyond) {
    const critical = entry.devices.some((device) => inGroups(device, context.criticalGroups));
    const signs: readonly Sign[] = critical
      ? ['beyondRights', 'beyondRightsCritical']
      : ['beyondRights'];
    observations.push({ kind: 'person', id: entry.actor, signs });
    for (const device of entry.devices) {
      observations.push({ ...ofDevice(device, ['beyondRights']), person: entry.actor });
    }
  } else if (known && ODD_REQUESTS.has(code)) {
    observations.push({ kind: 'person', id: entry.actor, signs: ['refused'] });
  }
  const source = sourceOf(entry);
  if (source !== '') {
    const signs: Sign[] = ['refused'];
    if (!known && code !== 'RATE_LIMITED') signs.push('anonymous');
    if (code === 'RATE_LIMITED') signs.push('throttled');
    observations.push({ kind: 'source', id: source, signs });
  }
  return observations;
}

function probe(entry: AuditEntry, context: SignContext): readonly Observation[] {
  const { isAccount, forbidden } = context;
  if (!entry.devices.some(forbidden)) return NONE;
  if (isAccount(entry.actor)) return [{ kind: 'person', id: entry.actor, signs: ['probe'] }];
  const source = sourceOf(entry);
  if (source !== '') return [{ kind: 'source', id: source, signs: ['probe'] }];
  return entry.devices.map((device) => ofDevice(device, ['probe']));
}

function failedSignIn(entry: AuditEntry, { isAccount }: SignContext): readonly Observation[] {
  const observations: Observation[] = [];
  const named = [entry.actor, entry.details.account].find(
    (name): name is string => typeof name === 'string' && isAccount(name),
  );
  if (named !== undefined)
    observations.push({ kind: 'person', id: named, signs: ['signInFailed'] });
  const source = sourceOf(entry);
  if (source !== '') observations.push({ kind: 'source', id: source, signs: ['signInFailed'] });
  return observations;
}

function ofDevice(device: LinearId, signs: readonly Sign[]): Observation {
  return { kind: 'device', id: String(device), signs };
}

export function inGroups(device: LinearId, groups: ReadonlySet<number>): boolean {
  return groups.has(Math.floor(device / DEVICES_PER_GROUP));
}

/** Longer than any address with its zone. */
const SOURCE_LENGTH_MAX = 64;

/** Address without port, or `uid N`; empty where nothing came from outside. */
export function sourceOf({ origin }: Pick<AuditEntry, 'origin'>): string {
  if (origin === null) return '';
  const text = origin.peer.replace(/^ipv[46]:/, '');
  const bracketed = /^\[([^\]]*)\]/.exec(text)?.[1];
  const colon = text.lastIndexOf(':');
  const host = bracketed ?? (colon > 0 ? text.slice(0, colon) : text);
  // One machine is one source, whichever family its connection was taken for (RFC 4291 section 2.5.5.2).
  return host.replace(/^::ffff:(?=\d+\.)/i, '').slice(0, SOURCE_LENGTH_MAX);
}
