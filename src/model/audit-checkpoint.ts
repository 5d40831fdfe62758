// A signed statement on the end of the audit chain: whoever keeps one can prove that a later copy was cut off.

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
