// Reads a certificate request (PKCS #10, RFC 2986) for the one thing in it that counts: a public key whose owner signed it.
// Invariants: subject, alternative names and extensions that a request wishes for are never looked at.
// Faults: CERTIFICATE_REFUSED with what is wrong; the text itself is not repeated, in case it holds a private key.

import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { objectIdentifier, readElements, readMembers, Tag } from './der.ts';

const BLOCK =
  /-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END (?:NEW )?CERTIFICATE REQUEST-----/;
const BYTES_MAX = 12_288;
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1'];
/** Signature algorithms, which have no parameters, with their digest; null where the algorithm has its own (RFC 5758, RFC 8410). */
const SIGNATURES: readonly (readonly [Buffer, 'ec' | 'ed25519', string | null])[] = [
  [objectIdentifier('1.2.840.10045.4.3.2'), 'ec', 'sha256'],
  [objectIdentifier('1.2.840.10045.4.3.3'), 'ec', 'sha384'],
  [objectIdentifier('1.2.840.10045.4.3.4'), 'ec', 'sha512'],
  [objectIdentifier('1.3.101.112'), 'ed25519', null],
];
const VERSION_1 = 0;

/** The public key that the request is for; its owner has proved to hold the private one. */
export function readCertificateRequest(pem: string): Outcome<KeyObject> {
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
  const parts = partsOf(bytes);
  if (parts === null) return no('is not a request as RFC 2986 describes it');
  let key: KeyObject;
  try {
    key = createPublicKey({ key: parts.publicKey, format: 'der', type: 'spki' });
  } catch (error) {
    return no('holds a public key that cannot be read', describeError(error));
  }
  const unfit = publicKeyRefusal(key);
  if (unfit !== null) return no(unfit);
  const [, type, digest = null] = SIGNATURES.find(([oid]) => oid.equals(parts.algorithm)) ?? [];
  if (type === undefined || type !== key.asymmetricKeyType) {
    return no(
      'is signed by no algorithm that fits its key: ECDSA with SHA-256 or better, or Ed25519',
    );
  }
  if (!proves(digest, parts.signed, key, parts.signature)) {
    return no('is not signed with the private key of the public key it holds');
  }
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

interface Parts {
  readonly signed: Buffer;
  readonly publicKey: Buffer;
  /** The algorithm with its parameters. */
  readonly algorithm: Buffer;
  readonly signature: Buffer;
}

function partsOf(bytes: Buffer): Parts | null {
  const [information, algorithms, signature, ...more] = readMembers(Tag.SEQUENCE, bytes) ?? [];
  if (information === undefined || algorithms === undefined || signature === undefined) return null;
  if (information.tag !== Tag.SEQUENCE || more.length > 0) return null;
  const [version, subject, publicKey, attributes] = readElements(information.body) ?? [];
  if (version?.tag !== Tag.INTEGER || !version.body.equals(Buffer.from([VERSION_1]))) return null;
  if (subject?.tag !== Tag.SEQUENCE || publicKey?.tag !== Tag.SEQUENCE) return null;
  if (attributes?.tag !== 0xa0 || algorithms.tag !== Tag.SEQUENCE) return null;
  if (signature.tag !== Tag.BIT_STRING || signature.body[0] !== 0) return null;
  const bits = signature.body.subarray(1);
  return {
    signed: information.whole,
    publicKey: publicKey.whole,
    algorithm: algorithms.body,
    signature: bits,
  };
}

function proves(digest: string | null, signed: Buffer, key: KeyObject, bits: Buffer): boolean {
  try {
    return verify(digest, signed, key, bits);
  } catch {
    return false;
  }
}
