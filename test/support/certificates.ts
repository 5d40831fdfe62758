// Makes a certificate authority with server and client certificates for one test run, in memory.

import { webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

export interface CertificateAndKey {
  readonly certificate: string;
  readonly key: string;
}

export interface TestAuthority {
  /** PEM of the authority's own certificate. */
  readonly authority: string;
  /** For `localhost`, 127.0.0.1 and ::1. */
  server(): Promise<CertificateAndKey>;
  /** With these URI subject alternative names. */
  client(...uris: readonly string[]): Promise<CertificateAndKey>;
  /** As `client`, and good until yesterday. */
  expiredClient(...uris: readonly string[]): Promise<CertificateAndKey>;
  /** PEM of a revocation list, good for a day, that names these. */
  revocationList(...revoked: readonly CertificateAndKey[]): Promise<string>;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

async function pemOfKey(key: webcrypto.CryptoKey): Promise<string> {
  const bytes = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return `-----BEGIN PRIVATE KEY-----\n${bytes.toString('base64')}\n-----END PRIVATE KEY-----\n`;
}

export async function makeTestAuthority(name = 'DSMIL test authority'): Promise<TestAuthority> {
  x509.cryptoProvider.set(webcrypto as never);
  const newKeys = () => webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const validity = {
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
  };
  const keys = await newKeys();
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: `CN=${name}`,
    ...validity,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 1, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
    ],
  });
  let serial = 1;
  const issue = async (
    subject: string,
    names: readonly { readonly type: 'dns' | 'ip' | 'url'; readonly value: string }[],
    usage: x509.ExtendedKeyUsage,
    notAfter = validity.notAfter,
  ): Promise<CertificateAndKey> => {
    const own = await newKeys();
    serial += 1;
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial.toString(16).padStart(4, '0'),
      subject: `CN=${subject}`,
      issuer: root.subject,
      notBefore: new Date(Math.min(validity.notBefore.getTime(), notAfter.getTime() - DAY_MS)),
      notAfter,
      signingAlgorithm: ALGORITHM,
      publicKey: own.publicKey,
      signingKey: keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.ExtendedKeyUsageExtension([usage]),
        ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension([...names])]),
      ],
    });
    return { certificate: certificate.toString('pem'), key: await pemOfKey(own.privateKey) };
  };
  return {
    authority: root.toString('pem'),
    server: () =>
      issue(
        'localhost',
        [
          { type: 'dns', value: 'localhost' },
          { type: 'ip', value: '127.0.0.1' },
          { type: 'ip', value: '::1' },
        ],
        x509.ExtendedKeyUsage.serverAuth,
      ),
    client: (...uris) =>
      issue(
        'client',
        uris.map((value) => ({ type: 'url', value }) as const),
        x509.ExtendedKeyUsage.clientAuth,
      ),
    expiredClient: (...uris) =>
      issue(
        'client',
        uris.map((value) => ({ type: 'url', value }) as const),
        x509.ExtendedKeyUsage.clientAuth,
        new Date(Date.now() - DAY_MS / 2),
      ),
    revocationList: async (...revoked) => {
      const list = await x509.X509CrlGenerator.create({
        issuer: root.subject,
        thisUpdate: validity.notBefore,
        nextUpdate: validity.notAfter,
        entries: revoked.map(({ certificate }) => ({
          serialNumber: new x509.X509Certificate(certificate).serialNumber,
          revocationDate: validity.notBefore,
        })),
        signingAlgorithm: ALGORITHM,
        signingKey: keys.privateKey,
      });
      return list.toString('pem');
    },
  };
}
