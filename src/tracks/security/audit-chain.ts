// The audit chain: each entry's hash covers the entry before it, so that no line can be changed unseen.
// Invariants: hash = SHA-256(previous hash || canonical bytes of the entry); a sequence number is never used twice;
// an entry counts only once it is on disk.
// Faults: AUDIT_UNAVAILABLE when the entry could not be made durable; the chain then continues from the last durable one.

import { createHash, type KeyObject, sign } from 'node:crypto';
import { type Canonical, canonicalText } from '#foundation/canonical';
import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AuditEntry, AuditRecord } from '#model/audit-entry';

const GENESIS_HASH = '0'.repeat(64);
const CHECKPOINT_EVERY = 1_000;

export interface AuditChainParts {
  readonly store: DurableStore;
  readonly clock: Clock;
  readonly bootId: string;
  readonly clockQuality: () => AuditEntry['clockQuality'];
  /** Signs checkpoints (Ed25519, RFC 8032). */
  readonly checkpointKey: KeyObject;
  readonly onAppended: (entry: AuditEntry) => void;
}

export interface ChainVerdict {
  readonly entries: number;
  readonly intact: boolean;
  /** Names the first bad entry, or says how many links were checked. */
  readonly finding: string;
}

export class AuditChain {
  readonly #parts: AuditChainParts;
  #nextSequence = 1;
  #lastHash = GENESIS_HASH;
  #writable = true;

  constructor(parts: AuditChainParts) {
    this.#parts = parts;
    parts.store.database.exec(`
      CREATE TABLE IF NOT EXISTS audit (
        sequence INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL
      ) STRICT;
      CREATE TABLE IF NOT EXISTS audit_checkpoint (
        sequence INTEGER PRIMARY KEY, hash TEXT NOT NULL, signature TEXT NOT NULL
      ) STRICT;
    `);
    this.#resume();
  }

  get lastSequence(): number {
    return this.#nextSequence - 1;
  }

  get writable(): boolean {
    return this.#writable;
  }

  /** Appends durably; `beside` runs in the same transaction (the journal's part of the same decision). */
  async append(record: AuditRecord, beside?: () => void): Promise<Outcome<AuditEntry>> {
    try {
      const entry = await this.#parts.store.transact((database) => {
        beside?.();
        const made = this.#chain(record);
        database
          .prepare('INSERT INTO audit (sequence, body, hash) VALUES (?, ?, ?)')
          .run(made.sequence, bodyOf(made), made.hash);
        this.#nextSequence = made.sequence + 1;
        this.#lastHash = made.hash;
        if (made.sequence % CHECKPOINT_EVERY === 0) this.#checkpoint();
        return made;
      });
      this.#writable = true;
      this.#parts.onAppended(entry);
      return succeed(entry);
    } catch (error) {
      this.#writable = false;
      this.#resume();
      return refuse(
        fault('AUDIT_UNAVAILABLE', {
          place: 'audit chain',
          finding: 'the entry could not be made durable',
          internal: describeError(error),
        }),
      );
    }
  }

  /** Signs the chain's end; at shutdown. */
  seal(): void {
    if (this.lastSequence > 0) this.#checkpoint();
  }

  read(fromSequence: number, limit: number): readonly AuditEntry[] {
    const rows = this.#parts.store.database
      .prepare(
        'SELECT sequence, body, hash FROM audit WHERE sequence >= ? ORDER BY sequence LIMIT ?',
      )
      .all(fromSequence, limit);
    return rows.map((row) => ({
      ...(JSON.parse(String(row.body)) as Omit<AuditEntry, 'hash'>),
      hash: String(row.hash),
    }));
  }

  /** Walks every link; `keyOf` verifies checkpoints where the caller has the public key. */
  verify(): ChainVerdict {
    let previousHash = GENESIS_HASH;
    let expected = 1;
    const rows = this.#parts.store.database
      .prepare('SELECT sequence, body, hash FROM audit ORDER BY sequence')
      .iterate();
    for (const row of rows) {
      const sequence = Number(row.sequence);
      const bad = (finding: string): ChainVerdict => ({
        entries: expected - 1,
        intact: false,
        finding,
      });
      if (sequence !== expected) return bad(`entry ${expected} is missing, ${sequence} follows`);
      const body = String(row.body);
      const entry = JSON.parse(body) as {
        readonly previousHash?: unknown;
        readonly sequence?: unknown;
      };
      if (entry.sequence !== sequence)
        return bad(`entry ${sequence} says it is ${String(entry.sequence)}`);
      if (entry.previousHash !== previousHash)
        return bad(`entry ${sequence} does not follow entry ${sequence - 1}`);
      if (hashOf(previousHash, body) !== row.hash)
        return bad(`entry ${sequence} was changed after it was written`);
      previousHash = String(row.hash);
      expected += 1;
    }
    const entries = expected - 1;
    if (entries < this.lastSequence) {
      return {
        entries,
        intact: false,
        finding: `entries ${expected} to ${this.lastSequence} are gone`,
      };
    }
    return { entries, intact: true, finding: `${entries} links checked` };
  }

  #chain(record: AuditRecord): AuditEntry {
    const unhashed: Omit<AuditEntry, 'hash'> = {
      ...record,
      sequence: this.#nextSequence,
      bootId: this.#parts.bootId,
      monotonicMs: Math.round(this.#parts.clock.nowMs() * 1000) / 1000,
      wallMs: this.#parts.clock.wallMs(),
      clockQuality: this.#parts.clockQuality(),
      previousHash: this.#lastHash,
    };
    const body = canonicalText(unhashed as unknown as Canonical);
    return { ...unhashed, hash: hashOf(this.#lastHash, body) };
  }

  #checkpoint(): void {
    const sequence = this.lastSequence;
    const signature = sign(
      null,
      Buffer.from(`${sequence}:${this.#lastHash}`),
      this.#parts.checkpointKey,
    );
    this.#parts.store.database
      .prepare(
        'INSERT OR REPLACE INTO audit_checkpoint (sequence, hash, signature) VALUES (?, ?, ?)',
      )
      .run(sequence, this.#lastHash, signature.toString('base64'));
  }

  #resume(): void {
    const last = this.#parts.store.database
      .prepare('SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1')
      .get();
    this.#nextSequence = last === undefined ? 1 : Number(last.sequence) + 1;
    this.#lastHash = last === undefined ? GENESIS_HASH : String(last.hash);
  }
}

function bodyOf(entry: AuditEntry): string {
  const { hash: _, ...unhashed } = entry;
  return canonicalText(unhashed as unknown as Canonical);
}

function hashOf(previousHash: string, body: string): string {
  return createHash('sha256').update(Buffer.from(previousHash, 'hex')).update(body).digest('hex');
}
