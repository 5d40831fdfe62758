import { describe, expect, it } from 'vitest';
import {
  type AuditEntry,
  type AuditEventName,
  type AuditRecord,
  blankRecord,
} from '#model/audit-entry';
import { observationsOf, sourceOf } from '#tracks/security/threats/threat-signs';

const forbidden = (device: number) => device === 9;
const CONTEXT = {
  isAccount: (name: string) => name === 'alice',
  criticalGroups: new Set([0]),
  forbidden,
};

function entryOf(
  event: AuditEventName,
  actor: string,
  more: Partial<AuditRecord> = {},
): AuditEntry {
  return {
    ...blankRecord(event, actor),
    origin: { transport: 'rest', peer: '192.0.2.7:40312' },
    ...more,
    sequence: 1,
    bootId: 'boot',
    monotonicMs: 0,
    wallMs: 0,
    clockQuality: 'synchronized',
    previousHash: '',
    hash: '',
  };
}

const seen = (event: AuditEventName, actor: string, more: Partial<AuditRecord> = {}) =>
  observationsOf(entryOf(event, actor, more), CONTEXT).map(
    ({ kind, id, signs }) => `${kind} ${id}: ${signs.join(' ')}`,
  );

describe('an entry', () => {
  it.each(['CLEARANCE_TOO_LOW', 'COMPARTMENT_MISSING', 'NOT_PERMITTED', 'SCOPE_EXCEEDED'])(
    'of %s tells that somebody went beyond its rights, and weighs more in a critical group',
    (code) => {
      expect(seen('OPERATION_REFUSED', 'alice', { devices: [40], details: { code } })).toEqual([
        'person alice: beyondRights',
        'device 40: beyondRights',
        'source 192.0.2.7: refused',
      ]);
      const [person] = seen('ADMINISTRATION_REFUSED', 'alice', { devices: [3], details: { code } });
      expect(person).toBe('person alice: beyondRights beyondRightsCritical');
    },
  );

  it.each([
    'APPROVAL_NEEDED',
    'CONFIRMATION_NEEDED',
    'JUSTIFICATION_NEEDED',
    'SECOND_ADMINISTRATOR_NEEDED',
    'BUSY',
    'DEVICE_BUSY',
    'EMERGENCY_STOPPED',
    'APPROVAL_VOID',
    'TRACK_UNAVAILABLE',
    'ACCOUNT_LOCKED',
  ])('of %s is ordinary work and counts for the source alone', (code) => {
    expect(seen('OPERATION_REFUSED', 'alice', { devices: [3], details: { code } })).toEqual([
      'source 192.0.2.7: refused',
    ]);
  });

  it('of a request that cannot be meant counts for the person', () => {
    const details = { code: 'VALUE_OUT_OF_LIMITS' };
    expect(seen('OPERATION_REFUSED', 'alice', { details })[0]).toBe('person alice: refused');
  });

  it('of a refused approval is one, unless the approval was void', () => {
    const refused = { details: { code: 'NOT_PERMITTED' }, devices: [3] };
    expect(seen('APPROVAL_REFUSED', 'alice', refused)[0]).toBe('person alice: approvalRefused');
    const gone = { details: { code: 'APPROVAL_VOID' } };
    expect(seen('APPROVAL_REFUSED', 'alice', gone)).toEqual(['source 192.0.2.7: refused']);
  });

  it('by a name that no account has counts for its source, as nobody', () => {
    const details = { code: 'NOT_PERMITTED' };
    expect(seen('OPERATION_REFUSED', 'mallory', { details, devices: [3] })).toEqual([
      'source 192.0.2.7: refused anonymous',
    ]);
    expect(seen('OPERATION_REFUSED', 'unknown', { details, origin: null })).toEqual([]);
  });

  it('of a failed sign-in counts for the source, and for the account it names where there is one', () => {
    expect(seen('AUTHENTICATION_FAILED', 'unknown')).toEqual(['source 192.0.2.7: signInFailed']);
    expect(seen('AUTHENTICATION_FAILED', 'unknown', { details: { account: 'alice' } })).toEqual([
      'person alice: signInFailed',
      'source 192.0.2.7: signInFailed',
    ]);
    expect(seen('AUTHENTICATION_FAILED', 'nobody', { details: { account: 'nobody' } })).toEqual([
      'source 192.0.2.7: signInFailed',
    ]);
  });

  it('of a probe counts for the person, else for the source, else for the device', () => {
    expect(seen('QUARANTINE_PROBE', 'alice', { devices: [9] })).toEqual(['person alice: probe']);
    expect(seen('QUARANTINE_PROBE', 'unknown', { devices: [9] })).toEqual([
      'source 192.0.2.7: probe',
    ]);
    expect(seen('QUARANTINE_PROBE', 'unknown', { devices: [9], origin: null })).toEqual([
      'device 9: probe',
    ]);
  });

  it('of an attempt on what people quarantined at run time counts for nobody', () => {
    expect(seen('QUARANTINE_PROBE', 'alice', { devices: [3] })).toEqual([]);
    expect(seen('QUARANTINE_PROBE', 'alice', { devices: [3, 9] })).toEqual(['person alice: probe']);
  });

  it('of a stop counts against nobody', () => {
    const details = { code: 'NOT_PERMITTED' };
    expect(seen('EMERGENCY_STOP', 'alice', { devices: [3], details })).toEqual([]);
  });

  it('of a change by hand counts for the device, other conflicts for none', () => {
    const rule = 'CHANGED_WITHOUT_OPERATION';
    const by = 'orchestrator';
    expect(seen('CONFLICT_OPENED', by, { devices: [3], details: { rule } })).toEqual([
      'device 3: handChange',
    ]);
    expect(
      seen('CONFLICT_OPENED', by, { devices: [3], details: { rule: 'HOLD_DISAGREES' } }),
    ).toEqual([]);
  });

  it('of a broken chain counts for the chain, and of the rate limit for the source', () => {
    expect(seen('AUDIT_TAMPERED', 'alice')).toEqual(['source audit chain: tampered']);
    expect(seen('OPERATION_REFUSED', 'unknown', { details: { code: 'RATE_LIMITED' } })).toEqual([
      'source 192.0.2.7: refused throttled',
    ]);
  });

  it.each([
    'INCIDENT_OPENED',
    'INCIDENT_ESCALATED',
    'WATCHED_ACCESS',
    'ACCOUNT_LOCKED',
    'SIGNED_IN',
  ] as const)('of %s, which threat detection or a person leaves, counts for nobody', (event) => {
    expect(seen(event, 'alice', { devices: [3] })).toEqual([]);
  });
});

it.each([
  ['192.0.2.7:40312', '192.0.2.7'],
  ['ipv4:192.0.2.7:40312', '192.0.2.7'],
  ['[2001:db8::1]:443', '2001:db8::1'],
  ['ipv6:[2001:db8::1]:443', '2001:db8::1'],
  ['::ffff:192.0.2.7:40312', '192.0.2.7'],
  ['[::ffff:192.0.2.7]:40312', '192.0.2.7'],
  ['uid 1000', 'uid 1000'],
])('the source of %s is %s', (peer, source) => {
  expect(sourceOf({ origin: { transport: 'rest', peer } })).toBe(source);
});
