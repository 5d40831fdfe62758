// The audit chain: each entry's hash covers the entry before it, so that no line can be changed unseen.
// Invariants: hash = SHA-256(previous hash || canonical bytes of the entry); a sequence number is never used twice;
// an entry counts only once it is on disk; every 1,000th entry and every change of the key is followed by a checkpoint.
// Faults: AUDIT_UNAVAILABLE when the entry could not be made durable; the chain then continues from the last durable one.

import { createPublicKey, type KeyObject } from 'node:crypto';
import type { StatementSync } from 'node:sqlite';
import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import { describeError, type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  CHECKPOINT_EVERY,
  keyIdOf,
  publicKeyText,
  type SignedCheckpoint,
} from '#model/audit-checkpoint';
import { type AuditEntry, type AuditRecord, blankRecord } from '#model/audit-entry';
import { ChainHasher, GENESIS_HASH } from '#model/audit-hash';
import type { ChainVerdict } from '#model/audit-verifier';
import { ChainWalk } from './chain-walk.ts';
import { CheckpointBook } from './checkpoint-book.ts';
import { entryText } from './entry-text.ts';
import { withoutSecrets } from './secret-guard.ts';
import { type ChainPart, SegmentArchive, type StoredEntry } from './segment-archive.ts';
import { TamperMark } from './tamper-mark.ts';

export interface AuditChainParts {
  readonly store: DurableStore;
  readonly clock: Clock;
  readonly bootId: string;
  readonly clockQuality: () => AuditEntry['clockQuality'];
  /** Signs checkpoints (Ed25519, RFC 8032). */
  readonly checkpointKey: KeyObject;
  /** Keys of a rotation that may have been cut short: the one that the chain names last is used. */
  readonly otherCheckpointKeys?: readonly KeyObject[];
  readonly onAppended: (entry: AuditEntry) => void;
  /** A checkpoint is durable: to be handed to whoever keeps it elsewhere. */
  readonly onCheckpoint?: (checkpoint: SignedCheckpoint) => void;
  /** Why nothing more should be started for want of room on disk; empty for nothing. */
  readonly shortage?: () => string;
  /** What is wrong with the copies kept elsewhere, one sentence; empty for nothing. */
  readonly witnessFinding?: () => string;
  /** Something could not be written. */
  readonly onRefused?: () => void;
  /** Checkpoints from other media. */
  readonly keptElsewhere?: () => Promise<readonly SignedCheckpoint[]>;
  /** Named in exports. */
  readonly board?: string;
  /** Where sealed segments go; nothing is archived without. */
  readonly segmentDirectory?: string;
  /** Where the mark of a damaged chain is kept beside the database. */
  readonly tamperFile?: string;
}

export class AuditChain {
  readonly book: CheckpointBook;
  readonly archive: SegmentArchive | null;
  readonly mark: TamperMark;
  readonly walk: ChainWalk;
  readonly board: string;
  readonly #parts: AuditChainParts;
  readonly #hasher = new ChainHasher();
  readonly #insert: StatementSync;
  readonly #rows: StatementSync;
  readonly #last: StatementSync;
  readonly #hash: StatementSync;
  #nextSequence = 1;
  #lastHash = GENESIS_HASH;
  /** The last entry of which somebody has heard that it is on disk. */
  #durable = 0;
  #takeBackKey: () => void = () => undefined;
  #appends = true;
  #walking: Promise<ChainVerdict> | null = null;
  #turn: Promise<void> = Promise.resolve();

  constructor(parts: AuditChainParts) {
    this.#parts = parts;
    const { database } = parts.store;
    database.exec(`
      CREATE TABLE IF NOT EXISTS audit (
        sequence INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL
      ) STRICT;
    `);
    this.#insert = database.prepare('INSERT INTO audit (sequence, body, hash) VALUES (?, ?, ?)');
    this.#rows = database.prepare(
      'SELECT sequence, body, hash FROM audit WHERE sequence >= ? ORDER BY sequence LIMIT ?',
    );
    this.#last = database.prepare(
      'SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1',
    );
    this.#hash = database.prepare('SELECT hash FROM audit WHERE sequence = ?');
    this.board = parts.board ?? '';
    this.mark = new TamperMark(database, parts.tamperFile);
    this.book = new CheckpointBook({
      database,
      clock: parts.clock,
      keys: [parts.checkpointKey, ...(parts.otherCheckpointKeys ?? [])],
    });
    const directory = parts.segmentDirectory;
    this.archive =
      directory === undefined
        ? null
        : new SegmentArchive({
            database,
            directory,
            board: this.board,
            book: this.book,
            stored: (first, last) => this.#stored(first, last - first + 1),
          });
    this.walk = new ChainWalk({
      database,
      book: this.book,
      archive: this.archive,
      lastSequence: () => this.lastSequence,
      // An entry that says so is a mark too, wherever it lies by now.
      onEarlierFinding: (finding) => {
        if (this.mark.first === null) this.mark.set(finding);
      },
    });
    this.#resume();
    this.#durable = this.lastSequence;
  }

  get lastSequence(): number {
    return this.#nextSequence - 1;
  }

  /** Whether operations may rely on being recorded. */
  get writable(): boolean {
    return this.obstacle === '';
  }

  /** Whether the last entry could be written: true also where room is only getting short. */
  get appends(): boolean {
    return this.#appends;
  }

  /** Why no operation may start, one sentence; empty when it may. */
  get obstacle(): string {
    if (!this.#appends) return 'the audit chain cannot be written';
    return this.#parts.shortage?.() ?? '';
  }

  /** What people must know of this chain; that it was damaged once, for ever. */
  get findings(): readonly string[] {
    const { first } = this.mark;
    const witness = this.#parts.witnessFinding?.() ?? '';
    const findings = witness === '' ? [] : [witness];
    if (first === null) return findings;
    const at = new Date(first.wallMs).toISOString();
    return [`the audit chain was found damaged at ${at}: ${first.finding}`, ...findings];
  }

  /** Appends durably; `beside` runs in the same transaction (the journal's part of the same decision). */
  append(record: AuditRecord, beside?: () => void): Promise<Outcome<AuditEntry>> {
    return this.#append(record, beside, (entry) =>
      entry.sequence % CHECKPOINT_EVERY === 0 ? this.book.add(entry.sequence, entry.hash) : null,
    );
  }

  /**
   * From the next entry on `newKey` signs. The entry KEY_ROTATED names the new public key, and the old key signs that
   * entry, so that whoever has the first key can follow. Keep `newKey` durably before, and drop the old one after.
   */
  async rotate(
    newKey: KeyObject,
    by: Partial<Pick<AuditRecord, 'actor' | 'origin' | 'reason'>> = {},
    beside?: () => void,
  ): Promise<Outcome<SignedCheckpoint>> {
    const publicKey = publicKeyText(newKey);
    const keyId = keyIdOf(createPublicKey(newKey));
    let signed: SignedCheckpoint | undefined;
    let takeBack = () => {};
    const record: AuditRecord = {
      ...blankRecord('KEY_ROTATED', 'security'),
      ...by,
      operation: 'rotateKey',
      result: `checkpoints are signed with key ${keyId} from here on`,
      details: { checkpointPublicKey: publicKey, keyId, previousKeyId: this.book.keyId },
    };
    const entry = await this.#append(record, beside, (made, body) => {
      signed = this.book.add(made.sequence, made.hash);
      this.book.addChange(newKey, { body, hash: made.hash, checkpoint: signed });
      // Before anything else of this group can be signed; a group that is lost takes it back.
      takeBack = this.book.useKey(newKey);
      this.#takeBackKey = takeBack;
      return signed;
    });
    if (!entry.ok) {
      takeBack();
      return entry;
    }
    return signed === undefined ? refuse(unavailable('nothing was signed')) : succeed(signed);
  }

  /** The newest checkpoint, after signing one where the newest is not the chain's end; null for an empty chain. */
  async checkpoint(): Promise<Outcome<SignedCheckpoint | null>> {
    try {
      this.#settle();
      const { newest } = this.book;
      if (this.lastSequence === 0 || newest?.sequence === this.lastSequence) return succeed(newest);
      const signed = await this.#parts.store.transact(() =>
        this.book.add(this.lastSequence, this.#lastHash),
      );
      this.#parts.onCheckpoint?.(signed);
      return succeed(signed);
    } catch (error) {
      return refuse(this.#unsigned(error));
    }
  }

  /** Signs the chain's end, after what still waits to be written; at shutdown. */
  seal(): Outcome<void> {
    try {
      this.#settle();
      const { newest } = this.book;
      if (this.lastSequence === 0 || newest?.sequence === this.lastSequence)
        return succeed(undefined);
      const signed = this.book.add(this.lastSequence, this.#lastHash);
      this.#parts.onCheckpoint?.(signed);
      return succeed(undefined);
    } catch (error) {
      return refuse(this.#unsigned(error));
    }
  }

  read(fromSequence: number, limit: number): readonly AuditEntry[] {
    const entries: AuditEntry[] = [];
    let from = Math.max(1, fromSequence);
    while (entries.length < limit) {
      const part = this.part(from, limit - entries.length);
      for (const { body, hash } of part.entries) {
        entries.push({ ...(JSON.parse(body) as Omit<AuditEntry, 'hash'>), hash });
      }
      const last = part.entries.at(-1)?.sequence;
      if (last === undefined) break;
      from = last + 1;
    }
    return entries;
  }

  /** Entries from this one on as they are kept, archived or not; fewer than asked for at the end of a file. */
  part(from: number, limit: number): ChainPart {
    if (this.archive !== null && from <= this.archive.through)
      return this.archive.read(from, limit);
    return this.#stored(from, Math.max(0, limit));
  }

  /**
   * Walks every link and every checkpoint, other work between; names the first that is wrong, on record and for ever.
   * Whoever asks while a walk is under way hears its verdict.
   */
  async verify(by: Partial<AuditRecord> = {}): Promise<ChainVerdict> {
    this.#walking ??= this.exclusively(async () =>
      this.walk.full((await this.#parts.keptElsewhere?.()) ?? []),
    ).finally(() => {
      this.#walking = null;
    });
    return this.#report(await this.#walking, by);
  }

  /** One at a time: a walk must not lose the entries that are being archived. */
  exclusively<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(act);
    this.#turn = turn.then(
      () => undefined,
      () => undefined,
    );
    return turn;
  }

  /** The last part of the chain, from its last checkpoint on: on record only where something is wrong. */
  async verifyEnd(): Promise<ChainVerdict> {
    const kept = (await this.#parts.keptElsewhere?.()) ?? [];
    this.#settle();
    const verdict = this.walk.end(kept);
    return verdict.intact ? verdict : this.#report(verdict, {});
  }

  async #report(verdict: ChainVerdict, by: Partial<AuditRecord>): Promise<ChainVerdict> {
    const { damage, entries, finding, signedThrough } = verdict;
    const told = {
      ...blankRecord(damage === null ? 'AUDIT_VERIFIED' : 'AUDIT_TAMPERED', 'security'),
      operation: 'verifyAudit',
      ...by,
      result: finding,
    };
    if (damage === null) {
      await this.append({ ...told, details: { entries, signedThrough } });
    } else {
      const { kind, sequence } = damage;
      await this.#tampered({ ...told, details: { entries, kind, firstBad: sequence } });
    }
    return verdict;
  }

  /** The mark and the entry that says why are one transaction. */
  async #tampered(record: AuditRecord): Promise<void> {
    const wallMs = this.#parts.clock.wallMs();
    const { write } = this.mark.set({ finding: record.result, wallMs });
    if ((await this.append(record, write)).ok) this.mark.noteWritten();
  }

  /** Puts a mark on record that the disk did not take before, or that somebody took out of the database. */
  async recordMark(): Promise<void> {
    const { pending } = this.mark;
    if (pending === null) return;
    await this.#tampered({
      ...blankRecord('AUDIT_TAMPERED', 'security'),
      operation: 'verifyAudit',
      result: pending.finding,
      details: { foundWallMs: pending.wallMs },
    });
  }

  async #append(
    record: AuditRecord,
    beside: (() => void) | undefined,
    sign: (entry: AuditEntry, body: string) => SignedCheckpoint | null,
  ): Promise<Outcome<AuditEntry>> {
    let done: { readonly made: AuditEntry; readonly signed: SignedCheckpoint | null };
    // What was to be written beside the entry may fail by itself: that says nothing about the chain.
    let ours = true;
    try {
      done = await this.#parts.store.transact(() => {
        ours = false;
        beside?.();
        ours = true;
        const { made, body } = this.#chain(record);
        this.#insert.run(made.sequence, body, made.hash);
        const signed = sign(made, body);
        // Last: where anything above throws, the group's next entry still follows the one before this.
        this.#nextSequence = made.sequence + 1;
        this.#lastHash = made.hash;
        return { made, signed };
      });
    } catch (error) {
      if (ours || isOfDisk(error)) {
        this.#appends = false;
        this.#parts.onRefused?.();
      }
      this.#recover();
      return refuse(unavailable('the entry could not be made durable', describeError(error)));
    }
    this.#appends = true;
    this.#durable = Math.max(this.#durable, done.made.sequence);
    this.#parts.onAppended(done.made);
    if (done.signed !== null) this.#parts.onCheckpoint?.(done.signed);
    return succeed(done.made);
  }

  /** The entry and the bytes its hash covers. */
  #chain(record: AuditRecord): { readonly made: AuditEntry; readonly body: string } {
    const { clock, bootId, clockQuality } = this.#parts;
    const unhashed: Omit<AuditEntry, 'hash'> = {
      ...record,
      details: withoutSecrets(record.details),
      sequence: this.#nextSequence,
      bootId,
      monotonicMs: Math.round(clock.nowMs() * 1000) / 1000,
      wallMs: clock.wallMs(),
      clockQuality: clockQuality(),
      previousHash: this.#lastHash,
    };
    const body = entryText(unhashed);
    return { made: { ...unhashed, hash: this.#hasher.hash(this.#lastHash, body) }, body };
  }

  #stored(from: number, limit: number): ChainPart {
    const entries = this.#rows.all(from, limit) as unknown as readonly StoredEntry[];
    const last = entries.at(-1)?.sequence;
    return { entries, checkpoints: last === undefined ? new Map() : this.book.between(from, last) };
  }

  /** Writes what waits, and goes by what is on disk then: who was in a group that was lost hears of it only later. */
  #settle(): void {
    this.#parts.store.flush();
    const last = this.lastSequence;
    // One that was there and is gone is not for this to take as it is: its end is signed all the same.
    if (last <= this.#durable || this.#hash.get(last)?.hash === this.#lastHash) return;
    this.#recover();
    // Also a key that was to sign from an entry of that group on.
    if (this.book.keyFinding() !== null) this.#takeBackKey();
  }

  /**
   * After a group that was lost: what is on disk counts. Entries there that this process did not write, and some of its own
   * that are gone, are somebody else's doing: the chain goes on behind what is there, and bears the mark.
   */
  #recover(): void {
    const known = this.lastSequence;
    const knownHash = this.#lastHash;
    this.#resume();
    const last = this.lastSequence;
    const foreign = last > known || (last === known && this.#lastHash !== knownHash);
    const gone = last < this.#durable;
    const durable = this.#durable;
    this.#durable = Math.min(durable, last);
    if (!foreign && !gone) return;
    const firstBad = foreign ? Math.min(known + 1, last) : last + 1;
    void this.#tampered({
      ...blankRecord('AUDIT_TAMPERED', 'security'),
      operation: 'append',
      result: foreign
        ? `entry ${firstBad} was not written by this agent`
        : `entries ${firstBad} to ${durable} are gone`,
      details: { entries: 0, kind: foreign ? 'spliced' : 'truncated', firstBad },
    });
  }

  /** After a start or a lost group: what is on disk counts. */
  #resume(): void {
    const last = this.#last.get();
    const archived = this.archive?.segments.at(-1);
    this.#nextSequence = Number(last?.sequence ?? archived?.last ?? 0) + 1;
    this.#lastHash = String(last?.hash ?? archived?.lastHash ?? GENESIS_HASH);
  }

  #unsigned(error: unknown): Fault {
    return fault('AUDIT_UNAVAILABLE', {
      place: 'audit chain',
      finding: 'the end of the chain could not be signed',
      consequence: 'entries removed from its end after this would go unnoticed',
      internal: describeError(error),
    });
  }
}

/** Result codes (sqlite.org/rescode.html) that blame the statement: ERROR, CONSTRAINT, MISMATCH, RANGE. */
const STATEMENT_CODES: ReadonlySet<number> = new Set([1, 19, 20, 25]);

/** Whether the disk refused, and not what was to be written beside the entry. */
function isOfDisk(error: unknown): boolean {
  const code = (error as { readonly errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' && !STATEMENT_CODES.has(code & 0xff);
}

function unavailable(finding: string, internal?: string): Fault {
  const place = 'audit chain';
  return fault('AUDIT_UNAVAILABLE', {
    place,
    finding,
    ...(internal === undefined ? {} : { internal }),
  });
}
