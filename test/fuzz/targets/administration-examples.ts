// One valid request of each kind to the desks of security; a kind without a line here does not compile.

import type { AdministrationKey, AdministrationRequest } from '#model/administration';
import { OperationType } from '#model/operation';

const reason = 'seen on the site with my own eyes';
const rights = {
  name: 'Eve',
  clearance: 'CONFIDENTIAL',
  compartments: [],
  devices: [1, 2],
  administrator: false,
  enabled: true,
  underReview: false,
  validFromWallMs: null,
  validUntilWallMs: 1_900_000_000_000,
  certificateUris: ['urn:dsmil:person:eve'],
  localUids: [1_000],
} as const;

export const ADMINISTRATION_EXAMPLES: {
  readonly [K in AdministrationKey]: AdministrationRequest<K>;
} = {
  login: { account: 'alice', password: 'a long enough pass phrase', code: '123456' },
  enrol: { invitation: 'once', password: 'a long enough pass phrase' },
  confirmEnrolment: { invitation: 'once', code: '123456' },
  changePassword: { password: 'old', code: '123456', next: 'a long enough pass phrase' },
  rights: { operations: ['operate'], devices: [1], type: OperationType.WRITE },
  sessions: {},
  revokeSession: { handle: 'handle-1' },
  accounts: {},
  proposals: {},
  createAccount: { account: { id: 'eve', kind: 'person', ...rights }, reason },
  changeAccount: { id: 'eve', change: { enabled: false, devices: null }, reason },
  inviteAccount: { id: 'eve', reason },
  unlockAccount: { id: 'eve', reason },
  tokens: {},
  createToken: { account: 'eve', name: 'script', scope: ['devices'], lifetimeDays: 30 },
  revokeToken: { id: 'token-1', reason },
  authority: {},
  certificates: {},
  issueCertificate: { account: 'eve', requestPem: 'PEM', reason },
  renewCertificate: { serial: '0A', requestPem: 'PEM' },
  revokeCertificate: { serial: '0A', reason },
  rotateKey: { key: 'checkpoint', reason },
  auditCheckpoint: {},
  exportAudit: { fromSequence: 1, limit: 100 },
  archiveAudit: { reason },
  incidents: {},
  closeIncident: { id: 7, reason },
  threat: { kind: 'device', id: '1' },
  chaosScenarios: {},
  startChaos: { scenario: 'brute-force', reason },
  endChaos: {
    id: 'exercise-1',
    report: {
      scenario: 'brute-force',
      detected: true,
      evidence: ['an entry'],
      responseMs: 12.5,
      contained: true,
      containment: 'the account was locked',
      limitsKept: true,
      limits: [],
    },
  },
};
