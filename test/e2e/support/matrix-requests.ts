// One well-formed request for each row of the operation table at each of its doors, chosen so that nothing is changed.
// `reached` lists what the agent answers once the caller has been let in: nothing (done), or the code of what is not there.

import {
  ApproveRequest,
  ChannelRequest,
  GetOperationRequest,
  OperateSelectedRequest,
  QuarantineDeviceRequest,
  ReleaseDeviceRequest,
  ReleaseSelectedRequest,
  ResetEmergencyStopRequest,
  ResolveConflictRequest,
} from '#contract/appliance';
import {
  EmergencyStopRequest,
  OperationCoordinationRequest,
  StateSynchronizationRequest,
} from '#contract/communication';
import { OperationType } from '#model/operation';
import { OPERATION_TABLE, type OperationKey, type OperationRow } from '#model/operation-table';
import { REST_BODIES, type RestKey } from '../../support/rest-bodies.ts';

export type MatrixTransport = 'rest' | 'grpc' | 'websocket' | 'local';
export const TRANSPORTS: readonly MatrixTransport[] = ['grpc', 'rest', 'websocket', 'local'];

/** A way into the agent: of a row, or of none. */
export interface Cell {
  readonly key: OperationKey;
  readonly door: string;
  /** `unlisted`: the table gives the row no such door on this transport. */
  readonly kind: 'listed' | 'unlisted';
  readonly send: (about: Caller) => HttpRequest | GrpcRequest | SocketRequest;
  readonly reached: readonly string[];
}

/** What some requests have to name. */
export interface Caller {
  readonly account: string;
  /** Of somebody else: a sign-in that is right. */
  readonly goodToken: string;
  /** Where the audit chain ends now. */
  readonly sequence: number;
  /** Of somebody who has not set a password yet. */
  readonly invitation: string;
}

export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}
export interface GrpcRequest {
  readonly method: string;
  readonly bytes: Uint8Array;
}
export interface SocketRequest {
  readonly message: object;
}

/** Read by everybody with any clearance. */
const DEVICE = 0x8000;
/** No device has this token; it is asked for only after the caller has been let in. */
const GAP = 0x800c;
/** The one that stops. */
const STOPPED = 0x8035;
const REASON = { reason: 'seen on the site with my own eyes' };
const NOWHERE = 'nothing-of-this-name';
const STOP = { devices: [STOPPED], reason: 'the matrix stops this one' };
const READ = { operation: 'READ', device: DEVICE, registers: [{ name: 'STATUS' }] };
const STOP_OPERATION = { operation: 'EMERGENCY_STOP', device: STOPPED };

const rows = Object.entries(OPERATION_TABLE) as readonly [OperationKey, OperationRow][];

/** Done, where nothing else is written. */
const REACHED: Partial<Record<OperationKey, readonly string[]>> = {
  releaseDevice: ['DEVICE_ID_INVALID'],
  quarantineDevice: ['DEVICE_ID_INVALID'],
  resolveConflict: ['CONFLICT_UNKNOWN'],
  operateSelected: ['SELECTION_UNKNOWN'],
  releaseSelected: ['SELECTION_UNKNOWN'],
  operation: ['OPERATION_UNKNOWN'],
  approve: ['APPROVAL_INVALID'],
  acknowledgeStop: ['', 'STOP_NOT_ENGAGED'],
  reset: ['', 'STOP_NOT_ENGAGED', 'RESET_REFUSED'],
  publishEvent: [],
  enrol: ['PASSWORD_UNSUITABLE'],
  confirmEnrolment: ['INVITATION_INVALID'],
  changePassword: ['PASSWORD_UNSUITABLE'],
  revokeSession: ['SESSION_UNKNOWN'],
  changeAccount: ['ACCOUNT_UNKNOWN'],
  inviteAccount: ['ACCOUNT_UNKNOWN'],
  unlockAccount: ['ACCOUNT_UNKNOWN'],
  revokeToken: ['TOKEN_UNKNOWN'],
  issueCertificate: ['ACCOUNT_UNKNOWN'],
  renewCertificate: ['CERTIFICATE_UNKNOWN'],
  revokeCertificate: ['CERTIFICATE_UNKNOWN'],
  closeIncident: ['INCIDENT_UNKNOWN'],
  startChaos: ['CHAOS_REFUSED'],
  endChaos: ['CHAOS_REFUSED'],
};

const reachedOf = (key: OperationKey) => REACHED[key] ?? [''];

// --- REST and the local socket ---------------------------------------------------------------------

const PATHS: Partial<Record<OperationKey, string>> = {
  device: String(DEVICE),
  history: String(DEVICE),
  readRegisters: String(DEVICE),
  releaseDevice: String(GAP),
  quarantineDevice: String(GAP),
  resolveConflict: '999999',
  revokeCertificate: 'ABCDEF',
  renewCertificate: 'ABCDEF',
  closeIncident: '999999',
};
const QUERIES: Partial<Record<OperationKey, string>> = {
  audit: '?limit=1',
  readRegisters: '?names=STATUS',
  operations: '?limit=1',
};

function httpBody(key: RestKey, { account, goodToken, invitation }: Caller): unknown {
  switch (key) {
    case 'login':
      return { token: goodToken };
    case 'enrol':
      return { invitation, password: 'short' };
    case 'confirmEnrolment':
      return { invitation, code: '000000' };
    case 'changePassword':
      return { password: 'whatever it is', code: '000000', next: 'short' };
    case 'createToken':
      return { account, name: 'matrix', scope: ['me'], lifetimeDays: 1 };
    case 'synchronize':
      return { devices: [DEVICE] };
    case 'operate':
      return READ;
    case 'stop':
      return STOP;
    case 'startChaos':
      return { scenario: NOWHERE, ...REASON };
    case 'issueCertificate':
      return { account: NOWHERE, requestPem: 'PEM', ...REASON };
    default:
      return REST_BODIES[key];
  }
}

function httpCells(): readonly Cell[] {
  return rows.flatMap(([key, { rest }]): readonly Cell[] => {
    if (rest === undefined) {
      const path = `/api/v1/${kebab(key)}`;
      return [
        unlisted(key, `POST ${path}`, 'OPERATION_UNSUPPORTED', { method: 'POST', path, body: {} }),
      ];
    }
    const { method } = rest;
    const id = PATHS[key] ?? NOWHERE;
    const path = rest.path.replace(':kind', 'person').replace(':id', id) + (QUERIES[key] ?? '');
    const listed: Cell = {
      key,
      door: `${method} ${rest.path}`,
      kind: 'listed',
      send: (about) => {
        const end = key === 'exportAudit' ? `?from=${about.sequence}` : '';
        return { method, path: `${path}${end}`, body: httpBody(key as RestKey, about) };
      },
      reached: reachedOf(key),
    };
    if (key !== 'operate') return [listed];
    // A stop in the shape of an operation is a stop.
    const stop = { method, path, body: STOP_OPERATION };
    return [listed, { ...listed, key: 'stop', door: `${listed.door} as a stop`, send: () => stop }];
  });
}

// --- gRPC ------------------------------------------------------------------------------------------

const APPLIANCE = 'dsmil.appliance.v1.ApplianceService';
const READ_WIRE = OperationCoordinationRequest.fromPartial({
  deviceId: DEVICE,
  operationType: OperationType.READ,
  registers: [{ name: 'STATUS' }],
});
const STOP_WIRE = OperationCoordinationRequest.fromPartial({
  deviceId: STOPPED,
  operationType: OperationType.EMERGENCY_STOP,
});
const channel = (operation: OperationCoordinationRequest) =>
  ChannelRequest.encode({ requestId: 1n, operation }).finish();

/** Every other method takes an empty request for the first device, or for all. */
const WIRE: Readonly<Record<string, Uint8Array>> = {
  CoordinateOperation: OperationCoordinationRequest.encode(READ_WIRE).finish(),
  Channel: channel(READ_WIRE),
  EmergencyStop: EmergencyStopRequest.encode(
    EmergencyStopRequest.fromPartial({ affectedDevices: [STOPPED], reason: STOP.reason }),
  ).finish(),
  SynchronizeState: StateSynchronizationRequest.encode(
    StateSynchronizationRequest.fromPartial({ deviceIds: [DEVICE] }),
  ).finish(),
  GetOperation: GetOperationRequest.encode({ coordinationId: NOWHERE }).finish(),
  Approve: ApproveRequest.encode({ planDigest: 'ab'.repeat(32) }).finish(),
  ResetEmergencyStop: ResetEmergencyStopRequest.encode(REASON).finish(),
  OperateSelected: OperateSelectedRequest.encode(
    OperateSelectedRequest.fromPartial({ coordinationId: NOWHERE }),
  ).finish(),
  ReleaseSelected: ReleaseSelectedRequest.encode({ coordinationId: NOWHERE }).finish(),
  ReleaseDevice: ReleaseDeviceRequest.encode({ deviceId: GAP, ...REASON }).finish(),
  QuarantineDevice: QuarantineDeviceRequest.encode({ deviceId: GAP, ...REASON }).finish(),
  ResolveConflict: ResolveConflictRequest.encode(
    ResolveConflictRequest.fromPartial({ conflictId: 999_999n, answer: 1, ...REASON }),
  ).finish(),
};

function grpcCells(): readonly Cell[] {
  return rows.flatMap(([key, row]): readonly Cell[] => {
    const { grpc } = row;
    if (grpc === undefined) {
      const method = `${APPLIANCE}/${key.charAt(0).toUpperCase()}${key.slice(1)}`;
      const bytes = new Uint8Array();
      return [unlisted(key, method, 'unimplemented', { method, bytes })];
    }
    return grpc.flatMap((method): readonly Cell[] => {
      const name = method.split('/')[1] ?? '';
      const listed: Cell = {
        key,
        door: name,
        kind: 'listed',
        send: () => ({ method, bytes: WIRE[name] ?? new Uint8Array() }),
        reached: reachedOf(key),
      };
      if (name !== 'CoordinateOperation') return [listed];
      const bytes = OperationCoordinationRequest.encode(STOP_WIRE).finish();
      return [
        listed,
        { ...listed, key: 'stop', door: `${name} as a stop`, send: () => ({ method, bytes }) },
      ];
    });
  });
}

// --- WebSocket -------------------------------------------------------------------------------------

const ID = { id: 'matrix' };
const MESSAGES: Readonly<Record<string, object>> = {
  SUBSCRIBE: { subscription: { ...ID, types: ['DEVICE_UPDATE'], devices: [83] } },
  UNSUBSCRIBE: { subscription: ID },
  PING: {},
  REQUEST_STATUS: {},
  ACKNOWLEDGE: { id: 'stop-1' },
  OPERATION: { ...ID, request: READ },
  OPERATE_SELECTED: { ...ID, operationId: NOWHERE },
  RELEASE_SELECTED: { ...ID, operationId: NOWHERE },
  SYNCHRONIZE: { ...ID, devices: [DEVICE] },
  REQUEST_RIGHTS: ID,
  EMERGENCY_STOP: { ...ID, request: STOP },
};

function socketCells(): readonly Cell[] {
  return rows.flatMap(([key, { websocket }]): readonly Cell[] => {
    if (websocket === undefined) {
      const type = kebab(key).replaceAll('-', '_').toUpperCase();
      return [unlisted(key, type, 'REQUEST_MALFORMED', { message: { type } })];
    }
    return (websocket as readonly string[]).flatMap((type): readonly Cell[] => {
      const listed: Cell = {
        key,
        door: type,
        kind: 'listed',
        send: ({ goodToken }) => ({
          message: { type, ...(type === 'AUTHENTICATE' ? { token: goodToken } : MESSAGES[type]) },
        }),
        // Whoever is signed in on a connection cannot sign in on it once more.
        reached: type === 'AUTHENTICATE' ? ['REQUEST_MALFORMED'] : reachedOf(key),
      };
      if (type !== 'OPERATION') return [listed];
      const message = { type, ...ID, request: STOP_OPERATION };
      return [
        listed,
        { ...listed, key: 'stop', door: `${type} as a stop`, send: () => ({ message }) },
      ];
    });
  });
}

function unlisted(
  key: OperationKey,
  door: string,
  code: string,
  request: HttpRequest | GrpcRequest | SocketRequest,
): Cell {
  return { key, door, kind: 'unlisted', send: () => request, reached: [code] };
}

const kebab = (key: string) => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** What ends the caller's own session comes last. */
const last = (cells: readonly Cell[]) => [
  ...cells.filter(({ key }) => key !== 'logout'),
  ...cells.filter(({ key }) => key === 'logout'),
];

export const CELLS: Readonly<Record<MatrixTransport, readonly Cell[]>> = {
  rest: last(httpCells()),
  local: last(httpCells()),
  grpc: grpcCells(),
  websocket: socketCells(),
};
