// Where the private keys of security come from: systemd's credentials, then its state directory, else made new there.
// Invariants: a key that group or others can read, or of the wrong kind, is refused and said which; a new key is on disk
// before anybody uses it; texts of keys stay in this file and are never part of a fault.
// Faults: CONFIG_INVALID naming the file and what is wrong with it.
//
// LoadCredential= and LoadCredentialEncrypted= (systemd.exec(5), systemd-creds(1); the second also for keys sealed by a
// TPM2) both show a plain file in $CREDENTIALS_DIRECTORY, so that nothing here differs between them.

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { keyIdOf } from '#model/authorization';
import {
  GROUP_OR_OTHERS,
  OTHERS,
  readKeyFile,
  syncDirectory,
  unfinished,
  writeKeyFile,
} from './key-file.ts';

export interface KeyStoreOptions {
  /** `$CREDENTIALS_DIRECTORY`; undefined where systemd gives none. */
  readonly credentials: string | undefined;
  readonly authorityKey: string;
  readonly checkpointKey: string;
  /** For the log of this machine. */
  readonly onNote: (detail: object, message: string) => void;
}

/** Where one key was found. */
export interface FoundKey {
  readonly key: KeyObject;
  readonly from: 'credential' | 'state' | 'new';
}

/** A checkpoint key on disk beside the one before it, until one of the two is settled for. */
export interface CheckpointKeys {
  /** The one to use where the chain names none, then others that the chain may name. */
  readonly keys: readonly [KeyObject, ...KeyObject[]];
  readonly from: FoundKey['from'];
}

/** Names of the credentials, as the unit file gives them. */
export const CREDENTIALS = {
  authority: 'dsmil.authority-key',
  checkpoint: 'dsmil.checkpoint-key',
} as const;
type CredentialName = (typeof CREDENTIALS)[keyof typeof CREDENTIALS];

type Kind = 'ed25519' | 'prime256v1';
const KIND_NAMES: Readonly<Record<Kind, string>> = { ed25519: 'Ed25519', prime256v1: 'P-256' };
/** Authorities may be stronger than the ones made here. */
const AUTHORITY_KINDS = ['prime256v1', 'secp384r1'];
const CHECKPOINT_KINDS = ['ed25519'];

export class KeyStore {
  readonly #options: KeyStoreOptions;

  constructor(options: KeyStoreOptions) {
    this.#options = options;
  }

  /** `missing`: what to do where no key is found. A chain or an authority that exists must not get another key unseen. */
  authorityKey(missing: 'make' | 'refuse'): Outcome<FoundKey> {
    const wanted = { path: this.#options.authorityKey, credential: CREDENTIALS.authority } as const;
    return this.#find(wanted, AUTHORITY_KINDS, missing, 'prime256v1');
  }

  checkpointKeys(missing: 'make' | 'refuse'): Outcome<CheckpointKeys> {
    const path = this.#options.checkpointKey;
    const wanted = { path, credential: CREDENTIALS.checkpoint } as const;
    const found = this.#find(wanted, CHECKPOINT_KINDS, missing, 'ed25519');
    if (!found.ok) return found;
    const { key, from } = found.value;
    const others: KeyObject[] = [];
    for (const other of [...(from === 'credential' ? [path] : []), previousOf(path)]) {
      const read = existsSync(other) ? readKey(other, CHECKPOINT_KINDS, GROUP_OR_OTHERS) : null;
      if (read?.ok === false) return read;
      if (read !== null && !read.value.equals(key)) others.push(read.value);
    }
    return succeed({ keys: [key, ...others], from });
  }

  /**
   * A new checkpoint key, durable, with the one before it kept beside it. Use `settleCheckpointKey` with whichever of the
   * two the chain names in the end; a crash before that loses neither.
   */
  newCheckpointKey(): Outcome<KeyObject> {
    const { credentials, checkpointKey: path } = this.#options;
    const place = `key ${basename(path)}`;
    if (credentials !== undefined && existsSync(join(credentials, CREDENTIALS.checkpoint))) {
      const finding =
        'it is given as a credential: give security another one there and start it again, it puts the change on record';
      return refuse(fault('OPERATION_UNSUPPORTED', { place, finding }));
    }
    if (existsSync(previousOf(path))) return refuse(unfinished(path));
    try {
      const { privateKey } = generateKeyPairSync('ed25519');
      writeKeyFile(previousOf(path), readFileSync(path, 'utf8'));
      writeKeyFile(path, textOf(privateKey));
      return succeed(privateKey);
    } catch (error) {
      const finding = 'the new key could not be made durable';
      return refuse(fault('CONFIG_INVALID', { place, finding, internal: describeError(error) }));
    }
  }

  /** The chain names this key: it alone stays in the state directory, unless it came as a credential. */
  settleCheckpointKey(keyId: string): void {
    const { checkpointKey: path, onNote } = this.#options;
    const previous = previousOf(path);
    if (!existsSync(previous)) return;
    const kept = readKey(previous, CHECKPOINT_KINDS, GROUP_OR_OTHERS);
    if (kept.ok && keyIdOf(createPublicKey(kept.value)) === keyId) {
      renameSync(previous, path);
      onNote(
        { key: basename(path) },
        'a change of the key was cut short: the key before stays in use',
      );
    } else {
      rmSync(previous);
    }
    syncDirectory(dirname(path));
  }

  #find(
    { path, credential: name }: { readonly path: string; readonly credential: CredentialName },
    kinds: readonly string[],
    missing: 'make' | 'refuse',
    kind: Kind,
  ): Outcome<FoundKey> {
    const { credentials, onNote } = this.#options;
    const credential = credentials === undefined ? undefined : join(credentials, name);
    if (credential !== undefined && existsSync(credential)) {
      const given = readKey(credential, kinds, OTHERS);
      if (!given.ok) return given;
      if (existsSync(path)) {
        const kept = readKey(path, kinds, GROUP_OR_OTHERS);
        if (!kept.ok || !kept.value.equals(given.value)) {
          const finding = 'another key lies in the state directory; the credential is used';
          onNote({ credential: name, file: basename(path) }, finding);
        }
      }
      return succeed({ key: given.value, from: 'credential' });
    }
    if (existsSync(path)) {
      const kept = readKey(path, kinds, GROUP_OR_OTHERS);
      return kept.ok ? succeed({ key: kept.value, from: 'state' }) : kept;
    }
    if (missing === 'refuse') {
      const finding =
        'is neither a credential nor in the state directory, and what it signed is there';
      const consequence =
        'a new one would look like tampering: bring the key back, or start with an empty state directory';
      return refuse(
        fault('CONFIG_INVALID', {
          place: `key ${basename(path)}`,
          finding,
          consequence,
          internal: path,
        }),
      );
    }
    return this.#make(path, kind);
  }

  #make(path: string, kind: Kind): Outcome<FoundKey> {
    const { privateKey } =
      kind === 'ed25519'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('ec', { namedCurve: kind });
    try {
      writeKeyFile(path, textOf(privateKey));
    } catch (error) {
      const finding = 'a new key could not be written';
      const place = `key ${basename(path)}`;
      return refuse(fault('CONFIG_INVALID', { place, finding, internal: describeError(error) }));
    }
    this.#options.onNote({ key: basename(path) }, `a new ${KIND_NAMES[kind]} key was made`);
    return succeed({ key: privateKey, from: 'new' });
  }
}

function previousOf(path: string): string {
  return `${path}.previous`;
}

/** `forbidden`: bits of the mode that nobody may have set. */
function readKey(path: string, kinds: readonly string[], forbidden: number): Outcome<KeyObject> {
  const consequence = 'security does not start with it';
  const text = readKeyFile(path, forbidden, consequence);
  if (!text.ok) return text;
  const place = `key ${basename(path)}`;
  const no = (finding: string) =>
    refuse(fault('CONFIG_INVALID', { place, finding, consequence, internal: path }));
  let key: KeyObject;
  try {
    key = createPrivateKey(text.value);
  } catch {
    // What was thrown may repeat what was read.
    return no('holds no private key without a pass phrase');
  }
  const kind = key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType ?? 'unknown';
  if (kinds.includes(kind)) return succeed(key);
  return no(`is of the kind ${kind}, and ${kinds.join(' or ')} is needed`);
}

function textOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}
