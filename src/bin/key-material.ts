// The keys of the security process at its start: found or made, and the authority that goes with them.
// Invariants: what the chain or the authority has signed already is never continued with another key unseen.

import { createPublicKey, type KeyObject } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import type { Layout } from '#config/layout';
import type { DurableStore } from '#foundation/durable-store';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { keyIdOf } from '#model/authorization';
import { SERVER_NAMES_MAX, serverNameRefusal } from '#model/server-certificate';
import type { AuditChain } from '#tracks/security/audit/audit-chain';
import { Authority } from '#tracks/security/certificates/authority';
import type { CertificateMaker } from '#tracks/security/certificates/certificate-maker';
import { CertificateThreads } from './certificate-maker.ts';
import type { KeyMaterial } from './compose/certificates.ts';
import { KeyStore } from './key-store.ts';
import { SealingKeyStore } from './sealing-key-store.ts';

export interface OpenedKeys {
  readonly material: KeyMaterial;
  readonly checkpointKey: KeyObject;
  /** Others that the chain may name in place of the first. */
  readonly otherCheckpointKeys: readonly KeyObject[];
  /** Secrets of the store are sealed with what it opens. */
  readonly sealing: SealingKeyStore;
  /** Brings files and chain together; called once the chain is there. */
  settle(audit: AuditChain): Promise<Outcome<void>>;
}

export interface KeyMaterialOptions {
  readonly layout: Layout;
  readonly store: DurableStore;
  /** `$CREDENTIALS_DIRECTORY`. */
  readonly credentials: string | undefined;
  /** Beside the name of this machine and those of the loopback. */
  readonly names: readonly string[];
  readonly wallMs: () => number;
  readonly onNote: (detail: object, message: string) => void;
}

const ALWAYS = ['localhost', '127.0.0.1', '::1'];

export async function openKeys(options: KeyMaterialOptions): Promise<Outcome<OpenedKeys>> {
  const { layout, store, credentials, onNote } = options;
  const { checkpointKey, sealingKey, pki } = layout;
  const keys = new KeyStore({ credentials, authorityKey: pki.authorityKey, checkpointKey, onNote });
  const names = serverNames(options.names);
  if (!names.ok) return names;
  const checkpoint = keys.checkpointKeys(hasEntries(store) ? 'refuse' : 'make');
  if (!checkpoint.ok) return checkpoint;
  const authority = await openAuthority(options, keys);
  if (!authority.ok) return authority;
  const [first, ...others] = checkpoint.value.keys;
  return succeed({
    checkpointKey: first,
    otherCheckpointKeys: others,
    sealing: new SealingKeyStore({ credentials, sealingKey, onNote }),
    material: {
      authority: authority.value,
      names: names.value,
      newCheckpointKey: () => keys.newCheckpointKey(),
      settleCheckpointKey: (keyId) => keys.settleCheckpointKey(keyId),
    },
    settle: async (audit) => {
      const wanted = keyIdOf(createPublicKey(first));
      if (checkpoint.value.from === 'credential' && audit.book.keyId !== wanted) {
        // Another credential than last time: the key that the chain names is still at hand and confirms it.
        const reason = 'another key was given as a credential';
        const rotated = await audit.rotate(first, { reason });
        if (!rotated.ok) return rotated;
        onNote(
          { keyId: wanted },
          'audit checkpoints are signed with the key given as a credential',
        );
      }
      keys.settleCheckpointKey(audit.book.keyId);
      return succeed(undefined);
    },
  });
}

/** The first one is the certificate's subject. */
export function serverNames(asked: readonly string[]): Outcome<readonly string[]> {
  for (const name of asked) {
    const refusal = serverNameRefusal(name);
    if (refusal !== null) {
      return refuse(fault('CONFIG_INVALID', { place: '--name', finding: refusal }));
    }
  }
  const own = hostname().toLowerCase();
  const named = serverNameRefusal(own) === null ? [own] : [];
  const names = [...new Set([...asked, ...named, ...ALWAYS])];
  if (names.length <= SERVER_NAMES_MAX) return succeed(names);
  const finding = `${names.length} names, and a certificate takes ${SERVER_NAMES_MAX}`;
  return refuse(fault('CONFIG_INVALID', { place: '--name', finding }));
}

/** The authority of this state directory; a new one where there is neither key nor certificate. */
export async function openAuthority(
  { layout, wallMs, onNote }: Pick<KeyMaterialOptions, 'layout' | 'wallMs' | 'onNote'>,
  keys: KeyStore,
  maker: CertificateMaker = new CertificateThreads(),
): Promise<Outcome<Authority>> {
  const { authority: path } = layout.pki;
  const exists = existsSync(path);
  const found = keys.authorityKey(exists ? 'refuse' : 'make');
  if (!found.ok) return found;
  const { key } = found.value;
  const place = 'certificate authority';
  try {
    if (exists) {
      const certificatePem = readFileSync(path, 'utf8');
      const refusal = Authority.refusal(key, certificatePem);
      if (refusal === null) return succeed(new Authority(key, certificatePem, maker));
      const consequence =
        'certificates of before would be worth nothing: bring back what belongs together';
      return refuse(
        fault('CONFIG_INVALID', { place, finding: refusal, consequence, internal: path }),
      );
    }
    const name = `DSMIL appliance authority of ${hostname()}`;
    const begun = await Authority.begin(key, name, wallMs(), maker);
    if (!begun.ok) return begun;
    const authority = begun.value;
    publish(path, authority.certificatePem);
    onNote({ fingerprint: authority.fingerprint }, 'a certificate authority was made');
    return succeed(authority);
  } catch (error) {
    const finding = 'its certificate cannot be read or written';
    return refuse(fault('CONFIG_INVALID', { place, finding, internal: describeError(error) }));
  }
}

/** For everybody to read, whole or not at all. */
function publish(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const fresh = `${path}.new`;
  rmSync(fresh, { force: true });
  writeFileSync(fresh, text, { mode: 0o644, flag: 'wx', flush: true });
  // The unit's umask keeps others out, and this is for them.
  chmodSync(fresh, 0o644);
  renameSync(fresh, path);
}

function hasEntries(store: DurableStore): boolean {
  const { database } = store;
  const table = database
    .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'audit'")
    .get();
  return table !== undefined && database.prepare('SELECT 1 FROM audit LIMIT 1').get() !== undefined;
}
