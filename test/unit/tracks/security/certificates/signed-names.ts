// A client certificate with alternative names that the agent itself never writes, signed by an authority of ours.

import { type KeyObject, randomBytes, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

const ALTERNATIVE_NAMES = '2.5.29.17';
const HOUR_MS = 3_600_000;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** `[number]` in place of the name's own tag, around any bytes at all (X.690 section 8.14). */
export function implicit(number: number, content: Uint8Array): Buffer {
  return element(0x80 | number, content);
}

export function userPrincipalName(text: string): Buffer {
  return Buffer.from(new x509.GeneralName('upn', text).rawData);
}

export async function signWithNames(
  authorityKey: KeyObject,
  authorityPem: string,
  publicKey: KeyObject,
  names: readonly Buffer[],
): Promise<string> {
  x509.cryptoProvider.set(webcrypto as never);
  const wallMs = Date.now();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `40${randomBytes(8).toString('hex')}`,
    issuer: new x509.X509Certificate(authorityPem).subjectName,
    notBefore: new Date(wallMs - HOUR_MS),
    notAfter: new Date(wallMs + HOUR_MS),
    publicKey: new x509.PublicKey(publicKey.export({ type: 'spki', format: 'der' })),
    signingKey: authorityKey.toCryptoKey(ALGORITHM, false, ['sign']) as never,
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.Extension(ALTERNATIVE_NAMES, false, element(0x30, ...names))],
  });
  return certificate.toString('pem');
}

function element(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const length = body.length < 0x80 ? [body.length] : [0x81, body.length];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}
