// Seals short secrets for the store, so that a copy of it gives none away: AES-256-GCM (NIST SP 800-38D), a random nonce each.
// Invariants: a sealed text opens for the account and the purpose it was made for and for no other; it names its key by an id
// that tells nothing of it; a key that was in use opens until this process ends, so that a change of keys loses nothing that
// is under way. No key and no opened secret is part of a text for people.

import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  type KeyObject,
  randomBytes,
} from 'node:crypto';

export const SEALING_KEY_BYTES = 32;
const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SEALED = /^sealed1:([0-9a-f]{16}):([\w-]{38,})$/;

export interface SealingKey {
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly key: KeyObject;
}

export interface SealSubject {
  readonly account: string;
  readonly purpose: 'password' | 'code-secret' | 'pending-password' | 'pending-code-secret';
}

/** From 32 random bytes, which the caller wipes. */
export function sealingKeyOf(bytes: Uint8Array): SealingKey {
  if (bytes.length !== SEALING_KEY_BYTES) throw new Error('a sealing key has 32 bytes');
  const id = createHmac('sha256', bytes).update('dsmil sealing key').digest('hex').slice(0, 16);
  return { id, key: createSecretKey(bytes) };
}

/** The id of the key that a sealed text names; null for what is none. */
export function keyIdOfSealed(sealed: string): string | null {
  return SEALED.exec(sealed)?.[1] ?? null;
}

export class Seals {
  readonly #known = new Map<string, SealingKey>();
  #current: SealingKey | null;

  /** `current` is null where nothing can be sealed; what `others` sealed opens as well. */
  constructor(current: SealingKey | null, others: readonly SealingKey[] = []) {
    this.#current = current;
    for (const key of [...others, ...(current === null ? [] : [current])])
      this.#known.set(key.id, key);
  }

  /** Id of the key that seals; null where nothing can be sealed. */
  get currentId(): string | null {
    return this.#current?.id ?? null;
  }

  knows(keyId: string): boolean {
    return this.#known.has(keyId);
  }

  /** Seals with this key from now on; the answer takes it back. */
  use(key: SealingKey): () => void {
    const before = this.#current;
    this.#known.set(key.id, key);
    this.#current = key;
    return () => {
      this.#current = before;
    };
  }

  /** `sealed1:key id:nonce, ciphertext and tag in base64url`. Throws where nothing can be sealed: ask `currentId` before. */
  seal(subject: SealSubject, secret: Uint8Array): string {
    const current = this.#current;
    if (current === null) throw new Error('there is no key to seal with');
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, current.key, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(boundTo(subject, current.id));
    const sealed = Buffer.concat([
      nonce,
      cipher.update(secret),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
    return `sealed1:${current.id}:${sealed.toString('base64url')}`;
  }

  /** The secret, to be wiped by the caller; null where the key is not there or the text is not for this subject. */
  open(subject: SealSubject, sealed: string): Buffer | null {
    const [, keyId = '', text = ''] = SEALED.exec(sealed) ?? [];
    const known = this.#known.get(keyId);
    if (known === undefined) return null;
    const bytes = Buffer.from(text, 'base64url');
    if (bytes.length < NONCE_BYTES + TAG_BYTES) return null;
    const decipher = createDecipheriv(CIPHER, known.key, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(boundTo(subject, keyId));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    const opened = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
    try {
      decipher.final();
      return opened;
    } catch {
      opened.fill(0);
      return null;
    }
  }

  /** The same secret for another subject, under the key of now; the text as it is where it cannot be opened. */
  moved(from: SealSubject, to: SealSubject, sealed: string): string {
    const opened = this.#current === null ? null : this.open(from, sealed);
    if (opened === null) return sealed;
    try {
      return this.seal(to, opened);
    } finally {
      opened.fill(0);
    }
  }

  /** Under the key of now; as it is where it is so already or cannot be opened. */
  renewed(subject: SealSubject, sealed: string): string {
    return keyIdOfSealed(sealed) === this.currentId ? sealed : this.moved(subject, subject, sealed);
  }

  sealText(subject: SealSubject, secret: string): string {
    return this.seal(subject, Buffer.from(secret, 'utf8'));
  }

  openText(subject: SealSubject, sealed: string): string | null {
    return this.open(subject, sealed)?.toString('utf8') ?? null;
  }
}

/** No account id holds a NUL. */
function boundTo({ account, purpose }: SealSubject, keyId: string): Buffer {
  return Buffer.from(['dsmil seal 1', keyId, purpose, account].join('\0'), 'utf8');
}
