// Named attacks from the network on the running agent: foreign pages, planted cookies, poisoned bodies, swollen and slow bytes.

import { connect as connectHttp2, constants } from 'node:http2';
import { connect as connectPlain } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { OPERATION_TABLE, type OperationRow } from '#model/operation-table';
import { eventually, pause } from '../e2e/support/scene.ts';
import { makeRequest, privateKeyPem } from '../support/certificate-requests.ts';
import { makeTestAuthority } from '../support/certificates.ts';
import { REST_BODIES, type RestKey, restPath } from '../support/rest-bodies.ts';
import { AttackScene, refusalOf } from './support/attack-scene.ts';
import { Conversation } from './support/conversation.ts';
import { GrpcCaller } from './support/grpc-caller.ts';
import { RawTls } from './support/raw-tls.ts';

let scene: AttackScene;

beforeAll(async () => {
  scene = await AttackScene.open();
  expect(scene.undisturbed).toBe(true);
});
afterAll(() => scene?.close());
beforeEach(() => scene.settleMetal());
afterEach(async () => {
  await scene.untouched();
  expect(scene.undisturbed).toBe(true);
  // Whoever has every right is served as before.
  const read = { operation: 'READ', device: '0x8000' };
  expect((await scene.first.call('POST', 'operations', read)).status).toBe(200);
});

const rows = Object.entries(OPERATION_TABLE) as readonly (readonly [RestKey, OperationRow])[];
const routes = rows.flatMap(([key, { rest }]) =>
  rest === undefined ? [] : [{ key, method: rest.method, path: restPath(key, rest.path) }],
);
const posts = routes.filter(({ method }) => method === 'POST');

async function cookieOf(headers: Record<string, string> = {}): Promise<string> {
  const body = { token: scene.token(0) };
  const answer = await scene.call('POST', 'auth/login', { body, headers });
  expect(answer.status, answer.text).toBe(200);
  const [setCookie = ''] = (answer.headers['set-cookie'] ?? []) as string[];
  return setCookie.split(';', 1)[0] ?? '';
}

describe('cross-site WebSocket', () => {
  it('a page of another site that the browser lends its cookie is refused before the upgrade', async () => {
    const cookie = await cookieOf();
    const { port } = new URL(scene.agent.ready.http);
    for (const headers of [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: `http://localhost:${port}` },
      { origin: `https://localhost.evil.example:${port}` },
      { origin: `https://localhost:${port}`, 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'cross-site' },
    ]) {
      const talk = new Conversation(scene, { headers: { ...headers, cookie } });
      expect([headers, await talk.refused()]).toEqual([headers, 403]);
    }
    // The same cookie from our own page is let in: it was the page that was refused.
    const own = new URL(scene.agent.ready.websocket).host;
    const talk = new Conversation(scene, { headers: { origin: `https://${own}`, cookie } });
    await talk.next('the welcome', ({ type }) => type === 'CONNECTION_ESTABLISHED');
    talk.end();
  });

  it('a page of another site that posts a form or a plain text operates nothing', async () => {
    const cookie = await cookieOf();
    const body = JSON.stringify({
      operation: 'WRITE',
      device: '0x8000',
      registers: [{ name: 'CONFIG', value: 1 }],
    });
    const types = ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'];
    for (const type of types) {
      const headers = { cookie, 'content-type': type };
      const answer = await scene.call('POST', 'operations', { body, headers });
      expect([type, ...refusalOf(answer)]).toEqual([type, 400, 'REQUEST_MALFORMED']);
    }
    const headers = { cookie, origin: 'https://evil.example' };
    const foreign = await scene.call('POST', 'operations', { body, headers });
    expect(refusalOf(foreign)).toEqual([403, 'ORIGIN_REFUSED']);
  });
});

describe('token in the URL', () => {
  it('is refused on every route, and neither answered nor logged', async () => {
    const token = scene.token(0);
    for (const { method, path } of routes) {
      const answer = await scene.call(method, `${path}?token=${token}`);
      expect([path, ...refusalOf(answer)]).toEqual([path, 400, 'REQUEST_MALFORMED']);
      expect(answer.text).not.toContain(token);
    }
    const talk = new Conversation(scene, {}, `?token=${token}`);
    expect(await talk.refused()).toBe(400);
    for (const name of ['interface', 'security', 'kernel'])
      expect(scene.agent.log(name)).not.toContain(token);
  });
});

describe('session fixation', () => {
  it('a cookie that was planted before the sign-in opens nothing after it', async () => {
    const planted = `__Host-dsmil_session=${'p'.repeat(43)}`;
    const cookie = await cookieOf({ cookie: planted });
    expect(cookie).not.toBe(planted);
    const me = (given: string) => scene.call('GET', 'auth/me', { headers: { cookie: given } });
    expect((await me(planted)).status).toBe(401);
    expect((await me(cookie)).status).toBe(200);
  });

  it("an attacker's own session that was planted ends when the victim signs in over it", async () => {
    const attackers = await cookieOf();
    const body = { token: scene.token(1) };
    const answer = await scene.call('POST', 'auth/login', { body, headers: { cookie: attackers } });
    const [setCookie = ''] = (answer.headers['set-cookie'] ?? []) as string[];
    const victims = setCookie.split(';', 1)[0] ?? '';
    const me = (cookie: string) => scene.call('GET', 'auth/me', { headers: { cookie } });
    expect((await me(attackers)).status).toBe(401);
    expect((await me(victims)).json).toMatchObject({ id: 'demo-supervisor' });
    // Two of one name, as a page that may set cookies for the whole site would have it, are none.
    expect((await me(`${attackers}; ${victims}`)).status).toBe(401);
    for (const flag of ['HttpOnly', 'Secure', 'SameSite=Strict', 'Path=/'])
      expect(setCookie).toContain(flag);
    expect(setCookie).not.toMatch(/domain/i);
  });
});

describe('prototype pollution', () => {
  const poison = [
    '"__proto__":{"administrator":true,"clearance":7}',
    '"constructor":{"prototype":{"administrator":true}}',
    '"x":[{"y":{"__proto__":{"administrator":true}}}]',
    '"\\u005f_proto__":{}',
  ];

  it('is refused in every body of every POST route, by whomever', async () => {
    const connections = scene.connections();
    for (const { key, path } of posts) {
      const text = JSON.stringify(REST_BODIES[key] ?? {});
      for (const member of poison) {
        const body = text === '{}' ? `{${member}}` : `${text.slice(0, -1)},${member}}`;
        const answer = await scene.call('POST', path, {
          body,
          headers: scene.bearer(0),
          ...{ connections },
        });
        expect([key, member, ...refusalOf(answer)]).toEqual([
          key,
          member,
          400,
          'REQUEST_MALFORMED',
        ]);
      }
    }
    connections.destroy();
    expect((await scene.call('GET', 'accounts')).status).toBe(401);
  });

  it('is refused in WebSocket messages, and makes nobody an administrator', async () => {
    const talk = await Conversation.with(scene, scene.token(0));
    for (const member of poison) talk.socket.send(`{"type":"PING",${member}}`);
    await eventually('the refusals', () =>
      talk.messages.filter(({ type }) => type === 'ERROR').length === poison.length
        ? true
        : undefined,
    );
    expect(talk.messages.some(({ type }) => type === 'PONG')).toBe(false);
    talk.end();
    const technician = await scene.call('GET', 'accounts', { local: true });
    expect(refusalOf(technician)).toEqual([403, 'NOT_PERMITTED']);
  });
});

describe('oversized and fragmented frames', () => {
  it('a WebSocket message above 64 KiB, whole or in parts, closes its own connection only', async () => {
    const other = await Conversation.with(scene, scene.token(1));
    const whole = await Conversation.with(scene, scene.token(0));
    whole.socket.send(JSON.stringify({ type: 'PING', padding: 'x'.repeat(70_000) }));
    expect((await whole.closed()).code).toBe(1009);
    const parts = await Conversation.with(scene, scene.token(0));
    for (let part = 0; part < 8; part++) parts.socket.send('x'.repeat(10_000), { fin: false });
    expect((await parts.closed()).code).toBe(1009);
    const many = await Conversation.with(scene, scene.token(0));
    for (let part = 0; part < 40; part++) many.socket.send('', { fin: false });
    expect([1002, 1008, 1009]).toContain((await many.closed()).code);
    other.send({ type: 'PING' });
    await other.next('the pong', ({ type }) => type === 'PONG');
    other.end();
  });

  it('a WebSocket frame that announces 2^62 bytes is refused at its header, without a byte of memory for it', async () => {
    for (const length of [2n ** 62n, 2n ** 63n + 5n, 70_000n]) {
      const raw = await RawTls.upgraded(scene);
      const head = Buffer.alloc(14);
      head.set([0x81, 0xff]);
      head.writeBigUInt64BE(length, 2);
      raw.write(head);
      const rest = await raw.ended();
      expect(rest.length).toBeLessThan(200);
    }
  });

  it('WebSocket frames without a mask, of unknown kinds and oversized pings close the connection', async () => {
    for (const frame of ['810141', '83820000000041', 'c1820000000041', '89fe00ff00000000']) {
      const raw = await RawTls.upgraded(scene);
      raw.write(Buffer.from(frame, 'hex'));
      await raw.ended();
    }
  });

  it('a gRPC message above 64 KiB, and one that announces 4 GiB, are refused with RESOURCE_EXHAUSTED', async () => {
    const grpc = new GrpcCaller(scene, { token: scene.token(0) });
    const write = {
      deviceId: 0x8000,
      operationType: 2,
      registers: [{ name: 'CONFIG', value: 1n }],
    };
    expect(await grpc.operate({ ...write, justification: 'x'.repeat(70_000) })).toBe('status 8');
    grpc.close();
    const path = '/dsmil.communication.v1.DsmilCommunicationService/CoordinateOperation';
    expect(await rawGrpc(path, [Buffer.from('00ffffffff', 'hex'), Buffer.alloc(100)])).toBe(8);
  });

  it('a gRPC message of one-byte frames that ends in the middle is refused, and operates nothing', async () => {
    const path = '/dsmil.communication.v1.DsmilCommunicationService/CoordinateOperation';
    const started = [0, 0, 0, 0, 40, 8, 1, 16, 128].map((byte) => Buffer.of(byte));
    expect(await rawGrpc(path, started)).not.toBe(0);
    // A compressed flag without a compression, and a message that is no protobuf.
    expect(await rawGrpc(path, [Buffer.from('0100000002ffff', 'hex')])).not.toBe(0);
    expect(await rawGrpc(path, [Buffer.from('0000000003ffffff', 'hex')])).not.toBe(0);
  });

  it('headers without end on HTTP/2, and a flood of requests that are taken back, cost only their own connection', async () => {
    const session = connectHttp2(`https://${grpcAddress()}`, { ca: scene.authority });
    session.on('error', () => undefined);
    const huge = session.request({
      ':path': '/x',
      ':method': 'POST',
      'x-long': 'y'.repeat(60_000),
    });
    huge.on('error', () => undefined);
    huge.end();
    for (let count = 0; count < 500 && !session.destroyed; count++) {
      const stream = session.request({ ':path': '/x', ':method': 'POST' });
      stream.on('error', () => undefined);
      stream.close(constants.NGHTTP2_CANCEL);
    }
    await pause(200);
    session.destroy();
    const grpc = new GrpcCaller(scene, { token: scene.token(0) });
    expect(await grpc.status()).toBe('');
    grpc.close();
  });
});

describe('slow headers and slow bodies', () => {
  it('lose their connections by the clock, while everybody else is served', async () => {
    const slow: RawTls[] = [];
    const head = 'POST /api/v1/operations HTTP/1.1\r\nHost: localhost\r\n';
    for (let count = 0; count < 40; count++) {
      const raw = await RawTls.open(scene);
      raw.write(Buffer.from(head));
      slow.push(raw);
    }
    let drops = 0;
    const dripping = setInterval(() => {
      drops += 1;
      for (const raw of slow) raw.write(Buffer.from(`x-${drops}: 1\r\n`));
    }, 500);
    // Meanwhile a body that does not come.
    const type = 'Content-Type: application/json\r\nContent-Length: 100';
    const body = await RawTls.open(scene);
    const credentials = `Authorization: Bearer ${scene.token(0)}`;
    body.write(Buffer.from(`${head}${credentials}\r\n${type}\r\n\r\n{`));
    const silent = await RawTls.open(scene);
    const handshakes = [scene.agent.ready.http, scene.agent.ready.grpc].map(unfinished);
    try {
      const read = { operation: 'READ', device: '0x8000' };
      for (let turn = 0; turn < 3; turn++)
        expect((await scene.first.call('POST', 'operations', read)).status).toBe(200);
      // 10 s for headers, looked at every second.
      for (const raw of slow) expect(await raw.ended(16_000)).toMatch(/^(HTTP\/1.1 40[08]|$)/);
      expect(body.isOpen).toBe(true);
      // And handshakes that were begun and never finished, on both ports.
      await Promise.all(handshakes);
    } finally {
      clearInterval(dripping);
      body.end();
      silent.end();
    }
  });
});

describe('path traversal on static files', () => {
  const climbs = [
    '/../../../../etc/passwd',
    '/..%2f..%2f..%2fetc%2fpasswd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/..%5c..%5cetc%5cpasswd',
    '/%252e%252e%252fetc%252fpasswd',
    '/....//....//etc/passwd',
    '/..;/..;/etc/passwd',
    '/%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd',
    '/%ef%bc%8e%ef%bc%8e/etc/passwd',
    '/index.html%00.png',
    '//etc/passwd',
    '/.git/config',
    '/security/agent.db',
    '/api/v1/../../security/agent.db',
    '/api/v1/devices/../../../etc/passwd',
    '/api/v1/devices/..%2f..%2f..%2f..%2fetc%2fpasswd/history',
    '/assets/../../../../etc/passwd',
    'https://evil.example/etc/passwd',
    'file:///etc/passwd',
    '*',
  ];

  it.each(climbs)('gives no file for %s, asked byte for byte', async (path) => {
    for (const method of ['GET', 'HEAD', 'POST']) {
      const raw = await RawTls.open(scene);
      raw.write(
        Buffer.from(
          `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n` +
            `Authorization: Bearer ${scene.token(0)}\r\nContent-Length: 0\r\n\r\n`,
        ),
      );
      const answer = await raw.ended();
      expect([path, method, /^HTTP\/1.1 (400|404)/.test(answer)]).toEqual([path, method, true]);
      expect(answer).not.toMatch(/root:|SQLite format|\[core\]/);
    }
  });
});

describe('identifiers that are not what they seem', () => {
  const ids = [
    '..',
    '..%2f..',
    '%2e%2e%2f',
    '..%5c',
    'demo-operator%00',
    '%00',
    'demo%E2%80%8Boperator',
    'd%D0%B5mo-operator',
    'demo-oper%C3%A0tor',
    'demo-operator%E2%80%AE',
    'demo%EF%BC%8Doperator',
    'DEMO-OPERATOR',
    'demo-operator%20',
    '__proto__',
  ];

  it.each(ids)('nothing is found or made under %s', async (id) => {
    for (const key of ['changeAccount', 'unlockAccount', 'revokeToken', 'device'] as const) {
      const { rest } = OPERATION_TABLE[key];
      const path = rest.path.replace(':id', id);
      const body = REST_BODIES[key];
      const answer = await scene.call(rest.method, path, {
        headers: scene.bearer(0),
        ...(body === null ? {} : { body }),
      });
      expect([400, 404]).toContain(answer.status);
    }
    const text = decodeURIComponent(id);
    const account = { id: text, name: 'x', kind: 'person', clearance: 'NONE', devices: null };
    const made = await scene.call('POST', 'accounts', {
      headers: scene.bearer(0),
      body: { account, reason: 'a name that looks like another' },
    });
    expect(refusalOf(made)).toEqual([400, 'REQUEST_MALFORMED']);
  });

  it('a register, a device and an operation with such a name are refused on every transport', async () => {
    const grpc = new GrpcCaller(scene, { token: scene.token(0) });
    for (const name of ['..', 'CONFIG\u0000', 'C\u041eNFIG', 'CONFIG\u200b', '../CONFIG']) {
      const request = {
        operation: 'WRITE',
        device: '0x8000',
        registers: [{ name, value: 1 }],
        justification: 'a name that looks like another',
      };
      const answer = await scene.first.call('POST', 'operations', request);
      expect([400, 404]).toContain(answer.status);
      const registers = [{ name, value: 1n }];
      const code = await grpc.operate({ deviceId: 0x8000, operationType: 2, registers });
      expect(['REQUEST_MALFORMED', 'REGISTER_UNKNOWN']).toContain(code);
    }
    grpc.close();
  });
});

describe('certificate with a look-alike name', () => {
  const NAME = 'urn:dsmil:principal:demo-operator';
  const lookAlikes = [
    `${NAME}/`,
    `${NAME}%00`,
    `${NAME}.evil.example`,
    ` ${NAME}`,
    NAME.toUpperCase(),
    'urn:dsmil:principal:demo-operat\u043er',
    'URN:dsmil:principal:demo-operator',
    'urn:dsmil:principal:demo%2Doperator',
    `https://evil.example/?${NAME}`,
  ];

  it('of another authority opens nothing, whatever its name is', async () => {
    const stranger = await makeTestAuthority('DSMIL appliance authority');
    for (const uris of [[NAME], [], [NAME, 'urn:dsmil:principal:demo-supervisor']]) {
      const { certificate: cert, key } = await stranger.client(...uris);
      const answer = await scene.call('GET', 'auth/me', { certificate: { cert, key } });
      expect(answer.status).toBe(401);
      const grpc = new GrpcCaller(scene, { cert, key });
      expect(await grpc.status()).toBe('NOT_AUTHENTICATED');
      grpc.close();
    }
  });

  it('cannot be had from our own authority, which takes the name from the account and not from the request', async () => {
    const account = { id: 'demo-operat0r', name: 'demo operator', kind: 'machine' };
    await scene.both('accounts', {
      account: { ...account, clearance: 'RESTRICTED', devices: null },
      reason: 'a name that looks like another',
    });
    const made = await makeRequest({ subject: 'CN=demo-operator', uris: [NAME, ...lookAlikes] });
    const body = { account: account.id, requestPem: made.pem, reason: 'a test of look-alikes' };
    const { certificatePem } = await scene.both('certificates', body);
    const certificate = { cert: String(certificatePem), key: privateKeyPem(made.key) };
    const me = await scene.call('GET', 'auth/me', { certificate });
    // Either it is the machine's own, or it opens nothing; never the operator's.
    expect(me.json.id).not.toBe('demo-operator');
    expect([200, 401]).toContain(me.status);
  });

  it('cannot be put into an account either: letters that look alike are refused', async () => {
    for (const uri of lookAlikes.filter((name) => /[^\x21-\x7e]/.test(name))) {
      const change = { certificateUris: [uri] };
      const body = { change, reason: 'a name that looks like another' };
      const answer = await scene.call('POST', 'accounts/demo-supervisor', {
        headers: scene.bearer(0),
        body,
      });
      expect(answer.status, uri).toBeGreaterThanOrEqual(400);
    }
    // One that another account has would make both open nothing.
    const taken = { change: { certificateUris: [NAME] }, reason: 'a name of somebody else' };
    const answer = await scene.call('POST', 'accounts/technician', {
      headers: scene.bearer(0),
      body: taken,
    });
    expect(answer.status).toBeGreaterThanOrEqual(400);
  });
});

/** Begins a TLS handshake and says no more; resolves when it was cut. */
function unfinished(address: string): Promise<void> {
  const { hostname, port } = new URL(address.replace(/^[a-z]+:\/\/|^/, 'https://'));
  const stranger = connectPlain(Number(port), hostname);
  stranger.on('error', () => undefined);
  stranger.write(Buffer.from('160301', 'hex'));
  return new Promise((resolve) => stranger.once('close', () => resolve()));
}

function grpcAddress(): string {
  return scene.agent.ready.grpc.replace(/^[a-z]+:\/\//, '').replace('127.0.0.1', 'localhost');
}

/** One gRPC call written by hand: its status, or that of the stream's end. */
function rawGrpc(path: string, parts: readonly Buffer[]): Promise<number> {
  return new Promise((resolve) => {
    const session = connectHttp2(`https://${grpcAddress()}`, { ca: scene.authority });
    session.on('error', () => resolve(-1));
    const stream = session.request({
      ':path': path,
      ':method': 'POST',
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: `Bearer ${scene.token(0)}`,
    });
    let status = -1;
    const note = (headers: Record<string, unknown>) => {
      if (headers['grpc-status'] !== undefined) status = Number(headers['grpc-status']);
    };
    stream.on('response', note);
    stream.on('trailers', note);
    stream.on('error', () => undefined);
    stream.on('data', () => undefined);
    stream.on('close', () => {
      session.close();
      resolve(status);
    });
    for (const part of parts) stream.write(part);
    stream.end();
  });
}
