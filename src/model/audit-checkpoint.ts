// A signed statement on the end of the audit chain: whoever keeps one can prove that a later copy was cut off.

import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

/** Every entry whose sequence is a multiple of this is followed by a checkpoint; a verifier misses one that is not there. */
export const CHECKPOINT_EVERY = 1_000;

export interface SignedCheckpoint {
  readonly sequence: number;
  /** Hexadecimal hash of that entry. */
  readonly hash: string;
  readonly wallMs: number;
  /** First 16 hexadecimal digits of SHA-256 over the public key's SPKI DER. */
  readonly keyId: string;
  /** Ed25519 over `checkpointBytes`, base64 (RFC 8032). */
  readonly signature: string;
}

/** What a checkpoint's signature covers. */
export function checkpointBytes(checkpoint: Omit<SignedCheckpoint, 'signature'>): Buffer {
  const { sequence, hash, wallMs, keyId } = checkpoint;
  return Buffer.from(`dsmil-audit-checkpoint:${sequence}:${hash}:${wallMs}:${keyId}`);
}

/** See `SignedCheckpoint.keyId`. */
export function keyIdOf(publicKey: KeyObject): string {
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(der).digest('hex').slice(0, 16);
}

/** The public key as exports and entries carry it: SPKI DER, base64 (RFC 5280 section 4.1.2.7). */
export function publicKeyText(key: KeyObject): string {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
}

/** Undefined for what is no Ed25519 public key. */
export function publicKeyOf(text: unknown): KeyObject | undefined {
  if (typeof text !== 'string') return undefined;
  try {
    const key = createPublicKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'spki' });
    return key.asymmetricKeyType === 'ed25519' && publicKeyText(key) === text ? key : undefined;
  } catch {
    return undefined;
  }
}

export function signCheckpoint(
  unsigned: Omit<SignedCheckpoint, 'signature'>,
  key: KeyObject,
): SignedCheckpoint {
  const signature = sign(null, checkpointBytes(unsigned), key).toString('base64');
  return { ...unsigned, signature };
}

export function checkpointHolds(checkpoint: SignedCheckpoint, publicKey: KeyObject): boolean {
  const signature = Buffer.from(checkpoint.signature, 'base64');
  return verify(null, checkpointBytes(checkpoint), publicKey, signature);
}

/** The checkpoint in `value`, as JSON gave it; undefined for anything else. */
export function asCheckpoint(value: unknown): SignedCheckpoint | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { sequence, hash, wallMs, keyId, signature } = value as Record<string, unknown>;
  const numbers =
    Number.isSafeInteger(sequence) && Number(sequence) >= 1 && Number.isSafeInteger(wallMs);
  const texts = typeof keyId === 'string' && typeof signature === 'string';
  if (!numbers || !texts || typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash)) {
    return undefined;
  }
  return { sequence: Number(sequence), hash, wallMs: Number(wallMs), keyId, signature };
}
