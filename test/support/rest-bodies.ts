// A body that fits the schema of each REST route; a row without a line here does not compile.

import type { OPERATION_TABLE, OperationKey } from '#model/operation-table';

export type RestKey = {
  [K in OperationKey]: (typeof OPERATION_TABLE)[K] extends { readonly rest: object } ? K : never;
}[OperationKey];

const REASON = { reason: 'seen on the site with my own eyes' };

export const REST_BODIES: Readonly<Record<RestKey, object | null>> = {
  health: null,
  describe: null,
  login: { token: 'token-TOP_SECRET' },
  logout: null,
  me: null,
  status: null,
  metrics: null,
  devices: null,
  device: null,
  synchronize: {},
  history: null,
  releaseDevice: REASON,
  quarantineDevice: REASON,
  conflicts: null,
  resolveConflict: { answer: 'INHIBIT', ...REASON },
  readRegisters: null,
  operate: { operation: 'READ', device: 0 },
  operateSelected: {},
  releaseSelected: null,
  operations: null,
  operation: null,
  approvals: null,
  approve: { planDigest: 'ab'.repeat(32) },
  stop: {},
  acknowledgeStop: null,
  reset: REASON,
  audit: null,
  verifyAudit: null,
  enrol: { invitation: 'once', password: 'a long enough pass phrase' },
  confirmEnrolment: { invitation: 'once', code: '123456' },
  changePassword: { password: 'old', code: '123456', next: 'a long enough pass phrase' },
  rights: null,
  sessions: null,
  revokeSession: null,
  accounts: null,
  proposals: null,
  createAccount: {
    account: { id: 'eve', name: 'Eve', kind: 'person', clearance: 'NONE', devices: ['0x8001'] },
    ...REASON,
  },
  changeAccount: { change: { enabled: false }, ...REASON },
  inviteAccount: REASON,
  unlockAccount: REASON,
  tokens: null,
  createToken: { account: 'eve', name: 'script', scope: ['devices'], lifetimeDays: 30 },
  revokeToken: REASON,
  authority: null,
  certificates: null,
  issueCertificate: { account: 'eve', requestPem: 'PEM', ...REASON },
  renewCertificate: { requestPem: 'PEM' },
  revokeCertificate: REASON,
  rotateKey: { key: 'checkpoint', ...REASON },
  auditCheckpoint: null,
  exportAudit: null,
  archiveAudit: REASON,
  incidents: null,
  closeIncident: REASON,
  threat: null,
  chaosScenarios: null,
  startChaos: { scenario: 'brute-force', ...REASON },
  endChaos: {
    report: {
      scenario: 'brute-force',
      detected: true,
      evidence: [],
      responseMs: 12.5,
      contained: true,
      containment: 'the account was locked',
      limitsKept: true,
      limits: [],
    },
  },
};

/** Parameters that fit every path of the operation table. */
export function restPath(key: RestKey, path: string): string {
  const id = key === 'resolveConflict' ? '7' : '1';
  return path.replace(':id', id).replace(':kind', 'device');
}
