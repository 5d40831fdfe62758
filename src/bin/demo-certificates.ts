// Client certificates of the people of a demonstration: made with their keys, and put on security's list before it runs.
// Invariants: good ones that are there are kept; keys are readable by their owner alone. On an appliance a key never
// leaves its device, and certificates are asked for by two administrators.

import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Layout } from '#config/layout';
import type { DurableStore } from '#foundation/durable-store';
import { describeFault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import { CertificateBook } from '#tracks/security/certificates/certificate-book';
import type { CertificateMaker } from '#tracks/security/certificates/certificate-maker';
import { openAuthority } from './key-material.ts';
import { KeyStore } from './key-store.ts';

export interface ClientFiles {
  readonly certificate: string;
  readonly key: string;
}

/** Where the certificate and the key of this person are. */
export function clientFiles(layout: Layout, id: string): ClientFiles {
  const base = join(layout.pki.peopleDirectory, id);
  return { certificate: `${base}.pem`, key: `${base}-key.pem` };
}

/** In this process: nobody minds its memory, and on a slow machine a thread for each job is most of the start. */
const here: CertificateMaker = {
  make: async (job, asked) => {
    const { certificateLibrary } = await import('./certificate-library.ts');
    return certificateLibrary.make(job, asked);
  },
};

/** Throws where the authority of the state directory cannot be used. */
export async function certifyDemo(
  layout: Layout,
  store: DurableStore,
  ids: readonly string[],
  wallMs: number,
): Promise<void> {
  const now = () => wallMs;
  const onNote = () => undefined;
  const { authorityKey } = layout.pki;
  const { checkpointKey } = layout;
  const keys = new KeyStore({ credentials: undefined, authorityKey, checkpointKey, onNote });
  const authority = need(await openAuthority({ layout, wallMs: now, onNote }, keys, here));
  const book = new CertificateBook(store, now);
  mkdirSync(layout.pki.peopleDirectory, { recursive: true, mode: 0o700 });
  for (const id of ids) {
    const files = clientFiles(layout, id);
    if (isGood(files, book)) continue;
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const issued = await authority.issueClient(id, publicKey, wallMs, null);
    const { certificatePem, record } = need(issued);
    keep(files.key, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600);
    keep(files.certificate, certificatePem, 0o644);
    await store.transact(() => book.write(record));
    book.noteSaved(record);
  }
}

function isGood({ certificate, key }: ClientFiles, book: CertificateBook): boolean {
  if (!existsSync(certificate) || !existsSync(key)) return false;
  const { serialNumber } = new X509Certificate(readFileSync(certificate));
  const record = book.find(serialNumber);
  return record !== undefined && book.staleness(record) === null;
}

function keep(path: string, text: string, mode: number): void {
  rmSync(path, { force: true });
  writeFileSync(path, text, { mode, flag: 'wx', flush: true });
}

function need<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(describeFault(outcome.fault));
}
