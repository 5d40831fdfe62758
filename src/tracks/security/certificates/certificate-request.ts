// Takes of a certificate request (PKCS #10, RFC 2986) the one thing in it that counts: a public key whose owner signed it.
// Invariants: subject, alternative names and extensions that a request wishes for are never looked at.
// Faults: CERTIFICATE_REFUSED with what is wrong; the text itself is not repeated, in case it holds a private key.

import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { CertificateMaker } from './certificate-maker.ts';

const BLOCK =
  /-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END (?:NEW )?CERTIFICATE REQUEST-----/;
const BYTES_MAX = 12_288;
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1'];
/** Algorithms a request may be signed by, for each type of key. */
const SIGNATURES: Readonly<Record<string, readonly string[]>> = {
  ec: ['ECDSA with SHA-256', 'ECDSA with SHA-384', 'ECDSA with SHA-512'],
  ed25519: ['Ed25519'],
};

/** The public key that the request is for; its owner has proved to hold the private one. */
export async function readCertificateRequest(
  pem: string,
  maker: CertificateMaker,
): Promise<Outcome<KeyObject>> {
  const no = (finding: string, internal?: string) =>
    refuse(
      fault('CERTIFICATE_REFUSED', {
        place: 'certificate request',
        finding,
        ...(internal === undefined ? {} : { internal }),
      }),
    );
  if (pem.includes('PRIVATE KEY')) {
    const finding = 'comes with a private key, which must never leave its device: make a new one';
    return no(finding);
  }
  const block = BLOCK.exec(pem)?.[1];
  if (block === undefined || pem.split('-----BEGIN ').length !== 2) {
    return no('is not exactly one PEM block of the kind CERTIFICATE REQUEST');
  }
  const bytes = Buffer.from(block, 'base64');
  if (bytes.length > BYTES_MAX) return no(`is larger than ${BYTES_MAX} bytes`);
  const requestPem = `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  const read = await maker.make('readRequest', { requestPem });
  if (!read.ok) return read;
  const { publicKeyPem, algorithm, proven } = read.value;
  let key: KeyObject;
  try {
    key = createPublicKey(publicKeyPem);
  } catch (error) {
    return no('holds a public key that cannot be read', describeError(error));
  }
  const unfit = publicKeyRefusal(key);
  if (unfit !== null) return no(unfit);
  if (SIGNATURES[key.asymmetricKeyType ?? '']?.includes(algorithm) !== true) {
    return no(
      'is signed by no algorithm that fits its key: ECDSA with SHA-256 or better, or Ed25519',
    );
  }
  if (!proven) return no('is not signed with the private key of the public key it holds');
  return succeed(key);
}

/** Null for a key that certificates are issued for. */
export function publicKeyRefusal(key: KeyObject): string | null {
  if (key.asymmetricKeyType === 'ed25519') return null;
  const curve = key.asymmetricKeyDetails?.namedCurve ?? 'no named curve';
  if (key.asymmetricKeyType === 'ec' && CURVES.includes(curve)) return null;
  const kind = key.asymmetricKeyType === 'ec' ? curve : key.asymmetricKeyType;
  return `holds a key of the kind ${kind}; certificates are issued for P-256, P-384, P-521 and Ed25519`;
}

/** Hexadecimal SHA-256 over the SPKI DER: the same exactly when the key is. */
export function publicKeyDigest(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}
