// The REST interface over real HTTPS connections: identity, operations, problems and everything it must refuse.

import { connect as connectTls } from 'node:tls';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { HttpServer } from '#tracks/interface/rest/http-server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { InterfaceService } from '#tracks/interface/service';
import { makeTestAuthority, type TestAuthority } from '../../../../support/certificates.ts';
import { type HttpAnswer, type HttpCall, httpCall } from '../../../../support/http-client.ts';
import { ScriptedOrchestrator } from '../../../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../../../support/small-board.ts';

let authority: TestAuthority;
let tls: { authority: string; certificate: string; key: string };
let orchestrator: ScriptedOrchestrator;
let service: InterfaceService;
let app: RestApp;
let server: HttpServer;
let port: number;
let logged: string[];

beforeAll(async () => {
  authority = await makeTestAuthority();
  tls = { authority: authority.authority, ...(await authority.server()) };
});

beforeEach(async () => {
  logged = [];
  orchestrator = new ScriptedOrchestrator();
  service = new InterfaceService({
    orchestrator,
    board: smallBoard(),
    clock: systemClock,
    log: (message) => logged.push(message),
  });
  app = await RestApp.start(service);
  server = new HttpServer(app, tls);
  const listening = await server.listen({ host: '127.0.0.1', port: 0 });
  if (!listening.ok) throw new Error(listening.fault.finding);
  port = listening.value;
});

afterEach(async () => {
  await server.close();
  await app.close();
  service.close();
});

const alice = { authorization: 'Bearer token-alice' };

function call(method: string, path: string, options: HttpCall = {}): Promise<HttpAnswer> {
  const { headers = alice, ...rest } = options;
  const base = { host: '127.0.0.1', servername: 'localhost', port, ca: authority.authority };
  return httpCall({ ...base, method, path, headers, ...rest });
}

const operate = (body: object, options: HttpCall = {}) =>
  call('POST', '/api/v1/operations', { ...options, body });

it('writes a 64-bit word given as hexadecimal text and reads it back from the device', async () => {
  const written = await operate({
    operation: 'WRITE',
    device: '0x8001',
    registers: [{ name: 'DATA', value: '0xFFFFFFFFFFFFFFFE' }],
    justification: 'routine calibration',
  });
  expect(written.status).toBe(200);
  expect(written.json).toMatchObject({
    result: 'SUCCESS',
    effect: 'committed',
    operation: 'WRITE',
  });
  const read = await call('GET', '/api/v1/devices/1/registers?names=DATA,STATUS');
  expect(read.json.readings[0]).toMatchObject({ token: '0x8001', value: '0xFFFFFFFFFFFFFFFE' });
  const again = await call('GET', `/api/v1/operations/${written.json.operationId}`);
  expect(again.json).toEqual(written.json);
});

it('answers with headers that keep browsers from caching, sniffing and framing', async () => {
  const { headers } = await call('GET', '/api/v1/health');
  expect(headers).toMatchObject({
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  });
});

it('takes a token, a cookie from signing in, or a client certificate, and nothing else', async () => {
  expect((await call('GET', '/api/v1/auth/me', { headers: {} })).status).toBe(401);
  expect((await call('GET', '/api/v1/auth/me')).json.id).toBe('alice');
  const pair = await authority.client('urn:dsmil:person:alice');
  const byCertificate = await call('GET', '/api/v1/auth/me', {
    headers: {},
    cert: pair.certificate,
    key: pair.key,
  });
  expect(byCertificate.json.id).toBe('alice');
  const stranger = await (await makeTestAuthority('somebody else')).client(
    'urn:dsmil:person:alice',
  );
  const forged = await call('GET', '/api/v1/auth/me', {
    headers: {},
    cert: stranger.certificate,
    key: stranger.key,
  });
  expect(forged.status).toBe(401);

  const login = await call('POST', '/api/v1/auth/login', {
    headers: {},
    body: { token: 'token-bob' },
  });
  const [setCookie] = login.headers['set-cookie'] as string[];
  expect(setCookie).toMatch(/; HttpOnly; Secure; SameSite=Strict; Max-Age=\d+$/);
  const cookie = { cookie: String(setCookie).split(';', 1)[0] ?? '' };
  expect((await call('GET', '/api/v1/auth/me', { headers: cookie })).json.id).toBe('bob');
  const out = await call('POST', '/api/v1/auth/logout', { headers: cookie });
  expect(out.status).toBe(200);
  expect((await call('GET', '/api/v1/auth/me', { headers: cookie })).status).toBe(401);
});

it.each([
  ['an unknown token', { authorization: 'Bearer wrong' }],
  ['another scheme', { authorization: 'Basic dG9rZW4tYWxpY2U=' }],
  ['a cookie nobody was given', { cookie: '__Host-dsmil_session=AAAA' }],
])('does not let in %s', async (_what, headers) => {
  const answer = await operate({ operation: 'READ', device: 0 }, { headers });
  expect([answer.status, answer.json.code]).toEqual([401, 'NOT_AUTHENTICATED']);
  expect(orchestrator.intents).toEqual([]);
});

it.each([
  ['a gap token', { device: 0x800c }, 400, 'DEVICE_ID_INVALID'],
  ['a gap token as text', { device: '0x806F' }, 400, 'DEVICE_ID_INVALID'],
  ['an id out of range', { device: 84 }, 400, 'DEVICE_ID_INVALID'],
  ['a negative id', { device: -1 }, 400, 'REQUEST_MALFORMED'],
  ['a fraction', { device: 1.5 }, 400, 'REQUEST_MALFORMED'],
  ['a device not on the board', { device: 83 }, 404, 'DEVICE_UNKNOWN'],
  ['no device', {}, 400, 'REQUEST_MALFORMED'],
  ['an unknown register', { device: 0, registers: [{ name: 'NOPE' }] }, 404, 'REGISTER_UNKNOWN'],
  [
    'a value above 64 bits',
    { operation: 'WRITE', device: 0, registers: [{ name: 'DATA', value: '99999999999999999999' }] },
    422,
    'VALUE_TOO_WIDE',
  ],
  [
    'a value that lost digits',
    { operation: 'WRITE', device: 0, registers: [{ name: 'DATA', value: 2 ** 60 }] },
    400,
    'REQUEST_MALFORMED',
  ],
  [
    'a negative value',
    { operation: 'WRITE', device: 0, registers: [{ name: 'DATA', value: -1 }] },
    400,
    'REQUEST_MALFORMED',
  ],
  [
    'a value in words',
    { operation: 'WRITE', device: 0, registers: [{ name: 'DATA', value: 'five' }] },
    400,
    'REQUEST_MALFORMED',
  ],
  ['a member nobody knows', { device: 0, force: true }, 400, 'REQUEST_MALFORMED'],
  ['an unknown operation', { operation: 'FORMAT', device: 0 }, 400, 'REQUEST_MALFORMED'],
  ['a list', [1], 400, 'REQUEST_MALFORMED'],
])(
  'refuses %s as a problem with its code and changes nothing',
  async (_what, body, status, code) => {
    const answer = await operate(Array.isArray(body) ? body : { operation: 'READ', ...body });
    expect([answer.status, answer.json.code]).toEqual([status, code]);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(orchestrator.intents).toEqual([]);
  },
);

it.each([
  ['no JSON', '{"operation":', 400],
  ['a prototype key', '{"operation":"READ","device":0,"__proto__":{"dryRun":true}}', 400],
  ['a constructor key', '{"operation":"READ","device":0,"constructor":{"prototype":{"x":1}}}', 400],
  [
    'more than 64 KiB',
    JSON.stringify({ operation: 'READ', justification: 'x'.repeat(66_000) }),
    413,
  ],
])('refuses a body with %s', async (_what, body, status) => {
  const answer = await call('POST', '/api/v1/operations', { body });
  expect(answer.status).toBe(status);
  expect(answer.json.code).toMatch(/^REQUEST_/);
  expect(orchestrator.intents).toEqual([]);
});

it('refuses a page of another site, a token in the URL and a body that is no JSON', async () => {
  const foreign = await operate(
    { operation: 'READ', device: 0 },
    { headers: { ...alice, origin: 'https://evil.example' } },
  );
  expect([foreign.status, foreign.json.code]).toEqual([403, 'ORIGIN_REFUSED']);
  const own = await call('GET', '/api/v1/devices', {
    headers: { ...alice, origin: `https://127.0.0.1:${port}` },
  });
  expect(own.status).toBe(200);
  const inUrl = await call('GET', '/api/v1/devices?token=token-alice', { headers: {} });
  expect([inUrl.status, inUrl.json.code]).toEqual([400, 'REQUEST_MALFORMED']);
  expect(inUrl.text).not.toContain('token-alice');
  const form = await call('POST', '/api/v1/operations', {
    headers: { ...alice, 'content-type': 'application/x-www-form-urlencoded' },
    body: 'operation=READ',
  });
  expect([form.status, form.json.code]).toEqual([400, 'REQUEST_MALFORMED']);
});

it.each([
  ['GET', '/api/v1/devices/0x800C', 400, 'DEVICE_ID_INVALID'],
  ['GET', '/api/v1/devices/..%2f..%2fetc', 400, 'REQUEST_MALFORMED'],
  ['GET', '/api/v1/devices/99999999999', 400, 'DEVICE_ID_INVALID'],
  ['GET', '/api/v1/operations?limit=-1', 400, 'REQUEST_MALFORMED'],
  ['GET', '/api/v1/operations?sort=asc', 400, 'REQUEST_MALFORMED'],
  ['GET', '/api/v1/operations/unknown-id', 404, 'OPERATION_UNKNOWN'],
  ['GET', '/api/v1/operations/a%20b', 400, 'REQUEST_MALFORMED'],
  ['GET', '/api/v1/nothing', 404, 'OPERATION_UNSUPPORTED'],
  ['DELETE', '/api/v1/devices/0', 404, 'OPERATION_UNSUPPORTED'],
  ['HEAD', '/api/v1/devices', 404, undefined],
])('answers %s %s with %i', async (method, path, status, code) => {
  const answer = await call(method, path);
  expect([answer.status, answer.json?.code]).toEqual([status, code]);
  // RFC 9457, 3.1.3: the member and the answer say the same.
  if (code !== undefined) expect(answer.json.status).toBe(status);
});

it('says to whoever is not signed in how one is', async () => {
  const answer = await call('GET', '/api/v1/devices', { headers: {} });
  expect([answer.status, answer.headers['www-authenticate']]).toEqual([
    401,
    'Bearer realm="dsmil"',
  ]);
});

it('refuses an operation on a quarantined device with the receipt inside the problem', async () => {
  const answer = await operate({ operation: 'READ', device: 9 });
  expect(answer.status).toBe(403);
  expect(answer.json).toMatchObject({
    code: 'DEVICE_QUARANTINED',
    operation: { result: 'DENIED', effect: 'none', risk: 'QUARANTINED' },
  });
  expect(orchestrator.intents).toEqual([]);
  expect(orchestrator.refusals).toMatchObject([{ code: 'DEVICE_QUARANTINED', devices: [9] }]);
});

it('logs what went wrong inside and never says it to the caller', async () => {
  orchestrator.throwing = new Error('ENOENT: /var/lib/dsmil/secret.db');
  const answer = await operate({ operation: 'READ', device: 0 });
  expect([answer.status, answer.json.code]).toEqual([500, 'INTERNAL']);
  expect(answer.text).not.toMatch(/ENOENT|secret|node:|\.ts/);
  expect(logged.join()).toContain('secret.db');
});

it('stops, asks for the reset, lists approvals and approves a digest', async () => {
  const stop = await call('POST', '/api/v1/emergency-stop', { body: { reason: 'leak' } });
  expect(stop.json).toMatchObject({ success: true, scope: 'whole system' });
  expect(orchestrator.stops[0]).toMatchObject({ reason: 'leak', priority: 4, devices: [] });
  const short = await call('POST', '/api/v1/emergency-stop/reset', { body: { reason: 'ok' } });
  expect([short.status, short.json.code]).toEqual([400, 'JUSTIFICATION_NEEDED']);
  const reset = await call('POST', '/api/v1/emergency-stop/reset', {
    body: { reason: 'the leak is closed' },
  });
  expect(reset.json).toEqual({ released: false, message: 'one more person has to ask' });
  const list = await call('GET', '/api/v1/approvals');
  expect(list.json.approvals[0].devices).toEqual([{ device: 0, token: '0x8000' }]);
  const bad = await call('POST', '/api/v1/approvals', { body: { planDigest: 'zz' } });
  expect([bad.status, bad.json.code]).toEqual([400, 'REQUEST_MALFORMED']);
  const good = await call('POST', '/api/v1/approvals', { body: { planDigest: 'ab'.repeat(32) } });
  expect(good.json.approvedBy).toBe('alice');
});

it('serves audit only from the clearance SECRET up, and metrics as Prometheus text', async () => {
  const bob = { authorization: 'Bearer token-bob' };
  const low = await call('GET', '/api/v1/audit', { headers: bob });
  expect([low.status, low.json.code]).toEqual([403, 'CLEARANCE_TOO_LOW']);
  expect((await call('GET', '/api/v1/audit/verify')).json).toMatchObject({ intact: true });
  const metrics = await call('GET', '/metrics');
  expect(metrics.text).toMatch(
    /dsmil_interface_calls_total\{operation="audit",transport="rest",result="CLEARANCE_TOO_LOW"\} 1/,
  );
});

it('describes every registered route in OpenAPI 3.1 and nothing else', async () => {
  const { json } = await call('GET', '/api/v1/openapi.json', { headers: {} });
  expect(json.openapi).toBe('3.1.0');
  const described = Object.entries(json.paths as Record<string, object>).flatMap(
    ([path, methods]) =>
      Object.keys(methods).map(
        (method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`,
      ),
  );
  expect(described.sort()).toEqual([...app.registered()].sort());
});

it('drops bytes that are no HTTP and goes on serving', async () => {
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    ca: authority.authority,
    servername: 'localhost',
  });
  const answer = await new Promise<string>((resolve) => {
    let text = '';
    socket.on('secureConnect', () => socket.write('\u0000\u0001 not http\r\n\r\n'));
    socket.on('data', (part: Buffer) => {
      text += part.toString();
    });
    socket.on('close', () => resolve(text));
  });
  expect(answer).toBe('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  expect((await call('GET', '/api/v1/health')).json.healthy).toBe(true);
});

it('names the registers that a device has to whoever may see the device, and to nobody else', async () => {
  const asked = { operation: 'READ', device: 0, registers: [{ name: 'NOPE' }] };
  const { spec } = smallBoard().devices[0]?.registers[0] ?? {};
  const told = await operate(asked);
  expect(told.json.code).toBe('REGISTER_UNKNOWN');
  expect(told.json.finding).toContain(`it has ${spec?.name},`);
  expect(told.json.finding).not.toContain('NOPE');
  const bob = orchestrator.accounts.get('token-bob');
  if (bob !== undefined) orchestrator.accounts.set('token-bob', { ...bob, devices: [1] });
  const foreign = await operate(asked, { headers: { authorization: 'Bearer token-bob' } });
  expect(foreign.json.code).toBe('REGISTER_UNKNOWN');
  expect(foreign.json.finding).toBe('has no register of the given name');
});

it('brakes an address that guesses tokens, and not one that signs in rightly again and again', async () => {
  const statuses = new Set<number>();
  for (let turn = 0; turn < 25; turn++) statuses.add((await call('GET', '/api/v1/auth/me')).status);
  expect([...statuses]).toEqual([200]);
  const guesses: number[] = [];
  for (let turn = 0; turn < 25; turn++) {
    const headers = { authorization: `Bearer guess-${turn}` };
    guesses.push((await call('GET', '/api/v1/auth/me', { headers })).status);
  }
  expect(guesses.slice(0, 20)).toEqual(Array(20).fill(401));
  expect(guesses.at(-1)).toBe(429);
});

it('says that security is away instead of failing', async () => {
  orchestrator.broken = fault('TRACK_UNAVAILABLE', {
    place: 'security',
    finding: 'does not answer',
  });
  const health = await call('GET', '/api/v1/health', { headers: {} });
  expect([health.status, health.json]).toEqual([
    503,
    {
      healthy: false,
      state: 'DEGRADED',
      stopEngaged: false,
      tracks: { kernel: false, security: false, interface: true },
    },
  ]);
});

it('limits the requests of one identity whatever connection they come by', async () => {
  const limits = {
    ...service.limits,
    perPrincipal: { perSecond: 0.001, burst: 3 },
  };
  const strictService = new InterfaceService({
    orchestrator,
    board: smallBoard(),
    clock: systemClock,
    limits,
  });
  const strictApp = await RestApp.start(strictService);
  const strictServer = new HttpServer(strictApp, tls);
  const listening = await strictServer.listen({ host: '127.0.0.1', port: 0 });
  if (!listening.ok) throw new Error(listening.fault.finding);
  const statuses: number[] = [];
  const waits: unknown[] = [];
  for (let turn = 0; turn < 5; turn++) {
    const answer = await call('GET', '/api/v1/auth/me', { port: listening.value });
    statuses.push(answer.status);
    waits.push(answer.headers['retry-after']);
  }
  expect(statuses).toEqual([200, 200, 200, 429, 429]);
  expect(waits.slice(0, 3)).toEqual([undefined, undefined, undefined]);
  // One token in 1,000 seconds: what is left of them says how long to wait.
  for (const wait of waits.slice(3)) {
    expect(wait).toMatch(/^\d+$/);
    expect(Number(wait)).toBeGreaterThan(0);
    expect(Number(wait)).toBeLessThanOrEqual(1_000);
  }
  const stop = await call('POST', '/api/v1/emergency-stop', { port: listening.value, body: {} });
  expect(stop.status).toBe(200);
  expect(orchestrator.refusals.filter(({ code }) => code === 'RATE_LIMITED')).toHaveLength(1);
  await strictServer.close();
  await strictApp.close();
  strictService.close();
});
