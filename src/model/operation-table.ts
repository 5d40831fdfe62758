// Everything that can be asked of the agent from outside, on which transports, and who may; what is not here is refused.
// Invariants: every REST route, gRPC method, WebSocket request and command line verb belongs to exactly one row
// (test/unit/tracks/interface walks them); security still decides each operation by device and risk.

import type { ClearanceName } from './principal.ts';

/** anyone: no identity. signed-in: any identity. nobody: known, and always refused. Else the least clearance. */
export type Who = 'anyone' | 'signed-in' | 'nobody' | ClearanceName;

export interface OperationRow {
  readonly summary: string;
  readonly who: Who;
  /** What leaves an audit entry: every call, refused calls only, or none. */
  readonly audit: 'calls' | 'refusals' | 'none';
  /** Whether sending the same request twice does no more than sending it once. */
  readonly idempotent: boolean;
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
    summary: 'Signs in with a token; answers with a session cookie.',
    who: 'anyone',
    audit: 'refusals',
    idempotent: false,
    rest: { method: 'POST', path: `${REST_BASE}/auth/login` },
    websocket: ['AUTHENTICATE'],
  },
  logout: {
    summary: 'Ends the session.',
    who: 'signed-in',
    audit: 'none',
    idempotent: true,
    rest: { method: 'POST', path: `${REST_BASE}/auth/logout` },
  },
  me: {
    summary: 'Who the agent takes the caller for.',
    who: 'signed-in',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/auth/me` },
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
  },
  operation: {
    summary: 'What became of one operation.',
    who: 'RESTRICTED',
    audit: 'none',
    idempotent: true,
    rest: { method: 'GET', path: `${REST_BASE}/operations/:id` },
    grpc: [`${APPLIANCE}/GetOperation`],
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
