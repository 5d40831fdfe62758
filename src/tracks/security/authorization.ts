// Signs what was decided: one plan, one operation, a short life.
// Invariants: the private key lives in this object alone and is made anew at each start, so that nothing
// signed before a restart is worth anything after it. Ed25519, because kernel then needs no secret at all.

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { Clock } from '#foundation/clock';
import {
  AUTHORIZATION_LIFETIME_MS,
  type Authorization,
  authorizationBytes,
} from '#model/authorization';

export class AuthorizationSigner {
  readonly #clock: Clock;
  readonly #privateKey: KeyObject;
  /** For kernel, as a PEM file in the run directory. */
  readonly publicKeyPem: string;

  constructor(clock: Clock) {
    const pair = generateKeyPairSync('ed25519');
    this.#clock = clock;
    this.#privateKey = pair.privateKey;
    this.publicKeyPem = pair.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  }

  /** `basis`: the state of the devices it holds for (`RegisterPlan.basis`); empty for any. */
  grant(
    operationId: string,
    planDigest: string,
    grantedTo: readonly string[],
    basis = '',
  ): Authorization {
    const unsigned = {
      operationId,
      planDigest,
      basis,
      grantedTo,
      expiresAtMs: Math.round(this.#clock.nowMs()) + AUTHORIZATION_LIFETIME_MS,
    };
    const signature = sign(null, authorizationBytes(unsigned), this.#privateKey).toString('base64');
    return { ...unsigned, signature };
  }
}
