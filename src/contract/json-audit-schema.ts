// Schemas of the audit chain: its entries, its signed checkpoints, and the lines of an export.

import type { SignedCheckpoint } from '#model/audit-checkpoint';
import type { AuditEntry, AuditEventName } from '#model/audit-entry';
import { EXPORT_FORMAT } from '#model/audit-export';
import type { auditEntryToJson } from './json-answer.ts';
import { DigestSchema, TransportSchema } from './json-answer-schema.ts';
import { durationMs, LinearIdSchema, TimeSchema, TrackNameSchema } from './json-parts-schema.ts';
import { Answer, named, type Schema, type SentBy } from './typed-schema.ts';

const { Text, Integer, Flag, Names, List, OrNull, Object: Members } = Answer;

const EventNameSchema = named(
  'AuditEvent',
  Names([
    'AGENT_STARTED',
    'OPERATION_COMPLETED',
    'OPERATION_REFUSED',
    'OPERATION_FAILED',
    'APPROVAL_GRANTED',
    'APPROVAL_REFUSED',
    'QUARANTINE_PROBE',
    'AUTHENTICATION_FAILED',
    'EMERGENCY_STOP',
    'EMERGENCY_RESET',
    'TRANSACTION_RECOVERED',
    'TRACK_LOST',
    'TRACK_RETURNED',
    'LINK_FAULT',
    'SESSION_LOCKED',
    'STOP_ACKNOWLEDGED',
    'STOP_TESTED',
    'DEVICE_HELD',
    'DEVICE_RELEASED',
    'DEVICE_QUARANTINED',
    'SELECTED',
    'SELECTION_ENDED',
    'CONFLICT_OPENED',
    'CONFLICT_RESOLVED',
    'UNSUPERVISED_ACCESS',
    'SIGNED_IN',
    'SESSION_ENDED',
    'ACCOUNT_LOCKED',
    'ACCOUNT_UNLOCKED',
    'ACCOUNT_CREATED',
    'ACCOUNT_CHANGED',
    'ACCOUNT_INVITED',
    'ACCOUNT_ENROLLED',
    'PASSWORD_CHANGED',
    'TOKEN_CREATED',
    'TOKEN_REVOKED',
    'CERTIFICATE_ISSUED',
    'CERTIFICATE_REVOKED',
    'KEY_ROTATED',
    'CHANGE_PROPOSED',
    'ADMINISTRATION_REFUSED',
    'AUDIT_VERIFIED',
    'AUDIT_TAMPERED',
    'AUDIT_EXPORTED',
    'AUDIT_ARCHIVED',
    'INCIDENT_OPENED',
    'INCIDENT_ESCALATED',
    'INCIDENT_CLOSED',
    'WATCHED_ACCESS',
    'CHAOS_STARTED',
    'CHAOS_ENDED',
  ]) satisfies Schema<AuditEventName>,
);

/** What an entry's hash covers. */
const hashedMembers = {
  event: EventNameSchema,
  actor: Text('Account, track, or what stood for one.'),
  origin: OrNull(
    Members({ transport: TransportSchema, peer: Text('Address and port, or `uid 0`.') }),
    'null for what the agent did by itself.',
  ),
  devices: List(LinearIdSchema, 'Empty when no device is concerned.'),
  operationId: Text(),
  operation: Text(),
  risk: Text('Name of the risk; empty where there is none.'),
  planDigest: Text(),
  decision: Text(),
  reason: Text(),
  result: Text(),
  tracks: List(
    Members({ track: TrackNameSchema, ok: Flag(), durationMs: durationMs('Of this track.') }),
  ),
  details: Answer.Open<AuditEntry['details']>(
    'What else the reader needs; its members go by the event.',
  ),
  sequence: Integer({ minimum: 1 }),
  bootId: Text(),
  monotonicMs: durationMs('Since the machine began.'),
  wallMs: Answer.Number('Milliseconds since 1970, by the wall clock.'),
  clockQuality: Names(
    ['synchronized', 'unsynchronized'],
    'Whether the wall clock could be trusted.',
  ),
  previousHash: DigestSchema,
};
export const AuditEntrySchema = named(
  'AuditEntry',
  Members(
    { ...hashedMembers, hash: DigestSchema, at: TimeSchema },
    'One line of the audit chain.',
  ) satisfies Schema<SentBy<typeof auditEntryToJson>>,
);

/** What a checkpoint's signature covers is sent exactly as it was signed, so its time stays a number. */
export const CheckpointSchema = named(
  'Checkpoint',
  Members({
    sequence: Integer('Of the entry that it is about.'),
    hash: DigestSchema,
    wallMs: Answer.Number('Milliseconds since 1970, exactly as signed.'),
    keyId: Text('First 16 hexadecimal digits of SHA-256 over the public key (SPKI, DER).'),
    signature: Text('Ed25519, base64 (RFC 8032).'),
  }) satisfies Schema<SignedCheckpoint>,
);

const PublicKeySchema = Text('SPKI, DER, base64: the first key of the chain.');
/** Each line of an export; a block is a header, entries and checkpoints as they stand, and an end. */
export const ExportLineSchema = named(
  'AuditExportLine',
  Answer.OneOf(
    [
      Members({
        format: Names([EXPORT_FORMAT]),
        version: Integer(),
        board: Text(),
        publicKey: PublicKeySchema,
        changes: List(
          Members({ body: Text(), hash: DigestSchema, checkpoint: CheckpointSchema }),
          'Changes of the signing key before this block.',
        ),
        fromSequence: Integer(),
        previousHash: DigestSchema,
      }),
      Members({
        entry: Members(hashedMembers, 'The very bytes that were hashed.'),
        hash: DigestSchema,
      }),
      Members({ checkpoint: CheckpointSchema }),
      Members({
        end: Members({
          entries: Integer(),
          checkpoints: Integer(),
          lastSequence: Integer(),
          lastHash: DigestSchema,
          digest: Text('SHA-256 over all lines of the block before this one, hexadecimal.'),
        }),
      }),
    ],
    'One line of the export: begin of a block, entry, checkpoint, or end of the block.',
  ),
);
