// Signed checkpoints and the line of keys that signed them, in security's database.
// Invariants: one checkpoint for an entry, never replaced; the key of each change is confirmed by the key before it.

import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Clock } from '#foundation/clock';
import {
  asCheckpoint,
  keyIdOf,
  publicKeyOf,
  publicKeyText,
  type SignedCheckpoint,
  signCheckpoint,
} from '#model/audit-checkpoint';
import type { KeyChange } from '#model/audit-verifier';

export interface CheckpointBookParts {
  readonly database: DatabaseSync;
  readonly clock: Clock;
  /** Ed25519 private key (RFC 8032), and others that may have been meant when a rotation was cut short. */
  readonly keys: readonly [KeyObject, ...KeyObject[]];
}

type Row = Readonly<Record<string, unknown>>;

export class CheckpointBook {
  readonly #database: DatabaseSync;
  readonly #clock: Clock;
  readonly #insert: StatementSync;
  readonly #newest: StatementSync;
  readonly #range: StatementSync;
  readonly #change: StatementSync;
  #key: KeyObject;
  #keyId: string;

  constructor({ database, clock, keys }: CheckpointBookParts) {
    this.#database = database;
    this.#clock = clock;
    database.exec(`
      CREATE TABLE IF NOT EXISTS audit_signed_checkpoint (
        sequence INTEGER PRIMARY KEY, hash TEXT NOT NULL, wall_ms INTEGER NOT NULL, key_id TEXT NOT NULL,
        signature TEXT NOT NULL
      ) STRICT;
      CREATE TABLE IF NOT EXISTS audit_key (
        sequence INTEGER PRIMARY KEY, public_key TEXT NOT NULL, body TEXT NOT NULL, hash TEXT NOT NULL,
        checkpoint TEXT NOT NULL
      ) STRICT;
    `);
    this.#insert = database.prepare(
      'INSERT OR IGNORE INTO audit_signed_checkpoint (sequence, hash, wall_ms, key_id, signature) VALUES (?, ?, ?, ?, ?)',
    );
    this.#newest = database.prepare(
      'SELECT * FROM audit_signed_checkpoint ORDER BY sequence DESC LIMIT 1',
    );
    this.#range = database.prepare(
      'SELECT * FROM audit_signed_checkpoint WHERE sequence >= ? AND sequence <= ? ORDER BY sequence',
    );
    this.#change = database.prepare(
      'INSERT INTO audit_key (sequence, public_key, body, hash, checkpoint) VALUES (?, ?, ?, ?, ?)',
    );
    const lastKey = database
      .prepare('SELECT public_key FROM audit_key ORDER BY sequence DESC LIMIT 1')
      .get();
    this.#key = keys.find((key) => publicKeyText(key) === lastKey?.public_key) ?? keys[0];
    this.#keyId = keyIdOf(createPublicKey(this.#key));
    if (lastKey === undefined) this.#change.run(0, publicKeyText(this.#key), '', '', '');
    this.#migrate();
  }

  get keyId(): string {
    return this.#keyId;
  }

  get publicKey(): KeyObject {
    return createPublicKey(this.#key);
  }

  /** The newest checkpoint; null before the first. */
  get newest(): SignedCheckpoint | null {
    const row = this.#newest.get();
    return row === undefined ? null : checkpointOf(row);
  }

  /** Checkpoints of these entries, first and last included. */
  between(first: number, last: number): ReadonlyMap<number, SignedCheckpoint> {
    return new Map(
      this.#range.all(first, last).map((row) => [Number(row.sequence), checkpointOf(row)]),
    );
  }

  /** Signs without keeping it. */
  sign(sequence: number, hash: string): SignedCheckpoint {
    const wallMs = Math.round(this.#clock.wallMs());
    return signCheckpoint({ sequence, hash, wallMs, keyId: this.#keyId }, this.#key);
  }

  /** Inside a transaction: signs this entry as the chain's end, or gives the signature that it has already. */
  add(sequence: number, hash: string): SignedCheckpoint {
    const present = this.#range.get(sequence, sequence);
    if (present !== undefined) return checkpointOf(present);
    const checkpoint = this.sign(sequence, hash);
    this.#insert.run(...columnsOf(checkpoint));
    return checkpoint;
  }

  /** Inside a transaction: the key before confirms the entry that names the new one. */
  addChange(newKey: KeyObject, change: KeyChange): void {
    const { body, hash, checkpoint } = change;
    this.#change.run(
      checkpoint.sequence,
      publicKeyText(newKey),
      body,
      hash,
      JSON.stringify(checkpoint),
    );
  }

  /** Signs with another key from now on; returns what takes that back. */
  useKey(newKey: KeyObject): () => void {
    const before = { key: this.#key, keyId: this.#keyId };
    this.#key = newKey;
    this.#keyId = keyIdOf(createPublicKey(newKey));
    return () => {
      this.#key = before.key;
      this.#keyId = before.keyId;
    };
  }

  /** The first key of the chain and every change of it before this entry. */
  keyLine(before: number): { readonly publicKey: string; readonly changes: readonly KeyChange[] } {
    const rows = this.#database
      .prepare('SELECT * FROM audit_key WHERE sequence < ? ORDER BY sequence')
      .all(before);
    const changes = rows.slice(1).flatMap((row) => {
      const checkpoint = asCheckpoint(parsed(String(row.checkpoint)));
      if (checkpoint === undefined) return [];
      return { body: String(row.body), hash: String(row.hash), checkpoint };
    });
    return { publicKey: String(rows[0]?.public_key ?? ''), changes };
  }

  /** What is wrong between the key that signs here and the line of keys; null for nothing. */
  keyFinding(): string | null {
    const last = this.#database
      .prepare('SELECT public_key FROM audit_key ORDER BY sequence DESC LIMIT 1')
      .get();
    const expected = publicKeyOf(last?.public_key);
    if (expected !== undefined && keyIdOf(expected) === this.#keyId) return null;
    const named = expected === undefined ? 'no key' : `key ${keyIdOf(expected)}`;
    return `checkpoints are signed here with key ${this.#keyId}, and the chain names ${named}`;
  }

  /** Checkpoints of before they had a time and a key: checked once as they were, and signed anew where they are right. */
  #migrate(): void {
    const old = this.#database
      .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'audit_checkpoint'")
      .get();
    if (old === undefined) return;
    const rows = this.#database
      .prepare(
        'SELECT c.sequence, c.hash, c.signature, a.hash AS entry_hash, a.body FROM audit_checkpoint c LEFT JOIN audit a USING (sequence) ORDER BY c.sequence',
      )
      .all();
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      for (const row of rows) this.#insert.run(...columnsOf(this.#renewed(row)));
      this.#database.exec('DROP TABLE audit_checkpoint; COMMIT');
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  /** A checkpoint that was wrong stays wrong, so that the next check of the chain names it. */
  #renewed(row: Row): SignedCheckpoint {
    const sequence = Number(row.sequence);
    const hash = String(row.hash);
    const signature = String(row.signature);
    const signed = Buffer.from(`${sequence}:${hash}`);
    const publicKey = createPublicKey(this.#key);
    const right =
      row.entry_hash === hash && verify(null, signed, publicKey, Buffer.from(signature, 'base64'));
    const written = parsed(String(row.body)) as { readonly wallMs?: unknown } | null;
    const wallMs = Number.isSafeInteger(written?.wallMs) ? Number(written?.wallMs) : 0;
    const unsigned = { sequence, hash, wallMs, keyId: this.#keyId };
    return right ? signCheckpoint(unsigned, this.#key) : { ...unsigned, signature };
  }
}

function checkpointOf(row: Row): SignedCheckpoint {
  return {
    sequence: Number(row.sequence),
    hash: String(row.hash),
    wallMs: Number(row.wall_ms),
    keyId: String(row.key_id),
    signature: String(row.signature),
  };
}

function columnsOf(checkpoint: SignedCheckpoint): [number, string, number, string, string] {
  const { sequence, hash, wallMs, keyId, signature } = checkpoint;
  return [sequence, hash, wallMs, keyId, signature];
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
