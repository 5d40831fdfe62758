// Accounts as security keeps them: who a person or machine is, what it may do, and how it proves itself.
// Invariants: no secret is part of a view; ids are never used a second time, because the audit chain names them.

import type { LinearId } from './device.ts';
import type { ClearanceName, Compartment, Transport } from './principal.ts';

/** Everything about an account that is no secret. */
export interface AccountRecord {
  /** `^[a-z0-9][a-z0-9-]{0,62}$`. */
  readonly id: string;
  readonly name: string;
  readonly kind: 'person' | 'machine';
  readonly clearance: ClearanceName;
  readonly compartments: readonly Compartment[];
  /** Linear ids; null for every device. */
  readonly devices: readonly LinearId[] | null;
  /** May manage accounts, certificates and keys; what gives anybody more rights takes two of them. */
  readonly administrator: boolean;
  readonly enabled: boolean;
  /** Raises the risk of everything this principal asks for by one level. */
  readonly underReview: boolean;
  /** Wall clock, milliseconds; null for an open end. */
  readonly validFromWallMs: number | null;
  readonly validUntilWallMs: number | null;
  /** URI subject alternative names, compared exactly. */
  readonly certificateUris: readonly string[];
  /** Local users (SO_PEERCRED) who are this account. */
  readonly localUids: readonly number[];
}

/** What can be changed of an account that exists. */
export type AccountChange = Partial<Omit<AccountRecord, 'id' | 'kind'>>;

export interface AccountView extends AccountRecord {
  /** The person has set a password and proved a one-time code. */
  readonly enrolled: boolean;
  /** 0 when not locked. */
  readonly lockedUntilWallMs: number;
  /** Why, in one sentence; empty when not locked. */
  readonly lockedBecause: string;
  readonly sessions: number;
  readonly tokens: number;
}

/** How a session was opened. */
export type SignInWay = 'password' | 'token' | 'certificate' | 'local';

export interface SessionView {
  /** Names the session to people; opens nothing. */
  readonly handle: string;
  readonly account: string;
  readonly way: SignInWay;
  readonly transport: Transport;
  readonly peer: string;
  readonly openedWallMs: number;
  readonly expiresAtWallMs: number;
  /** The session that asks. */
  readonly own: boolean;
}

export interface TokenView {
  readonly id: string;
  readonly account: string;
  readonly name: string;
  /** Rows of the operation table it is good for; null for all that its account may. */
  readonly scope: readonly string[] | null;
  readonly createdWallMs: number;
  readonly expiresAtWallMs: number;
  readonly revoked: boolean;
}

export interface CertificateView {
  /** Hexadecimal, as in the certificate. */
  readonly serial: string;
  readonly purpose: 'client' | 'server';
  /** The account of a client, the first name of a server. */
  readonly subject: string;
  /** SHA-256 of the certificate, colon-separated hexadecimal in upper case as Node prints it. */
  readonly fingerprint: string;
  readonly notBeforeWallMs: number;
  readonly notAfterWallMs: number;
  /** 0 while it is good. */
  readonly revokedWallMs: number;
  readonly revokedBecause: string;
}

/** One answer to "may I, and if not, what is missing and who could?". */
export interface Right {
  /** Row of the operation table, or the operation on the devices asked about (`WRITE`). */
  readonly operation: string;
  readonly permitted: boolean;
  /** Every condition that fails, each a sentence; empty when permitted. */
  readonly missing: readonly string[];
  /** Accounts that could; only the ids. Empty when the caller can or nobody could. */
  readonly who: readonly string[];
  /** What the caller would still have to do: justification, confirmation, a second person. */
  readonly conduct: readonly string[];
}
