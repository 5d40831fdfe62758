// Certificate requests (PKCS #10) and clients with chosen names, made by another implementation than the agent's own.

import { createPrivateKey, generateKeyPairSync, type KeyObject, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

export type RequestKind = 'P-256' | 'P-384' | 'P-521' | 'Ed25519' | 'RSA';

export interface MadeRequest {
  readonly pem: string;
  readonly key: KeyObject;
}

const CURVES = { 'P-256': 'prime256v1', 'P-384': 'secp384r1', 'P-521': 'secp521r1' } as const;
const DIGESTS = { 'P-256': 'SHA-256', 'P-384': 'SHA-384', 'P-521': 'SHA-512' } as const;

/** A key of this kind, extractable. */
export function newKey(kind: RequestKind = 'P-256'): KeyObject {
  if (kind === 'Ed25519') return generateKeyPairSync('ed25519').privateKey;
  if (kind === 'RSA') return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  return generateKeyPairSync('ec', { namedCurve: CURVES[kind] }).privateKey;
}

/** A request for this key, wishing for whatever it likes. */
export async function makeRequest(
  options: {
    readonly kind?: RequestKind;
    readonly key?: KeyObject;
    readonly digest?: string;
    readonly subject?: string;
    readonly uris?: readonly string[];
  } = {},
): Promise<MadeRequest> {
  x509.cryptoProvider.set(webcrypto as never);
  const kind = options.kind ?? 'P-256';
  const key = options.key ?? newKey(kind);
  const algorithm = algorithmOf(kind, options.digest);
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const privateKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, true, ['sign']);
  const jwk = await webcrypto.subtle.exportKey('jwk', privateKey);
  const { d: _, p: _p, q: _q, dp: _dp, dq: _dq, qi: _qi, ...publicJwk } = jwk;
  const publicKey = await webcrypto.subtle.importKey(
    'jwk',
    { ...publicJwk, key_ops: ['verify'] },
    algorithm,
    true,
    ['verify'],
  );
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: options.subject ?? 'CN=whoever',
    keys: { privateKey, publicKey },
    signingAlgorithm: algorithm as never,
    extensions: [
      new x509.BasicConstraintsExtension(true, 2, true),
      new x509.SubjectAlternativeNameExtension(
        (options.uris ?? ['urn:dsmil:principal:root']).map((value) => ({ type: 'url', value })),
      ),
    ],
  });
  return { pem: request.toString('pem'), key };
}

function algorithmOf(kind: RequestKind, digest?: string) {
  if (kind === 'Ed25519') return { name: 'Ed25519' };
  if (kind === 'RSA') return { name: 'RSASSA-PKCS1-v1_5', hash: digest ?? 'SHA-256' };
  return { name: 'ECDSA', namedCurve: kind, hash: digest ?? DIGESTS[kind] };
}

export function privateKeyPem(key: KeyObject): string {
  return createPrivateKey(key.export({ type: 'pkcs8', format: 'pem' }))
    .export({ type: 'pkcs8', format: 'pem' })
    .toString();
}
