// The WebSocket over real TLS connections: sign-in, subscriptions, resume, stop, requests and bad frames.

import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { systemClock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { EventType, Severity } from '#model/event';
import { HttpServer } from '#tracks/interface/rest/http-server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { InterfaceService } from '#tracks/interface/service';
import { InterfaceTrack } from '#tracks/interface/track';
import { WebSocketServer } from '#tracks/interface/websocket/websocket-server';
import { makeTestAuthority, type TestAuthority } from '../../../../support/certificates.ts';
import { ScriptedOrchestrator } from '../../../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../../../support/small-board.ts';
import { stopCause } from '../../../../support/unified-states.ts';

let authority: TestAuthority;
let tls: { authority: string; certificate: string; key: string };
let orchestrator: ScriptedOrchestrator;
let service: InterfaceService;
let app: RestApp;
let http: HttpServer;
let server: WebSocketServer;
let port: number;

beforeAll(async () => {
  authority = await makeTestAuthority();
  tls = { authority: authority.authority, ...(await authority.server()) };
});

beforeEach(async () => {
  orchestrator = new ScriptedOrchestrator();
  service = new InterfaceService({ orchestrator, board: smallBoard(), clock: systemClock });
  app = await RestApp.start(service);
  http = new HttpServer(app, tls);
  server = new WebSocketServer(service, app);
  server.attach(http.server);
  const listening = await http.listen({ host: '127.0.0.1', port: 0 });
  if (!listening.ok) throw new Error(listening.fault.finding);
  port = listening.value;
});

afterEach(async () => {
  await server.close();
  await http.close();
  await app.close();
  service.close();
});

// biome-ignore lint/suspicious/noExplicitAny: tests look into whatever the server says
type Message = any;

class Client {
  readonly socket: WebSocket;
  readonly messages: Message[] = [];
  closed: { code: number; reason: string } | null = null;

  constructor(headers: Record<string, string>, protocols: string[] = [], path = '/api/v1/ws') {
    this.socket = new WebSocket(`wss://127.0.0.1:${port}${path}`, protocols, {
      ca: authority.authority,
      headers,
    });
    this.socket.on('message', (data) => this.messages.push(JSON.parse(String(data))));
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: String(reason) };
    });
    this.socket.on('error', () => undefined);
  }

  send(message: object): void {
    this.socket.send(JSON.stringify(message));
  }

  /** Waits for the next message of a type that was not yet taken. */
  async take(type: string): Promise<Message> {
    const find = () => this.messages.findIndex((message) => message.type === type);
    await expect.poll(find, { timeout: 5_000, interval: 5 }).toBeGreaterThanOrEqual(0);
    return this.messages.splice(find(), 1)[0];
  }
}

const alice = { authorization: 'Bearer token-alice' };
const bob = { authorization: 'Bearer token-bob' };

async function signedIn(headers: Record<string, string> = alice): Promise<Client> {
  const client = new Client(headers);
  await client.take('CONNECTION_ESTABLISHED');
  return client;
}

const draft = (type: EventType, severity: Severity, data: Record<string, string> = {}) =>
  ({ type, severity, source: 'security', data }) as const;

it('welcomes a client with who it is, by header, subprotocol or first message', async () => {
  const byHeader = new Client(alice);
  const welcome = await byHeader.take('CONNECTION_ESTABLISHED');
  expect(welcome.data.userContext).toMatchObject({ userId: 'alice', clearanceLevel: 'TOP_SECRET' });
  const byProtocol = new Client({}, ['dsmil.v1', 'dsmil.token.token-bob']);
  expect((await byProtocol.take('CONNECTION_ESTABLISHED')).data.userContext.userId).toBe('bob');
  expect(byProtocol.socket.protocol).toBe('dsmil.v1');
  const byMessage = new Client({});
  await once(byMessage.socket, 'open');
  byMessage.send({ type: 'AUTHENTICATE', token: 'token-alice' });
  await byMessage.take('CONNECTION_ESTABLISHED');
  expect(service.events.listeners).toBe(3);
});

it('answers nothing before sign-in, and closes with 1008 on a token nobody has', async () => {
  const client = new Client({});
  await once(client.socket, 'open');
  client.send({ type: 'REQUEST_STATUS' });
  expect((await client.take('ERROR')).error.code).toBe('REQUEST_MALFORMED');
  client.send({ type: 'AUTHENTICATE', token: 'wrong' });
  await expect.poll(() => client.closed).toEqual({ code: 1008, reason: 'Authentication required' });
  expect(client.messages.map(({ type }) => type)).toEqual(['ERROR']);
  expect(service.events.listeners).toBe(0);
});

it('sends only what is subscribed, in the words of the specification', async () => {
  const client = await signedIn();
  orchestrator.emit(draft(EventType.SECURITY_ALERT, Severity.CRITICAL));
  client.send({
    type: 'SUBSCRIBE',
    subscription: { id: 'one', types: ['DEVICE_UPDATE'], devices: ['0x8001'] },
  });
  expect(await client.take('SUBSCRIBED')).toMatchObject({
    subscription: { id: 'one' },
    lastSequence: 1,
  });
  orchestrator.emit(draft(EventType.DEVICE_STATE_CHANGED, Severity.INFO, { device_id: '0' }));
  orchestrator.emit(draft(EventType.DEVICE_STATE_CHANGED, Severity.WARNING, { device_id: '1' }));
  const update = await client.take('DEVICE_UPDATE');
  expect(update).toMatchObject({
    priority: 'NORMAL',
    source_track: 'SECURITY',
    sequence: 3,
    event: 'DEVICE_STATE_CHANGED',
    data: { device_id: '1' },
  });
  client.send({ type: 'UNSUBSCRIBE', subscription: { id: 'one' } });
  await client.take('UNSUBSCRIBED');
  orchestrator.emit(draft(EventType.DEVICE_STATE_CHANGED, Severity.INFO, { device_id: '1' }));
  client.send({ type: 'PING' });
  await client.take('PONG');
  expect(client.messages).toEqual([]);
});

it('sends again after a reconnect what came after the last sequence', async () => {
  for (let turn = 0; turn < 3; turn++)
    orchestrator.emit(draft(EventType.AUDIT_ENTRY_CREATED, Severity.INFO));
  const client = await signedIn();
  client.send({ type: 'SUBSCRIBE', subscription: {}, lastSequence: 1 });
  expect(await client.take('SUBSCRIBED')).toMatchObject({ resumed: 'complete' });
  expect((await client.take('AUDIT_EVENT')).sequence).toBe(2);
  expect((await client.take('AUDIT_EVENT')).sequence).toBe(3);
  client.send({ type: 'SUBSCRIBE', subscription: {}, lastSequence: 99 });
  expect(await client.take('SUBSCRIBED')).toMatchObject({ resumed: 'incomplete' });
});

it('keeps alerts and audit from people below SECRET', async () => {
  const client = await signedIn(bob);
  client.send({ type: 'SUBSCRIBE', subscription: {} });
  await client.take('SUBSCRIBED');
  orchestrator.emit(draft(EventType.SECURITY_ALERT, Severity.CRITICAL));
  orchestrator.emit(draft(EventType.AUDIT_ENTRY_CREATED, Severity.INFO));
  orchestrator.emit(draft(EventType.SYSTEM_STATUS_CHANGED, Severity.ERROR));
  expect((await client.take('SYSTEM_STATUS')).priority).toBe('HIGH');
  expect(client.messages).toEqual([]);
});

it('tells every client of a stop once, whatever is subscribed, and takes the acknowledgment', async () => {
  const clients = [await signedIn(), await signedIn(bob)];
  const track = new InterfaceTrack(service);
  const cause = stopCause({ reason: 'fire' });
  const receipt = await track.stop({ cause });
  expect(receipt).toMatchObject({ value: { ok: true, message: '2 clients told' } });
  orchestrator.emit(draft(EventType.EMERGENCY_STOP, Severity.EMERGENCY, { reason: 'fire' }));
  for (const client of clients) {
    const stop = await client.take('EMERGENCY_STOP');
    expect(stop).toMatchObject({
      priority: 'EMERGENCY',
      source_track: 'ORCHESTRATOR',
      data: { reason: 'fire', requires_acknowledgment: true },
    });
    client.send({ type: 'ACKNOWLEDGE', id: stop.data.acknowledge });
    const answer = await client.take('ACKNOWLEDGED');
    expect(answer.acknowledgments.at(-1)).toMatchObject({ stopId: 3 });
    expect(client.messages).toEqual([]);
  }
  expect(orchestrator.acknowledged.map(({ by }) => by)).toEqual(['alice', 'bob']);
});

it('misses nobody at a stop because a client is on its way out', async () => {
  const track = new InterfaceTrack(service);
  await signedIn(bob);
  const leaving = await signedIn();
  // It says goodbye and never closes its end, so that the server waits for it.
  leaving.socket.pause();
  leaving.socket.close();
  const cause = stopCause({ source: 'kernel', reason: 'heat', triggeredBy: 'kernel' });
  const said: string[] = [];
  const stop = async () => {
    const receipt = await track.stop({ cause });
    said.push(receipt.ok ? receipt.value.message : receipt.fault.code);
    return said.at(-1);
  };
  await expect.poll(stop, { interval: 20 }).toBe('1 client told');
  expect(said.filter((message) => message.includes('not reached'))).toEqual([]);
  expect(service.events.listeners).toBe(1);
  leaving.socket.terminate();
});

it('performs operations and stops by request, each answered with its id', async () => {
  const client = await signedIn();
  const request = {
    operation: 'WRITE',
    device: 1,
    registers: [{ name: 'DATA', value: '0x2A' }],
    justification: 'routine calibration',
  };
  client.send({ type: 'OPERATION', id: 'a', request });
  expect(await client.take('OPERATION_RESULT')).toMatchObject({
    id: 'a',
    receipt: { result: 'SUCCESS' },
  });
  client.send({ type: 'OPERATION', id: 'b', request: { ...request, device: '0x800C' } });
  expect(await client.take('ERROR')).toMatchObject({
    id: 'b',
    error: { code: 'DEVICE_ID_INVALID' },
  });
  client.send({ type: 'EMERGENCY_STOP', id: 'c', request: { reason: 'smoke' } });
  expect(await client.take('EMERGENCY_STOP_RESULT')).toMatchObject({
    id: 'c',
    report: { success: true },
  });
  client.send({ type: 'REQUEST_STATUS' });
  expect((await client.take('SYSTEM_STATUS')).data.state).toBe('READY');
  client.send({ type: 'OPERATION', id: 'd', request: { ...request, device: 9 } });
  expect(await client.take('OPERATION_RESULT')).toMatchObject({
    receipt: { result: 'DENIED', fault: { code: 'DEVICE_QUARANTINED' } },
  });
  client.send({ type: 'OPERATION', id: 'e', request });
  expect((await client.take('ERROR')).error.code).toBe('ACCOUNT_LOCKED');
});

it.each([
  ['no JSON', '{'],
  ['a list', '[]'],
  ['null', 'null'],
  ['an unknown type', '{"type":"FORMAT"}'],
  ['a type of the prototype', '{"type":"constructor"}'],
  ['a member nobody knows', '{"type":"PING","x":1}'],
  ['a prototype key', '{"type":"PING","__proto__":{"x":1}}'],
  ['a missing request', '{"type":"OPERATION","id":"a"}'],
  [
    'a register value in words',
    '{"type":"OPERATION","id":"a","request":{"operation":"WRITE","device":0,"registers":[{"name":"DATA","value":"five"}]}}',
  ],
])('answers %s with a catalogued error that repeats nothing of it', async (_what, text) => {
  const client = await signedIn();
  client.socket.send(text);
  const { error } = await client.take('ERROR');
  expect(error.code).toBe('REQUEST_MALFORMED');
  expect(JSON.stringify(error)).not.toMatch(/FORMAT|five|JSON at position|Unexpected/);
  expect(orchestrator.intents).toEqual([]);
  client.send({ type: 'PING' });
  await client.take('PONG');
});

it('refuses a gap token in a subscription and a second sign-in', async () => {
  const client = await signedIn();
  client.send({ type: 'SUBSCRIBE', subscription: { devices: ['0x801D'] } });
  expect((await client.take('ERROR')).error.code).toBe('DEVICE_ID_INVALID');
  client.send({ type: 'AUTHENTICATE', token: 'token-bob' });
  expect((await client.take('ERROR')).error.code).toBe('REQUEST_MALFORMED');
});

it('closes on a message above 64 KiB, on too many fragments and on too many mistakes', async () => {
  const large = await signedIn();
  large.socket.send('x'.repeat(65_537));
  await expect.poll(() => large.closed?.code).toBe(1009);
  const pieces = await signedIn();
  for (let turn = 0; turn < 20; turn++) pieces.socket.send('x', { fin: false });
  await expect.poll(() => pieces.closed?.code).toBe(1008);
  const clumsy = await signedIn();
  for (let turn = 0; turn < 40; turn++) clumsy.socket.send(Buffer.from([turn]));
  await expect.poll(() => clumsy.closed?.code).toBe(1008);
  expect(server.clients).toBe(0);
});

it.each([
  ['a token in the URL', '/api/v1/ws?token=token-alice', {}, 400],
  ['another path', '/api/v1/wss', alice, 400],
  ['a page of another site', '/api/v1/ws', { ...alice, origin: 'https://evil.example' }, 403],
])('does not upgrade for %s', async (_what, path, headers, status) => {
  const client = new Client(headers, [], path);
  const [, response] = await once(client.socket, 'unexpected-response');
  expect(response.statusCode).toBe(status);
});

it('cuts off a client that does not read, and goes on telling the others', async () => {
  const reading = await signedIn();
  reading.send({ type: 'SUBSCRIBE', subscription: {} });
  await reading.take('SUBSCRIBED');
  const silent = await signedIn();
  silent.send({ type: 'SUBSCRIBE', subscription: {} });
  await silent.take('SUBSCRIBED');
  silent.socket.pause();
  const data = { text: 'x'.repeat(60_000) };
  const rounds = 400;
  for (let turn = 0; turn < rounds && server.clients === 2; turn++) {
    orchestrator.emit(draft(EventType.SYSTEM_STATUS_CHANGED, Severity.INFO, data));
    await new Promise((resolve) => setImmediate(resolve));
    await expect.poll(() => reading.messages.length).toBe(turn + 1);
  }
  expect(server.clients).toBe(1);
  expect(await service.metrics.text()).toContain('dsmil_interface_slow_clients_total 1');
  silent.socket.resume();
  silent.socket.terminate();
});

it('survives bytes that are no handshake', async () => {
  const plain = connect((http.server.address() as AddressInfo).port, '127.0.0.1');
  plain.on('error', () => undefined);
  plain.write('GET /api/v1/ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n');
  await once(plain, 'close');
  await signedIn();
});

it('says so when an acknowledgment is not on record, and records none of other messages', async () => {
  const client = await signedIn();
  client.send({ type: 'ACKNOWLEDGE', id: 'something else' });
  expect(await client.take('ACKNOWLEDGED')).toEqual({ type: 'ACKNOWLEDGED', id: 'something else' });
  orchestrator.broken = fault('TRACK_UNAVAILABLE', { place: 'security', finding: 'is away' });
  client.send({ type: 'ACKNOWLEDGE', id: 'stop-1' });
  expect(await client.take('ERROR')).toMatchObject({ id: 'stop-1', error: { status: 503 } });
  expect(orchestrator.acknowledged).toEqual([]);
});

it('selects, operates and releases, and synchronizes', async () => {
  const client = await signedIn();
  const request = {
    operation: 'WRITE',
    device: 1,
    registers: [{ name: 'DATA', value: 7 }],
    selectForSeconds: 30,
  };
  for (const operationId of ['s-1', 's-2']) {
    client.send({ type: 'OPERATION', id: operationId, request: { ...request, operationId } });
    const { receipt } = await client.take('OPERATION_RESULT');
    expect(receipt.selectedUntil).toBe(new Date(1_800_000_030_000).toISOString());
  }
  client.send({ type: 'OPERATE_SELECTED', id: 'a', operationId: 's-1', confirmedRisk: 'LOW' });
  expect(await client.take('OPERATION_RESULT')).toMatchObject({
    id: 'a',
    receipt: { operationId: 's-1', effect: 'committed' },
  });
  client.send({ type: 'RELEASE_SELECTED', id: 'b', operationId: 's-2' });
  expect(await client.take('SELECTION_RELEASED')).toMatchObject({ id: 'b', operationId: 's-2' });
  client.send({ type: 'OPERATE_SELECTED', id: 'c', operationId: 's-2' });
  expect((await client.take('ERROR')).error.code).toBe('SELECTION_UNKNOWN');
  client.send({ type: 'SYNCHRONIZE', id: 'd', devices: ['0x8001'] });
  const { devices, stale } = await client.take('SYNCHRONIZED');
  expect([devices[0].id, devices[0].unified.security.status, stale]).toEqual([1, 'NORMAL', true]);
});

it.each<[string, object]>([
  ['a stop that says nothing', { type: 'EMERGENCY_STOP' }],
  [
    'a stop in words that nobody knows',
    { type: 'EMERGENCY_STOP', panic: 1, request: { reason: 4, priority: 'NOW' } },
  ],
  [
    'a stop in the shape of an operation',
    { type: 'OPERATION', id: 'x', request: { operation: 'EMERGENCY_STOP' } },
  ],
])('takes %s from a client with every place taken', async (_what, message) => {
  const client = await signedIn();
  let open = (): void => undefined;
  orchestrator.gate = new Promise((resolve) => {
    open = resolve;
  });
  const read = { operation: 'READ', device: 0 };
  for (let id = 0; id < 40; id++) client.send({ type: 'OPERATION', id: `${id}`, request: read });
  expect((await client.take('ERROR')).error.code).toBe('BUSY');
  client.send(message);
  const stopped = () =>
    orchestrator.stops.length + orchestrator.intents.filter(({ type }) => type === 7).length;
  await expect.poll(stopped).toBe(1);
  open();
});
