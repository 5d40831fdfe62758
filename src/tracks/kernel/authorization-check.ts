// Kernel's check of security's signature: right plan, right operation, in time, never used before.
// Invariants: holds only public keys; an authorization opens exactly one commit; one signed before a change of keys stays
// good until it expires, and one signed before a restart of security is worth nothing.

import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { Clock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  type Authorization,
  type AuthorizationKeys,
  authorizationBytes,
  keyIdOf,
} from '#model/authorization';

/** What an authorization has to be about. */
export interface AuthorizedAct {
  readonly operationId: string;
  readonly planDigest: string;
}

interface TrustedKey {
  readonly key: KeyObject;
  readonly untilMs: number;
}

export class AuthorizationCheck {
  readonly #clock: Clock;
  #life: string | null = null;
  #keys: ReadonlyMap<string, TrustedKey> = new Map();
  /** What was signed of used authorizations, until they expire by themselves; one signature has many base64 spellings. */
  readonly #used = new Map<string, number>();
  /** Signatures found good, until they expire; expiry and use are judged anew each time. */
  readonly #verified = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `new` when security has started again: authorizations of its last life are void from here on. */
  trust(offered: AuthorizationKeys): Outcome<'new' | 'same'> {
    const keys = new Map<string, TrustedKey>();
    for (const { keyId, publicKeyPem, untilMs } of offered.keys) {
      const key = readKey(publicKeyPem);
      if (key === null || keyIdOf(key) !== keyId) {
        const finding = `the key ${keyId} of security is no Ed25519 key of this name`;
        return refuse(fault('AUTHORIZATION_INVALID', { place: 'kernel', finding }));
      }
      keys.set(keyId, { key, untilMs: untilMs ?? Number.POSITIVE_INFINITY });
    }
    this.#keys = keys;
    // Keys changed, or the link alone came back: what was used stays used.
    if (this.#life === offered.life) return succeed('same');
    this.#life = offered.life;
    this.#used.clear();
    this.#verified.clear();
    return succeed('new');
  }

  /** Signature, binding and expiry; does not use it up. */
  check(authorization: Authorization, act: AuthorizedAct): Outcome<void> {
    const place = `operation ${act.operationId}`;
    const no = (finding: string) => refuse(fault('AUTHORIZATION_INVALID', { place, finding }));
    if (this.#life === null) return no('kernel holds no public key of security yet');
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
    const trusted = this.#keys.get(authorization.keyId);
    if (trusted === undefined || trusted.untilMs <= this.#clock.nowMs()) {
      return no('it is signed with a key that is not one of security now');
    }
    const signature = Buffer.from(authorization.signature, 'base64');
    if (!verify(null, signed, trusted.key, signature)) {
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

function readKey(publicKeyPem: string): KeyObject | null {
  try {
    const key = createPublicKey(publicKeyPem);
    return key.asymmetricKeyType === 'ed25519' ? key : null;
  } catch {
    return null;
  }
}
