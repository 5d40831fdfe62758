// The private certificate authority of this appliance: one key, one certificate, what it signs and for how long.
// Invariants: the key is a private member and never leaves this process; nothing is valid longer than the authority itself;
// what a maker gives is judged before it counts: signed by this authority, for the key and in the time asked for.

import { createPublicKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { CertificateRecord } from './certificate-book.ts';
import type { Asked, CertificateMaker, Validity } from './certificate-maker.ts';
import { publicKeyDigest, readCertificateRequest } from './certificate-request.ts';

const DAY_MS = 86_400_000;
/** Devices in the field may sit on a shelf for years before their clock is right. */
const AUTHORITY_MS = 20 * 365.25 * DAY_MS;
export const CLIENT_LIFE_MS = 365 * DAY_MS;
export const SERVER_LIFE_MS = 90 * DAY_MS;
/** An appliance whose clock stood at 1970 when it made its authority must not have one that ran out in 1990. */
const NOT_BEFORE_THIS_MS = Date.UTC(2026, 0, 1);
/** Panels whose clocks run behind take a new certificate at once. */
export const CLOCK_SLACK_MS = 3_600_000;
const CURVES = ['prime256v1', 'secp384r1'];
/** ub-common-name of RFC 5280 appendix A. */
const COMMON_NAME_MAX = 64;
const SERIAL_BYTES = 16;

export interface Issued {
  readonly certificatePem: string;
  /** For the list of certificates. */
  readonly record: CertificateRecord;
}

/** The one identity in a client certificate. */
export function certificateUri(principalId: string): string {
  return `urn:dsmil:principal:${principalId}`;
}

export class Authority {
  readonly certificatePem: string;
  /** As in the list of certificates. */
  readonly fingerprint: string;
  readonly #key: KeyObject;
  readonly #maker: CertificateMaker;
  readonly #validity: Validity;

  /** Throws for what `Authority.refusal` refuses. */
  constructor(key: KeyObject, certificatePem: string, maker: CertificateMaker) {
    const refusal = Authority.refusal(key, certificatePem);
    if (refusal !== null) throw new Error(refusal);
    const certificate = new X509Certificate(certificatePem);
    this.certificatePem = certificatePem;
    this.fingerprint = certificate.fingerprint256;
    this.#key = key;
    this.#maker = maker;
    this.#validity = {
      notBeforeWallMs: certificate.validFromDate.getTime(),
      notAfterWallMs: certificate.validToDate.getTime(),
    };
  }

  /** With a certificate of its own, signed now. */
  static async begin(
    key: KeyObject,
    commonName: string,
    wallMs: number,
    maker: CertificateMaker,
  ): Promise<Outcome<Authority>> {
    const kind = authorityKeyRefusal(key);
    if (kind !== null) return failed(`cannot begin: its key ${kind}`);
    const made = await maker.make('signAuthority', {
      key,
      commonName: fitting(commonName),
      serial: newSerial(),
      notBeforeWallMs: wallMs - CLOCK_SLACK_MS,
      notAfterWallMs: Math.max(wallMs, NOT_BEFORE_THIS_MS) + AUTHORITY_MS,
    });
    if (!made.ok) return made;
    const refusal = Authority.refusal(key, made.value);
    return refusal === null ? succeed(new Authority(key, made.value, maker)) : failed(refusal);
  }

  /** Null when key and certificate belong together and may sign; else a sentence. */
  static refusal(key: KeyObject, certificatePem: string): string | null {
    const kind = authorityKeyRefusal(key);
    if (kind !== null) return `the authority's key ${kind}`;
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(certificatePem);
    } catch {
      return "the authority's certificate cannot be read";
    }
    if (!certificate.ca) return "the authority's certificate is not one of an authority";
    const fits = certificate.publicKey.equals(createPublicKey(key));
    return fits ? null : "the authority's certificate is for another key than the one given";
  }

  /** The public key that a request is for. */
  readRequest(requestPem: string): Promise<Outcome<KeyObject>> {
    return readCertificateRequest(requestPem, this.#maker);
  }

  /** For an account, until `untilWallMs` at the latest. */
  issueClient(
    principalId: string,
    publicKey: KeyObject,
    wallMs: number,
    untilWallMs: number | null,
  ): Promise<Outcome<Issued>> {
    const uri = certificateUri(principalId);
    const lastMs = Math.min(wallMs + CLIENT_LIFE_MS, untilWallMs ?? Number.POSITIVE_INFINITY);
    const subject = { purpose: 'client', subject: principalId, uri } as const;
    return this.#issue(subject, [uri], publicKey, this.#within(wallMs, lastMs));
  }

  /** For the names and addresses under which panels reach the appliance. */
  issueServer(
    names: readonly string[],
    publicKey: KeyObject,
    wallMs: number,
  ): Promise<Outcome<Issued>> {
    const subject = { purpose: 'server', subject: names[0] ?? 'dsmil', uri: '' } as const;
    return this.#issue(subject, names, publicKey, this.#within(wallMs, wallMs + SERVER_LIFE_MS));
  }

  /** As PEM; `number` counts up with each list. */
  revocationList(
    list: Omit<Asked<'signRevocationList'>, 'key' | 'authorityPem'>,
  ): Promise<Outcome<string>> {
    const { certificatePem: authorityPem } = this;
    return this.#maker.make('signRevocationList', { ...list, authorityPem, key: this.#key });
  }

  async #issue(
    subject: Pick<CertificateRecord, 'purpose' | 'subject' | 'uri'>,
    names: readonly string[],
    publicKey: KeyObject,
    validity: Validity,
  ): Promise<Outcome<Issued>> {
    const wanted = newSerial();
    const made = await this.#maker.make('signLeaf', {
      authorityPem: this.certificatePem,
      key: this.#key,
      purpose: subject.purpose,
      commonName: fitting(subject.subject),
      names,
      publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      serial: wanted,
      ...validity,
    });
    if (!made.ok) return made;
    const certificate = new X509Certificate(made.value);
    const { serialNumber: serial, fingerprint256: fingerprint } = certificate;
    const { notBeforeWallMs, notAfterWallMs } = validity;
    const isAsked =
      serial === wanted &&
      !certificate.ca &&
      certificate.verify(createPublicKey(this.#key)) &&
      certificate.publicKey.equals(publicKey) &&
      certificate.validFromDate.getTime() === notBeforeWallMs &&
      certificate.validToDate.getTime() === notAfterWallMs;
    if (!isAsked) return failed('signed another certificate than the one asked for');
    const record = {
      serial,
      ...subject,
      fingerprint,
      notBeforeWallMs,
      notAfterWallMs,
      revokedWallMs: 0,
      revokedBecause: '',
      publicKeyDigest: publicKeyDigest(publicKey),
    };
    return succeed({ certificatePem: made.value, record });
  }

  /** Whole seconds, as certificates have them. */
  #within(wallMs: number, lastMs: number): Validity {
    const whole = (ms: number) => Math.floor(ms / 1_000) * 1_000;
    const { notBeforeWallMs, notAfterWallMs } = this.#validity;
    return {
      notBeforeWallMs: whole(Math.max(wallMs - CLOCK_SLACK_MS, notBeforeWallMs)),
      notAfterWallMs: whole(Math.min(lastMs, notAfterWallMs)),
    };
  }
}

/** Null when the authority can sign with this key; else what kind of key it is. */
function authorityKeyRefusal(key: KeyObject): string | null {
  const curve = key.asymmetricKeyDetails?.namedCurve ?? '';
  if (key.asymmetricKeyType === 'ec' && CURVES.includes(curve)) return null;
  const kind = key.asymmetricKeyType ?? key.type;
  return `is a key of the type ${curve === '' ? kind : curve}, and the authority signs with P-256 or P-384`;
}

/** 16 random bytes, positive and never 0 (RFC 5280 section 4.1.2.2); hexadecimal in upper case, as Node and OpenSSL print it. */
function newSerial(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex').toUpperCase();
}

function fitting(commonName: string): string {
  return commonName.length > COMMON_NAME_MAX ? 'dsmil' : commonName;
}

function failed(finding: string) {
  return refuse(fault('INTERNAL', { place: 'certificate authority', finding }));
}
