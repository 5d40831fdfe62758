// Everything that can be asked of the agent from outside, on which transports, and who may; what is not here is refused.
// Invariants: every REST route, gRPC method, WebSocket request and command line verb belongs to exactly one row
// (test/unit/tracks/interface walks them); security still decides each operation by device and risk.

import type { ClearanceName } from './principal.ts';

/**
 * anyone: no identity. signed-in: any identity. administrator: an account that is one. nobody: known, and always
 * refused. Else the least clearance.
 */
export type Who = 'anyone' | 'signed-in' | 'administrator' | 'nobody' | ClearanceName;

export interface OperationRow {
  readonly summary: string;
  readonly who: Who;
  /** What leaves an audit entry: every call, refused calls only, or none. */
  readonly audit: 'calls' | 'refusals' | 'none';
  /** Whether sending the same request twice does no more than sending it once. */
  readonly idempotent: boolean;
  /** Members of the request, at any depth, that never reach a log, an event or the audit chain. */
  readonly secrets?: readonly string[];
  readonly rest?: { readonly method: 'GET' | 'POST'; readonly path: string };
  /** Service and method: `DsmilCommunicationService/CoordinateOperation`. */
  readonly grpc?: readonly string[];
  /** Message types a client may send. */
  readonly websocket?: readonly string[];
  readonly cli?: readonly string[];
}

export const REST_BASE = '/api/v1';
const COMMUNICATION = 'dsmil.communication.v1.DsmilCommunicationService';
const APPLIANCE = 'dsmil.appliance.v1.ApplianceService';

export const OPERATION_TABLE = {
  health: {
    summary: 'Whether the agent and each track answer.',
    who: 'anyone',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/health` },
    grpc: [`${COMMUNICATION}/HealthCheck`],
    websocket: ['PING'],
  },
  describe: {
    summary: 'The OpenAPI description of the REST interface.',
    who: 'anyone',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/openapi.json` },
  },
  login: {
    summary:
      'Signs in with password and one-time code, or with a token; answers with a session cookie.',
    who: 'anyone',
    audit: 'calls',
    idempotent: false,
    secrets: ['password', 'code', 'token'],
    rest: { method: 'POST', path: `${REST_BASE}/auth/login` },
    websocket: ['AUTHENTICATE'],
    cli: ['login'],
  },
  logout: {
    summary: 'Ends the session.',
    who: 'signed-in',
    audit: 'none',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/auth/logout` },
    cli: ['logout'],
  },
  me: {
    summary: 'Who the agent takes the caller for.',
    who: 'signed-in',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/auth/me` },
    cli: ['whoami'],
  },
  status: {
    summary: 'State of the agent, its tracks and the emergency stop.',
    who: 'signed-in',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/system/status` },
    grpc: [`${APPLIANCE}/GetStatus`],
    websocket: ['REQUEST_STATUS'],
    cli: ['status'],
  },
  metrics: {
    summary: 'Counters and latencies of the interface and the buses.',
    who: 'signed-in',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: '/metrics' },
    grpc: [`${COMMUNICATION}/GetMetrics`],
  },
  devices: {
    summary: 'Every device of the board with its last seen state.',
    who: 'RESTRICTED',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/devices` },
    grpc: [`${APPLIANCE}/ListDevices`],
    cli: ['device list'],
  },
  device: {
    summary: 'One device with its registers and last seen state.',
    who: 'RESTRICTED',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/devices/:id` },
    grpc: [`${APPLIANCE}/GetDevice`],
  },
  synchronize: {
    summary: 'Has all tracks compared now and answers with the unified state of devices.',
    who: 'RESTRICTED',
    audit: 'none',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/devices/synchronize` },
    grpc: [`${COMMUNICATION}/SynchronizeState`],
    websocket: ['SYNCHRONIZE'],
    cli: ['sync'],
  },
  history: {
    summary: 'What changed about a device, newest first.',
    who: 'RESTRICTED',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/devices/:id/history` },
    grpc: [`${APPLIANCE}/GetDeviceHistory`],
    cli: ['device history'],
  },
  releaseDevice: {
    summary: 'Ends the hold of a device: one person for what is in doubt, two for a quarantine.',
    who: 'SECRET',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/devices/:id/release` },
    grpc: [`${APPLIANCE}/ReleaseDevice`],
    cli: ['device release'],
  },
  quarantineDevice: {
    summary: 'Puts a device into quarantine until two people release it.',
    who: 'SECRET',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/devices/:id/quarantine` },
    grpc: [`${APPLIANCE}/QuarantineDevice`],
    cli: ['device quarantine'],
  },
  conflicts: {
    summary: 'What the tracks disagree about: what waits for a person, then what was settled.',
    who: 'RESTRICTED',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/conflicts` },
    grpc: [`${APPLIANCE}/ListConflicts`],
    cli: ['conflicts'],
  },
  resolveConflict: {
    summary: 'Settles a conflict that waits for a person.',
    who: 'SECRET',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/conflicts/:id/resolve` },
    grpc: [`${APPLIANCE}/ResolveConflict`],
    cli: ['conflict resolve'],
  },
  readRegisters: {
    summary: 'Reads the registers of a device from the metal.',
    who: 'RESTRICTED',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/devices/:id/registers` },
    cli: ['device read'],
  },
  operate: {
    summary: 'Plans or performs a register operation on one or several devices.',
    who: 'RESTRICTED',
    audit: 'calls',
    idempotent: false,
    rest: { method: 'POST', path: `${REST_BASE}/operations` },
    grpc: [`${COMMUNICATION}/CoordinateOperation`, `${APPLIANCE}/Channel`],
    websocket: ['OPERATION'],
    cli: [
      'device write',
      'device config',
      'device activate',
      'device deactivate',
      'device reset',
      'device select',
    ],
  },
  operateSelected: {
    summary: 'Performs an operation that the same person selected before.',
    who: 'RESTRICTED',
    audit: 'calls',
    idempotent: false,
    rest: { method: 'POST', path: `${REST_BASE}/operations/:id/operate` },
    grpc: [`${APPLIANCE}/OperateSelected`],
    websocket: ['OPERATE_SELECTED'],
    cli: ['operation operate'],
  },
  releaseSelected: {
    summary: 'Frees the devices of a selection without operating them.',
    who: 'RESTRICTED',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/operations/:id/release` },
    grpc: [`${APPLIANCE}/ReleaseSelected`],
    websocket: ['RELEASE_SELECTED'],
    cli: ['operation release'],
  },
  operations: {
    summary: 'The last operations and their outcomes.',
    who: 'RESTRICTED',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/operations` },
    cli: ['operation list'],
  },
  operation: {
    summary: 'What became of one operation.',
    who: 'RESTRICTED',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/operations/:id` },
    grpc: [`${APPLIANCE}/GetOperation`],
    cli: ['operation show'],
  },
  approvals: {
    summary: 'Plans that wait for a second person.',
    who: 'RESTRICTED',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/approvals` },
    grpc: [`${APPLIANCE}/ListApprovals`],
    cli: ['approvals'],
  },
  approve: {
    summary: 'Approves one exact plan by its digest.',
    who: 'RESTRICTED',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/approvals` },
    grpc: [`${APPLIANCE}/Approve`],
    cli: ['approve'],
  },
  stop: {
    summary: 'Stops the whole system, or the named groups and devices, at once.',
    who: 'signed-in',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/emergency-stop` },
    grpc: [`${COMMUNICATION}/EmergencyStop`],
    websocket: ['EMERGENCY_STOP'],
    cli: ['stop'],
  },
  acknowledgeStop: {
    summary: 'Says that the caller has seen every stop that stands.',
    who: 'signed-in',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/emergency-stop/acknowledge` },
    grpc: [`${APPLIANCE}/AcknowledgeStop`],
    websocket: ['ACKNOWLEDGE'],
    cli: ['acknowledge'],
  },
  reset: {
    summary: 'Asks to release the emergency stop; two people have to.',
    who: 'SECRET',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/emergency-stop/reset` },
    grpc: [`${APPLIANCE}/ResetEmergencyStop`],
    cli: ['reset'],
  },
  audit: {
    summary: 'Entries of the audit chain.',
    who: 'SECRET',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/audit` },
    cli: ['audit list'],
  },
  verifyAudit: {
    summary: 'Checks every link and checkpoint of the audit chain.',
    who: 'SECRET',
    audit: 'refusals',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/audit/verify` },
    cli: ['audit verify'],
  },
  events: {
    summary: 'Events as they happen, resumable by sequence.',
    who: 'RESTRICTED',
    audit: 'none',
    idempotent: true,
    grpc: [`${COMMUNICATION}/SubscribeEvents`],
    websocket: ['SUBSCRIBE', 'UNSUBSCRIBE'],
  },
  publishEvent: {
    summary: 'Events come from the tracks alone; publishing from outside is refused.',
    who: 'nobody',
    audit: 'refusals',
    idempotent: true,
    grpc: [`${COMMUNICATION}/PublishEvent`],
  },
  setup: {
    summary:
      'Makes the first two administrators, once, or lets one in again; by root at this machine, never over the network.',
    who: 'nobody',
    audit: 'calls',
    idempotent: false,
    cli: ['setup'],
  },
  enrol: {
    summary: 'Sets the password of an invited person and gives the secret of the one-time codes.',
    who: 'anyone',
    audit: 'calls',
    idempotent: false,
    secrets: ['invitation', 'password', 'secret', 'uri'],
    rest: { method: 'POST', path: `${REST_BASE}/auth/enrol` },
    cli: ['enrol'],
  },
  confirmEnrolment: {
    summary: 'Proves the first one-time code; the invitation is used up.',
    who: 'anyone',
    audit: 'calls',
    idempotent: false,
    secrets: ['invitation', 'code'],
    rest: { method: 'POST', path: `${REST_BASE}/auth/enrol/confirm` },
  },
  changePassword: {
    summary: 'Changes the own password and ends every other session of the account.',
    who: 'signed-in',
    audit: 'calls',
    idempotent: false,
    secrets: ['password', 'code', 'next'],
    rest: { method: 'POST', path: `${REST_BASE}/auth/password` },
    cli: ['password'],
  },
  rights: {
    summary: 'What the caller may do and, where not, what is missing and who could.',
    who: 'signed-in',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/auth/rights` },
    grpc: [`${APPLIANCE}/ExplainRights`],
    websocket: ['REQUEST_RIGHTS'],
    cli: ['rights'],
  },
  sessions: {
    summary: 'Open sessions: the own ones, for an administrator all.',
    who: 'signed-in',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/auth/sessions` },
    cli: ['session list'],
  },
  revokeSession: {
    summary: 'Ends a session at once: one of the own, for an administrator any.',
    who: 'signed-in',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/auth/sessions/:id/end` },
    cli: ['session end'],
  },
  accounts: {
    summary: 'People and machines, their rights and whether they are locked.',
    who: 'administrator',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/accounts` },
    cli: ['account list'],
  },
  proposals: {
    summary: 'Changes that wait for a second administrator: who asks for what, why and until when.',
    who: 'administrator',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/proposals` },
    cli: ['account proposals'],
  },
  createAccount: {
    summary: 'Makes an account; two administrators have to ask.',
    who: 'administrator',
    audit: 'calls',
    idempotent: false,
    secrets: ['invitation'],
    rest: { method: 'POST', path: `${REST_BASE}/accounts` },
    cli: ['account create'],
  },
  changeAccount: {
    summary:
      'Changes an account; what gives rights takes two administrators, what takes them is done at once.',
    who: 'administrator',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/accounts/:id` },
    cli: ['account change', 'account disable'],
  },
  inviteAccount: {
    summary:
      'Has a person set a new password and new one-time codes; two administrators have to ask.',
    who: 'administrator',
    audit: 'calls',
    idempotent: false,
    secrets: ['invitation'],
    rest: { method: 'POST', path: `${REST_BASE}/accounts/:id/invite` },
    cli: ['account invite'],
  },
  unlockAccount: {
    summary: 'Ends the lock of an account before its time.',
    who: 'administrator',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/accounts/:id/unlock` },
    cli: ['account unlock'],
  },
  tokens: {
    summary: 'API tokens: the own ones, for an administrator all.',
    who: 'signed-in',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/tokens` },
    cli: ['token list'],
  },
  createToken: {
    summary:
      'Makes an API token, scoped and expiring; for the account of a machine two administrators have to ask.',
    who: 'signed-in',
    audit: 'calls',
    idempotent: false,
    secrets: ['token'],
    rest: { method: 'POST', path: `${REST_BASE}/tokens` },
    cli: ['token create'],
  },
  revokeToken: {
    summary: 'Makes an API token worthless at once.',
    who: 'signed-in',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/tokens/:id/revoke` },
    cli: ['token revoke'],
  },
  authority: {
    summary: 'The certificate of the private authority and its revocation list.',
    who: 'signed-in',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/certificates/authority` },
    cli: ['pki authority'],
  },
  certificates: {
    summary: 'Certificates issued here.',
    who: 'administrator',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/certificates` },
    cli: ['pki list'],
  },
  issueCertificate: {
    summary: 'Issues a client certificate for an account; two administrators have to ask.',
    who: 'administrator',
    audit: 'calls',
    idempotent: false,
    rest: { method: 'POST', path: `${REST_BASE}/certificates` },
    cli: ['pki issue'],
  },
  renewCertificate: {
    summary: 'Issues the successor of a good certificate for the same account.',
    who: 'signed-in',
    audit: 'calls',
    idempotent: false,
    rest: { method: 'POST', path: `${REST_BASE}/certificates/:id/renew` },
    cli: ['pki renew'],
  },
  revokeCertificate: {
    summary: 'Makes a certificate worthless at once.',
    who: 'administrator',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/certificates/:id/revoke` },
    cli: ['pki revoke'],
  },
  rotateKey: {
    summary: 'Replaces a signing key while the agent runs; two administrators have to ask.',
    who: 'administrator',
    audit: 'calls',
    idempotent: false,
    rest: { method: 'POST', path: `${REST_BASE}/keys/rotate` },
    cli: ['keys rotate'],
  },
  auditCheckpoint: {
    summary: 'The newest signed checkpoint of the audit chain, to be kept elsewhere.',
    who: 'RESTRICTED',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/audit/checkpoint` },
    grpc: [`${APPLIANCE}/GetAuditCheckpoint`],
    cli: ['audit checkpoint'],
  },
  exportAudit: {
    summary: 'The audit chain as JSON Lines, for the offline verifier.',
    who: 'SECRET',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/audit/export` },
    cli: ['audit export'],
  },
  archiveAudit: {
    summary: 'Seals what the retention policy lets go into a segment file.',
    who: 'administrator',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/audit/archive` },
    cli: ['audit archive'],
  },
  checkAudit: {
    summary: 'Checks an export of the audit chain; answered by the command line itself.',
    who: 'anyone',
    audit: 'none',
    idempotent: true,
    cli: ['audit check'],
  },
  incidents: {
    summary: 'Incidents of threat detection, the open ones first.',
    who: 'SECRET',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/incidents` },
    grpc: [`${APPLIANCE}/ListIncidents`],
    cli: ['incident list'],
  },
  closeIncident: {
    summary: 'Closes an incident with a reason.',
    who: 'SECRET',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/incidents/:id/close` },
    cli: ['incident close'],
  },
  threat: {
    summary: 'The threat score of a person, device or source, and what it is made of.',
    who: 'SECRET',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/threats/:kind/:id` },
    cli: ['incident explain'],
  },
  chaosScenarios: {
    summary: 'The attacks that can be tried against this appliance.',
    who: 'SECRET',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/chaos` },
    cli: ['chaos list'],
  },
  startChaos: {
    summary: 'Starts an exercise; on real hardware two administrators have to ask.',
    who: 'administrator',
    audit: 'calls',
    idempotent: false,
    secrets: ['token'],
    rest: { method: 'POST', path: `${REST_BASE}/chaos` },
    cli: ['chaos run'],
  },
  endChaos: {
    summary: 'Ends an exercise and puts its report on record.',
    who: 'administrator',
    audit: 'calls',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/chaos/:id/end` },
  },
  explain: {
    summary: 'What a fault code means and what to do; answered by the command line itself.',
    who: 'anyone',
    audit: 'none',
    idempotent: true,
    cli: ['explain'],
  },
  checkBoard: {
    summary: 'Checks a board file; answered by the command line itself.',
    who: 'anyone',
    audit: 'none',
    idempotent: true,
    cli: ['board check'],
  },
} as const satisfies Record<string, OperationRow>;

export type OperationKey = keyof typeof OPERATION_TABLE;
/** Rows with a REST route. */
export type RestKey = {
  [K in OperationKey]: (typeof OPERATION_TABLE)[K] extends { readonly rest: object } ? K : never;
}[OperationKey];

export function operationRow(key: OperationKey): OperationRow {
  return OPERATION_TABLE[key];
}

/** The row's key for a WebSocket message type; undefined is refused. */
export function operationOfMessage(type: string): OperationKey | undefined {
  for (const [key, row] of Object.entries(OPERATION_TABLE) as [OperationKey, OperationRow][]) {
    if (row.websocket?.includes(type) === true) return key;
  }
  return undefined;
}

/** The row's key for a route as registered (`/api/v1/devices/:id`); undefined is refused. */
export function operationOfRoute(method: string, path: string): OperationKey | undefined {
  for (const [key, row] of Object.entries(OPERATION_TABLE) as [OperationKey, OperationRow][]) {
    if (row.rest?.method === method && row.rest.path === path) return key;
  }
  return undefined;
}
