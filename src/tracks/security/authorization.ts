// Signs what was decided: one plan, one operation, a short life.
// Invariants: private keys live in this object alone and are made anew at each start, so that nothing signed before a
// restart is worth anything after it; kernel has a new key before anything is signed with it, and keeps the one before
// until the last authorization signed with that has expired. Ed25519, because kernel then needs no secret at all.

import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import type { Clock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  AUTHORIZATION_KEYS_MAX,
  AUTHORIZATION_LIFETIME_MS,
  type Authorization,
  type AuthorizationKey,
  type AuthorizationKeys,
  authorizationBytes,
  keyIdOf,
} from '#model/authorization';

interface SigningKey {
  readonly keyId: string;
  readonly publicKeyPem: string;
  readonly privateKey: KeyObject;
}

/** From the proposal of a key until it must be in use. */
export const ADOPTION_LIMIT_MS = 10_000;

export class AuthorizationSigner {
  readonly #clock: Clock;
  readonly #life = randomUUID();
  #current = newKey();
  #next: { readonly key: SigningKey; readonly adoptBeforeMs: number } | null = null;
  #retired: readonly AuthorizationKey[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Of the key in use. */
  get publicKeyPem(): string {
    return this.#current.publicKeyPem;
  }

  /** What kernel has to trust now; while a key is proposed, that one too. */
  keys(): AuthorizationKeys {
    const nowMs = this.#clock.nowMs();
    this.#retired = this.#retired.filter(({ untilMs }) => untilMs !== null && untilMs > nowMs);
    const next = this.#next;
    // The key in use ends by itself in kernel, should kernel not hear that its successor was adopted.
    const untilMs = next === null ? null : next.adoptBeforeMs + AUTHORIZATION_LIFETIME_MS;
    return {
      life: this.#life,
      keys: [
        shown(this.#current, untilMs),
        ...(next === null ? [] : [shown(next.key, null)]),
        ...this.#retired,
      ],
    };
  }

  /**
   * Replaces the key: `offer` hands all keys to kernel, then `record` puts the change on record, and only then the new key
   * is used. Where either refuses, the old key stays and kernel is offered the old keys again.
   */
  async rotate<T>(
    offer: (keys: AuthorizationKeys) => Promise<Outcome<void>>,
    record: (keyId: string) => Promise<Outcome<T>>,
  ): Promise<Outcome<{ readonly keyId: string; readonly publicKeyPem: string }>> {
    const place = 'authorization key';
    if (this.#next !== null || this.keys().keys.length > AUTHORIZATION_KEYS_MAX - 1) {
      const finding =
        'it was replaced a moment ago, and authorizations under the ones before still run';
      return refuse(fault('BUSY', { place, finding }));
    }
    const adoptBeforeMs = this.#clock.nowMs() + ADOPTION_LIMIT_MS;
    const key = newKey();
    this.#next = { key, adoptBeforeMs };
    const offered = await offer(this.keys());
    const done = offered.ok ? await record(key.keyId) : offered;
    const late = this.#clock.nowMs() >= adoptBeforeMs;
    this.#next = null;
    if (!done.ok || late) {
      await offer(this.keys());
      if (!done.ok) return done;
      const finding = `kernel and the record took longer than ${ADOPTION_LIMIT_MS} ms`;
      return refuse(fault('DEADLINE_EXCEEDED', { place, finding }));
    }
    const untilMs = Math.round(this.#clock.nowMs()) + AUTHORIZATION_LIFETIME_MS;
    this.#retired = [...this.#retired, shown(this.#current, untilMs)];
    this.#current = key;
    return succeed({ keyId: key.keyId, publicKeyPem: key.publicKeyPem });
  }

  /** `basis`: the state of the devices it holds for (`RegisterPlan.basis`); empty for any. */
  grant(
    operationId: string,
    planDigest: string,
    grantedTo: readonly string[],
    basis = '',
  ): Authorization {
    const { keyId, privateKey } = this.#current;
    const unsigned = {
      operationId,
      planDigest,
      basis,
      grantedTo,
      expiresAtMs: Math.round(this.#clock.nowMs()) + AUTHORIZATION_LIFETIME_MS,
      keyId,
    };
    const signature = sign(null, authorizationBytes(unsigned), privateKey).toString('base64');
    return { ...unsigned, signature };
  }
}

function newKey(): SigningKey {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  return { keyId: keyIdOf(publicKey), publicKeyPem, privateKey };
}

function shown({ keyId, publicKeyPem }: SigningKey, untilMs: number | null): AuthorizationKey {
  return { keyId, publicKeyPem, untilMs };
}
