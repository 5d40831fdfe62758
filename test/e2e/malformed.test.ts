// Bytes that are no request, at every door: a catalogued answer or a closed connection, and the agent works on.

import { readFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { GrpcPerson } from './support/grpc-person.ts';
import { JUSTIFICATION } from './support/rest-person.ts';
import { Scene } from './support/scene.ts';

let scene: Scene;
let grpc: GrpcPerson;

beforeAll(async () => {
  scene = await Scene.open();
  grpc = GrpcPerson.byToken(scene.agent.ready, 1);
  await scene.metal.forget();
});

afterAll(async () => {
  grpc?.close();
  await scene?.close();
});

// After each attempt every door still answers, and nothing was written or restarted.
afterEach(async () => {
  expect((await scene.first.read('0x8000')).status).toBe(200);
  expect((await grpc.health()).healthy).toBe(true);
  expect(await scene.writes()).toBe(0);
  expect(scene.undisturbed).toBe(true);
});

/** Bytes from a seed, so that a failure can be repeated. */
function noise(seed: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[index] = state >>> 16;
  }
  return bytes;
}

/** Sends bytes and gives what came back until the far end closed, or until half a second of silence. */
function exchange(socket: Socket, bytes: Buffer | string): Promise<string> {
  return new Promise((resolve) => {
    let received = '';
    const end = (): void => {
      socket.destroy();
      resolve(received);
    };
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
    });
    socket.on('error', end);
    socket.on('close', end);
    socket.setTimeout(500, end);
    socket.write(bytes);
  });
}

function tls(address: string, protocols: readonly string[]): Promise<TLSSocket> {
  const [host = '', port] = address.replace(/^https:\/\//, '').split(':');
  const ca = readFileSync(scene.agent.ready.ca);
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host, port: Number(port), ca, ALPNProtocols: [...protocols] }, () =>
      resolve(socket),
    );
    socket.once('error', reject);
  });
}

describe('REST', () => {
  const body = { operation: 'WRITE', device: '0x8000', registers: [{ name: 'CONFIG', value: 1 }] };
  it.each<[string, unknown, number, string]>([
    [
      'a body above 64 KiB',
      { ...body, justification: 'x'.repeat(66_000) },
      413,
      'REQUEST_TOO_LARGE',
    ],
    ['text that is no JSON', '{"operation":', 400, 'REQUEST_MALFORMED'],
    ['an empty body', '', 400, 'REQUEST_MALFORMED'],
    ['a list', [body], 400, 'REQUEST_MALFORMED'],
    ['an unknown member', { ...body, force: true }, 400, 'REQUEST_MALFORMED'],
    [
      'a poisoned prototype',
      '{"operation":"READ","device":0,"__proto__":{"x":1}}',
      400,
      'REQUEST_MALFORMED',
    ],
    ['deep nesting', '['.repeat(20_000), 400, 'REQUEST_MALFORMED'],
    ['an unknown operation', { ...body, operation: 'ERASE' }, 400, 'REQUEST_MALFORMED'],
    [
      '65 registers',
      { ...body, registers: Array.from({ length: 65 }, () => ({ name: 'CONFIG', value: 1 })) },
      400,
      'REQUEST_MALFORMED',
    ],
    [
      '85 targets',
      { operation: 'READ', targets: Array.from({ length: 85 }, (_, device) => ({ device })) },
      400,
      'REQUEST_MALFORMED',
    ],
    ['device and targets at once', { ...body, targets: [{ device: 1 }] }, 400, 'REQUEST_MALFORMED'],
    [
      'a device named twice',
      { operation: 'READ', targets: [{ device: 0 }, { device: '0x8000' }] },
      400,
      'REQUEST_MALFORMED',
    ],
    ['an operation id with blanks', { ...body, operationId: 'a b' }, 400, 'REQUEST_MALFORMED'],
  ])('refuses %s', async (_what, sent, status, code) => {
    const answer = await scene.first.call('POST', 'operations', sent);
    expect([answer.status, answer.json?.code]).toEqual([status, code]);
    expect(answer.headers['content-type']).toContain('application/problem+json');
    expect(answer.text).not.toMatch(/node_modules|\.ts:|Error:|SyntaxError/);
  });

  it('refuses another content type, another method and another path', async () => {
    const text = await scene.first.call('POST', 'operations', 'operation=READ', {
      'content-type': 'application/x-www-form-urlencoded',
    });
    expect([text.status, text.json.code]).toEqual([400, 'REQUEST_MALFORMED']);
    for (const [method, path] of [
      ['DELETE', 'operations'],
      ['GET', 'nothing'],
      ['GET', '/etc/passwd'],
    ] as const) {
      const { status, json } = await scene.first.call(method, path);
      expect([path, status, json.code]).toEqual([path, 404, 'OPERATION_UNSUPPORTED']);
    }
  });

  it.each<[string, Buffer | string]>([
    ['noise', noise(1, 70_000)],
    ['a request line without an end', `GET /${'a'.repeat(70_000)}`],
    ['headers without an end', `GET / HTTP/1.1\r\n${'X-A: b\r\n'.repeat(10_000)}`],
    [
      'two lengths',
      'POST /api/v1/operations HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    ],
    [
      'a bad chunk',
      'POST /api/v1/operations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n',
    ],
  ])('takes %s for no request', async (_what, bytes) => {
    const answer = await exchange(await tls(scene.agent.ready.http, ['http/1.1']), bytes);
    expect(answer).toMatch(/^(HTTP\/1\.1 (400|431) |$)/);
    const local = await exchange(connect(scene.agent.ready.socket), bytes);
    expect(local).toMatch(/^(HTTP\/1\.1 (400|431) |$)/);
  });

  it('takes plain text at a TLS port for no connection', async () => {
    const { hostname, port } = new URL(scene.agent.ready.http);
    const answer = await exchange(connect(Number(port), hostname), 'GET / HTTP/1.1\r\n\r\n');
    expect(answer).not.toContain('HTTP/1.1 200');
  });
});

describe('gRPC', () => {
  const COORDINATE = '/dsmil.communication.v1.DsmilCommunicationService/CoordinateOperation';

  /** One raw call; the gRPC status of its trailers, or of its only headers. */
  async function call(path: string, payload: Buffer): Promise<string> {
    const session = connectHttp2(`https://${scene.agent.ready.grpc}`, {
      ca: readFileSync(scene.agent.ready.ca),
      servername: '',
    });
    try {
      return await new Promise((resolve, reject) => {
        session.once('error', reject);
        const stream = session.request({
          ':method': 'POST',
          ':path': path,
          'content-type': 'application/grpc',
          te: 'trailers',
          authorization: `Bearer ${scene.agent.ready.people[0]?.token}`,
        });
        const take = (headers: { readonly 'grpc-status'?: unknown }): void => {
          if (headers['grpc-status'] !== undefined) resolve(String(headers['grpc-status']));
        };
        stream.once('response', take);
        stream.once('trailers', take);
        stream.once('error', () => resolve('reset'));
        stream.once('close', () => resolve('closed'));
        stream.resume();
        stream.end(payload);
      });
    } finally {
      session.destroy();
    }
  }

  function frame(message: Buffer, flag = 0, length = message.length): Buffer {
    const head = Buffer.alloc(5);
    head.writeUInt8(flag, 0);
    head.writeUInt32BE(length, 1);
    return Buffer.concat([head, message]);
  }

  it.each<[string, string, Buffer, RegExp]>([
    [
      'a method that is not there',
      COORDINATE.replace('Coordinate', 'Forget'),
      frame(Buffer.alloc(0)),
      /^12$/,
    ],
    ['a message above 64 KiB', COORDINATE, frame(Buffer.alloc(65 * 1024)), /^8$/],
    ['a length of 4 GiB', COORDINATE, frame(Buffer.alloc(16), 0, 0xffff_ffff), /^8$/],
    [
      'bytes that are no protobuf',
      COORDINATE,
      frame(Buffer.from('ffffffffffffffff', 'hex')),
      /^(3|13)$/,
    ],
    ['a field cut short', COORDINATE, frame(Buffer.from([0x0a, 0x7f, 0x41])), /^(3|13)$/],
    ['a compression that was not announced', COORDINATE, frame(noise(3, 32), 1), /^(12|13)$/],
    ['no message at all', COORDINATE, Buffer.alloc(0), /^(3|12|13)$/],
    [
      'a message that ends early',
      COORDINATE,
      frame(Buffer.alloc(4), 0, 400),
      /^(3|12|13|reset|closed)$/,
    ],
  ])('refuses %s', async (_what, path, payload, status) => {
    expect(await call(path, payload)).toMatch(status);
  });

  it.each<[string, Buffer]>([
    ['noise', noise(5, 40_000)],
    [
      'a preface and noise',
      Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), noise(7, 40_000)]),
    ],
    [
      'a frame of 16 MiB',
      Buffer.concat([
        Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
        Buffer.from('ffffff0000000000 00'.replace(' ', ''), 'hex'),
      ]),
    ],
    ['HTTP/1.1', Buffer.from(`POST ${COORDINATE} HTTP/1.1\r\nHost: x\r\n\r\n`)],
  ])('takes %s for no connection', async (_what, bytes) => {
    await exchange(await tls(scene.agent.ready.grpc, ['h2']), bytes);
  });
});

it('all of it together left a whole audit chain', async () => {
  expect((await scene.first.get('audit/verify')).intact).toBe(true);
  const worked = await scene.second.operate({
    operation: 'WRITE',
    device: '0x8000',
    registers: [{ name: 'CONFIG', value: 0x42 }],
    justification: JUSTIFICATION,
  });
  expect(worked.receipt?.effect).toBe('committed');
  expect(await scene.held('tpm-control', 'CONFIG', 0x42n)).toBe(0x42n);
  await scene.metal.forget();
});
