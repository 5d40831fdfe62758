// Answers of security beside operations with every member filled, and those with what may be missing; a row without one
// does not compile.

import type { AdministrationAnswer, AdministrationKey } from '#model/administration';
import type { Incident, ThreatIndicator } from '#model/incident';
import { ClearanceLevel } from '#model/principal';

const TIME_MS = 1_700_000_000_000;
const PEM = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n';
const indicator: ThreatIndicator = {
  name: 'quarantine-probe',
  points: 75,
  finding: 'device 0x8009',
  entries: [12],
};
const incident: Incident = {
  id: 3,
  subject: { kind: 'person', id: 'bob' },
  devices: [1],
  actor: 'bob',
  level: 'HIGH',
  score: 75.5,
  finding: 'asked for a device in quarantine',
  indicators: [indicator],
  responses: ['the session was locked'],
  openedWallMs: TIME_MS,
  changedWallMs: TIME_MS,
  closedWallMs: 0,
  closedBy: '',
  closedBecause: '',
};
const progress = { done: true, message: 'done' } as const;
const waits = { done: false, message: 'a second administrator has to ask' } as const;
const ended = [{ sessionsEnded: 2 }] as const;

export const ADMINISTRATION_SAMPLES: {
  readonly [K in AdministrationKey]: readonly AdministrationAnswer<K>[];
} = {
  login: [
    {
      token: 'opens',
      principal: {
        id: 'alice',
        name: 'Alice',
        kind: 'person',
        clearance: ClearanceLevel.SECRET,
        compartments: ['CRYPTO'],
        devices: [1],
        underReview: false,
      },
      administrator: true,
      way: 'password',
      expiresAtWallMs: TIME_MS,
    },
  ],
  enrol: [{ account: 'eve', secret: 'ABCDEFGH', uri: 'otpauth://totp/dsmil:eve?secret=ABCDEFGH' }],
  confirmEnrolment: [{ account: 'eve' }],
  changePassword: ended,
  rights: [
    {
      rights: [
        {
          operation: 'WRITE',
          permitted: false,
          missing: ['needs the clearance SECRET'],
          who: ['alice'],
          conduct: ['a justification'],
        },
      ],
    },
    { rights: [] },
  ],
  sessions: [
    {
      sessions: [
        {
          handle: 'h-1',
          account: 'alice',
          way: 'local',
          transport: 'local',
          peer: 'uid 0',
          openedWallMs: TIME_MS,
          expiresAtWallMs: TIME_MS,
          own: true,
        },
      ],
    },
  ],
  revokeSession: ended,
  accounts: [
    {
      accounts: [
        {
          id: 'alice',
          name: 'Alice',
          kind: 'person',
          clearance: 'COSMIC',
          compartments: ['NUCLEAR', 'MAINT'],
          devices: null,
          administrator: true,
          enabled: true,
          underReview: false,
          validFromWallMs: null,
          validUntilWallMs: TIME_MS,
          certificateUris: ['urn:dsmil:person:alice'],
          localUids: [1_000],
          enrolled: true,
          lockedUntilWallMs: 0,
          lockedBecause: '',
          sessions: 1,
          tokens: 0,
        },
      ],
    },
  ],
  proposals: [
    {
      proposals: [
        {
          digest: 'ab'.repeat(32),
          by: 'alice',
          operation: 'changeAccount',
          what: 'to give bob the clearance SECRET',
          reason: 'promoted',
          request: { id: 'bob', change: { clearance: 'SECRET', validUntilWallMs: TIME_MS } },
          expiresAtWallMs: TIME_MS,
        },
      ],
    },
  ],
  createAccount: [
    { ...progress, invitation: 'ABCD-EFGH' },
    { ...waits, invitation: '' },
  ],
  changeAccount: [progress, waits],
  inviteAccount: [{ ...progress, invitation: 'ABCD-EFGH' }],
  unlockAccount: [progress],
  tokens: [
    {
      tokens: [
        {
          id: 't-1',
          account: 'alice',
          name: 'script',
          scope: ['devices'],
          createdWallMs: TIME_MS,
          expiresAtWallMs: TIME_MS,
          revoked: false,
        },
        {
          id: 't-2',
          account: 'alice',
          name: 'everything',
          scope: null,
          createdWallMs: TIME_MS,
          expiresAtWallMs: TIME_MS,
          revoked: true,
        },
      ],
    },
  ],
  createToken: [
    { ...progress, token: 'opens', id: 't-1' },
    { ...waits, token: '', id: '' },
  ],
  revokeToken: ended,
  authority: [{ certificatePem: PEM, revocationListPem: PEM }],
  certificates: [
    {
      certificates: [
        {
          serial: '00AF',
          purpose: 'client',
          subject: 'alice',
          fingerprint: Array(32).fill('AB').join(':'),
          notBeforeWallMs: TIME_MS,
          notAfterWallMs: TIME_MS,
          revokedWallMs: 0,
          revokedBecause: '',
        },
      ],
    },
  ],
  issueCertificate: [
    { ...progress, certificatePem: PEM },
    { ...waits, certificatePem: '' },
  ],
  renewCertificate: [{ certificatePem: PEM }],
  revokeCertificate: ended,
  rotateKey: [
    { ...progress, publicKeyPem: PEM },
    { ...waits, publicKeyPem: '' },
  ],
  auditCheckpoint: [
    {
      checkpoint: {
        sequence: 4_000,
        hash: 'ab'.repeat(32),
        wallMs: TIME_MS,
        keyId: '0123456789abcdef',
        signature: 'c2lnbmF0dXJl',
      },
      publicKeyPem: PEM,
    },
    { checkpoint: null, publicKeyPem: PEM },
  ],
  exportAudit: [{ lines: ['{"end":{}}'], next: 0 }],
  archiveAudit: [{ archived: 7, message: 'sealed' }],
  incidents: [{ incidents: [incident, { ...incident, closedWallMs: TIME_MS, closedBy: 'alice' }] }],
  closeIncident: [{ incident }],
  threat: [
    {
      report: {
        subject: { kind: 'source', id: '2001:db8::1' },
        score: 12.5,
        level: 'LOW',
        windowMs: 600_000,
        indicators: [indicator],
      },
    },
  ],
  chaosScenarios: [
    {
      simulated: true,
      scenarios: [
        { id: 'brute-force', summary: 'guesses', limits: ['at most 40'], durationSecondsMax: 60 },
      ],
    },
  ],
  startChaos: [
    {
      ...progress,
      exercise: {
        id: 'x-1',
        scenario: 'brute-force',
        startedBy: 'alice',
        endsAtWallMs: TIME_MS,
        account: 'exercise-1',
        token: 'opens',
      },
    },
    { ...waits, exercise: null },
  ],
  endChaos: [{ recorded: true }],
};
