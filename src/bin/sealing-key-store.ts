// Where the key comes from that secrets in security's store are sealed with: systemd's credentials, else the state directory,
// else made new there.
// Invariants: as those of `key-store.ts`, but that nothing here keeps security from starting: without the key passwords and
// one-time codes cannot be checked, and everything else works. An unfit key is never replaced unseen. A key that is given as a
// credential takes over from the one in the state directory, which goes once nothing is sealed with it any more.

import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { SEALING_KEY_BYTES, type SealingKey, sealingKeyOf } from '#tracks/security/identity/seals';
import {
  GROUP_OR_OTHERS,
  OTHERS,
  readKeyFile,
  syncDirectory,
  unfinished,
  wipeKeyFile,
  writeKeyFile,
} from './key-file.ts';

/** Names of the credentials, as the unit file gives them; the second while the first is being replaced. */
export const SEALING_CREDENTIALS = {
  sealing: 'dsmil.sealing-key',
  before: 'dsmil.sealing-key-before',
} as const;

export interface SealingKeyStoreOptions {
  /** `$CREDENTIALS_DIRECTORY`; undefined where systemd gives none. */
  readonly credentials: string | undefined;
  readonly sealingKey: string;
  /** For the log of this machine. */
  readonly onNote: (detail: object, message: string) => void;
}

export interface SealingKeys {
  /** Null where nothing can be sealed. */
  readonly current: SealingKey | null;
  /** Others that rows may still be sealed with. */
  readonly others: readonly SealingKey[];
  /** Why there is no current one; empty where there is. */
  readonly finding: string;
}

const CONSEQUENCE = 'nothing is sealed or opened with it';

export class SealingKeyStore {
  readonly #options: SealingKeyStoreOptions;

  constructor(options: SealingKeyStoreOptions) {
    this.#options = options;
  }

  open(): SealingKeys {
    const { sealingKey: path, onNote } = this.#options;
    const credential = this.#credential('sealing');
    const places = [
      [credential, OTHERS],
      [path, GROUP_OR_OTHERS],
      [previousOf(path), GROUP_OR_OTHERS],
      [this.#credential('before'), OTHERS],
    ] as const;
    const wanted = credential ?? (existsSync(path) ? path : null);
    let current: SealingKey | null = null;
    let finding = '';
    const others: SealingKey[] = [];
    for (const [place, forbidden] of places) {
      if (place === null || !existsSync(place)) continue;
      const read = readSealingKey(place, forbidden);
      if (!read.ok) {
        onNote(read.fault, 'a sealing key cannot be used');
        if (place === wanted) finding = `${read.fault.place} ${read.fault.finding}`;
      } else if (place === wanted) current = read.value;
      else others.push(read.value);
    }
    if (wanted !== null) return { current, others, finding };
    const made = this.#make();
    return made.ok
      ? { current: made.value, others, finding: '' }
      : { current: null, others, finding: `${made.fault.place}: ${made.fault.finding}` };
  }

  /** A new key, durable, with the one before it beside it until `settle`. */
  newKey(): Outcome<SealingKey> {
    const { sealingKey: path } = this.#options;
    const place = `key ${basename(path)}`;
    if (this.#credential('sealing') !== null) {
      const finding = `it is given as a credential: give security another one there, the one of now as ${SEALING_CREDENTIALS.before}, and start it again, it seals everything anew`;
      return refuse(fault('OPERATION_UNSUPPORTED', { place, finding }));
    }
    if (existsSync(previousOf(path))) return refuse(unfinished(path));
    try {
      if (existsSync(path)) writeKeyFile(previousOf(path), readFileSync(path, 'utf8'));
    } catch (error) {
      return refuse(unwritten(path, error));
    }
    return this.#make();
  }

  /** Removes what nothing is sealed with any more. `named`: ids of the keys that the store names. */
  settle(named: ReadonlySet<string>): void {
    const { sealingKey: path, onNote } = this.#options;
    try {
      const idOf = (place: string): string | null => {
        const read = existsSync(place) ? readSealingKey(place, GROUP_OR_OTHERS) : null;
        return read?.ok === true ? read.value.id : null;
      };
      const unnamed = (id: string | null) => id !== null && !named.has(id);
      const given = this.#credential('sealing');
      const givenKey = given === null ? null : readSealingKey(given, OTHERS);
      if (givenKey !== null && !givenKey.ok) return;
      const previous = previousOf(path);
      const [kept, before] = [idOf(path), idOf(previous)];
      if (givenKey !== null) {
        for (const [place, id] of [
          [path, kept],
          [previous, before],
        ] as const) {
          if (!unnamed(id) && id !== givenKey.value.id) continue;
          wipeKeyFile(place);
          onNote({ key: basename(place) }, 'removed: secrets are sealed with the credential');
        }
        return;
      }
      if (before === null) return;
      if (unnamed(before) || before === kept) wipeKeyFile(previous);
      else if (unnamed(kept)) {
        renameSync(previous, path);
        syncDirectory(dirname(path));
        onNote({ key: basename(path) }, 'a change of the key was cut short: the key before stays');
      }
    } catch (error) {
      onNote(
        { cause: describeError(error) },
        'a sealing key that is not used could not be removed',
      );
    }
  }

  #credential(which: keyof typeof SEALING_CREDENTIALS): string | null {
    const { credentials } = this.#options;
    if (credentials === undefined) return null;
    const path = join(credentials, SEALING_CREDENTIALS[which]);
    return existsSync(path) ? path : null;
  }

  #make(): Outcome<SealingKey> {
    const { sealingKey: path, onNote } = this.#options;
    const bytes = randomBytes(SEALING_KEY_BYTES);
    try {
      const key = sealingKeyOf(bytes);
      writeKeyFile(path, `${bytes.toString('base64')}\n`);
      onNote({ key: basename(path), keyId: key.id }, 'a new sealing key was made');
      return succeed(key);
    } catch (error) {
      return refuse(unwritten(path, error));
    } finally {
      bytes.fill(0);
    }
  }
}

function previousOf(path: string): string {
  return `${path}.previous`;
}

function unwritten(path: string, error: unknown) {
  const finding = 'a new key could not be written';
  const place = `key ${basename(path)}`;
  return fault('CONFIG_INVALID', { place, finding, internal: describeError(error) });
}

/** 32 bytes in base64, as `openssl rand -base64 32` writes them. */
function readSealingKey(path: string, forbidden: number): Outcome<SealingKey> {
  const read = readKeyFile(path, forbidden, CONSEQUENCE);
  if (!read.ok) return read;
  const text = read.value.trim();
  const bytes = Buffer.from(text, 'base64');
  try {
    if (bytes.length === SEALING_KEY_BYTES && bytes.toString('base64') === text)
      return succeed(sealingKeyOf(bytes));
  } finally {
    bytes.fill(0);
  }
  const finding = `does not hold ${SEALING_KEY_BYTES} bytes in base64`;
  return refuse(
    fault('CONFIG_INVALID', { place: `key ${basename(path)}`, finding, consequence: CONSEQUENCE }),
  );
}
