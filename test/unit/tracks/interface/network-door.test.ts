// Both network doors before anybody has signed in: places, deadlines, and what goes on record of what came that was foreign.

import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { type AddressInfo, connect, type Socket } from 'node:net';
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer,
  type TLSSocket,
} from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { ConnectionGate } from '#tracks/interface/connection-gate';
import { DEFAULT_LIMITS } from '#tracks/interface/limits';
import { HANDSHAKE_MS, NetworkDoor } from '#tracks/interface/network-door';
import { StrangerReports } from '#tracks/interface/stranger-reports';
import { secureContext } from '#tracks/interface/tls-material';
import {
  type CertificateAndKey,
  makeTestAuthority,
  type TestAuthority,
} from '../../../support/certificates.ts';
import { InterfaceBench } from '../../../support/interface-bench.ts';

/** For anything that the other side does, however loaded the machine is. */
const PATIENCE = { timeout: 15_000 };
const STRANGER = '127.0.0.2';
const ALICE = 'urn:dsmil:person:alice';

let authority: TestAuthority;
let bench: InterfaceBench;
const open: Socket[] = [];

beforeAll(async () => {
  authority = await makeTestAuthority();
});
afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await bench.close();
});

async function start(perAddress = 4, total = 8, handshakeTimeout = HANDSHAKE_MS): Promise<void> {
  const limits = { ...DEFAULT_LIMITS, connections: { total, perAddress } };
  bench = await InterfaceBench.start(authority, { limits, times: { handshakeTimeout } });
}

const doors = [
  ['HTTPS', 'http/1.1', () => bench.httpPort],
  ['gRPC', 'h2', () => bench.grpcPort],
] as const;

/** However it closes: a reset is an error before it is the end. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** A bare connection, and whether it is still there. */
function knock(port: number, from = STRANGER): { readonly socket: Socket; closed: boolean } {
  const socket = connect({ port, host: '127.0.0.1', localAddress: from });
  const knocked = { socket, closed: false };
  socket.on('error', () => undefined);
  socket.on('data', () => undefined);
  socket.on('close', () => {
    knocked.closed = true;
  });
  open.push(socket);
  return knocked;
}

function shake(port: number, options: ConnectionOptions = {}): TLSSocket {
  const socket = connectTls({
    ...{ port, host: '127.0.0.1', servername: 'localhost', ca: authority.authority },
    ...{ localAddress: STRANGER, ...options },
  } as ConnectionOptions);
  socket.on('error', () => undefined);
  socket.on('data', () => undefined);
  open.push(socket);
  return socket;
}

const showing = ({ certificate: cert, key }: CertificateAndKey) => ({ cert, key });

/** What went on record about the stranger, as `CODE text`. */
function entries(): readonly string[] {
  return bench.orchestrator.refusals
    .filter(({ origin }) => origin.peer.startsWith(`${STRANGER}:`))
    .map(({ code, finding }) => `${code} ${finding}`);
}

async function onRecord(entry: string): Promise<void> {
  await expect.poll(entries, PATIENCE).toEqual([entry]);
}

async function served(): Promise<void> {
  const answer = await bench.call('GET', '/api/v1/system/status');
  expect(answer.status).toBe(200);
}

describe.each(doors)('%s', (name, protocol, port) => {
  it('refuses the connection over the share of its address before TLS, and serves others meanwhile', async () => {
    await start();
    const held = Array.from({ length: 4 }, () => knock(port()));
    await expect.poll(() => bench.service.gate.openOf(STRANGER), PATIENCE).toBe(4);
    const over = knock(port());
    await expect.poll(() => over.closed, PATIENCE).toBe(true);
    expect(held.some(({ closed }) => closed)).toBe(false);
    await served();
    await onRecord(`RATE_LIMITED ${name}: holds as many connections as one address may`);
    held[0]?.socket.destroy();
    await expect.poll(() => bench.service.gate.openOf(STRANGER), PATIENCE).toBe(3);
    const again = shake(port(), { ALPNProtocols: [protocol] });
    await once(again, 'secureConnect');
  });

  it('counts nobody any more when everybody has gone', async () => {
    await start();
    for (let turn = 0; turn < 3; turn++) {
      const knocks = [knock(port()), knock(port(), '127.0.0.3')];
      const shaken = shake(port(), { ALPNProtocols: [protocol] });
      await once(shaken, 'secureConnect');
      knocks[0]?.socket.write('no TLS at all');
      knocks[1]?.socket.end();
      shaken.destroy();
    }
    await expect.poll(() => bench.service.gate.open, PATIENCE).toBe(0);
    expect(bench.service.gate.counts).toMatchObject({ known: 0, strangers: 0, addresses: 0 });
  });

  it.each([
    ['text', 'hello, is anybody there?\r\n\r\n', 'sent bytes that are no TLS'],
    ['zeros', '\0'.repeat(200), 'sent bytes that are no TLS'],
    ['HTTP without TLS', 'GET / HTTP/1.1\r\n\r\n', 'sent HTTP without TLS'],
    ['another banner', 'SSH-2.0-OpenSSH_9.9\r\n', 'sent bytes that are no TLS'],
  ])('puts %s on record without repeating it, once with a count', async (_what, bytes, finding) => {
    await start(64, 64);
    for (let turn = 0; turn < 20; turn++) {
      const { socket } = knock(port());
      await once(socket, 'connect');
      socket.write(bytes);
      await closed(socket);
    }
    await onRecord(`REQUEST_MALFORMED ${name}: ${finding}`);
    const counted = [...bench.service.strangers.counts.values()];
    expect(counted).toEqual([20]);
    await served();
  });

  it('knows the address of bytes whose sender is gone by a reset at once', async () => {
    await start(64, 64);
    const { socket } = knock(port());
    await once(socket, 'connect');
    socket.write('no TLS at all', () => socket.resetAndDestroy());
    await expect.poll(() => bench.service.gate.open, PATIENCE).toBe(0);
    const unknown = bench.orchestrator.refusals.filter(({ origin }) =>
      origin.peer.startsWith('unknown'),
    );
    expect(unknown).toEqual([]);
  });

  it('says nothing of a connection that was only opened, and of a client that does not trust us', async () => {
    await start();
    const { socket } = knock(port());
    await once(socket, 'connect');
    socket.end();
    const distrust = shake(port(), { ca: [], maxVersion: 'TLSv1.2', ALPNProtocols: [protocol] });
    await closed(distrust);
    await expect.poll(() => bench.service.gate.open, PATIENCE).toBe(0);
    expect(entries()).toEqual([]);
  });

  it('cuts a handshake that drips for ever at its deadline', async () => {
    await start(4, 8, 600);
    const { socket } = knock(port());
    const gone = closed(socket);
    // A record header that announces more than ever comes, one byte at a time.
    const hello = Buffer.concat([
      Buffer.from('1603010400', 'hex'),
      Buffer.from('010003fc0303', 'hex'),
    ]);
    let at = 0;
    const dripping = setInterval(() => socket.write(Buffer.of(hello[at++] ?? 0)), 50);
    await gone;
    clearInterval(dripping);
    await onRecord(`REQUEST_MALFORMED ${name}: did not finish its TLS handshake in time`);
  });

  it.each([
    [
      'of another authority',
      async () => (await makeTestAuthority('somebody else')).client(ALICE),
      'showed a certificate that the authority of this appliance did not sign',
    ],
    [
      'of an authority that calls itself ours',
      async () => (await makeTestAuthority()).client(ALICE),
      'showed a certificate that the authority of this appliance did not sign',
    ],
    [
      'that has expired',
      () => authority.expiredClient(ALICE),
      'showed a certificate that has expired',
    ],
    [
      'that names two accounts',
      () => authority.client(ALICE, 'urn:dsmil:person:bob'),
      'showed a certificate of this appliance that does not name exactly one account',
    ],
    ['for a server', () => authority.server(), 'showed a certificate that is not good for this'],
  ])('puts a certificate %s on record at the handshake', async (_what, make, finding) => {
    await start();
    const shaken = shake(port(), { ALPNProtocols: [protocol], ...showing(await make()) });
    await once(shaken, 'secureConnect');
    await onRecord(`CERTIFICATE_REFUSED ${name}: ${finding}`);
    expect(bench.orchestrator.authentications).toEqual([]);
  });

  it('puts a revoked certificate on record and gives it no connection', async () => {
    await start();
    const revoked = await authority.client(ALICE);
    const revocationList = await authority.revocationList(revoked);
    for (const server of [bench.http, bench.grpc]) {
      expect(server.replaceTls({ ...bench.tls, revocationList }).ok).toBe(true);
    }
    const shaken = shake(port(), { ALPNProtocols: [protocol], ...showing(revoked) });
    await closed(shaken);
    await onRecord(`CERTIFICATE_REFUSED ${name}: showed a certificate that was revoked`);
  });

  it('says nothing of a good certificate, and takes its connection for known', async () => {
    await start();
    const pair = await authority.client(ALICE);
    await once(shake(port(), { ALPNProtocols: [protocol], ...showing(pair) }), 'secureConnect');
    await once(shake(port(), { ALPNProtocols: [protocol] }), 'secureConnect');
    await expect
      .poll(() => bench.service.gate.counts, PATIENCE)
      .toMatchObject({ known: 1, strangers: 1 });
    expect(entries()).toEqual([]);
  });

  it('ends although somebody is in the middle of a handshake', async () => {
    await start();
    const { socket } = knock(port());
    await once(socket, 'connect');
    await expect.poll(() => bench.service.gate.open, PATIENCE).toBe(1);
    await Promise.all([bench.grpc.close(), bench.http.close()]);
    await expect.poll(() => bench.service.gate.open, PATIENCE).toBe(0);
  });
});

describe('HTTPS', () => {
  it('puts bytes that are no HTTP on record', async () => {
    await start();
    const shaken = shake(bench.httpPort);
    await once(shaken, 'secureConnect');
    shaken.write('\x01\x02 this is nothing\r\n\r\n');
    await onRecord('REQUEST_MALFORMED HTTPS: sent bytes that are no HTTP');
  });

  it('puts bytes that are no WebSocket on record', async () => {
    await start();
    const socket = await bench.socket({ authorization: 'Bearer token-alice' }).opened();
    await socket.take('CONNECTION_ESTABLISHED');
    // A frame with a reserved bit, past the library's own sending.
    const { _socket: below } = socket.socket as unknown as { readonly _socket: TLSSocket };
    below.write(Buffer.from('f1820000000041', 'hex'));
    const texts = () => bench.orchestrator.refusals.map(({ finding }) => finding);
    await expect.poll(texts, PATIENCE).toEqual(['WebSocket: broke the rules of WebSocket']);
  });

  it('takes a connection for known once a token opened a session on it', async () => {
    await start();
    const socket = await bench.socket({ authorization: 'Bearer token-alice' }).opened();
    await socket.take('CONNECTION_ESTABLISHED');
    expect(bench.service.gate.counts).toMatchObject({ known: 1, strangers: 0 });
  });

  it('keeps the open connections of people, and takes a new one, while strangers hold every place', async () => {
    await start(6, 6);
    const panel = await bench.socket({ authorization: 'Bearer token-alice' }).opened();
    await panel.take('CONNECTION_ESTABLISHED');
    const crowd = Array.from({ length: 5 }, (_, host) =>
      knock(bench.httpPort, `127.0.1.${host + 1}`),
    );
    await expect.poll(() => bench.service.gate.open, PATIENCE).toBe(6);
    const stop = await bench.call('POST', '/api/v1/emergency-stop', {
      body: { reason: 'strangers at the doors' },
    });
    expect(stop.status).toBe(200);
    panel.send({ type: 'PING' });
    await panel.take('PONG');
    expect(crowd.filter(({ closed }) => closed)).toHaveLength(1);
  });

  it('shows places and what was foreign in the metrics', async () => {
    await start();
    knock(bench.httpPort).socket.write('no TLS at all');
    await expect.poll(() => bench.service.strangers.counts.get('no-tls'), PATIENCE).toBe(1);
    const text = await bench.service.metrics.text();
    expect(text).toContain('dsmil_interface_strange{kind="no-tls"} 1');
    expect(text).toContain('dsmil_interface_connections_address_max 4');
    expect(text).toMatch(/dsmil_interface_connections_refused\{reason="address"\} 0/);
  });
});

describe('gRPC', () => {
  it('puts bytes that are no HTTP/2 on record', async () => {
    await start();
    const shaken = shake(bench.grpcPort, { ALPNProtocols: ['h2'] });
    await once(shaken, 'secureConnect');
    shaken.write('this is no preface of HTTP/2, whatever it is\r\n\r\n');
    await onRecord('REQUEST_MALFORMED gRPC: broke the rules of HTTP/2');
  });

  it.each([
    ['HTTP/1.1', ['http/1.1']],
    ['no protocol', undefined],
  ])('puts a client that asks for %s on record and cuts it', async (_what, protocols) => {
    await start();
    const shaken = shake(
      bench.grpcPort,
      protocols === undefined ? {} : { ALPNProtocols: [...protocols] },
    );
    await closed(shaken);
    await onRecord('REQUEST_MALFORMED gRPC: asked for a protocol that is not spoken here');
  });

  it('tells clients with GOAWAY that it closes', async () => {
    await start();
    const session = connectHttp2(`https://localhost:${bench.grpcPort}`, {
      ca: authority.authority,
    });
    session.on('error', () => undefined);
    await once(session, 'remoteSettings');
    const goodbye = once(session, 'goaway');
    await bench.grpc.close();
    expect((await goodbye)[0]).toBe(0);
  });
});

it('leaves a finished handshake alone when the deadline of handshakes is over', async () => {
  await start();
  const clock = new VirtualClock();
  const gate = new ConnectionGate({ total: 8, perAddress: 8 });
  const told: string[] = [];
  const strangers = new StrangerReports({ clock, tell: (_code, _origin, text) => told.push(text) });
  const parts = { name: 'a door', transport: 'rest', gate, strangers, clock } as const;
  const server = createServer(secureContext(bench.tls));
  new NetworkDoor({ ...parts, handshakeMs: 1_000 }).guard(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
  const shaken = shake(port);
  const [inside] = await accepted;
  const { socket } = knock(port);
  await expect.poll(() => gate.open, PATIENCE).toBe(2);
  const gone = closed(socket);
  await clock.advance(1_000);
  await gone;
  expect(told).toEqual(['a door: did not finish its TLS handshake in time']);
  const heard = once(shaken, 'data');
  inside.write('still here');
  expect(String((await heard)[0])).toBe('still here');
  shaken.destroy();
  await new Promise((resolve) => server.close(resolve));
});
