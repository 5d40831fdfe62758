// Kernel's check of security's signature: right plan, right operation, in time, never used before.
// Invariants: holds only the public key; an authorization opens exactly one commit.

import { type KeyObject, verify } from 'node:crypto';
import type { Clock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { type Authorization, authorizationBytes } from '#model/authorization';

/** What an authorization has to be about. */
export interface AuthorizedAct {
  readonly operationId: string;
  readonly planDigest: string;
}

export class AuthorizationCheck {
  readonly #clock: Clock;
  #publicKey: KeyObject | null = null;
  /** What was signed of used authorizations, until they expire by themselves; one signature has many base64 spellings. */
  readonly #used = new Map<string, number>();
  /** Signatures found good, until they expire; expiry and use are judged anew each time. */
  readonly #verified = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Security makes a new key at each start; authorizations under the old one are void from here on. */
  trust(publicKey: KeyObject): 'new' | 'same' {
    // The link alone came back: what was used stays used.
    if (this.#publicKey?.equals(publicKey) === true) return 'same';
    this.#publicKey = publicKey;
    this.#used.clear();
    this.#verified.clear();
    return 'new';
  }

  /** Signature, binding and expiry; does not use it up. */
  check(authorization: Authorization, act: AuthorizedAct): Outcome<void> {
    const place = `operation ${act.operationId}`;
    const no = (finding: string) => refuse(fault('AUTHORIZATION_INVALID', { place, finding }));
    if (this.#publicKey === null) return no('kernel holds no public key of security yet');
    if (authorization.operationId !== act.operationId)
      return no('the authorization is for another operation');
    if (authorization.planDigest !== act.planDigest)
      return no('the authorization is for another plan');
    const { expiresAtMs } = authorization;
    if (!Number.isFinite(expiresAtMs) || expiresAtMs <= this.#clock.nowMs())
      return no('the authorization has expired');
    const signed = authorizationBytes(authorization);
    if (this.#used.has(signed.toString())) return no('the authorization was used before');
    // A plan with writes is checked twice, in prepare and in commit; the arithmetic is the same both times.
    const proof = `${signed} ${authorization.signature}`;
    if (this.#verified.has(proof)) return succeed(undefined);
    const signature = Buffer.from(authorization.signature, 'base64');
    if (!verify(null, signed, this.#publicKey, signature)) {
      return no('the signature is not by security');
    }
    this.#verified.set(proof, expiresAtMs);
    return succeed(undefined);
  }

  /** Checks and uses up. */
  redeem(authorization: Authorization, act: AuthorizedAct): Outcome<void> {
    const checked = this.check(authorization, act);
    if (!checked.ok) return checked;
    const nowMs = this.#clock.nowMs();
    for (const kept of [this.#used, this.#verified]) {
      for (const [key, expiresAtMs] of kept) if (expiresAtMs <= nowMs) kept.delete(key);
    }
    this.#used.set(authorizationBytes(authorization).toString(), authorization.expiresAtMs);
    return checked;
  }
}
