// The private certificate authority of this appliance: one key, one certificate, what it signs and for how long.
// Invariants: the key is a private member and is never written out; nothing is valid longer than the authority itself.

import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { CertificateRecord } from './certificate-book.ts';
import {
  authorityKeyRefusal,
  publicKeyDigest,
  type RevokedSerial,
  type SignedCertificate,
  signAuthority,
  signLeaf,
  signRevocationList,
  type Validity,
} from './signing.ts';

const DAY_MS = 86_400_000;
/** Devices in the field may sit on a shelf for years before their clock is right. */
const AUTHORITY_MS = 20 * 365.25 * DAY_MS;
export const CLIENT_LIFE_MS = 365 * DAY_MS;
export const SERVER_LIFE_MS = 90 * DAY_MS;
/** An appliance whose clock stood at 1970 when it made its authority must not have one that ran out in 1990. */
const NOT_BEFORE_THIS_MS = Date.UTC(2026, 0, 1);
/** Panels whose clocks run behind take a new certificate at once. */
export const CLOCK_SLACK_MS = 3_600_000;

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
  readonly #validity: Validity;

  /** Throws for what `Authority.refusal` refuses. */
  constructor(key: KeyObject, certificatePem: string) {
    const refusal = Authority.refusal(key, certificatePem);
    if (refusal !== null) throw new Error(refusal);
    const certificate = new X509Certificate(certificatePem);
    this.certificatePem = certificatePem;
    this.fingerprint = certificate.fingerprint256;
    this.#key = key;
    this.#validity = {
      notBeforeWallMs: certificate.validFromDate.getTime(),
      notAfterWallMs: certificate.validToDate.getTime(),
    };
  }

  /** With a certificate of its own, signed now. */
  static begin(key: KeyObject, commonName: string, wallMs: number): Authority {
    const notBeforeWallMs = wallMs - CLOCK_SLACK_MS;
    const validity = {
      notBeforeWallMs,
      notAfterWallMs: Math.max(wallMs, NOT_BEFORE_THIS_MS) + AUTHORITY_MS,
    };
    return new Authority(key, signAuthority(key, commonName, validity));
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

  /** For an account, until `untilWallMs` at the latest. */
  issueClient(
    principalId: string,
    publicKey: KeyObject,
    wallMs: number,
    untilWallMs: number | null,
  ): Issued {
    const uri = certificateUri(principalId);
    const lastMs = Math.min(wallMs + CLIENT_LIFE_MS, untilWallMs ?? Number.POSITIVE_INFINITY);
    const validity = this.#within(wallMs, lastMs);
    const leaf = { commonName: principalId, names: [uri], publicKey, ...validity };
    const signed = this.#sign({ purpose: 'client', ...leaf });
    const subject = { purpose: 'client', subject: principalId, uri } as const;
    return issued(signed, subject, publicKey);
  }

  /** For the names and addresses under which panels reach the appliance. */
  issueServer(names: readonly string[], publicKey: KeyObject, wallMs: number): Issued {
    const commonName = names[0] ?? 'dsmil';
    const validity = this.#within(wallMs, wallMs + SERVER_LIFE_MS);
    const signed = this.#sign({ purpose: 'server', commonName, names, publicKey, ...validity });
    return issued(signed, { purpose: 'server', subject: commonName, uri: '' }, publicKey);
  }

  revocationList(list: {
    readonly number: number;
    readonly thisUpdateWallMs: number;
    readonly nextUpdateWallMs: number;
    readonly revoked: readonly RevokedSerial[];
  }): string {
    return signRevocationList(this.#signing(), list);
  }

  #sign(leaf: Parameters<typeof signLeaf>[1]): SignedCertificate {
    return signLeaf(this.#signing(), leaf);
  }

  #signing() {
    return { certificatePem: this.certificatePem, key: this.#key };
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

function issued(
  signed: SignedCertificate,
  subject: Pick<CertificateRecord, 'purpose' | 'subject' | 'uri'>,
  publicKey: KeyObject,
): Issued {
  const { certificatePem, serial, fingerprint, notBeforeWallMs, notAfterWallMs } = signed;
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
  return { certificatePem, record };
}
