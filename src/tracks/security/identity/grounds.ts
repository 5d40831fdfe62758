// What a session stands on: the proof that a connection showed, whose it is, and whether it still opens anything now.
// Invariants: a proof that two accounts claim opens none; names are compared exactly; expiry is judged by the wall floor.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AccountRecord } from '#model/account';
import type { Credential } from '#model/principal';
import type { AccountPort, CertificatePort, TokenPort } from '../ports.ts';
import { hashToken } from './secrets.ts';
import type { SignedIn, SignIns } from './sign-ins.ts';

export type Ground =
  | { readonly way: 'password'; readonly signIn: SignedIn }
  | { readonly way: 'token'; readonly hash: string; readonly tokenId: string }
  | { readonly way: 'certificate'; readonly uri: string; readonly fingerprint: string }
  | { readonly way: 'local'; readonly uid: number };

export interface Grounded {
  readonly record: AccountRecord;
  readonly ground: Ground;
}

export interface GroundsParts {
  /** Of the wall floor. */
  readonly wallMs: () => number;
  readonly accounts: AccountPort;
  readonly tokens: TokenPort;
  /** Every certificate of a known name is good where absent. */
  readonly certificates?: CertificatePort;
  readonly signIns: SignIns;
}

export class Grounds {
  readonly #parts: GroundsParts;

  constructor(parts: GroundsParts) {
    this.#parts = parts;
  }

  find(credential: Credential): Outcome<Grounded> {
    const { accounts, tokens, signIns } = this.#parts;
    switch (credential.kind) {
      case 'token': {
        const hash = hashToken(credential.token);
        const signIn = signIns.find(hash);
        if (signIn !== undefined) {
          const record = accounts.account(signIn.account);
          return this.#good(credential, record, { way: 'password', signIn });
        }
        const token = tokens.find(hash);
        if (token === undefined) return nobodys(credential);
        const record = accounts.account(token.account);
        return this.#good(credential, record, { way: 'token', hash, tokenId: token.id });
      }
      case 'certificate': {
        const { uri, fingerprint } = credential;
        const record = this.#onlyHolder(({ certificateUris }) => certificateUris.includes(uri));
        return this.#good(credential, record, { way: 'certificate', uri, fingerprint });
      }
      case 'local': {
        const { uid } = credential;
        const record = this.#onlyHolder(({ localUids }) => localUids.includes(uid));
        return this.#good(credential, record, { way: 'local', uid });
      }
    }
  }

  /** Why the proof opens nothing of this account now; null when it does. */
  overBecause(record: AccountRecord, ground: Ground): string | null {
    const { tokens, certificates, signIns } = this.#parts;
    const unusable = unusableBecause(record, this.#parts.wallMs());
    if (unusable !== null) return unusable;
    switch (ground.way) {
      case 'password':
        return signIns.overBecause(ground.signIn);
      case 'token':
        return tokens.find(ground.hash)?.account === record.id
          ? null
          : 'the token was revoked or has expired';
      case 'certificate':
        return record.certificateUris.includes(ground.uri)
          ? (certificates?.refusal(ground.uri, ground.fingerprint) ?? null)
          : 'the certificate was taken from the account';
      case 'local':
        return record.localUids.includes(ground.uid)
          ? null
          : 'the local user was taken from the account';
    }
  }

  scopeOf(ground: Ground): readonly string[] | null {
    if (ground.way !== 'token') return null;
    // One that is gone since it was found opens nothing.
    const token = this.#parts.tokens.find(ground.hash);
    return token === undefined ? [] : token.scope;
  }

  /** When a session ends that is opened now, or was then. */
  expiryOf(record: AccountRecord, ground: Ground, openedWallMs = this.#parts.wallMs()): number {
    const ends = [
      ground.way === 'password'
        ? ground.signIn.expiresAtWallMs
        : openedWallMs + this.#parts.signIns.lifeMs,
    ];
    if (ground.way === 'token')
      ends.push(this.#parts.tokens.find(ground.hash)?.expiresAtWallMs ?? openedWallMs);
    if (record.validUntilWallMs !== null) ends.push(record.validUntilWallMs);
    return Math.min(...ends);
  }

  #good(
    credential: Credential,
    record: AccountRecord | undefined,
    ground: Ground,
  ): Outcome<Grounded> {
    if (record === undefined) return nobodys(credential);
    const because = this.overBecause(record, ground);
    if (because === null) return succeed({ record, ground });
    // Whoever holds the key of a certificate may know what became of it; a token may have been found.
    return ground.way === 'certificate'
      ? refused(`the certificate opens no account: ${because}`)
      : nobodys(credential);
  }

  #onlyHolder(holds: (record: AccountRecord) => boolean): AccountRecord | undefined {
    const holders = this.#parts.accounts.all().filter((record) => record.enabled && holds(record));
    return holders.length === 1 ? holders[0] : undefined;
  }
}

/** Why nobody can be this account now; null when its person can. */
export function unusableBecause(record: AccountRecord, wallMs: number): string | null {
  const { enabled, validFromWallMs, validUntilWallMs } = record;
  if (!enabled) return 'the account is disabled';
  if (validFromWallMs !== null && wallMs < validFromWallMs) return 'the account is not valid yet';
  return validUntilWallMs !== null && wallMs >= validUntilWallMs
    ? 'the account is not valid any more'
    : null;
}

/** Of the part of a credential that names its holder: a renewed certificate of the same name is the same one. */
export function groundDigest({ record, ground }: Grounded, credential: Credential): string {
  // A password is its person's, however often it is shown.
  return ground.way === 'password' ? passwordDigest(record.id) : credentialDigest(credential);
}

export function passwordDigest(account: string): string {
  return hashToken(`password ${account}`);
}

export function credentialDigest(credential: Credential): string {
  switch (credential.kind) {
    case 'token':
      return hashToken(`token ${hashToken(credential.token)}`);
    case 'certificate':
      return hashToken(`certificate ${credential.uri}`);
    case 'local':
      return hashToken(`local ${credential.uid}`);
  }
}

function nobodys(credential: Credential) {
  const shown = credential.kind === 'local' ? `local user ${credential.uid}` : credential.kind;
  return refused(`the ${shown} belongs to no enabled account`);
}

function refused(finding: string) {
  return refuse(fault('NOT_AUTHENTICATED', { place: 'sign-in', finding }));
}
