// The gRPC interface end to end over real TLS connections: identity, operations, refusals, events and bad frames.

import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import {
  ChannelCredentials,
  Client,
  type ClientReadableStream,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { ApplianceServiceClient, type ChannelResponse } from '#contract/appliance';
import {
  DsmilCommunicationServiceClient,
  EmergencyStopRequest,
  type EventNotification,
  EventSubscriptionRequest,
  OperationCoordinationRequest,
  type OperationCoordinationResponse,
} from '#contract/communication';
import { systemClock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { EventType, Severity } from '#model/event';
import { CoordinationResult, OperationType } from '#model/operation';
import { GrpcServer } from '#tracks/interface/grpc/server';
import { InterfaceService } from '#tracks/interface/service';
import { makeTestAuthority, type TestAuthority } from '../../../../support/certificates.ts';
import { ScriptedOrchestrator } from '../../../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../../../support/small-board.ts';
import { kernelDevice, kernelSnapshot } from '../../../../support/unified-states.ts';

let authority: TestAuthority;
let tls: { authority: string; certificate: string; key: string };
let orchestrator: ScriptedOrchestrator;
let service: InterfaceService;
let server: GrpcServer;
let port: number;
const closing: (() => void)[] = [];

beforeAll(async () => {
  authority = await makeTestAuthority();
  tls = { authority: authority.authority, ...(await authority.server()) };
});

beforeEach(async () => {
  orchestrator = new ScriptedOrchestrator();
  service = new InterfaceService({ orchestrator, board: smallBoard(), clock: systemClock });
  server = new GrpcServer(service, 'on');
  const listening = await server.listen({ host: '127.0.0.1', port: 0, tls });
  if (!listening.ok) throw new Error(listening.fault.finding);
  port = listening.value;
});

afterEach(async () => {
  for (const close of closing.splice(0)) close();
  await server.close();
  service.close();
});

afterAll(() => undefined);

interface Identity {
  readonly token?: string;
  readonly pair?: { certificate: string; key: string };
}

function credentials(identity: Identity): ChannelCredentials {
  const { pair } = identity;
  return ChannelCredentials.createSsl(
    Buffer.from(authority.authority),
    pair === undefined ? null : Buffer.from(pair.key),
    pair === undefined ? null : Buffer.from(pair.certificate),
  );
}

function metadataOf(identity: Identity): Metadata {
  const metadata = new Metadata();
  if (identity.token !== undefined) metadata.set('authorization', `Bearer ${identity.token}`);
  return metadata;
}

const alice: Identity = { token: 'token-alice' };

function client(identity: Identity = alice): DsmilCommunicationServiceClient {
  const made = new DsmilCommunicationServiceClient(`127.0.0.1:${port}`, credentials(identity));
  closing.push(() => made.close());
  return made;
}

function coordinate(
  request: Partial<OperationCoordinationRequest>,
  identity: Identity = alice,
  metadata = metadataOf(identity),
): Promise<OperationCoordinationResponse> {
  return new Promise((resolve, reject) => {
    const message = OperationCoordinationRequest.fromPartial(request);
    client(identity).coordinateOperation(message, metadata, (error, response) =>
      error === null ? resolve(response) : reject(error),
    );
  });
}

async function refusal(answer: Promise<unknown>): Promise<ServiceError> {
  try {
    await answer;
  } catch (error) {
    return error as ServiceError;
  }
  throw new Error('the call was answered although it should have been refused');
}

function codeOf(error: ServiceError): unknown {
  return error.metadata.get('dsmil-fault-code')[0];
}

const write = (value: bigint): Partial<OperationCoordinationRequest> => ({
  deviceId: 0x8000,
  operationType: OperationType.WRITE,
  justification: 'routine calibration',
  registers: [{ name: 'DATA', value }],
});

it('writes a full 64-bit word to a device named by token and reads it back by linear id', async () => {
  const written = await coordinate(write(0xffff_ffff_ffff_fffen));
  expect(written.result).toBe(CoordinationResult.SUCCESS);
  expect(orchestrator.registers.get('0.DATA')).toBe(0xffff_ffff_ffff_fffen);
  const read = await coordinate({
    coordinationId: 'my-read:1',
    deviceId: 0,
    operationType: OperationType.READ,
    registers: [{ name: 'DATA', value: undefined }],
  });
  expect(read.coordinationId).toBe('my-read:1');
  expect(read.readings[0]).toMatchObject({
    deviceId: 0,
    register: 'DATA',
    value: 0xffff_ffff_ffff_fffen,
  });
});

it('takes the identity from the client certificate that TLS verified', async () => {
  const pair = await authority.client('urn:dsmil:person:alice');
  const read = await coordinate({ deviceId: 1, operationType: OperationType.READ }, { pair });
  expect(read.result).toBe(CoordinationResult.SUCCESS);
  expect(orchestrator.authentications[0]).toMatchObject({
    kind: 'certificate',
    uri: 'urn:dsmil:person:alice',
  });
});

it('gives no identity to a certificate of another authority, of no name or of two names', async () => {
  const stranger = await makeTestAuthority('somebody else');
  const pairs = [
    await stranger.client('urn:dsmil:person:alice'),
    await authority.client(),
    await authority.client('urn:dsmil:person:alice', 'urn:dsmil:person:bob'),
  ];
  for (const pair of pairs) {
    const error = await refusal(
      coordinate({ deviceId: 1, operationType: OperationType.READ }, { pair }),
    );
    expect(error.code).toBe(status.UNAUTHENTICATED);
  }
  expect(orchestrator.intents).toEqual([]);
});

it('does not believe who the body says it is, but passes the claim on for the record', async () => {
  const claim = { userId: 'alice\n', clearanceLevel: 7, compartments: [], sessionId: '' } as const;
  const error = await refusal(
    coordinate({ ...write(1n), authContext: { ...claim, compartments: [] } }, {}),
  );
  expect(error.code).toBe(status.UNAUTHENTICATED);
  await coordinate(
    { ...write(1n), authContext: { ...claim, compartments: [] } },
    { token: 'token-bob' },
  );
  expect(orchestrator.intents[0]?.claims).toBe('user alice?');
});

it('shows a credential to security once for a connection, and again after security restarted', async () => {
  const one = client();
  const call = (): Promise<OperationCoordinationResponse> =>
    new Promise((resolve, reject) =>
      one.coordinateOperation(
        OperationCoordinationRequest.fromPartial({ deviceId: 1, operationType: 1 }),
        metadataOf(alice),
        (error, response) => (error === null ? resolve(response) : reject(error)),
      ),
    );
  await call();
  await call();
  expect(orchestrator.authentications).toHaveLength(1);
  orchestrator.sessions.clear();
  expect((await call()).result).toBe(CoordinationResult.SUCCESS);
  expect(orchestrator.authentications).toHaveLength(2);
});

it.each([
  ['a gap token', { deviceId: 0x800c }, status.INVALID_ARGUMENT, 'DEVICE_ID_INVALID'],
  ['an id out of range', { deviceId: 84 }, status.INVALID_ARGUMENT, 'DEVICE_ID_INVALID'],
  ['the largest id', { deviceId: 0xffff_ffff }, status.INVALID_ARGUMENT, 'DEVICE_ID_INVALID'],
  ['a device not on the board', { deviceId: 83 }, status.NOT_FOUND, 'DEVICE_UNKNOWN'],
  [
    'an unknown register',
    { registers: [{ name: 'NOPE', value: undefined }] },
    status.NOT_FOUND,
    'REGISTER_UNKNOWN',
  ],
  [
    'a register name that climbs out of its place',
    { registers: [{ name: '../x', value: undefined }] },
    status.INVALID_ARGUMENT,
    'REQUEST_MALFORMED',
  ],
  [
    'a register named twice',
    { registers: [{ name: 'DATA' }, { name: 'DATA' }] },
    status.INVALID_ARGUMENT,
    'REQUEST_MALFORMED',
  ],
  [
    'a read with a value',
    { registers: [{ name: 'DATA', value: 1n }] },
    status.INVALID_ARGUMENT,
    'REQUEST_MALFORMED',
  ],
  [
    'a write without a value',
    { operationType: 2, registers: [{ name: 'DATA' }] },
    status.INVALID_ARGUMENT,
    'VALUE_MISSING',
  ],
  ['a write without a register', { operationType: 2 }, status.INVALID_ARGUMENT, 'VALUE_MISSING'],
  ['an unknown operation', { operationType: 99 }, status.INVALID_ARGUMENT, 'REQUEST_MALFORMED'],
  ['no operation', { operationType: 0 }, status.INVALID_ARGUMENT, 'REQUEST_MALFORMED'],
  ['a bad operation id', { coordinationId: 'a b' }, status.INVALID_ARGUMENT, 'REQUEST_MALFORMED'],
  [
    'a long operation id',
    { coordinationId: 'x'.repeat(65) },
    status.INVALID_ARGUMENT,
    'REQUEST_MALFORMED',
  ],
  [
    'a long justification',
    { justification: 'x'.repeat(513) },
    status.INVALID_ARGUMENT,
    'JUSTIFICATION_NEEDED',
  ],
  [
    'a device named twice',
    { targets: [{ deviceId: 0 }, { deviceId: 0x8000 }] },
    status.INVALID_ARGUMENT,
    'REQUEST_MALFORMED',
  ],
  [
    'registers beside targets',
    { registers: [{ name: 'DATA' }], targets: [{ deviceId: 0 }] },
    status.INVALID_ARGUMENT,
    'REQUEST_MALFORMED',
  ],
])(
  'refuses %s with its catalogued status and changes nothing',
  async (_what, request, grpc, code) => {
    const message = OperationCoordinationRequest.fromPartial({
      deviceId: 0,
      operationType: 1,
      ...request,
    } as never);
    const error = await refusal(coordinate(message));
    expect([error.code, codeOf(error)]).toEqual([grpc, code]);
    expect(orchestrator.intents).toEqual([]);
  },
);

it('denies every operation on a quarantined device before security is asked, and locks the session', async () => {
  const one = client();
  const call = (deviceId: number): Promise<OperationCoordinationResponse> =>
    new Promise((resolve, reject) =>
      one.coordinateOperation(
        OperationCoordinationRequest.fromPartial({ deviceId, operationType: OperationType.READ }),
        metadataOf(alice),
        (error, response) => (error === null ? resolve(response) : reject(error)),
      ),
    );
  const denied = await call(0x8009);
  expect(denied.result).toBe(CoordinationResult.DENIED);
  expect(denied.faultCode).toBe('DEVICE_QUARANTINED');
  expect(orchestrator.intents).toEqual([]);
  expect(orchestrator.refusals).toMatchObject([{ code: 'DEVICE_QUARANTINED', devices: [9] }]);
  const error = await refusal(call(0));
  expect(codeOf(error)).toBe('ACCOUNT_LOCKED');
});

it('refuses a permanently quarantined device as such even where the board leaves it out', async () => {
  const denied = await coordinate({ deviceId: 0x800a, operationType: OperationType.WRITE });
  expect(denied.faultCode).toBe('DEVICE_QUARANTINED');
});

it('never sends internal texts: an error inside is INTERNAL with a catalogued sentence', async () => {
  orchestrator.throwing = new Error('ENOENT: /var/lib/dsmil/secret.db');
  const error = await refusal(coordinate({ deviceId: 0, operationType: 1 }));
  expect(error.code).toBe(status.INTERNAL);
  expect(JSON.stringify(error.details)).not.toMatch(/ENOENT|secret|var/);
});

it('answers UNAVAILABLE when the security track is gone', async () => {
  orchestrator.broken = fault('TRACK_UNAVAILABLE', {
    place: 'security',
    finding: 'does not answer',
    internal: 'link closed',
  });
  const error = await refusal(coordinate({ deviceId: 0, operationType: 1 }));
  expect([error.code, codeOf(error)]).toEqual([status.UNAVAILABLE, 'TRACK_UNAVAILABLE']);
  expect(error.details).not.toContain('link closed');
});

it('refuses the seventeenth operation at once while sixteen run', async () => {
  let open = (): void => undefined;
  orchestrator.gate = new Promise((resolve) => {
    open = resolve;
  });
  const read = { deviceId: 0, operationType: OperationType.READ } as const;
  const running = Array.from({ length: 16 }, () => coordinate(read));
  await expect.poll(() => orchestrator.intents.length, { timeout: 10_000 }).toBe(16);
  const error = await refusal(coordinate(read));
  expect(codeOf(error)).toBe('BUSY');
  open();
  for (const answer of running) expect((await answer).result).toBe(CoordinationResult.SUCCESS);
});

it('stops the whole system with a receipt of each track, and takes a token or a gap device as asked', async () => {
  const stop = (request: Partial<EmergencyStopRequest>) =>
    new Promise<{ success: boolean; scope: string; safeDevices: number[] }>((resolve, reject) =>
      client().emergencyStop(
        EmergencyStopRequest.fromPartial(request as never),
        metadataOf(alice),
        (error, response) => (error === null ? resolve(response) : reject(error)),
      ),
    );
  const report = await stop({ reason: '', priority: 4, triggeredBy: 'the panel' });
  expect(report).toMatchObject({ success: true, scope: 'whole system', safeDevices: [0, 1] });
  expect(orchestrator.stops[0]?.reason).toBe('no reason given (claims: user the panel)');
  await stop({ reason: 'leak', affectedDevices: [0x8001, 9] });
  expect(orchestrator.stops[1]?.devices).toEqual([1]);
  const error = await refusal(stop({ reason: 'leak', affectedDevices: [0x800c] }));
  expect(codeOf(error)).toBe('DEVICE_ID_INVALID');
});

it('engages the latch for a verified certificate even when security does not answer', async () => {
  const pair = await authority.client('urn:dsmil:person:alice');
  let engaged = 0;
  const latch = { engage: () => void engaged++, engaged: () => engaged > 0 };
  const alone = new InterfaceService({
    orchestrator,
    board: smallBoard(),
    clock: systemClock,
    latch,
  });
  const other = new GrpcServer(alone);
  const listening = await other.listen({ host: '127.0.0.1', port: 0, tls });
  if (!listening.ok) throw new Error(listening.fault.finding);
  const one = new DsmilCommunicationServiceClient(
    `127.0.0.1:${listening.value}`,
    credentials({ pair }),
  );
  orchestrator.broken = fault('TRACK_UNAVAILABLE', {
    place: 'security',
    finding: 'does not answer',
  });
  const report = await new Promise<{ success: boolean; scope: string }>((resolve, reject) =>
    one.emergencyStop(EmergencyStopRequest.fromPartial({ reason: 'fire' }), (error, response) =>
      error === null ? resolve(response) : reject(error),
    ),
  );
  expect(engaged).toBe(1);
  expect(report).toMatchObject({
    success: false,
    scope: 'whole system; latch engaged, receipts missing',
  });
  one.close();
  await other.close();
  alone.close();
});

it('refuses to publish events from outside', async () => {
  const error = await refusal(
    new Promise((resolve, reject) =>
      client().publishEvent({ event: undefined }, metadataOf(alice), (failure, response) =>
        failure === null ? resolve(response) : reject(failure),
      ),
    ),
  );
  expect([error.code, codeOf(error)]).toEqual([status.PERMISSION_DENIED, 'NOT_PERMITTED']);
});

function nextEvents(
  stream: ClientReadableStream<EventNotification>,
  count: number,
): Promise<EventNotification[]> {
  return new Promise((resolve, reject) => {
    const events: EventNotification[] = [];
    stream.on('data', (event: EventNotification) => {
      events.push(event);
      if (events.length === count) resolve(events);
    });
    stream.on('error', reject);
  });
}

const draft = (type: EventType, severity: Severity, data: Record<string, string> = {}) =>
  ({ type, severity, source: 'security', data }) as const;

it('streams events with their full sequence and sends again what a returning client missed', async () => {
  orchestrator.emit(draft(EventType.OPERATION_COMPLETED, Severity.INFO));
  orchestrator.emit(draft(EventType.OPERATION_COMPLETED, Severity.INFO));
  const request = EventSubscriptionRequest.fromPartial({ resumeAfterSequence: 1n });
  const stream = client().subscribeEvents(request, metadataOf(alice));
  const [headers] = (await once(stream, 'metadata')) as [Metadata];
  expect(headers.get('dsmil-replay')).toEqual(['complete']);
  const arriving = nextEvents(stream, 2);
  orchestrator.emit(draft(EventType.SECURITY_ALERT, Severity.CRITICAL));
  const events = await arriving;
  expect(events.map((event) => event.fullSequence)).toEqual([2n, 3n]);
  expect(events[1]).toMatchObject({ eventType: EventType.SECURITY_ALERT, sequenceNumber: 3 });
  stream.on('error', () => undefined);
  stream.cancel();
  await expect.poll(() => service.events.listeners).toBe(0);
});

it('filters by type, hides alerts from low clearances, and tells everybody of a stop', async () => {
  const bob = { token: 'token-bob' };
  const request = EventSubscriptionRequest.fromPartial({
    eventTypes: [EventType.SECURITY_ALERT, EventType.DEVICE_STATE_CHANGED],
    minimumSeverity: Severity.WARNING,
  });
  const stream = client(bob).subscribeEvents(request, metadataOf(bob));
  await once(stream, 'metadata');
  const arriving = nextEvents(stream, 2);
  orchestrator.emit(draft(EventType.SECURITY_ALERT, Severity.CRITICAL));
  orchestrator.emit(draft(EventType.DEVICE_STATE_CHANGED, Severity.INFO));
  orchestrator.emit(draft(EventType.DEVICE_STATE_CHANGED, Severity.WARNING, { device_id: '1' }));
  orchestrator.emit(draft(EventType.EMERGENCY_STOP, Severity.EMERGENCY, { reason: 'fire' }));
  const events = await arriving;
  expect(events.map((event) => event.eventType)).toEqual([
    EventType.DEVICE_STATE_CHANGED,
    EventType.EMERGENCY_STOP,
  ]);
  stream.on('error', () => undefined);
  stream.cancel();
});

it('carries many operations over one channel, each answered by its id', async () => {
  const one = new ApplianceServiceClient(`127.0.0.1:${port}`, credentials(alice));
  closing.push(() => one.close());
  const stream = one.channel(metadataOf(alice));
  const answers = new Map<bigint, ChannelResponse>();
  stream.on('data', (response: ChannelResponse) => answers.set(response.requestId, response));
  for (let id = 1n; id <= 10n; id++) {
    const operation = OperationCoordinationRequest.fromPartial({
      ...write(id),
      deviceId: id === 10n ? 0x800c : 0,
    });
    stream.write({ requestId: id, operation });
  }
  stream.write({ requestId: 11n, operation: undefined });
  stream.end();
  await once(stream, 'end');
  expect(answers.size).toBe(11);
  expect(answers.get(9n)?.operation?.result).toBe(CoordinationResult.SUCCESS);
  expect(answers.get(10n)?.fault?.code).toBe('DEVICE_ID_INVALID');
  expect(answers.get(11n)?.fault?.code).toBe('REQUEST_MALFORMED');
});

it('opens no channel for a stranger', async () => {
  const one = new ApplianceServiceClient(`127.0.0.1:${port}`, credentials({}));
  closing.push(() => one.close());
  const stream = one.channel(metadataOf({ token: 'wrong' }));
  stream.on('data', () => undefined);
  const [error] = (await once(stream, 'error')) as [ServiceError];
  expect(error.code).toBe(status.UNAUTHENTICATED);
});

it('lists devices with registers, shows a quarantined one from the registry only, and says the picture is stale', async () => {
  const one = new ApplianceServiceClient(`127.0.0.1:${port}`, credentials(alice));
  closing.push(() => one.close());
  orchestrator.sendSnapshot(
    kernelSnapshot({ version: 3, devices: [9, 0].map((device) => kernelDevice(device)) }),
  );
  const list = () =>
    new Promise<{
      devices: {
        state?:
          | { deviceId: number; lastRegisterValues: unknown[]; overallStatus: number }
          | undefined;
        registers: unknown[];
      }[];
      stale: boolean;
    }>((resolve, reject) =>
      one.listDevices({}, metadataOf(alice), (error, response) =>
        error === null ? resolve(response) : reject(error),
      ),
    );
  const fresh = await list();
  expect(fresh.stale).toBe(false);
  const shown = fresh.devices.map(({ state }) => [
    state?.deviceId,
    state?.overallStatus,
    state?.lastRegisterValues.length,
  ]);
  expect(shown).toEqual([
    [0, 1, 1],
    [1, 0, 0],
    [9, 4, 0],
    [12, 0, 0],
  ]);
  orchestrator.setAvailable(false);
  expect((await list()).stale).toBe(true);
});

it('refuses a caller without clearance, and a message above 64 KiB, and goes on serving', async () => {
  const nobody = await refusal(
    coordinate({ deviceId: 0, operationType: 1 }, { token: 'token-nobody' }),
  );
  expect(codeOf(nobody)).toBe('CLEARANCE_TOO_LOW');
  const large = await refusal(
    coordinate({ deviceId: 0, operationType: 1, justification: 'x'.repeat(70_000) }),
  );
  expect(large.code).toBe(status.RESOURCE_EXHAUSTED);
  expect((await coordinate({ deviceId: 0, operationType: 1 })).result).toBe(
    CoordinationResult.SUCCESS,
  );
});

/** Sends raw bytes as the body of one gRPC request; the grpc-status that came back, or why the stream ended. */
async function rawCall(
  path: string,
  body: Buffer,
  headers: Record<string, string> = {},
): Promise<string> {
  const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: authority.authority });
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: 'Bearer token-alice',
      ...headers,
    });
    let found = '';
    stream.on('response', (head) => {
      if (head['grpc-status'] !== undefined) found = String(head['grpc-status']);
    });
    stream.on('trailers', (head) => {
      found = String(head['grpc-status']);
    });
    stream.on('error', (error) => {
      found ||= error.message;
    });
    stream.resume();
    stream.end(body);
    await new Promise((resolve) => stream.on('close', resolve));
    return found;
  } finally {
    session.destroy();
  }
}

it.each([
  ['bytes that are no message', Buffer.from([0, 0, 0, 0, 3, 0xff, 0xff, 0xff])],
  ['a string field that runs past the end', Buffer.from([0, 0, 0, 0, 2, 0x0a, 0x7f])],
  ['a frame that announces more than 64 KiB', Buffer.from([0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3])],
  ['a compressed frame without an encoding', Buffer.from([1, 0, 0, 0, 1, 0])],
  ['a frame cut short', Buffer.from([0, 0, 0, 0, 9, 1])],
])('answers %s with a status of refusal and goes on serving', async (_what, body) => {
  const path = '/dsmil.communication.v1.DsmilCommunicationService/CoordinateOperation';
  const found = await rawCall(path, body);
  expect(found).toMatch(/^[1-9]\d*$/);
  expect(orchestrator.intents).toEqual([]);
  expect((await coordinate({ deviceId: 0, operationType: 1 })).result).toBe(
    CoordinationResult.SUCCESS,
  );
});

it('answers a method that does not exist with UNIMPLEMENTED', async () => {
  const path = '/dsmil.communication.v1.DsmilCommunicationService/FormatEverything';
  expect(await rawCall(path, Buffer.alloc(5))).toBe(String(status.UNIMPLEMENTED));
});

it('describes its services by reflection when asked to', async () => {
  const raw = new Client(`127.0.0.1:${port}`, credentials({}));
  closing.push(() => raw.close());
  const same = (bytes: Buffer) => bytes;
  const path = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
  const stream = raw.makeBidiStreamRequest(path, same, same);
  const arriving = once(stream, 'data') as Promise<[Buffer]>;
  // ServerReflectionRequest.list_services, field 7
  stream.write(Buffer.from([0x3a, 1, 0x2a]));
  expect((await arriving)[0].toString('latin1')).toContain('dsmil.appliance.v1.ApplianceService');
  // A call that is still open when the server closes would end with an error that nobody hears.
  const ended = once(stream, 'end');
  stream.resume();
  stream.end();
  await ended;
});

it('reports health to anyone, without what the tracks found', async () => {
  const answer = await new Promise<{ healthy: boolean; tracks: unknown[] }>((resolve, reject) =>
    client({}).healthCheck({ track: '' }, (error, response) =>
      error === null ? resolve(response) : reject(error),
    ),
  );
  expect(answer.healthy).toBe(true);
  expect(answer.tracks).toHaveLength(3);
});
