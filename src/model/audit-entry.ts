// One line of the audit chain: everything needed to say who did what, on whose word, with what result.

import type { Canonical } from '#foundation/canonical';
import type { TrackResult } from './operation.ts';
import type { Origin } from './principal.ts';

export type AuditEventName =
  | 'AGENT_STARTED'
  | 'OPERATION_COMPLETED'
  | 'OPERATION_REFUSED'
  | 'OPERATION_FAILED'
  | 'APPROVAL_GRANTED'
  | 'APPROVAL_REFUSED'
  | 'QUARANTINE_PROBE'
  | 'AUTHENTICATION_FAILED'
  | 'EMERGENCY_STOP'
  | 'EMERGENCY_RESET'
  | 'TRANSACTION_RECOVERED'
  | 'TRACK_LOST'
  | 'TRACK_RETURNED'
  | 'LINK_FAULT'
  | 'SESSION_LOCKED'
  | 'STOP_ACKNOWLEDGED'
  | 'STOP_TESTED'
  | 'DEVICE_HELD'
  | 'DEVICE_RELEASED'
  | 'DEVICE_QUARANTINED'
  | 'SELECTED'
  | 'SELECTION_ENDED'
  | 'CONFLICT_OPENED'
  | 'CONFLICT_RESOLVED'
  | 'UNSUPERVISED_ACCESS'
  | 'SIGNED_IN'
  | 'SESSION_ENDED'
  | 'ACCOUNT_LOCKED'
  | 'ACCOUNT_UNLOCKED'
  | 'ACCOUNT_CREATED'
  | 'ACCOUNT_CHANGED'
  | 'ACCOUNT_INVITED'
  | 'ACCOUNT_ENROLLED'
  | 'PASSWORD_CHANGED'
  | 'TOKEN_CREATED'
  | 'TOKEN_REVOKED'
  | 'CERTIFICATE_ISSUED'
  | 'CERTIFICATE_REVOKED'
  | 'KEY_ROTATED'
  | 'CHANGE_PROPOSED'
  | 'ADMINISTRATION_REFUSED'
  | 'AUDIT_VERIFIED'
  | 'AUDIT_TAMPERED'
  | 'AUDIT_EXPORTED'
  | 'AUDIT_ARCHIVED'
  | 'INCIDENT_OPENED'
  | 'INCIDENT_ESCALATED'
  | 'INCIDENT_CLOSED'
  | 'WATCHED_ACCESS'
  | 'CHAOS_STARTED'
  | 'CHAOS_ENDED';

export interface AuditRecord {
  readonly event: AuditEventName;
  readonly actor: string;
  readonly origin: Origin | null;
  /** Linear ids, empty when no device is concerned. */
  readonly devices: readonly number[];
  readonly operationId: string;
  readonly operation: string;
  readonly risk: string;
  readonly planDigest: string;
  readonly decision: string;
  readonly reason: string;
  readonly result: string;
  readonly tracks: readonly Pick<TrackResult, 'track' | 'ok' | 'durationMs'>[];
  /** What else the reader needs: registers written, values before and after. */
  readonly details: { readonly [key: string]: Canonical };
}

export interface AuditEntry extends AuditRecord {
  readonly sequence: number;
  readonly bootId: string;
  readonly monotonicMs: number;
  readonly wallMs: number;
  /** Whether the wall clock can be trusted: set by hand or network, or never set since power-up. */
  readonly clockQuality: 'synchronized' | 'unsynchronized';
  /** Hex SHA-256 of the entry before; 64 zeros for the first. */
  readonly previousHash: string;
  readonly hash: string;
}

/** A record of nothing but who and what; the caller adds the rest. */
export function blankRecord(event: AuditEventName, actor: string): AuditRecord {
  return {
    event,
    actor,
    origin: null,
    devices: [],
    operationId: '',
    operation: '',
    risk: '',
    planDigest: '',
    decision: '',
    reason: '',
    result: '',
    tracks: [],
    details: {},
  };
}
