// What the desks of the security track need of one another: narrow interfaces, so that each can be read and tested alone.

import type { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { AccountRecord } from '#model/account';
import type {
  AdministrationAnswer,
  AdministrationKey,
  AdministrationRequest,
} from '#model/administration';
import type { AuditEntry, AuditEventName, AuditRecord } from '#model/audit-entry';
import type { Session } from '#model/orchestrator-port';
import type { Origin } from '#model/principal';

export interface AccountPort {
  account(id: string): AccountRecord | undefined;
  all(): readonly AccountRecord[];
}

/** Live sessions, as far as others may end or lock them. */
export interface SessionControl {
  /**
   * Ends the sessions that match at once, on every transport; how many handles there were. Called inside a transaction of
   * the store (`beside`), the rows of sign-ins go with it.
   */
  endSessions(matches: (session: LiveSession) => boolean, reason: string): number;
  /**
   * The person's sessions refuse everything but a stop, and no new one is opened, until a person unlocks the account. Puts
   * ACCOUNT_LOCKED on record by itself.
   */
  lockAccount(account: string, reason: string): void;
  /** One for each handle, those without a connection too. */
  liveSessions(): readonly LiveSession[];
  /** Empty for a session that is not live. */
  handleOf(sessionId: string): string;
}

export interface LiveSession {
  /** Names the session to people; opens nothing. */
  readonly handle: string;
  readonly session: Session;
  readonly origin: Origin;
  readonly openedWallMs: number;
  /** Digest of the part of the credential that names its holder. */
  readonly credential: string;
  /** Id of the API token it was opened with; empty for another way. */
  readonly tokenId: string;
  /** Fingerprint of the certificate it was opened with; empty for another way. */
  readonly fingerprint: string;
}

/** What an API token is worth now. */
export interface TokenPort {
  /** By hexadecimal SHA-256; revoked and expired ones are not found. */
  find(hash: string):
    | {
        readonly id: string;
        readonly account: string;
        readonly scope: readonly string[] | null;
        readonly expiresAtWallMs: number;
      }
    | undefined;
}

/** What a client certificate is worth now. */
export interface CertificatePort {
  /** Null when it was issued here for this URI, is in its time and not revoked; else why not, one sentence. */
  refusal(uri: string, fingerprint: string): string | null;
}

export interface AuditSink {
  append(record: AuditRecord, beside?: () => void): Promise<Outcome<AuditEntry>>;
}

/** Who asks, in a live session; null for what needs none. */
export interface AdministrationCaller {
  readonly session: Session | null;
  /** Digest of what the session was opened with; empty without one. */
  readonly credential: string;
  /** Whether the session still is the person's, asked at any later time; absent without one. */
  readonly holder?: () => Outcome<unknown>;
  readonly origin: Origin;
  readonly deadline: Deadline;
}

export type AdministrationHandler<K extends AdministrationKey> = (
  caller: AdministrationCaller,
  request: AdministrationRequest<K>,
) => Promise<Outcome<AdministrationAnswer<K>>>;

/** One handler for each key a desk answers. */
export type AdministrationHandlers = {
  readonly [K in AdministrationKey]: AdministrationHandler<K>;
};

/** Puts one act on record, with the change itself in the same transaction (`beside`). */
export type RecordAct = (
  event: AuditEventName,
  caller: AdministrationCaller,
  result: string,
  more?: Partial<AuditRecord>,
  beside?: () => void,
) => Promise<Outcome<AuditEntry>>;
