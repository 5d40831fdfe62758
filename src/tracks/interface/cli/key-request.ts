// A new key and the request for its certificate (PKCS #10, RFC 2986), made here so that the key never leaves this machine.

import { webcrypto } from 'node:crypto';

export interface KeyRequest {
  /** PKCS #8. */
  readonly privateKeyPem: string;
  readonly requestPem: string;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

export async function makeKeyRequest(commonName: string): Promise<KeyRequest> {
  // Large, and needed by this verb alone.
  await import('reflect-metadata');
  const { cryptoProvider, PemConverter, Pkcs10CertificateRequestGenerator } = await import(
    '@peculiar/x509'
  );
  cryptoProvider.set(webcrypto as unknown as Parameters<typeof cryptoProvider.set>[0]);
  const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, [
    'sign',
    'verify',
  ])) as unknown as Parameters<typeof Pkcs10CertificateRequestGenerator.create>[0]['keys'];
  // The server alone decides what the certificate says; the name is for people who look at the request.
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [commonName] }],
    keys,
    signingAlgorithm: ALGORITHM,
  });
  const privateKey = await webcrypto.subtle.exportKey(
    'pkcs8',
    keys.privateKey as unknown as webcrypto.CryptoKey,
  );
  return {
    privateKeyPem: `${PemConverter.encode(privateKey, 'PRIVATE KEY')}\n`,
    requestPem: `${request.toString('pem')}\n`,
  };
}
