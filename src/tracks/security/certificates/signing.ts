// Writes certificates and revocation lists of the private authority, and signs them (RFC 5280 sections 4 and 5).
// Invariants: a client certificate's identity is its one URI subject alternative name; nothing of a request but its
// public key gets into a certificate; the signing key is used here and never written out.

import {
  createHash,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { addressBytes } from '#model/server-certificate';
import {
  bitString,
  element,
  explicit,
  implicit,
  integer,
  objectIdentifier,
  readElements,
  readMembers,
  sequence,
  Tag,
  TRUE,
  time,
  wholeNumber,
} from './der.ts';

export interface SigningAuthority {
  readonly certificatePem: string;
  readonly key: KeyObject;
}

export interface Validity {
  readonly notBeforeWallMs: number;
  readonly notAfterWallMs: number;
}

export interface Leaf extends Validity {
  readonly purpose: 'client' | 'server';
  readonly commonName: string;
  /** For a client its one URI; for a server host names and IP addresses. */
  readonly names: readonly string[];
  readonly publicKey: KeyObject;
}

export interface SignedCertificate extends Validity {
  readonly certificatePem: string;
  /** Hexadecimal in upper case, as Node and OpenSSL print it. */
  readonly serial: string;
  /** SHA-256, colon-separated hexadecimal in upper case as Node prints it. */
  readonly fingerprint: string;
}

export interface RevokedSerial {
  readonly serial: string;
  readonly revokedWallMs: number;
}

const VERSION_3 = wholeNumber(2);
const LIST_VERSION_2 = wholeNumber(1);
const KEY_USAGE = { digitalSignature: 0x80, keyCertSign: 0x04, cRLSign: 0x02 } as const;
const PURPOSE = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;
const EXTENSION = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  revocationListNumber: '2.5.29.20',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;
const COMMON_NAME = '2.5.4.3';
/** ub-common-name of RFC 5280 appendix A. */
const COMMON_NAME_MAX = 64;
const SERIAL_BYTES = 16;

/** Curves of authorities, with digest and signature algorithm (RFC 5758 section 3.2). */
const SIGNATURES: Readonly<Record<string, { readonly digest: string; readonly oid: string }>> = {
  prime256v1: { digest: 'sha256', oid: '1.2.840.10045.4.3.2' },
  secp384r1: { digest: 'sha384', oid: '1.2.840.10045.4.3.3' },
};

/** The authority's own certificate, as PEM. */
export function signAuthority(key: KeyObject, commonName: string, validity: Validity): string {
  const publicKey = createPublicKey(key);
  const name = nameOf(commonName);
  const tbs = tbsCertificate(key, {
    issuer: name,
    subject: name,
    publicKey,
    serial: newSerial(),
    ...validity,
    extensions: [
      critical(EXTENSION.basicConstraints, sequence(TRUE, wholeNumber(0))),
      critical(EXTENSION.keyUsage, usageBits(KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign, 1)),
      extension(
        EXTENSION.subjectKeyIdentifier,
        element(Tag.OCTET_STRING, keyIdentifier(publicKey)),
      ),
    ],
  });
  return pem('CERTIFICATE', signed(key, tbs));
}

export function signLeaf(authority: SigningAuthority, leaf: Leaf): SignedCertificate {
  const issuer = new X509Certificate(authority.certificatePem);
  const { purpose, names, publicKey, notBeforeWallMs, notAfterWallMs } = leaf;
  const commonName = leaf.commonName.length > COMMON_NAME_MAX ? 'dsmil' : leaf.commonName;
  const tbs = tbsCertificate(authority.key, {
    issuer: subjectOf(issuer),
    subject: nameOf(commonName),
    publicKey,
    serial: newSerial(),
    notBeforeWallMs,
    notAfterWallMs,
    extensions: [
      critical(EXTENSION.basicConstraints, sequence()),
      critical(EXTENSION.keyUsage, usageBits(KEY_USAGE.digitalSignature, 7)),
      extension(EXTENSION.extendedKeyUsage, sequence(objectIdentifier(PURPOSE[purpose]))),
      extension(
        EXTENSION.subjectAlternativeName,
        sequence(...names.map(purpose === 'client' ? uriName : hostName)),
      ),
      issuedBy(issuer),
      extension(
        EXTENSION.subjectKeyIdentifier,
        element(Tag.OCTET_STRING, keyIdentifier(publicKey)),
      ),
    ],
  });
  const certificatePem = pem('CERTIFICATE', signed(authority.key, tbs));
  const { serialNumber: serial, fingerprint256: fingerprint } = new X509Certificate(certificatePem);
  return { certificatePem, serial, fingerprint, notBeforeWallMs, notAfterWallMs };
}

/** The list as PEM; `number` counts up with each list. */
export function signRevocationList(
  authority: SigningAuthority,
  list: {
    readonly number: number;
    readonly thisUpdateWallMs: number;
    readonly nextUpdateWallMs: number;
    readonly revoked: readonly RevokedSerial[];
  },
): string {
  const issuer = new X509Certificate(authority.certificatePem);
  const rows = list.revoked.map(({ serial, revokedWallMs }) =>
    sequence(integer(Buffer.from(serial, 'hex')), time(revokedWallMs)),
  );
  const tbs = sequence(
    LIST_VERSION_2,
    signatureOf(authority.key).algorithm,
    subjectOf(issuer),
    time(list.thisUpdateWallMs),
    time(list.nextUpdateWallMs),
    // An empty list is left out, not written empty (RFC 5280 section 5.1.2.6).
    ...(rows.length === 0 ? [] : [sequence(...rows)]),
    explicit(
      0,
      sequence(
        issuedBy(issuer),
        extension(EXTENSION.revocationListNumber, wholeNumber(list.number)),
      ),
    ),
  );
  return pem('X509 CRL', signed(authority.key, tbs));
}

/** Null when the authority can sign with this key; else what kind of key it is. */
export function authorityKeyRefusal(key: KeyObject): string | null {
  const curve = key.asymmetricKeyDetails?.namedCurve ?? '';
  if (key.asymmetricKeyType === 'ec' && Object.hasOwn(SIGNATURES, curve)) return null;
  const kind = key.asymmetricKeyType ?? key.type;
  return `is a key of the type ${curve === '' ? kind : curve}, and the authority signs with P-256 or P-384`;
}

/** Hexadecimal SHA-256 over the SPKI DER: the same exactly when the key is. */
export function publicKeyDigest(key: KeyObject): string {
  return createHash('sha256').update(spki(key)).digest('hex');
}

interface Body extends Validity {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly serial: Buffer;
  readonly extensions: readonly Buffer[];
}

function tbsCertificate(key: KeyObject, body: Body): Buffer {
  return sequence(
    explicit(0, VERSION_3),
    integer(body.serial),
    signatureOf(key).algorithm,
    body.issuer,
    sequence(time(body.notBeforeWallMs), time(body.notAfterWallMs)),
    body.subject,
    spki(body.publicKey),
    explicit(3, sequence(...body.extensions)),
  );
}

function signed(key: KeyObject, tbs: Buffer): Buffer {
  const { digest, algorithm } = signatureOf(key);
  return sequence(tbs, algorithm, bitString(sign(digest, tbs, key)));
}

function signatureOf(key: KeyObject): { readonly digest: string; readonly algorithm: Buffer } {
  const found = SIGNATURES[key.asymmetricKeyDetails?.namedCurve ?? ''];
  if (found === undefined) throw new Error('the authority has a key that it cannot sign with');
  return { digest: found.digest, algorithm: sequence(objectIdentifier(found.oid)) };
}

function nameOf(commonName: string): Buffer {
  const text = element(Tag.UTF8_STRING, Buffer.from(commonName));
  return sequence(element(Tag.SET, sequence(objectIdentifier(COMMON_NAME), text)));
}

function extension(identifier: string, value: Uint8Array): Buffer {
  return sequence(objectIdentifier(identifier), element(Tag.OCTET_STRING, value));
}

function critical(identifier: string, value: Uint8Array): Buffer {
  return sequence(objectIdentifier(identifier), TRUE, element(Tag.OCTET_STRING, value));
}

/** `unusedBits` behind the last named bit do not count (X.690 section 11.2.2). */
function usageBits(bits: number, unusedBits: number): Buffer {
  return bitString(Buffer.from([bits]), unusedBits);
}

function issuedBy(issuer: X509Certificate): Buffer {
  return extension(EXTENSION.authorityKeyIdentifier, sequence(implicit(0, identifierOf(issuer))));
}

function uriName(uri: string): Buffer {
  return implicit(6, Buffer.from(uri, 'latin1'));
}

function hostName(name: string): Buffer {
  const address = addressBytes(name);
  return address === null ? implicit(2, Buffer.from(name, 'latin1')) : implicit(7, address);
}

/** 16 random bytes, positive and never 0 (RFC 5280 section 4.1.2.2). */
function newSerial(): Buffer {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function spki(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}

/** SHA-1 of the public key's bits: a name for it and no protection (RFC 5280 section 4.2.1.2, method 1). */
function keyIdentifier(key: KeyObject): Buffer {
  const bits = readMembers(Tag.SEQUENCE, spki(key))?.[1]?.body.subarray(1) ?? Buffer.alloc(0);
  return createHash('sha1').update(bits).digest();
}

/** Members of the signed part, without the version. */
function bodyOf(certificate: X509Certificate) {
  const members = readMembers(Tag.SEQUENCE, certificate.raw)?.[0]?.body;
  return (members === undefined ? null : readElements(members))?.slice(1) ?? [];
}

/** As it is written there, byte for byte: chains are built by comparing these bytes. */
function subjectOf(certificate: X509Certificate): Buffer {
  const subject = bodyOf(certificate)[4];
  if (subject === undefined) throw new Error("the authority's certificate has no subject");
  return subject.whole;
}

/** What the certificate says of its own key, or what one of ours would say. */
function identifierOf(certificate: X509Certificate): Buffer {
  const wanted = objectIdentifier(EXTENSION.subjectKeyIdentifier);
  const extensions = bodyOf(certificate).find(({ tag }) => tag === 0xa3)?.body;
  for (const each of (extensions && readMembers(Tag.SEQUENCE, extensions)) ?? []) {
    const members = readElements(each.body) ?? [];
    const value = members.at(-1);
    if (members[0]?.whole.equals(wanted) !== true || value === undefined) continue;
    const [identifier] = readElements(value.body) ?? [];
    if (identifier !== undefined) return identifier.body;
  }
  return keyIdentifier(certificate.publicKey);
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
