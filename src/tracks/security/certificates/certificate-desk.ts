// Client certificates, as people ask for them: issued by two administrators, renewed by their owner, revoked by one.
// Invariants: the server decides what a certificate says; certificate, account and audit entry are one transaction; a
// revocation ends the sessions opened with the certificate at once; nobody gets a key of his own for somebody else.
// Faults: ACCOUNT_UNKNOWN, CERTIFICATE_UNKNOWN, CERTIFICATE_REFUSED with what is wrong with request, account or time.

import type { KeyObject } from 'node:crypto';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AccountRecord } from '#model/account';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
} from '#model/administration';
import type { AuditRecord } from '#model/audit-entry';
import type { AccountBook } from '../identity/account-book.ts';
import { accountBasis, type SecondAdministrator } from '../identity/second-administrator.ts';
import type { Turns } from '../identity/turns.ts';
import type {
  AdministrationCaller,
  AdministrationHandlers,
  RecordAct,
  SessionControl,
} from '../ports.ts';
import { type Authority, certificateUri, type Issued } from './authority.ts';
import type { CertificateBook, CertificateRecord } from './certificate-book.ts';
import { publicKeyDigest } from './certificate-request.ts';
import type { RevocationList } from './revocation-list.ts';

export interface CertificateDeskParts {
  readonly authority: Authority;
  readonly book: CertificateBook;
  readonly list: RevocationList;
  readonly accounts: Pick<AccountBook, 'account' | 'all' | 'write' | 'noteSaved'>;
  readonly sessions: Pick<SessionControl, 'endSessions'>;
  readonly second: SecondAdministrator;
  readonly record: RecordAct;
  /** Shared with whoever else changes accounts. */
  readonly turns: Turns;
  /** Time that validity is judged by. */
  readonly wallMs: () => number;
  /** Makes the revocation list a new one if that is due, and tells whoever judges by it. */
  readonly renewList: () => Promise<void>;
}

/** Good certificates of one account at once, and URIs of one account. */
const CERTIFICATES_MAX = 16;

type Answered<K extends AdministrationKey> = Promise<Outcome<AdministrationAnswer<K>>>;
type Handled =
  | 'authority'
  | 'certificates'
  | 'issueCertificate'
  | 'renewCertificate'
  | 'revokeCertificate';

export class CertificateDesk {
  readonly #parts: CertificateDeskParts;

  constructor(parts: CertificateDeskParts) {
    this.#parts = parts;
  }

  handlers(): Pick<AdministrationHandlers, Handled> {
    const { authority, book, list, turns } = this.#parts;
    return {
      authority: async () =>
        succeed({ certificatePem: authority.certificatePem, revocationListPem: list.pem }),
      certificates: async () => succeed({ certificates: book.views() }),
      issueCertificate: (caller, request) =>
        turns.take('issueCertificate', caller.deadline, () => this.#issue(caller, request)),
      renewCertificate: (caller, request) =>
        turns.take('renewCertificate', caller.deadline, () => this.#renew(caller, request)),
      // Never behind changes that wait for their turn.
      revokeCertificate: (caller, request) => this.#revoke(caller, request),
    };
  }

  async #issue(
    caller: AdministrationCaller,
    request: AdministrationRequest<'issueCertificate'>,
  ): Answered<'issueCertificate'> {
    const { accounts, authority, second } = this.#parts;
    const account = accounts.account(request.account);
    if (account === undefined) {
      const place = `account ${request.account}`;
      return refuse(fault('ACCOUNT_UNKNOWN', { place, finding: 'is not there' }));
    }
    const uri = certificateUri(account.id);
    const unfit = this.#unfit(account) ?? this.#uriRefusal(account, uri);
    if (unfit !== null) return no(`account ${account.id}`, unfit);
    const key = await authority.readRequest(request.requestPem);
    if (!key.ok) return key;
    const details = { account: account.id, uri, publicKey: publicKeyDigest(key.value) };
    const what = `to give ${account.id} a client certificate for the key ${details.publicKey}`;
    const subject = { request, basis: accountBasis(account), what, details };
    const asked = await second.ask(caller, 'issueCertificate', subject, ({ by, digest }) => {
      const more = { reason: request.reason, planDigest: digest, details: { proposedBy: by } };
      return this.#sign(caller, account.id, key.value, more);
    });
    if (!asked.ok) return asked;
    if (!asked.value.done) return succeed({ ...asked.value, certificatePem: '' });
    const { certificatePem, record } = asked.value.value;
    return succeed({ done: true, message: issuedSentence(record), certificatePem });
  }

  async #renew(
    caller: AdministrationCaller,
    { serial, requestPem }: AdministrationRequest<'renewCertificate'>,
  ): Answered<'renewCertificate'> {
    const { book, accounts, authority } = this.#parts;
    const { session } = caller;
    const old = book.find(serial);
    const own = old !== undefined && old.subject === session?.principal.id;
    if (old?.purpose !== 'client' || !(own || session?.administrator === true)) {
      const finding = 'is no client certificate of this account';
      return refuse(fault('CERTIFICATE_UNKNOWN', { place: place(serial), finding }));
    }
    const stale = book.staleness(old);
    if (stale !== null) return no(place(serial), `${stale}, and only a good one is renewed`);
    const account = accounts.account(old.subject);
    if (account === undefined) return no(place(serial), 'its account is gone');
    const taken = account.certificateUris.includes(old.uri)
      ? null
      : 'its name was taken from the account';
    const unfit = taken ?? this.#unfit(account);
    if (unfit !== null) return no(place(serial), unfit);
    const key = await authority.readRequest(requestPem);
    if (!key.ok) return key;
    const strange = newKeyRefusal(caller, own, old, key.value);
    if (strange !== null) return no(place(serial), strange);
    const more = { details: { renews: old.serial } };
    const made = await this.#sign(caller, account.id, key.value, more, old.serial);
    return made.ok ? succeed({ certificatePem: made.value.certificatePem }) : made;
  }

  /** Certificate, and the name in it for an account that has it not yet, with the entry of the audit chain. */
  async #sign(
    caller: AdministrationCaller,
    id: string,
    key: KeyObject,
    more: Partial<AuditRecord>,
    successorOf: string | null = null,
  ): Promise<Outcome<Issued>> {
    const { authority, book, accounts, record, wallMs } = this.#parts;
    const untilWallMs = accounts.account(id)?.validUntilWallMs ?? null;
    const signed = await authority.issueClient(id, key, wallMs(), untilWallMs);
    if (!signed.ok) return signed;
    const made = signed.value;
    const { uri } = made.record;
    // Signing took a while, in which a lost certificate may have been revoked or an account disabled.
    const account = accounts.account(id);
    if (account === undefined) return no(`account ${id}`, 'is gone');
    const old = successorOf === null ? undefined : book.find(successorOf);
    const unfit = this.#unfit(account) ?? (old === undefined ? null : book.staleness(old));
    if (unfit !== null) return no(`account ${id}`, unfit);
    if (account.validUntilWallMs !== untilWallMs) {
      return no(`account ${id}`, 'was changed while its certificate was made');
    }
    const certificateUris = [...account.certificateUris, uri];
    const after = account.certificateUris.includes(uri) ? null : { ...account, certificateUris };
    const details = { ...detailsOf(made.record), ...more.details };
    const saved = await record(
      'CERTIFICATE_ISSUED',
      caller,
      issuedSentence(made.record),
      { ...more, details },
      () => {
        book.write(made.record);
        if (after !== null) accounts.write(after);
      },
    );
    if (!saved.ok) return saved;
    book.noteSaved(made.record);
    if (after !== null) accounts.noteSaved(after);
    return signed;
  }

  async #revoke(
    caller: AdministrationCaller,
    { serial, reason }: AdministrationRequest<'revokeCertificate'>,
  ): Answered<'revokeCertificate'> {
    const { book, record, sessions, wallMs, renewList } = this.#parts;
    const found = book.find(serial);
    if (found === undefined) {
      const finding = 'is not on the list of those issued here';
      return refuse(fault('CERTIFICATE_UNKNOWN', { place: place(serial), finding }));
    }
    if (found.revokedWallMs === 0) {
      const revokedBecause = reason;
      const revoked = { ...found, revokedWallMs: Math.round(wallMs()), revokedBecause };
      const result = `certificate ${found.serial} of ${found.subject} revoked`;
      const saved = await record(
        'CERTIFICATE_REVOKED',
        caller,
        result,
        { reason, details: detailsOf(found) },
        () => book.write(revoked),
      );
      if (!saved.ok) return saved;
      book.noteSaved(revoked);
    }
    const sessionsEnded = sessions.endSessions(
      ({ fingerprint }) => fingerprint === found.fingerprint,
      'the certificate it was opened with was revoked',
    );
    // Last, because it takes its time and the certificate opens nothing any more.
    await renewList();
    return succeed({ sessionsEnded });
  }

  /** Why this account gets no certificate now. */
  #unfit(account: AccountRecord): string | null {
    const { book, wallMs } = this.#parts;
    if (!account.enabled) return 'is disabled';
    const { validUntilWallMs } = account;
    if (validUntilWallMs !== null && validUntilWallMs <= wallMs()) return 'is not valid any more';
    const good = book
      .all()
      .filter((record) => record.subject === account.id && book.staleness(record) === null);
    return good.length < CERTIFICATES_MAX
      ? null
      : `has ${good.length} good certificates: revoke those that are not used any more`;
  }

  #uriRefusal(account: AccountRecord, uri: string): string | null {
    const holder = this.#parts.accounts
      .all()
      .find(({ id, certificateUris }) => id !== account.id && certificateUris.includes(uri));
    if (holder !== undefined) return `its name ${uri} belongs to the account ${holder.id}`;
    const full = account.certificateUris.length >= CERTIFICATES_MAX;
    return full && !account.certificateUris.includes(uri)
      ? `has ${account.certificateUris.length} names for certificates already`
      : null;
  }
}

/**
 * A certificate is good for everything its account may, for a year. So a new key needs the account itself, signed in with
 * a certificate or a password; anybody else, and whoever shows a token, can only carry a request for the same key.
 */
function newKeyRefusal(
  { session }: AdministrationCaller,
  own: boolean,
  old: CertificateRecord,
  key: KeyObject,
): string | null {
  if (publicKeyDigest(key) === old.publicKeyDigest) return null;
  if (!own) return `its key can be changed by ${old.subject} alone, and this is another one`;
  if (session?.way === 'certificate' || session?.way === 'password') return null;
  return 'a new key needs a session opened with a certificate or a password';
}

function no(where: string, finding: string) {
  return refuse(fault('CERTIFICATE_REFUSED', { place: where, finding }));
}

function place(serial: string): string {
  return `certificate ${serial}`;
}

function issuedSentence({ serial, subject, notAfterWallMs }: CertificateRecord): string {
  return `certificate ${serial} issued for ${subject}, good until ${new Date(notAfterWallMs).toISOString()}`;
}

export function detailsOf(record: CertificateRecord): AuditRecord['details'] {
  const { serial, purpose, subject, fingerprint, notAfterWallMs, publicKeyDigest } = record;
  const named = purpose === 'client' ? { account: subject } : { server: subject };
  return { serial, ...named, fingerprint, notAfterWallMs, publicKey: publicKeyDigest };
}
