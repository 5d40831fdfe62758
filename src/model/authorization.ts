// The permission to execute one plan once, made by security and checked by kernel.

import { canonicalDigest, canonicalText } from '#foundation/canonical';

export interface Authorization {
  readonly operationId: string;
  readonly planDigest: string;
  /** State of the devices it was given for (`RegisterPlan.basis`), or empty when any state will do. */
  readonly basis: string;
  /** Principal ids: the requester first, then who approved. */
  readonly grantedTo: readonly string[];
  /** Monotonic milliseconds (CLOCK_MONOTONIC is one clock for all processes of a machine). */
  readonly expiresAtMs: number;
  /** Of the key it is signed with, see `keyIdOf`. */
  readonly keyId: string;
  /** Ed25519 over `authorizationBytes`, base64 (RFC 8032). */
  readonly signature: string;
}

export const AUTHORIZATION_LIFETIME_MS = 30_000;
/** The act that an authorization to release the emergency stop is bound to, in place of a plan digest; of the same form. */
export const RELEASE_STOP_ACT = canonicalDigest('release-emergency-stop');

export function authorizationBytes(unsigned: Omit<Authorization, 'signature'>): Buffer {
  return Buffer.from(
    canonicalText({
      operationId: unsigned.operationId,
      planDigest: unsigned.planDigest,
      basis: unsigned.basis,
      grantedTo: unsigned.grantedTo,
      expiresAtMs: unsigned.expiresAtMs,
      keyId: unsigned.keyId,
    }),
  );
}

/** One public key of security, as kernel is told of it. */
export interface AuthorizationKey {
  readonly keyId: string;
  /** SPKI of an Ed25519 key. */
  readonly publicKeyPem: string;
  /** Monotonic milliseconds from which on nothing signed with it counts; null for one in use. */
  readonly untilMs: number | null;
}

/** Every key under which an authorization of security counts now. */
export interface AuthorizationKeys {
  /** Of the signer, random: another one means that security has started again. */
  readonly life: string;
  readonly keys: readonly AuthorizationKey[];
}

/** Keys that count at once: the one in use, its successor, and those before whose last authorizations have not expired. */
export const AUTHORIZATION_KEYS_MAX = 4;

export { keyIdOf } from './audit-checkpoint.ts';
