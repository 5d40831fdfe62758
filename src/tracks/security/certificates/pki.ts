// The private certificate authority: makes itself, server certificates and client certificates (RFC 5280).
// Invariants: a client certificate's identity is its one URI subject alternative name; keys are P-256.

import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** Devices in the field may sit on a shelf for years before their clock is right. */
const AUTHORITY_YEARS = 20;
const LEAF_YEARS = 2;

export interface Issued {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

export function certificateUri(principalId: string): string {
  return `urn:dsmil:principal:${principalId}`;
}

export async function createAuthority(commonName: string, notBefore: Date): Promise<Issued> {
  cryptoProvider.set(webcrypto as unknown as Parameters<typeof cryptoProvider.set>[0]);
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=${commonName}`,
    notBefore,
    notAfter: yearsAfter(notBefore, AUTHORITY_YEARS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return issued(certificate, keys);
}

/** For the names and addresses under which panels reach the appliance. */
export function issueServer(
  authority: Issued,
  names: readonly string[],
  notBefore: Date,
): Promise<Issued> {
  const alternatives = names.map(
    (name): JsonGeneralName => ({ type: /^[\d.]+$|:/.test(name) ? 'ip' : 'dns', value: name }),
  );
  return issueLeaf(
    authority,
    `CN=${names[0] ?? 'dsmil'}`,
    alternatives,
    ExtendedKeyUsage.serverAuth,
    notBefore,
  );
}

export function issueClient(
  authority: Issued,
  principalId: string,
  notBefore: Date,
): Promise<Issued> {
  const alternatives: JsonGeneralName[] = [{ type: 'url', value: certificateUri(principalId) }];
  return issueLeaf(
    authority,
    `CN=${principalId}`,
    alternatives,
    ExtendedKeyUsage.clientAuth,
    notBefore,
  );
}

async function issueLeaf(
  authority: Issued,
  subject: string,
  alternatives: JsonGeneralName[],
  usage: ExtendedKeyUsage,
  notBefore: Date,
): Promise<Issued> {
  cryptoProvider.set(webcrypto as unknown as Parameters<typeof cryptoProvider.set>[0]);
  const issuer = new X509Certificate(authority.certificatePem);
  const signingKey = await webcrypto.subtle.importKey(
    'pkcs8',
    PemConverter.decodeFirst(authority.privateKeyPem),
    ALGORITHM,
    false,
    ['sign'],
  );
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject,
    issuer: issuer.subject,
    notBefore,
    notAfter: yearsAfter(notBefore, LEAF_YEARS),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([usage]),
      new SubjectAlternativeNameExtension(alternatives),
      await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return issued(certificate, keys);
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, [
    'sign',
    'verify',
  ]) as Promise<webcrypto.CryptoKeyPair>;
}

async function issued(
  certificate: X509Certificate,
  keys: webcrypto.CryptoKeyPair,
): Promise<Issued> {
  const privateKey = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    certificatePem: `${certificate.toString('pem')}\n`,
    privateKeyPem: `${PemConverter.encode(privateKey, 'PRIVATE KEY')}\n`,
  };
}

/** 16 random bytes, positive (RFC 5280 section 4.1.2.2). */
function serialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = (bytes[0] ?? 0) & 0x7f;
  return Buffer.from(bytes).toString('hex');
}

function yearsAfter(date: Date, years: number): Date {
  const later = new Date(date);
  later.setUTCFullYear(later.getUTCFullYear() + years);
  return later;
}
