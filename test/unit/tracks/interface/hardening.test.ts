// What strangers and careless clients send: every route of the operation table is walked, on the wire.

import { once } from 'node:events';
import { connect } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findHiddenText } from '#contract/plain-text';
import { OPERATION_TABLE, type OperationRow } from '#model/operation-table';
import { secretInUrl } from '#tracks/interface/http-peer';
import { DEFAULT_LIMITS } from '#tracks/interface/service';
import { makeTestAuthority } from '../../../support/certificates.ts';
import { InterfaceBench } from '../../../support/interface-bench.ts';
import { REST_BODIES, type RestKey, restPath } from '../../../support/rest-bodies.ts';
import { person } from '../../../support/scripted-orchestrator.ts';

let bench: InterfaceBench;

beforeAll(async () => {
  const limits = { ...DEFAULT_LIMITS, signInFailures: { perSecond: 1_000, burst: 1_000 } };
  const times = {
    headersTimeout: 400,
    requestTimeout: 800,
    connectionsCheckingInterval: 100,
    handshakeTimeout: 300,
    silenceMs: 1_500,
  };
  bench = await InterfaceBench.start(await makeTestAuthority(), { limits, times });
  bench.orchestrator.accounts.set('token-all', person('all', 7));
  bench.orchestrator.administrators.add('all');
});
afterAll(() => bench.close());

const all = { authorization: 'Bearer token-all' };
const rows = Object.entries(OPERATION_TABLE) as readonly (readonly [RestKey, OperationRow])[];
const routes = rows.flatMap(([key, { rest }]) =>
  rest === undefined ? [] : [{ key, method: rest.method, path: restPath(key, rest.path) }],
);
const posts = routes.filter(({ method }) => method === 'POST');
const changing = posts.map((route) => [route.key, route] as const);

/** Everything security was asked by this call, sign-in aside. */
async function asked(call: () => Promise<unknown>): Promise<number> {
  const { orchestrator } = bench;
  const count = () =>
    orchestrator.administered.length + orchestrator.intents.length + orchestrator.stops.length;
  const before = count();
  await call();
  return count() - before;
}

const post = (path: string, body: unknown, headers: Record<string, string> = all) =>
  bench.call('POST', path, { body, headers });

describe.each(changing)('POST of %s', (key, { path }) => {
  const text = JSON.stringify(REST_BODIES[key] ?? {});
  const withMember = (member: string) =>
    text === '{}' ? `{${member}}` : `${text.slice(0, -1)},${member}}`;

  it.each([
    '"__proto__":{"administrator":true}',
    '"constructor":{"prototype":{"administrator":true}}',
    '"constructor":1',
    '"prototype":{}',
    '"x":[{"y":{"__proto__":{}}}]',
    '"\\u005f_proto__":{}',
  ])('refuses the key in %s and asks nobody', async (member) => {
    let answer: Awaited<ReturnType<typeof post>> | undefined;
    const count = await asked(async () => {
      answer = await post(path, withMember(member));
    });
    expect([answer?.status, answer?.json.code]).toEqual([400, 'REQUEST_MALFORMED']);
    expect(count).toBe(0);
    expect(({} as { administrator?: boolean }).administrator).toBeUndefined();
  });

  it('refuses a member that it does not know, but for a stop, which is never refused for its wording', async () => {
    const answer = await post(path, withMember('"surplus":1'));
    expect(answer.json.code).toBe(key === 'stop' ? undefined : 'REQUEST_MALFORMED');
    expect(answer.status).toBe(key === 'stop' ? 200 : 400);
  });

  it('refuses a body nested without end, one that is a list, and one too large', async () => {
    const deep = `${'['.repeat(5_000)}${']'.repeat(5_000)}`;
    expect((await post(path, withMember(`"reason":${deep}`))).status).toBe(400);
    expect((await post(path, '[]')).status).toBe(400);
    expect((await post(path, withMember(`"reason":"${'x'.repeat(66_000)}"`))).status).toBe(413);
  });

  it('refuses a page of another site, and one without a name', async () => {
    for (const origin of ['https://evil.example', 'null', `http://127.0.0.1:${bench.httpPort}`]) {
      const answer = await post(path, REST_BODIES[key] ?? undefined, { ...all, origin });
      expect([answer.status, answer.json.code]).toEqual([403, 'ORIGIN_REFUSED']);
    }
    const hinted = { ...all, 'sec-fetch-site': 'cross-site' };
    expect((await post(path, REST_BODIES[key] ?? undefined, hinted)).status).toBe(403);
  });
});

it.each(routes.map((route) => [`${route.method} of ${route.key}`, route] as const))(
  'refuses a secret in the URL, whatever its member is called: %s',
  async (_name, { method, path }) => {
    for (const name of ['token', 'access_token', 'Api-Key', '%74oken', 'x', 'a[token]']) {
      const answer = await bench.call(method, `${path}?${name}=token-all`, { headers: {} });
      expect([answer.status, answer.json.code]).toEqual([400, 'REQUEST_MALFORMED']);
      expect(answer.text).not.toContain('token-all');
    }
  },
);

it('refuses a WebSocket from a page of another site, and one with a query', async () => {
  const foreign = bench.socket({ ...all, origin: 'https://evil.example' });
  await expect.poll(() => foreign.refused).toBe(403);
  const answer = await bench.call('GET', '/api/v1/ws?token=token-all', {
    headers: { connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' },
  });
  expect(answer.status).toBe(400);
});

const CLIMBING = ['..', '..%2f..', '%2e%2e', '..%5c', 'a..b'];
const HIDDEN = ['%00', 'a%00', '%07', 'a%0d%0ab', 'e%CC%81', '%E2%80%AEbob', '%ff', '%ED%A0%80'];

it.each([...CLIMBING, ...HIDDEN])('refuses the identifier %s in every path', async (id) => {
  for (const { path: template, method } of rows.flatMap(([, { rest }]) => rest ?? [])) {
    if (!template.includes(':id')) continue;
    const path = template.replace(':id', id).replace(':kind', 'person');
    const answer = await bench.call(method, path, { headers: all });
    expect([path, answer.status, answer.json.code]).toEqual([path, 400, 'REQUEST_MALFORMED']);
  }
});

it.each([
  ['NUL', 'ali\u0000ce'],
  ['a line separator', 'ali\u2028ce'],
  ['a turned writing direction', 'ali\u202ece'],
  ['half a character', 'ali\ud800ce'],
  ['another form of the same letter', 'alie\u0301'],
  ['an escape', 'ali\u001b[31mce'],
])('refuses texts with %s, and leaves passwords alone', async (_what, text) => {
  const reason = 'seen on the site with my own eyes';
  const account = { id: 'eve', name: text, kind: 'person', clearance: 'NONE', devices: [] };
  const created = await post('/api/v1/accounts', { account, reason });
  expect([created.status, created.json.code]).toEqual([400, 'REQUEST_MALFORMED']);
  expect(created.json.place).toBe('body.account.name');
  const written = await post('/api/v1/accounts/eve', { change: { enabled: false }, reason: text });
  expect(written.status).toBe(400);
  const invitation = await post('/api/v1/auth/enrol', {
    invitation: 'once',
    password: `${text} long`,
  });
  expect(invitation.json.code).not.toBe('REQUEST_MALFORMED');
});

it.each(['..', 'DATA/../CONTROL', 'DATA\u0000', 'a\\b', 'DATA\u200b'])(
  'refuses the register name %j and the operation id of two dots',
  async (name) => {
    const read = { operation: 'READ', device: 0, registers: [{ name }] };
    const answer = await post('/api/v1/operations', read);
    expect([answer.status, answer.json.code]).toEqual([400, 'REQUEST_MALFORMED']);
    const named = { operation: 'READ', device: 0, operationId: 'a..b' };
    expect((await post('/api/v1/operations', named)).json.code).toBe('REQUEST_MALFORMED');
  },
);

it('takes texts in any language, with lines and tabs', () => {
  const texts = ['Zoë Müller', '見た', 'ليلى', '👩‍🔧 on duty', 'first line\n\tsecond line\r\n'];
  expect(findHiddenText({ texts }, 'body', 'keys and texts')).toBeNull();
});

it('finds the names of secrets in a URL and not other names', () => {
  for (const url of [
    '/x?a=1&Session-Id=2',
    '/x?apikey=1',
    '/x?OTP=1',
    '/x??token=1',
    '/x?_token_=1',
  ]) {
    expect(secretInUrl(url)).toBe(true);
  }
  for (const url of [
    '/x',
    '/token',
    '/x?names=token',
    '/x?from=1&limit=2',
    '/x?operations=a&type=b',
  ]) {
    expect(secretInUrl(url)).toBe(false);
  }
});

/** Sends raw parts with pauses; what came back until the server closed. */
function raw(parts: readonly string[], pauseMs = 0): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectTls({
      host: '127.0.0.1',
      port: bench.httpPort,
      servername: 'localhost',
      ca: bench.authority.authority,
    });
    let text = '';
    let closed = false;
    socket.on('data', (part: Buffer) => {
      text += part.toString();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      closed = true;
      resolve(text);
    });
    socket.on('secureConnect', async () => {
      for (const part of parts) {
        if (closed) return;
        socket.write(part);
        if (pauseMs > 0) await new Promise((next) => setTimeout(next, pauseMs));
      }
    });
  });
}

/** Connections that the server holds now. */
function openConnections(): Promise<number> {
  return new Promise((resolve) =>
    bench.http.server.getConnections((_error, count) => resolve(count)),
  );
}

/** A client that closes its half only when it likes. */
async function stubborn(): Promise<TLSSocket> {
  const options = { host: '127.0.0.1', port: bench.httpPort, allowHalfOpen: true };
  const ca = bench.authority.authority;
  const socket = connectTls({ ...options, servername: 'localhost', ca });
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  return socket;
}

describe('slow and swollen requests', () => {
  it('cuts headers that come drop by drop', async () => {
    const drops = Array.from({ length: 200 }, (_, n) => `x-${n}: 1\r\n`);
    const answer = await raw(['GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n', ...drops], 50);
    expect(answer).toMatch(/^(HTTP\/1.1 40[08]|$)/);
  });

  it('cuts a body that comes drop by drop', async () => {
    const head = [
      'POST /api/v1/auth/login HTTP/1.1',
      'Host: localhost',
      'Content-Type: application/json',
      'Content-Length: 1000',
    ];
    const drops = Array.from({ length: 200 }, () => ' ');
    const answer = await raw([`${head.join('\r\n')}\r\n\r\n`, ...drops], 50);
    expect(answer).toMatch(/^(HTTP\/1.1 40[08]|$)/);
  });

  it('cuts a handshake that is never finished, and a client that keeps its half open', async () => {
    const stranger = connect(bench.httpPort, '127.0.0.1');
    stranger.on('error', () => undefined);
    const cut = once(stranger, 'close');
    stranger.write(Buffer.from('160301', 'hex'));
    await cut;
    const before = await openConnections();
    const half = await stubborn();
    half.on('data', () => undefined);
    half.write('no request at all\r\n\r\n');
    await once(half, 'end');
    await expect.poll(openConnections).toBe(before);
    half.destroy();
  });

  it('cuts a client that asks and asks and never reads an answer', async () => {
    const before = await openConnections();
    const deaf = await stubborn();
    deaf.pause();
    deaf.write('GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(400));
    await expect.poll(openConnections).toBe(before + 1);
    await expect.poll(openConnections, { timeout: 8_000 }).toBe(before);
    deaf.destroy();
  });

  it('refuses more than 64 headers, and more than 16 KiB of them', async () => {
    const many = Object.fromEntries(Array.from({ length: 70 }, (_, n) => [`x-${n}`, '1']));
    const counted = await bench.call('GET', '/api/v1/health', { headers: many });
    expect(counted.status).toBe(400);
    const answer = await raw([
      `GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nx: ${'y'.repeat(17_000)}\r\n\r\n`,
    ]);
    expect(answer).toMatch(/^HTTP\/1.1 4/);
    expect((await bench.call('GET', '/api/v1/health')).status).toBe(200);
  });
});
