// The audit chain: each entry's hash covers the entry before it, so that no line can be changed unseen.
// Invariants: hash = SHA-256(previous hash || canonical bytes of the entry); a sequence number is never used twice;
// an entry counts only once it is on disk.
// Faults: AUDIT_UNAVAILABLE when the entry could not be made durable; the chain then continues from the last durable one.

import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import type { StatementSync } from 'node:sqlite';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Canonical, canonicalText } from '#foundation/canonical';
import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AuditEntry, AuditRecord } from '#model/audit-entry';

const GENESIS_HASH = '0'.repeat(64);
const CHECKPOINT_EVERY = 1_000;
/** Entries checked before other work gets its turn: a walk must not silence this process. */
const VERIFY_SLICE = 1_000;

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

interface Checkpoint {
  readonly hash: string;
  readonly signature: string;
}

export class AuditChain {
  readonly #parts: AuditChainParts;
  readonly #publicKey: KeyObject;
  readonly #insert: StatementSync;
  #nextSequence = 1;
  #lastHash = GENESIS_HASH;
  #writable = true;

  constructor(parts: AuditChainParts) {
    this.#parts = parts;
    this.#publicKey = createPublicKey(parts.checkpointKey);
    parts.store.database.exec(`
      CREATE TABLE IF NOT EXISTS audit (
        sequence INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL
      ) STRICT;
      CREATE TABLE IF NOT EXISTS audit_checkpoint (
        sequence INTEGER PRIMARY KEY, hash TEXT NOT NULL, signature TEXT NOT NULL
      ) STRICT;
    `);
    this.#insert = parts.store.database.prepare(
      'INSERT INTO audit (sequence, body, hash) VALUES (?, ?, ?)',
    );
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
    let entry: AuditEntry;
    try {
      entry = await this.#parts.store.transact(() => {
        beside?.();
        const { made, body } = this.#chain(record);
        this.#insert.run(made.sequence, body, made.hash);
        if (made.sequence % CHECKPOINT_EVERY === 0) this.#checkpoint(made.sequence, made.hash);
        // Last: where anything above throws, the group's next entry still follows the one before this.
        this.#nextSequence = made.sequence + 1;
        this.#lastHash = made.hash;
        return made;
      });
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
    this.#writable = true;
    this.#parts.onAppended(entry);
    return succeed(entry);
  }

  /** Signs the chain's end, after what still waits to be written; at shutdown. */
  seal(): Outcome<void> {
    this.#parts.store.flush();
    try {
      if (this.lastSequence > 0) this.#checkpoint(this.lastSequence, this.#lastHash);
      return succeed(undefined);
    } catch (error) {
      return refuse(
        fault('AUDIT_UNAVAILABLE', {
          place: 'audit chain',
          finding: 'the end of the chain could not be signed',
          consequence: 'entries removed from its end after this would go unnoticed',
          internal: describeError(error),
        }),
      );
    }
  }

  read(fromSequence: number, limit: number): readonly AuditEntry[] {
    const rows = this.#parts.store.database
      .prepare(
        'SELECT sequence, body, hash FROM audit WHERE sequence >= ? ORDER BY sequence LIMIT ?',
      )
      .all(fromSequence, Math.max(0, limit));
    return rows.map((row) => ({
      ...(JSON.parse(String(row.body)) as Omit<AuditEntry, 'hash'>),
      hash: String(row.hash),
    }));
  }

  /** Walks every link and every checkpoint, other work between; names the first that is wrong. */
  async verify(): Promise<ChainVerdict> {
    const links = this.#parts.store.database.prepare(
      'SELECT sequence, body, hash FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?',
    );
    let entries = 0;
    let hash = GENESIS_HASH;
    for (;;) {
      const rows = links.all(entries, VERIFY_SLICE);
      if (rows.length === 0) break;
      const checkpoints = this.#checkpoints(entries, VERIFY_SLICE);
      for (const row of rows) {
        const sequence = entries + 1;
        const wrong =
          linkFinding(sequence, hash, row) ??
          this.#checkpointFinding(sequence, String(row.hash), checkpoints.get(sequence));
        if (wrong !== undefined) return { entries, intact: false, finding: wrong };
        entries = sequence;
        hash = String(row.hash);
      }
      await nextTurn();
    }
    const [beyond] = this.#checkpoints(entries, 1).keys();
    const wanted = Math.max(this.lastSequence, beyond ?? 0);
    if (entries < wanted) {
      return { entries, intact: false, finding: `entries ${entries + 1} to ${wanted} are gone` };
    }
    return { entries, intact: true, finding: `${entries} links checked` };
  }

  #checkpoints(after: number, limit: number): ReadonlyMap<number, Checkpoint> {
    const rows = this.#parts.store.database
      .prepare(
        'SELECT sequence, hash, signature FROM audit_checkpoint WHERE sequence > ? ORDER BY sequence LIMIT ?',
      )
      .all(after, limit);
    return new Map(
      rows.map((row) => [
        Number(row.sequence),
        { hash: String(row.hash), signature: String(row.signature) },
      ]),
    );
  }

  #checkpointFinding(
    sequence: number,
    hash: string,
    checkpoint: Checkpoint | undefined,
  ): string | undefined {
    if (checkpoint === undefined) {
      return sequence % CHECKPOINT_EVERY === 0
        ? `the checkpoint of entry ${sequence} is missing`
        : undefined;
    }
    if (checkpoint.hash !== hash) return `entry ${sequence} is not the one its checkpoint signed`;
    const signature = Buffer.from(checkpoint.signature, 'base64');
    return verify(null, checkpointBytes(sequence, hash), this.#publicKey, signature)
      ? undefined
      : `the checkpoint of entry ${sequence} was not signed here`;
  }

  /** The entry and the bytes its hash covers. */
  #chain(record: AuditRecord): { readonly made: AuditEntry; readonly body: string } {
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
    return { made: { ...unhashed, hash: hashOf(this.#lastHash, body) }, body };
  }

  #checkpoint(sequence: number, hash: string): void {
    const signature = sign(null, checkpointBytes(sequence, hash), this.#parts.checkpointKey);
    this.#parts.store.database
      .prepare(
        'INSERT OR REPLACE INTO audit_checkpoint (sequence, hash, signature) VALUES (?, ?, ?)',
      )
      .run(sequence, hash, signature.toString('base64'));
  }

  #resume(): void {
    const last = this.#parts.store.database
      .prepare('SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1')
      .get();
    this.#nextSequence = last === undefined ? 1 : Number(last.sequence) + 1;
    this.#lastHash = last === undefined ? GENESIS_HASH : String(last.hash);
  }
}

/** What is wrong with the row in the place of entry `sequence`, after an entry of `previousHash`. */
function linkFinding(
  sequence: number,
  previousHash: string,
  row: Readonly<Record<string, unknown>>,
): string | undefined {
  if (Number(row.sequence) !== sequence)
    return `entry ${sequence} is missing, ${Number(row.sequence)} follows`;
  const body = String(row.body);
  const members = membersOf(body);
  if (members.sequence !== sequence)
    return `entry ${sequence} says it is ${String(members.sequence)}`;
  if (members.previousHash !== previousHash)
    return `entry ${sequence} does not follow entry ${sequence - 1}`;
  if (hashOf(previousHash, body) !== row.hash)
    return `entry ${sequence} was changed after it was written`;
  return undefined;
}

/** Empty for what is no JSON object: a forger may have written anything. */
function membersOf(body: string): { readonly sequence?: unknown; readonly previousHash?: unknown } {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}

function checkpointBytes(sequence: number, hash: string): Buffer {
  return Buffer.from(`${sequence}:${hash}`);
}

function hashOf(previousHash: string, body: string): string {
  return createHash('sha256').update(Buffer.from(previousHash, 'hex')).update(body).digest('hex');
}
