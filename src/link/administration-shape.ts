// The shape of every request to the security track beside operations; answers are security's own and not checked here.
// Invariants: each shape names every member of its request (the compiler checks); texts and lists are bounded.

import type { AccountChange, AccountRecord } from '#model/account';
import type { AdministrationKey, AdministrationRequest } from '#model/administration';
import { DEVICE_COUNT_MAX } from '#model/device';
import type { ExerciseReport } from '#model/exercise';
import { OPERATION_TABLE } from '#model/operation-table';
import { CLEARANCE_NAMES, COMPARTMENTS } from '#model/principal';
import { deviceId, deviceIds, operationType } from './message-schema.ts';
import {
  flag,
  integer,
  listOf,
  nullable,
  object,
  oneOf,
  pattern,
  quantity,
  type Shape,
  text,
} from './shape.ts';

const ROWS_MAX = Object.keys(OPERATION_TABLE).length;
const PROOFS_MAX = 16;
const LINES_MAX = 1_000;
const PEM_MAX = 16_384;
const LIFETIME_DAYS_MAX = 3_660;
const accountId = pattern(/^[a-z0-9][a-z0-9-]{0,62}$/, 'an account id');
/** Longer than any rule allows, so that the rule and not the link refuses it. */
const secret = text(1_024);
const reason = text(4_096);
const sentence = text(1_024);
const sentences = listOf(sentence, 64);
const pem = text(PEM_MAX, 1);
const wallMs = nullable(integer(0, Number.MAX_SAFE_INTEGER));
const nothingAsked = object<Record<string, never>>({});

const rights = {
  name: text(128, 1),
  clearance: oneOf(CLEARANCE_NAMES),
  compartments: listOf(oneOf(COMPARTMENTS), COMPARTMENTS.length),
  devices: nullable(listOf(deviceId, DEVICE_COUNT_MAX)),
  administrator: flag,
  enabled: flag,
  underReview: flag,
  validFromWallMs: wallMs,
  validUntilWallMs: wallMs,
  certificateUris: listOf(text(256, 1), PROOFS_MAX),
  localUids: listOf(integer(0, 0xffff_fffe), PROOFS_MAX),
};
const account = object<AccountRecord>({
  id: accountId,
  kind: oneOf(['person', 'machine'] as const),
  ...rights,
});
const change = object<AccountChange>(rights, Object.keys(rights) as (keyof typeof rights)[]);

const report = object<ExerciseReport>({
  scenario: text(64, 1),
  detected: flag,
  evidence: sentences,
  responseMs: nullable(quantity),
  contained: flag,
  containment: sentence,
  limitsKept: flag,
  limits: sentences,
});

export const administrationShapes: {
  readonly [K in AdministrationKey]: Shape<AdministrationRequest<K>>;
} = {
  login: object({ account: text(256), password: secret, code: text(64) }),
  enrol: object({ invitation: text(256), password: secret }),
  confirmEnrolment: object({ invitation: text(256), code: text(64) }),
  changePassword: object({ password: secret, code: text(64), next: secret }),
  rights: object({
    operations: listOf(text(64), ROWS_MAX),
    devices: deviceIds,
    type: operationType,
  }),
  sessions: nothingAsked,
  revokeSession: object({ handle: text(128) }),
  accounts: nothingAsked,
  proposals: nothingAsked,
  createAccount: object({ account, reason }),
  changeAccount: object({ id: accountId, change, reason }),
  inviteAccount: object({ id: accountId, reason }),
  unlockAccount: object({ id: accountId, reason }),
  tokens: nothingAsked,
  createToken: object({
    account: accountId,
    name: text(128, 1),
    scope: nullable(listOf(text(64), ROWS_MAX)),
    lifetimeDays: integer(1, LIFETIME_DAYS_MAX),
  }),
  revokeToken: object({ id: text(128), reason }),
  authority: nothingAsked,
  certificates: nothingAsked,
  issueCertificate: object({ account: accountId, requestPem: pem, reason }),
  renewCertificate: object({ serial: text(128), requestPem: pem }),
  revokeCertificate: object({ serial: text(128), reason }),
  rotateKey: object({ key: oneOf(['authorization', 'checkpoint', 'sealing'] as const), reason }),
  auditCheckpoint: nothingAsked,
  exportAudit: object({
    fromSequence: integer(1, Number.MAX_SAFE_INTEGER),
    limit: integer(1, LINES_MAX),
  }),
  archiveAudit: object({ reason }),
  incidents: nothingAsked,
  closeIncident: object({ id: integer(1, Number.MAX_SAFE_INTEGER), reason }),
  threat: object({ kind: oneOf(['person', 'device', 'source'] as const), id: text(256) }),
  chaosScenarios: nothingAsked,
  startChaos: object({ scenario: text(64, 1), reason }),
  endChaos: object({ id: text(128), report }),
};
