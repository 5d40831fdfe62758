// The private authority's certificates in a real TLS handshake, both ways.

import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type PeerCertificate, type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  certificateUri,
  createAuthority,
  type Issued,
  issueClient,
  issueServer,
} from '#tracks/security/certificates/pki';

const notBefore = new Date(Date.now() - 3_600_000);
let authority: Issued;
let server: Issued;
let alice: Issued;

beforeAll(async () => {
  authority = await createAuthority('test authority', notBefore);
  server = await issueServer(authority, ['localhost', '127.0.0.1', '::1'], notBefore);
  alice = await issueClient(authority, 'alice', notBefore);
});

interface Handshake {
  /** What the server learned of the client, or why there is no connection. */
  readonly client: PeerCertificate | null;
  readonly error: string;
}

async function shake(
  serverIdentity: Issued,
  clientIdentity: Issued | undefined,
  options: { readonly ca?: Issued; readonly name?: string } = {},
): Promise<Handshake> {
  const listener = createServer({
    cert: serverIdentity.certificatePem,
    key: serverIdentity.privateKeyPem,
    ca: authority.certificatePem,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3',
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  let failure = '';
  let client: PeerCertificate | null = null;
  const ended = new Promise<void>((resolve) => {
    listener.on('tlsClientError', (error) => {
      failure ||= `server: ${error.message}`;
      resolve();
    });
    listener.on('secureConnection', (socket: TLSSocket) => {
      client = socket.getPeerCertificate(true);
      socket.on('error', () => undefined);
      socket.end();
      resolve();
    });
  });
  const { port } = listener.address() as AddressInfo;
  const socket = connect({
    host: '127.0.0.1',
    port,
    servername: options.name ?? 'localhost',
    ca: (options.ca ?? authority).certificatePem,
    ...(clientIdentity === undefined
      ? {}
      : { cert: clientIdentity.certificatePem, key: clientIdentity.privateKeyPem }),
  });
  socket.on('error', (error) => {
    failure ||= `client: ${error.message}`;
  });
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.resume();
  await Promise.race([ended, closed]);
  await closed;
  listener.close();
  return { client: failure === '' ? client : null, error: failure };
}

describe('a handshake', () => {
  it('succeeds between what the authority issued, and shows who the client is', async () => {
    const { client, error } = await shake(server, alice);
    expect(error).toBe('');
    expect(client?.subjectaltname).toBe('URI:urn:dsmil:principal:alice');
    expect(certificateUri('alice')).toBe('urn:dsmil:principal:alice');
  });

  it('fails for a client of another authority', async () => {
    const other = await createAuthority('test authority', notBefore);
    const mallory = await issueClient(other, 'alice', notBefore);
    expect((await shake(server, mallory)).client).toBeNull();
  });

  it('fails for a client without a certificate', async () => {
    expect((await shake(server, undefined)).client).toBeNull();
  });

  it('fails when the server belongs to another authority', async () => {
    const other = await createAuthority('test authority', notBefore);
    const impostor = await issueServer(other, ['localhost'], notBefore);
    const { client, error } = await shake(impostor, alice);
    expect(client).toBeNull();
    expect(error).toMatch(/unable to verify|certificate|unknown ca/i);
  });

  it('fails for a server name that is not on the certificate', async () => {
    const { client, error } = await shake(server, alice, { name: 'elsewhere.example' });
    expect(client).toBeNull();
    expect(error).toMatch(/does not match certificate's altnames/);
  });

  it('fails when a client certificate is used as a server, and the other way round', async () => {
    const asServer = await shake(alice, alice);
    expect(asServer).toEqual({ client: null, error: expect.stringMatching(/purpose/) });
    // The server hangs up on it; with a client's certificate the same handshake succeeds.
    expect((await shake(server, server)).client).toBeNull();
  });

  it('fails once a certificate has run out', async () => {
    const old = await issueClient(authority, 'alice', new Date('2001-01-01'));
    expect((await shake(server, old)).client).toBeNull();
  });
});

describe('a certificate', () => {
  const parse = (issued: Issued) => new X509Certificate(issued.certificatePem);

  it('of a server carries names and addresses, of a client one identity', () => {
    expect(parse(server).subjectAltName).toBe(
      'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1',
    );
    expect(parse(alice).subjectAltName).toBe('URI:urn:dsmil:principal:alice');
  });

  it('of the authority signs others and no leaf can', () => {
    expect(parse(authority).ca).toBe(true);
    for (const leaf of [server, alice]) {
      expect(parse(leaf).ca).toBe(false);
      expect(parse(leaf).verify(parse(authority).publicKey)).toBe(true);
    }
  });

  it('has a key of its own on P-256 and a serial number of its own', () => {
    const all = [authority, server, alice].map(parse);
    expect(all.map((one) => one.publicKey.asymmetricKeyDetails?.namedCurve)).toEqual(
      Array(3).fill('prime256v1'),
    );
    expect(new Set(all.map((one) => one.serialNumber)).size).toBe(3);
    expect(
      new Set(all.map((one) => one.publicKey.export({ type: 'spki', format: 'pem' }))).size,
    ).toBe(3);
  });

  it('lasts two years, the authority twenty, also beyond 2049 where the encoding of dates changes', async () => {
    const late = await createAuthority('late', new Date('2048-02-29T00:00:00Z'));
    const leaf = await issueClient(late, 'alice', new Date('2048-06-01T00:00:00Z'));
    expect(new Date(parse(late).validTo).toISOString()).toBe('2068-02-29T00:00:00.000Z');
    expect(new Date(parse(leaf).validTo).toISOString()).toBe('2050-06-01T00:00:00.000Z');
  });
});
