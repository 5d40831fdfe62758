// Certificates for interface's TLS server: the names are security's own, the key is interface's and never comes here.
// Invariants: whoever asks proves to have the private key; each certificate is on the list and in the audit chain; an
// interface that asks without end gets no more than a day's worth.
// Faults: CERTIFICATE_REFUSED, RATE_LIMITED, AUDIT_UNAVAILABLE.

import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { blankRecord } from '#model/audit-entry';
import {
  SERVERS_TOLD_MAX,
  type ServerCertificate,
  type ServerCertificateRequest,
  serverProofBytes,
  type TrustMaterial,
} from '#model/server-certificate';
import type { AuditSink } from '../ports.ts';
import { type Authority, CLOCK_SLACK_MS } from './authority.ts';
import type { CertificateBook } from './certificate-book.ts';
import { detailsOf } from './certificate-desk.ts';
import type { RevocationList } from './revocation-list.ts';

const DAY_MS = 86_400_000;
const A_DAY_MAX = 32;

export interface ServerCertificatesParts {
  readonly authority: Authority;
  readonly book: CertificateBook;
  readonly list: RevocationList;
  readonly audit: AuditSink;
  /** The first one is the certificate's subject. */
  readonly names: readonly string[];
  readonly wallMs: () => number;
}

export class ServerCertificates {
  readonly #parts: ServerCertificatesParts;
  /** Being signed, and not on the list yet. */
  #underWay = 0;

  constructor(parts: ServerCertificatesParts) {
    this.#parts = parts;
  }

  /** What a TLS server needs to judge clients, and the names it must carry. */
  trust(): TrustMaterial {
    const { authority, book, list, names } = this.#parts;
    const revokedServers = book
      .all()
      .filter(({ purpose, revokedWallMs }) => purpose === 'server' && revokedWallMs !== 0)
      .slice(-SERVERS_TOLD_MAX)
      .map(({ fingerprint }) => fingerprint);
    const { certificatePem: authorityPem } = authority;
    return { authorityPem, revocationListPem: list.pem, names, revokedServers };
  }

  async certify(request: ServerCertificateRequest): Promise<Outcome<ServerCertificate>> {
    const { book, wallMs } = this.#parts;
    const key = provenKey(request);
    if (!key.ok) return key;
    const nowMs = wallMs();
    const today = book
      .all()
      .filter(
        ({ purpose, notBeforeWallMs }) =>
          purpose === 'server' && notBeforeWallMs + CLOCK_SLACK_MS > nowMs - DAY_MS,
      );
    const issued = today.length + this.#underWay;
    if (issued >= A_DAY_MAX) {
      const finding = `${issued} server certificates were issued within a day`;
      return refuse(fault('RATE_LIMITED', { place: 'server certificate', finding }));
    }
    this.#underWay += 1;
    try {
      return await this.#sign(key.value, nowMs);
    } finally {
      this.#underWay -= 1;
    }
  }

  async #sign(key: KeyObject, nowMs: number): Promise<Outcome<ServerCertificate>> {
    const { authority, audit, book, names } = this.#parts;
    const made = await authority.issueServer(names, key, nowMs);
    if (!made.ok) return made;
    const { certificatePem, record } = made.value;
    const entry = await audit.append(
      {
        ...blankRecord('CERTIFICATE_ISSUED', 'interface'),
        result: `server certificate ${record.serial} issued for ${names.join(', ')}`,
        details: detailsOf(record),
      },
      () => book.write(record),
    );
    if (!entry.ok) return entry;
    book.noteSaved(record);
    return succeed({ certificatePem, ...this.trust() });
  }
}

function provenKey({ publicKeyPem, proof }: ServerCertificateRequest): Outcome<KeyObject> {
  const no = (finding: string, internal = '') =>
    refuse(
      fault('CERTIFICATE_REFUSED', {
        place: 'server certificate',
        finding,
        ...(internal === '' ? {} : { internal }),
      }),
    );
  try {
    const key = createPublicKey(publicKeyPem);
    if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return no('is for no key on P-256');
    const signed = serverProofBytes(publicKeyPem);
    if (verify('sha256', signed, key, Buffer.from(proof, 'base64'))) return succeed(key);
    return no('whoever asks has not shown to hold the private key');
  } catch (error) {
    return no('is for a key that cannot be read', describeError(error));
  }
}
