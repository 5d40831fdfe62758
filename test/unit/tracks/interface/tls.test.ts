// TLS of both servers while they run: new certificates for new connections, and none at all for a revoked one.

import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { secureContext, type TlsMaterial } from '#tracks/interface/tls-material';
import {
  type CertificateAndKey,
  makeTestAuthority,
  type TestAuthority,
} from '../../../support/certificates.ts';
import { InterfaceBench } from '../../../support/interface-bench.ts';

let authority: TestAuthority;
let bench: InterfaceBench;
let renewed: TlsMaterial;
let good: CertificateAndKey;
let revoked: CertificateAndKey;

beforeAll(async () => {
  authority = await makeTestAuthority();
  good = await authority.client('urn:dsmil:person:alice');
  revoked = await authority.client('urn:dsmil:person:alice');
  renewed = {
    authority: authority.authority,
    ...(await authority.server()),
    revocationList: await authority.revocationList(revoked),
  };
});
beforeEach(async () => {
  bench = await InterfaceBench.start(authority);
});
afterEach(() => bench.close());

interface Seen {
  /** Of the server's certificate. */
  readonly fingerprint: string;
  /** Whether the server still answers after the handshake. */
  readonly answers: boolean;
}

type Ticket = Buffer | undefined;

/** Shakes hands, asks something harmless over HTTP/1.1 or HTTP/2, and says what came. */
function shake(port: number, protocol: 'http/1.1' | 'h2', pair?: CertificateAndKey): Promise<Seen> {
  return new Promise((resolve) => {
    const socket: TLSSocket = connectTls({
      host: '127.0.0.1',
      port,
      servername: 'localhost',
      ca: authority.authority,
      ALPNProtocols: [protocol],
      ...(pair === undefined ? {} : { cert: pair.certificate, key: pair.key }),
    });
    let fingerprint = '';
    const finish = (answers: boolean): void => {
      socket.destroy();
      resolve({ fingerprint, answers });
    };
    socket.on('error', () => finish(false));
    socket.on('close', () => finish(false));
    socket.on('secureConnect', () => {
      fingerprint = socket.getPeerCertificate().fingerprint256;
      if (protocol === 'h2') {
        const session = connectHttp2(`https://localhost:${port}`, {
          createConnection: () => socket,
        });
        session.on('error', () => finish(false));
        session.once('remoteSettings', () => finish(true));
      } else {
        socket.once('data', () => finish(true));
        socket.write('GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n');
      }
    });
  });
}

const servers = [
  ['HTTPS', 'http/1.1', () => bench.httpPort, (tls: TlsMaterial) => bench.http.replaceTls(tls)],
  ['gRPC', 'h2', () => bench.grpcPort, (tls: TlsMaterial) => bench.grpc.replaceTls(tls)],
] as const;

describe.each(servers)('%s', (_name, protocol, port, replace) => {
  it('shows a new certificate to new connections without closing the open ones', async () => {
    const socket = await bench.socket({ authorization: 'Bearer token-alice' }).opened();
    await socket.take('CONNECTION_ESTABLISHED');
    const before = await shake(port(), protocol);
    replace(renewed);
    const after = await shake(port(), protocol);
    expect(before.answers && after.answers).toBe(true);
    expect(after.fingerprint).not.toBe(before.fingerprint);
    socket.send({ type: 'PING' });
    await socket.take('PONG');
  });

  it('gives a revoked certificate no connection, and a good one and none at all theirs', async () => {
    expect((await shake(port(), protocol, revoked)).answers).toBe(true);
    replace(renewed);
    expect((await shake(port(), protocol, revoked)).answers).toBe(false);
    expect((await shake(port(), protocol, good)).answers).toBe(true);
    expect((await shake(port(), protocol)).answers).toBe(true);
  });
});

it('does not let a session ticket of before bring a revoked certificate back', async () => {
  const ticketFrom = (ticket: Ticket): Promise<{ ticket: Ticket; reused: boolean; text: string }> =>
    new Promise((resolve) => {
      const socket = connectTls({
        host: '127.0.0.1',
        port: bench.httpPort,
        servername: 'localhost',
        ca: authority.authority,
        cert: revoked.certificate,
        key: revoked.key,
        ...(ticket === undefined ? {} : { session: ticket }),
      });
      let made: Ticket;
      let text = '';
      let reused = false;
      socket.on('session', (session) => {
        made = session;
      });
      socket.on('secureConnect', () => {
        reused = socket.isSessionReused();
        const request =
          'GET /api/v1/auth/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
        socket.write(request);
      });
      socket.on('data', (part: Buffer) => {
        text += part.toString();
      });
      socket.on('error', () => undefined);
      socket.on('close', () => resolve({ ticket: made, reused, text }));
    });
  const first = await ticketFrom(undefined);
  expect(first.text).toMatch(/^HTTP\/1.1 200/);
  const again = await ticketFrom(first.ticket);
  expect([again.reused, again.text.slice(0, 12)]).toEqual([true, 'HTTP/1.1 200']);
  bench.http.replaceTls(renewed);
  const after = await ticketFrom(again.ticket);
  expect([after.reused, after.text]).toEqual([false, '']);
});

it('goes on with the material of before when the new one is of no use', async () => {
  const bad: readonly TlsMaterial[] = [
    { ...renewed, key: good.key },
    { ...renewed, certificate: 'no certificate' },
    { ...renewed, revocationList: 'no list' },
    { ...renewed, revocationList: '-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----' },
  ];
  for (const tls of bad) {
    for (const replaced of [bench.http.replaceTls(tls), bench.grpc.replaceTls(tls)]) {
      expect(replaced).toMatchObject({ ok: false, fault: { code: 'CONFIG_INVALID' } });
    }
  }
  expect((await shake(bench.httpPort, 'http/1.1', good)).answers).toBe(true);
  expect((await shake(bench.grpcPort, 'h2', good)).answers).toBe(true);
});

it('reads every list of a text with several, and none from one without', async () => {
  const list = renewed.revocationList ?? '';
  expect(secureContext({ ...renewed, revocationList: `${list}\n${list}` }).crl).toHaveLength(2);
  expect(secureContext({ ...renewed, revocationList: '' }).crl).toBeUndefined();
});
