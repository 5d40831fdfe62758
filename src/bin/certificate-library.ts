// Certificates, revocation lists and requests by @peculiar/x509 (RFC 5280, RFC 2986), in the thread that loads this file.
// Invariants: a request whose bytes another reader might take for something else is refused; nothing of it but its public
// key is looked at. Whoever watches memory or loop starts this in a thread of its own: the package is large.

import 'reflect-metadata';
import { createPublicKey, type KeyObject, webcrypto } from 'node:crypto';
import {
  AsnEcSignatureFormatter,
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  PemConverter,
  Pkcs10CertificateRequest,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
  X509CrlGenerator,
} from '@peculiar/x509';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { addressBytes } from '#model/server-certificate';
import type {
  Asked,
  CertificateJob,
  CertificateMaker,
  Made,
  RequestRead,
} from '#tracks/security/certificates/certificate-maker';

const REVOCATION_LIST_NUMBER = '2.5.29.20';
/** Curves of authorities, with the digest that goes with them (RFC 5758 section 3.2). */
const ALGORITHMS = {
  prime256v1: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  secp384r1: { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
} as const;

type SigningKey = Parameters<typeof X509CertificateGenerator.create>[0] extends infer Params
  ? Params extends { readonly signingKey: infer Key }
    ? Key
    : never
  : never;

cryptoProvider.set(webcrypto as unknown as Parameters<typeof cryptoProvider.set>[0]);

type Jobs = { readonly [J in CertificateJob]: (asked: Asked<J>) => Promise<Made<J>> };

const jobs: Jobs = { readRequest, signAuthority, signLeaf, signRevocationList };

export const certificateLibrary: CertificateMaker = {
  async make<J extends CertificateJob>(job: J, asked: Asked<J>): Promise<Outcome<Made<J>>> {
    try {
      return succeed(await jobs[job](asked));
    } catch (error) {
      const internal = describeError(error);
      return job === 'readRequest'
        ? refuse(
            fault('CERTIFICATE_REFUSED', {
              place: 'certificate request',
              finding: 'is not a request as RFC 2986 describes it',
              internal,
            }),
          )
        : refuse(fault('INTERNAL', { place: job, finding: 'failed', internal }));
    }
  },
};

/** With the one spelling of its bytes in sight. */
class Request extends Pkcs10CertificateRequest {
  get isCanonical(): boolean {
    const again = new Pkcs10CertificateRequest(this.asn);
    return this.asn.certificationRequestInfo.version === 0 && again.equal(this);
  }

  get algorithm(): string {
    const { algorithm, parameters } = this.asn.signatureAlgorithm;
    // These algorithms have no parameters, not even NULL (RFC 5758 section 3.2, RFC 8410 section 3).
    return parameters === undefined ? (SIGNATURES[algorithm] ?? '') : '';
  }
}

const SIGNATURES: Readonly<Record<string, string>> = {
  '1.2.840.10045.4.3.2': 'ECDSA with SHA-256',
  '1.2.840.10045.4.3.3': 'ECDSA with SHA-384',
  '1.2.840.10045.4.3.4': 'ECDSA with SHA-512',
  '1.3.101.112': 'Ed25519',
};

async function readRequest({ requestPem }: Asked<'readRequest'>): Promise<RequestRead> {
  const request = new Request(PemConverter.decodeFirst(requestPem));
  if (!request.isCanonical) throw new Error('it could be written in another way');
  const { algorithm } = request;
  const publicKeyPem = `${request.publicKey.toString('pem')}\n`;
  return { publicKeyPem, algorithm, proven: algorithm !== '' && (await isProven(request)) };
}

/** A signature that cannot be tried is none. */
async function isProven(request: Request): Promise<boolean> {
  try {
    return hasOneSpelling(request) && (await request.verify());
  } catch {
    return false;
  }
}

/** The package reads an ECDSA signature also where another reader would not (RFC 3279 section 2.2.3, in DER). */
function hasOneSpelling({ publicKey, signature }: Request): boolean {
  const { algorithm } = publicKey;
  if (algorithm.name !== 'ECDSA') return true;
  const formatter = new AsnEcSignatureFormatter();
  const plain = formatter.toWebSignature(algorithm, signature);
  const again = plain === null ? null : formatter.toAsnSignature(algorithm, plain);
  return again !== null && Buffer.from(again).equals(Buffer.from(signature));
}

async function signAuthority(asked: Asked<'signAuthority'>): Promise<string> {
  const publicKey = publicKeyOf(createPublicKey(asked.key));
  const name = nameOf(asked.commonName);
  const { signingKey, signingAlgorithm } = signerOf(asked.key);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: asked.serial,
    issuer: name,
    subject: name,
    notBefore: new Date(asked.notBeforeWallMs),
    notAfter: new Date(asked.notAfterWallMs),
    publicKey,
    signingKey,
    signingAlgorithm,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

async function signLeaf(asked: Asked<'signLeaf'>): Promise<string> {
  const { purpose, names } = asked;
  const issuer = new X509Certificate(asked.authorityPem);
  const publicKey = publicKeyOf(createPublicKey(asked.publicKeyPem));
  const { signingKey, signingAlgorithm } = signerOf(asked.key);
  const usage = purpose === 'client' ? ExtendedKeyUsage.clientAuth : ExtendedKeyUsage.serverAuth;
  const certificate = await X509CertificateGenerator.create({
    serialNumber: asked.serial,
    // As it is written there: chains are built by comparing these bytes.
    issuer: issuer.subjectName,
    subject: nameOf(asked.commonName),
    notBefore: new Date(asked.notBeforeWallMs),
    notAfter: new Date(asked.notAfterWallMs),
    publicKey,
    signingKey,
    signingAlgorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([usage]),
      new SubjectAlternativeNameExtension(
        names.map((value) =>
          purpose === 'client'
            ? { type: 'url', value }
            : { type: addressBytes(value) === null ? 'dns' : 'ip', value },
        ),
      ),
      await issuedBy(issuer),
      await SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

async function signRevocationList(asked: Asked<'signRevocationList'>): Promise<string> {
  const issuer = new X509Certificate(asked.authorityPem);
  const list = await X509CrlGenerator.create({
    issuer: issuer.subjectName,
    thisUpdate: new Date(asked.thisUpdateWallMs),
    nextUpdate: new Date(asked.nextUpdateWallMs),
    entries: asked.revoked.map(({ serial, revokedWallMs }) => ({
      serialNumber: serial,
      revocationDate: new Date(revokedWallMs),
    })),
    extensions: [
      await issuedBy(issuer),
      new Extension(REVOCATION_LIST_NUMBER, false, integer(asked.number)),
    ],
    ...signerOf(asked.key),
  });
  // RFC 7468 section 7; the package's own label is another one.
  return `${PemConverter.encode(list.rawData, 'X509 CRL')}\n`;
}

/** What the certificate says of its own key, or what one of ours would say. */
async function issuedBy(issuer: X509Certificate): Promise<AuthorityKeyIdentifierExtension> {
  const own = issuer.getExtension(SubjectKeyIdentifierExtension);
  return own === null
    ? AuthorityKeyIdentifierExtension.create(issuer.publicKey)
    : new AuthorityKeyIdentifierExtension(own.keyId);
}

function nameOf(commonName: string): Name {
  return new Name([{ CN: [{ utf8String: commonName }] }]);
}

function publicKeyOf(key: KeyObject): PublicKey {
  return new PublicKey(key.export({ type: 'spki', format: 'der' }));
}

function signerOf(key: KeyObject) {
  const curve = key.asymmetricKeyDetails?.namedCurve ?? '';
  if (curve !== 'prime256v1' && curve !== 'secp384r1') {
    throw new Error('the authority has a key that it cannot sign with');
  }
  const signingAlgorithm = ALGORITHMS[curve];
  const signingKey = key.toCryptoKey(signingAlgorithm, false, ['sign']) as unknown as SigningKey;
  return { signingKey, signingAlgorithm };
}

/** A positive INTEGER (X.690 section 8.3), for the one extension that the package has no class for. */
function integer(value: number): Uint8Array {
  const hex = value.toString(16);
  const digits = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  const sign = (digits[0] ?? 0) >= 0x80 ? [0] : [];
  return Uint8Array.from([0x02, sign.length + digits.length, ...sign, ...digits]);
}
