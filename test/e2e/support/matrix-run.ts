// Tries every cell of one role on one transport, from addresses of its own, and says what each was answered.

import { OperationCoordinationRequest } from '#contract/communication';
import { OperationType } from '#model/operation';
import type { ReadyFile } from '../../support/agent.ts';
import {
  GrpcDoor,
  HttpDoor,
  type Identity,
  NO_CONNECTION,
  type Verdict,
  WebSocketDoor,
} from './matrix-doors.ts';
import { expected } from './matrix-oracle.ts';
import {
  type Caller,
  CELLS,
  type Cell,
  type GrpcRequest,
  type HttpRequest,
  type MatrixTransport,
  type SocketRequest,
} from './matrix-requests.ts';
import type { Cast, Role } from './matrix-roles.ts';
import { freshAddress, type LocalUsers } from './source-addresses.ts';

export interface Outcome {
  readonly role: Role;
  readonly transport: MatrixTransport;
  readonly cell: Cell;
  readonly verdict: Verdict;
  readonly expected: readonly Verdict[];
  /** Since the cell before it. */
  readonly tookMs: number;
}

export interface MatrixParts {
  readonly ready: ReadyFile;
  readonly users: LocalUsers | null;
  readonly cast: Cast;
  /** Where the audit chain ends now. */
  readonly sequence: () => Promise<number>;
}

/** Fewer than the failed sign-ins that one address may make. */
const FAILURES_OF_ONE_ADDRESS = 12;
/** Fewer than the malformed messages after which a WebSocket is closed. */
const MISTAKES_OF_ONE_SOCKET = 24;
const QUARANTINED = 0x8009;
const PROBE = { operation: 'READ', device: QUARANTINED };
const PROBE_METHOD = 'dsmil.communication.v1.DsmilCommunicationService/CoordinateOperation';
const PROBE_BYTES = OperationCoordinationRequest.encode(
  OperationCoordinationRequest.fromPartial({
    deviceId: QUARANTINED,
    operationType: OperationType.READ,
  }),
).finish();

export async function tryRole(parts: MatrixParts, role: Role): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const transport of role.transports) {
    const standing = role.standing(transport);
    let atMs = performance.now();
    const told = (cell: Cell, verdict: Verdict) => {
      const tookMs = performance.now() - atMs;
      atMs += tookMs;
      const fits = expected(cell, transport, standing);
      outcomes.push({ role, transport, cell, verdict, expected: fits, tookMs });
    };
    const { goodToken, invitation } = parts.cast;
    const sequence = await parts.sequence();
    const about = { account: role.account, goodToken, invitation, sequence };
    if (transport === 'websocket') await trySockets(parts, role, about, told);
    else await tryCalls(parts, role, transport, about, told);
  }
  return outcomes;
}

type Told = (cell: Cell, verdict: Verdict) => void;

interface Door {
  ask(request: HttpRequest | GrpcRequest): Promise<Verdict>;
  close(): void;
}

async function openDoor(
  { ready, users }: MatrixParts,
  transport: MatrixTransport,
  identity: Identity,
  user: Role['user'],
): Promise<Door> {
  if (transport === 'grpc') {
    const door = await GrpcDoor.open(ready, identity, freshAddress());
    return {
      ask: (request) => {
        const { method, bytes } = request as GrpcRequest;
        return door.ask(method, bytes);
      },
      close: () => door.close(),
    };
  }
  const socket = user === 'other' && transport === 'local' ? await users?.socket() : ready.socket;
  const door =
    transport === 'local'
      ? HttpDoor.local(socket ?? ready.socket, identity)
      : HttpDoor.network(ready, identity, freshAddress());
  return {
    ask: (request) => {
      const { method, path, body } = request as HttpRequest;
      return door.ask(method, path, body);
    },
    close: () => door.close(),
  };
}

/** How many cells one connection is good for. */
function callsOfOne(role: Role, transport: MatrixTransport): number {
  switch (role.standing(transport).is) {
    case 'turned away':
    case 'locked out':
      return FAILURES_OF_ONE_ADDRESS;
    case 'cut off':
      return 1;
    default:
      return CELLS[transport].length;
  }
}

async function tryCalls(
  parts: MatrixParts,
  role: Role,
  transport: MatrixTransport,
  about: Caller,
  told: Told,
): Promise<void> {
  const most = callsOfOne(role, transport);
  const identity = role.identity(transport);
  let door: Door | null = null;
  let calls = 0;
  for (const cell of CELLS[transport]) {
    if (door === null || calls >= most) {
      door?.close();
      door = await openDoor(parts, transport, identity, role.user);
      calls = 0;
      await lockDoor(parts, role, transport, door);
    }
    calls += 1;
    const answering = door;
    const request = cell.send(about) as HttpRequest | GrpcRequest;
    const verdict = await patiently(() => answering.ask(request));
    told(cell, verdict);
    if (verdict === NO_CONNECTION) calls = most;
  }
  door?.close();
}

/** A track that was too busy to answer in time has refused nobody: it is asked once more. */
async function patiently(ask: () => Promise<Verdict>): Promise<Verdict> {
  const verdict = await ask();
  return verdict === 'TRACK_UNAVAILABLE' ? ask() : verdict;
}

/** Signs in on this connection, then has the account locked by a probe here or elsewhere. */
async function lockDoor(
  parts: MatrixParts,
  role: Role,
  transport: MatrixTransport,
  door: Door,
): Promise<void> {
  if (role.locked === undefined) return;
  const me = { method: 'GET', path: '/api/v1/auth/me', body: null };
  const method = 'dsmil.appliance.v1.ApplianceService/GetStatus';
  const first = await door.ask(transport === 'grpc' ? { method, bytes: new Uint8Array() } : me);
  if (first !== '') throw new Error(`${role.name} on ${transport} cannot sign in: ${first}`);
  if (role.locked === 'by another connection') await probeElsewhere(parts, role, transport);
  else await probe(door, transport);
}

async function probe(door: Door, transport: MatrixTransport): Promise<void> {
  const verdict =
    transport === 'grpc'
      ? await door.ask({ method: PROBE_METHOD, bytes: PROBE_BYTES })
      : await door.ask({ method: 'POST', path: '/api/v1/operations', body: PROBE });
  if (verdict !== 'DEVICE_QUARANTINED') throw new Error(`the probe was answered ${verdict}`);
}

/** Security is told beside the answer: the lock stands once another sign-in is refused. */
async function probeElsewhere(parts: MatrixParts, role: Role, transport: MatrixTransport) {
  const elsewhere = await openDoor(parts, 'rest', role.identity(transport), 'own');
  await probe(elsewhere, 'rest');
  elsewhere.close();
  for (let tries = 0; tries < 200; tries++) {
    const again = await openDoor(parts, 'rest', role.identity(transport), 'own');
    const verdict = await again.ask({ method: 'GET', path: '/api/v1/auth/me', body: null });
    again.close();
    if (verdict === 'ACCOUNT_LOCKED') return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${role.name}: the account was never locked`);
}

// --- WebSocket -------------------------------------------------------------------------------------

async function trySockets(
  parts: MatrixParts,
  role: Role,
  about: Caller,
  told: Told,
): Promise<void> {
  const { is } = role.standing('websocket');
  const message = (cell: Cell) => (cell.send(about) as SocketRequest).message;
  const identity = role.identity('websocket');
  if (is === 'turned away' || is === 'locked out' || is === 'cut off') {
    for (const cell of CELLS.websocket)
      told(cell, await patiently(() => shutOut(parts.ready, identity, cell, message(cell))));
    return;
  }
  const sockets = await socketsFor(parts, role, identity);
  let mistakes = 0;
  for (const cell of CELLS.websocket) {
    // A sign-in that is right would end what is tried here: it has a connection of its own.
    if ((is === 'nobody' || is === 'forger') && cell.key === 'login') {
      const signing = await opened(parts.ready, identity, role.name);
      told(cell, await signing.ask(message(cell)));
      signing.close();
      continue;
    }
    const at = Math.floor(mistakes / MISTAKES_OF_ONE_SOCKET);
    const socket = sockets[at];
    if (socket === undefined) throw new Error('more malformed messages than sockets for them');
    const verdict = await patiently(() => socket.ask(message(cell)));
    if (verdict === 'REQUEST_MALFORMED') mistakes += 1;
    told(cell, verdict);
    if (verdict === NO_CONNECTION) sockets[at] = await opened(parts.ready, identity, role.name);
  }
  for (const socket of sockets) socket.close();
}

/** As many as the malformed messages need, all opened before an account is locked. */
async function socketsFor(
  parts: MatrixParts,
  role: Role,
  identity: Identity,
): Promise<WebSocketDoor[]> {
  const sockets: WebSocketDoor[] = [];
  const count = Math.ceil(CELLS.websocket.length / MISTAKES_OF_ONE_SOCKET);
  for (let index = 0; index < count; index++) {
    const socket = await opened(parts.ready, identity, role.name);
    sockets.push(socket);
    if (role.standing('websocket').is === 'nobody' || role.standing('websocket').is === 'forger')
      continue;
    const { type } = await socket.next();
    if (type !== 'CONNECTION_ESTABLISHED') throw new Error(`${role.name}: ${type}`);
  }
  if (role.locked === 'by another connection') await probeElsewhere(parts, role, 'websocket');
  if (role.locked === 'by this connection') {
    // The first probe closes what the account has open elsewhere too.
    for (const socket of sockets) {
      const verdict = await socket.ask({ type: 'OPERATION', id: 'probe', request: PROBE });
      if (verdict !== 'DEVICE_QUARANTINED' && verdict !== 'ACCOUNT_LOCKED')
        throw new Error(`the probe was answered ${verdict}`);
    }
  }
  return sockets;
}

async function opened(ready: ReadyFile, identity: Identity, who: string): Promise<WebSocketDoor> {
  const socket = new WebSocketDoor(ready, identity, freshAddress());
  if (!(await socket.opened())) throw new Error(`${who}: no WebSocket`);
  return socket;
}

/** One connection for each message: whatever comes before it is closed is the answer, and none of it may be good. */
async function shutOut(
  ready: ReadyFile,
  identity: Identity,
  cell: Cell,
  message: object,
): Promise<Verdict> {
  const first = cell.key === 'login' && cell.kind === 'listed' && identity.by === 'token';
  const presented: Identity = first ? { by: 'nothing' } : identity;
  const socket = new WebSocketDoor(ready, presented, freshAddress());
  if (!(await socket.opened())) return 'no connection';
  socket.send(first ? { type: 'AUTHENTICATE', token: identity.token } : message);
  const { codes, closed } = await socket.rest();
  socket.close();
  const said = [...new Set(codes.filter((code) => code !== 'REQUEST_MALFORMED'))];
  if (said.length === 0 && closed !== 1008) return 'no connection';
  return closed === 1008 ? said.join(', ') : `${said.join(', ')} and closed with ${closed}`;
}
