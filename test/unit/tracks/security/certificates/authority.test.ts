// What the private authority signs: in real handshakes both ways, and under the eyes of openssl.

import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type PeerCertificate, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addressBytes } from '#model/server-certificate';
import { certificateCredential } from '#tracks/interface/peer';
import { secureContext } from '#tracks/interface/tls-material';
import { Authority, certificateUri } from '#tracks/security/certificates/authority';
import type { CertificateRecord } from '#tracks/security/certificates/certificate-book';
import { certificateLibrary } from '../../../../../src/bin/certificate-library.ts';
import {
  newKey,
  privateKeyPem,
  type RequestKind,
} from '../../../../support/certificate-requests.ts';
import { must } from '../../../../support/kernel-bench.ts';

const NAMES = ['appliance.example', 'localhost', '127.0.0.1', '::1', '2001:db8::12:3'];
const YEAR_MS = 365 * 86_400_000;

interface Held {
  readonly certificatePem: string;
  readonly key: KeyObject;
  readonly record: CertificateRecord;
}

async function begin(key: KeyObject, name: string, wallMs: number): Promise<Authority> {
  return must(await Authority.begin(key, name, wallMs, certificateLibrary));
}

function authorityNow(wallMs = Date.now(), kind: RequestKind = 'P-256'): Promise<Authority> {
  return begin(newKey(kind), 'test authority', wallMs);
}

async function client(
  by: Authority,
  id = 'alice',
  wallMs = Date.now(),
  kind: RequestKind = 'P-256',
): Promise<Held> {
  const key = newKey(kind);
  return { ...must(await by.issueClient(id, createPublicKey(key), wallMs, null)), key };
}

async function server(
  by: Authority,
  names: readonly string[] = NAMES,
  wallMs = Date.now(),
): Promise<Held> {
  const key = newKey();
  return { ...must(await by.issueServer(names, createPublicKey(key), wallMs)), key };
}

async function listOf(
  by: Authority,
  revoked: readonly Held[] = [],
  wallMs = Date.now(),
): Promise<string> {
  const made = await by.revocationList({
    number: 7,
    thisUpdateWallMs: wallMs - 1_000,
    nextUpdateWallMs: wallMs + 60_000,
    revoked: revoked.map(({ record }) => ({
      serial: record.serial,
      revokedWallMs: wallMs - 1_000,
    })),
  });
  return must(made);
}

let authority: Authority;
let host: Held;
let alice: Held;
let directory: string;

beforeAll(async () => {
  authority = await authorityNow();
  host = await server(authority);
  alice = await client(authority);
  directory = mkdtempSync(join(tmpdir(), 'dsmil-authority-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

interface Handshake {
  readonly client: PeerCertificate | null;
  readonly error: string;
}

/** As our servers do it: without a good certificate there is a connection, and no identity. */
async function shake(
  serverSide: Held,
  clientSide: Held | undefined,
  options: { readonly name?: string; readonly list?: string; readonly ca?: Authority } = {},
): Promise<Handshake> {
  const { list } = options;
  const listener = createServer({
    ...secureContext({
      authority: authority.certificatePem,
      certificate: serverSide.certificatePem,
      key: privateKeyPem(serverSide.key),
      ...(list === undefined ? {} : { revocationList: list }),
    }),
    requestCert: true,
    rejectUnauthorized: true,
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  let failure = '';
  let seen: PeerCertificate | null = null;
  const ended = new Promise<void>((resolve) => {
    listener.on('tlsClientError', (error) => {
      failure ||= `server: ${error.message}`;
      resolve();
    });
    listener.on('secureConnection', (socket: TLSSocket) => {
      seen = socket.getPeerCertificate(true);
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
    ...(clientSide === undefined
      ? {}
      : { cert: clientSide.certificatePem, key: privateKeyPem(clientSide.key) }),
  });
  socket.on('error', (error) => {
    failure ||= `client: ${error.message}`;
  });
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.resume();
  await Promise.race([ended, closed]);
  await closed;
  listener.close();
  return { client: failure === '' ? seen : null, error: failure };
}

describe('a handshake', () => {
  it.each(['P-256', 'P-384', 'P-521', 'Ed25519'] as const)(
    'succeeds with a client on %s, and shows who it is as security has it on its list',
    async (kind) => {
      const own = await client(authority, 'alice', Date.now(), kind);
      const shaken = await shake(host, own);
      expect(shaken.error).toBe('');
      expect(shaken.client && certificateCredential(shaken.client)).toEqual({
        kind: 'certificate',
        uri: certificateUri('alice'),
        fingerprint: own.record.fingerprint,
      });
      expect(own.record.uri).toBe('urn:dsmil:principal:alice');
    },
  );

  it('succeeds under a revocation list that names others, and fails for the one it names', async () => {
    expect((await shake(host, alice, { list: await listOf(authority) })).error).toBe('');
    const others = [await client(authority), await client(authority)];
    const list = await listOf(authority, [alice, ...others]);
    expect((await shake(host, alice, { list })).client).toBeNull();
    expect((await shake(host, await client(authority), { list })).error).toBe('');
  });

  it('believes no revocation list of another authority', async () => {
    const list = await listOf(await authorityNow(), [alice]);
    expect((await shake(host, alice, { list })).client).toBeNull();
  });

  it('fails for a client of another authority of the same name', async () => {
    expect((await shake(host, await client(await authorityNow()))).client).toBeNull();
  });

  it('fails for a client without a certificate', async () => {
    expect((await shake(host, undefined)).client).toBeNull();
  });

  it('fails when the server belongs to another authority', async () => {
    const { client: nobody, error } = await shake(await server(await authorityNow()), alice);
    expect(nobody).toBeNull();
    expect(error).toMatch(/unable to verify|certificate|unknown ca/i);
  });

  it('fails for a server name that is not on the certificate', async () => {
    const { error } = await shake(host, alice, { name: 'elsewhere.example' });
    expect(error).toMatch(/does not match certificate's altnames/);
  });

  it('fails when a client certificate is used as a server, and the other way round', async () => {
    expect((await shake(alice, alice)).error).toMatch(/purpose/);
    expect((await shake(host, host)).client).toBeNull();
  });

  it.each([
    ['has run out', Date.now() - 2 * YEAR_MS],
    ['is not valid yet', Date.now() + YEAR_MS],
  ])('fails for a certificate that %s', async (_, wallMs) => {
    const old = await begin(newKey(), 'old', Date.now() - 3 * YEAR_MS);
    const outside = await client(old, 'alice', wallMs);
    const trusting = { authority: old.certificatePem };
    expect(trusting.authority).toBe(old.certificatePem);
    const own = await server(old);
    authority = old;
    try {
      expect((await shake(own, await client(old))).error).toBe('');
      expect((await shake(own, outside)).client).toBeNull();
    } finally {
      authority = await authorityNow();
      host = await server(authority);
      alice = await client(authority);
    }
  });
});

describe('a certificate', () => {
  const parse = ({ certificatePem }: { readonly certificatePem: string }) =>
    new X509Certificate(certificatePem);

  it('of a server carries names and addresses, of a client one identity', () => {
    expect(parse(host).subjectAltName).toBe(
      'DNS:appliance.example, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:2001:DB8:0:0:0:0:12:3',
    );
    expect(parse(host).subject).toBe('CN=appliance.example');
    expect(parse(alice).subjectAltName).toBe('URI:urn:dsmil:principal:alice');
  });

  it('of the authority signs others and no leaf can', () => {
    expect(parse(authority).ca).toBe(true);
    for (const leaf of [host, alice]) {
      expect(parse(leaf).ca).toBe(false);
      expect(parse(leaf).verify(parse(authority).publicKey)).toBe(true);
      expect(parse(leaf).checkIssued(parse(authority))).toBe(true);
      expect(parse(leaf).checkPrivateKey(leaf.key)).toBe(true);
      expect(Authority.refusal(leaf.key, leaf.certificatePem)).toMatch(/not one of an authority/);
    }
  });

  it('is listed by the very fingerprint, serial and times it shows', () => {
    for (const { record, certificatePem } of [host, alice]) {
      const shown = new X509Certificate(certificatePem);
      expect(record).toMatchObject({
        serial: shown.serialNumber,
        fingerprint: shown.fingerprint256,
        notBeforeWallMs: shown.validFromDate.getTime(),
        notAfterWallMs: shown.validToDate.getTime(),
      });
      expect(record.serial).toMatch(/^[0-9A-F]{32}$/);
    }
  });

  it('lasts a year for a client, ninety days for a server, and never beyond account or authority', async () => {
    const wallMs = Math.floor(Date.now() / 1_000) * 1_000;
    const day = 86_400_000;
    expect((await client(authority, 'a', wallMs)).record.notAfterWallMs).toBe(wallMs + 365 * day);
    expect((await server(authority, NAMES, wallMs)).record.notAfterWallMs).toBe(wallMs + 90 * day);
    const key = createPublicKey(newKey());
    const short = must(await authority.issueClient('a', key, wallMs, wallMs + 5_999));
    expect(short.record.notAfterWallMs).toBe(wallMs + 5_000);
    const last = new X509Certificate(authority.certificatePem).validToDate.getTime();
    expect((await client(authority, 'a', last - day)).record.notAfterWallMs).toBe(last);
  });

  it('has dates that hold beyond 2049, where their encoding changes', async () => {
    const late = await begin(newKey(), 'late', Date.UTC(2048, 5, 1));
    expect(parse(late).validToDate.getUTCFullYear()).toBe(2068);
    const leaf = await client(late, 'a', Date.UTC(2049, 5, 1));
    expect(parse(leaf).validToDate.toISOString()).toBe('2050-06-01T00:00:00.000Z');
    expect(parse(leaf).validFromDate.getUTCFullYear()).toBe(2049);
  });

  it('of an authority made while the clock stood at 1970 still holds today', async () => {
    const early = await begin(newKey(), 'early', 0);
    expect(parse(early).validToDate.getUTCFullYear()).toBe(2046);
    expect(parse(early).validFromDate.getTime()).toBeLessThanOrEqual(0);
  });

  it('comes from a key that fits it, or from nobody', () => {
    const { certificatePem } = authority;
    expect(() => new Authority(newKey(), certificatePem, certificateLibrary)).toThrow(
      /for another key/,
    );
    expect(Authority.refusal(newKey('Ed25519'), certificatePem)).toMatch(/ed25519.*P-256 or P-384/);
    expect(Authority.refusal(newKey('RSA'), certificatePem)).toMatch(/rsa/);
    expect(Authority.refusal(newKey(), 'garbage')).toMatch(/cannot be read/);
  });

  it('never shows the key that signed it', async () => {
    const key = newKey();
    const own = await begin(key, 'secretive', Date.now());
    const jwk = key.export({ format: 'jwk' });
    const shown = JSON.stringify([own, (await client(own)).record, await listOf(own)]);
    expect(shown).not.toContain('PRIVATE');
    expect(shown).not.toContain(String(jwk.d));
    expect(Object.values(own)).toEqual([own.certificatePem, own.fingerprint]);
  });
});

describe('an address in a certificate', () => {
  it.each([
    ['127.0.0.1', '7f000001'],
    ['::', '0'.repeat(32)],
    ['::1', `${'0'.repeat(31)}1`],
    ['fe80::1:0:0:2', 'fe800000000000000001000000000002'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
    ['::ffff:10.1.2.3', '00000000000000000000ffff0a010203'],
  ])('%s has the bytes %s', (text, hex) => {
    expect(addressBytes(text)?.toString('hex')).toBe(hex);
  });

  it.each(['256.1.1.1', '1.2.3', 'localhost', ':', '1::2::3', 'fe80::1%eth0', '[::1]', ''])(
    '%s is none',
    (text) => expect(addressBytes(text)).toBeNull(),
  );
});

describe.runIf(existsSync('/usr/bin/openssl'))('openssl', () => {
  const openssl = (...parameters: readonly string[]) =>
    execFileSync('openssl', parameters, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const file = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };

  it.each(['P-256', 'P-384'] as const)(
    'finds every rule kept by an authority on %s, its certificates and its list',
    async (kind) => {
      const own = await authorityNow(Date.now(), kind);
      const good = await client(own, 'alice');
      const bad = await client(own, 'bob');
      const ca = file(`${kind}-ca.pem`, own.certificatePem);
      const list = file(`${kind}-list.pem`, await listOf(own, [bad]));
      const judged = ['-x509_strict', '-crl_check', '-CRLfile', list, '-CAfile', ca];
      const verify = (held: Held, purpose: string) =>
        openssl('verify', ...judged, '-purpose', purpose, file('leaf.pem', held.certificatePem));
      expect(verify(good, 'sslclient')).toMatch(/OK/);
      expect(verify(await server(own), 'sslserver')).toMatch(/OK/);
      expect(() => verify(good, 'sslserver')).toThrow(/unsuitable|unsupported/);
      expect(() => verify(bad, 'sslclient')).toThrow(/certificate revoked/);
      const shown = openssl('crl', '-in', list, '-noout', '-text', '-CAfile', ca);
      expect(shown).toContain(bad.record.serial);
      expect(shown).not.toContain(good.record.serial);
      expect(shown).toMatch(/X509v3 CRL Number:\s+7/);
    },
  );

  it('reads an empty list', async () => {
    const list = file('empty.pem', await listOf(authority));
    expect(openssl('crl', '-in', list, '-noout', '-text')).toContain('No Revoked Certificates');
  });

  it('prints the extensions that a client certificate is to have and no others', () => {
    const leaf = file('client.pem', alice.certificatePem);
    const text = openssl('x509', '-in', leaf, '-noout', '-text');
    const named = [...text.matchAll(/X509v3 ((?!extensions)[^:]+):/g)].map((match) => match[1]);
    expect(named).toEqual([
      'Basic Constraints',
      'Key Usage',
      'Extended Key Usage',
      'Subject Alternative Name',
      'Authority Key Identifier',
      'Subject Key Identifier',
    ]);
    expect(text).toMatch(/CA:FALSE/);
    expect(text).toMatch(/Key Usage: critical\s+Digital Signature\n/);
    expect(text).toMatch(/TLS Web Client Authentication\n/);
  });
});

it('refuses to sign with a key it has no algorithm for', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
  const refused = await Authority.begin(privateKey, 'odd', Date.now(), certificateLibrary);
  expect(refused).toMatchObject({ ok: false, fault: { code: 'INTERNAL' } });
  const asked = {
    key: privateKey,
    commonName: 'odd',
    serial: '41',
    notBeforeWallMs: 0,
    notAfterWallMs: 1,
  };
  expect(await certificateLibrary.make('signAuthority', asked)).toMatchObject({ ok: false });
});
