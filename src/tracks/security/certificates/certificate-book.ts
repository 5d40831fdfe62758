// The durable list of every certificate issued here: what it is for, until when, and whether it was revoked.
// Invariants: a certificate that is not on the list is worth nothing, however good its chain; rows are never deleted,
// and a revoked one never becomes good again; what is in memory is what is on disk.

import { canonicalText } from '#foundation/canonical';
import type { DurableStore } from '#foundation/durable-store';
import type { CertificateView } from '#model/account';
import type { CertificatePort } from '../ports.ts';

export interface CertificateRecord extends CertificateView {
  /** The one identity of a client certificate; empty for a server. */
  readonly uri: string;
  /** Hexadecimal SHA-256 of the public key. */
  readonly publicKeyDigest: string;
}

export class CertificateBook implements CertificatePort {
  readonly #store: DurableStore;
  readonly #wallMs: () => number;
  readonly #bySerial = new Map<string, CertificateRecord>();
  readonly #byFingerprint = new Map<string, CertificateRecord>();

  /** `wallMs`: a wall clock that a person cannot set back. */
  constructor(store: DurableStore, wallMs: () => number) {
    this.#store = store;
    this.#wallMs = wallMs;
    store.database.exec(`
      CREATE TABLE IF NOT EXISTS certificate (
        serial TEXT PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, body TEXT NOT NULL
      ) STRICT;
    `);
    for (const record of this.onDisk()) this.noteSaved(record);
  }

  /** Null when it was issued here for this URI, is in its time and not revoked; else why not, one sentence. */
  refusal(uri: string, fingerprint: string): string | null {
    const record = this.#byFingerprint.get(fingerprint);
    if (record === undefined) return 'the certificate is not on the list of those issued here';
    const what = `the certificate ${record.serial}`;
    if (record.purpose !== 'client') return `${what} is one of a server and names no client`;
    if (record.uri !== uri) return `${what} was issued for ${record.uri} and not for this name`;
    return this.staleness(record);
  }

  /** Null when the certificate is neither revoked nor outside its time; else a sentence. */
  staleness(record: CertificateRecord): string | null {
    const what = `the certificate ${record.serial}`;
    if (record.revokedWallMs !== 0) {
      const because = record.revokedBecause === '' ? '' : `: ${record.revokedBecause}`;
      return `${what} was revoked on ${dateOf(record.revokedWallMs)}${because}`;
    }
    const wallMs = this.#wallMs();
    if (wallMs < record.notBeforeWallMs) {
      return `${what} is not valid before ${dateOf(record.notBeforeWallMs)}`;
    }
    if (wallMs >= record.notAfterWallMs) {
      return `${what} ran out on ${dateOf(record.notAfterWallMs)}`;
    }
    return null;
  }

  /** By serial number, in either case. */
  find(serial: string): CertificateRecord | undefined {
    return this.#bySerial.get(serial.toUpperCase());
  }

  /** In the order of issue. */
  all(): readonly CertificateRecord[] {
    return [...this.#bySerial.values()];
  }

  views(): readonly CertificateView[] {
    return this.all().map(({ uri: _, publicKeyDigest: __, ...view }) => view);
  }

  /** Writes the record; to be called inside a transaction of the store, then `noteSaved` once it is on disk. */
  write(record: CertificateRecord): void {
    const body = canonicalText({ ...record });
    this.#store.database
      .prepare(
        `INSERT INTO certificate (serial, fingerprint, body) VALUES (?, ?, ?)
         ON CONFLICT (serial) DO UPDATE SET body = excluded.body`,
      )
      .run(record.serial, record.fingerprint, body);
  }

  /** The record is on disk: it counts from now on. */
  noteSaved(record: CertificateRecord): void {
    this.#bySerial.set(record.serial, record);
    this.#byFingerprint.set(record.fingerprint, record);
  }

  /** As the database has them now, inside a transaction also what it has written so far. */
  onDisk(): readonly CertificateRecord[] {
    const rows = this.#store.database.prepare('SELECT body FROM certificate ORDER BY rowid').all();
    return rows.map(({ body }) => JSON.parse(String(body)) as CertificateRecord);
  }
}

function dateOf(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
