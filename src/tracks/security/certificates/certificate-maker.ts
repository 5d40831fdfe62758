// Who writes and reads ASN.1 for the authority: what it is asked for and what it gives, without a word of the format itself.
// Invariants: it decides nothing; who gets a certificate, under which name and for how long, is settled before it is asked.
// Faults: CERTIFICATE_REFUSED for a request it cannot read, BUSY, DEADLINE_EXCEEDED, INTERNAL.

import type { KeyObject } from 'node:crypto';
import type { Outcome } from '#foundation/outcome';

export interface Validity {
  readonly notBeforeWallMs: number;
  readonly notAfterWallMs: number;
}

export interface RevokedSerial {
  readonly serial: string;
  readonly revokedWallMs: number;
}

interface Signer {
  /** On P-256 or P-384. A handle: whoever makes certificates is in this process, and the key is not copied to it. */
  readonly key: KeyObject;
}

interface AuthorityWanted extends Signer, Validity {
  readonly commonName: string;
  /** Hexadecimal, positive. */
  readonly serial: string;
}

interface LeafWanted extends AuthorityWanted {
  readonly authorityPem: string;
  readonly purpose: 'client' | 'server';
  /** For a client its one URI; for a server host names and IP addresses. */
  readonly names: readonly string[];
  /** SPKI. */
  readonly publicKeyPem: string;
}

interface RevocationListWanted extends Signer {
  readonly authorityPem: string;
  readonly number: number;
  readonly thisUpdateWallMs: number;
  readonly nextUpdateWallMs: number;
  readonly revoked: readonly RevokedSerial[];
}

/** What a request holds; subject and extensions that it wishes for are not among it. */
export interface RequestRead {
  /** SPKI. */
  readonly publicKeyPem: string;
  /** `ECDSA with SHA-256`, `Ed25519` and the like; empty for one that nobody here knows. */
  readonly algorithm: string;
  /** The signature is one by the private key of this public key. */
  readonly proven: boolean;
}

export interface CertificateJobs {
  readonly readRequest: {
    /** One PEM block. */
    readonly asked: { readonly requestPem: string };
    readonly made: RequestRead;
  };
  /** Each of these gives PEM. */
  readonly signAuthority: { readonly asked: AuthorityWanted; readonly made: string };
  readonly signLeaf: { readonly asked: LeafWanted; readonly made: string };
  readonly signRevocationList: { readonly asked: RevocationListWanted; readonly made: string };
}

export type CertificateJob = keyof CertificateJobs;
export type Asked<J extends CertificateJob> = CertificateJobs[J]['asked'];
export type Made<J extends CertificateJob> = CertificateJobs[J]['made'];

export interface CertificateMaker {
  make<J extends CertificateJob>(job: J, asked: Asked<J>): Promise<Outcome<Made<J>>>;
}
