// Checks an audit chain entry by entry and checkpoint by checkpoint, whoever hands them over: the database or an export.
// Invariants: pure and of constant size; only a checkpoint under a key that the trusted one leads to makes anything signed.
// Faults: the first damage ends the check; what comes after it only tells what kind of damage it is.

import type { KeyObject } from 'node:crypto';
import {
  CHECKPOINT_EVERY,
  checkpointHolds,
  keyIdOf,
  publicKeyOf,
  type SignedCheckpoint,
} from './audit-checkpoint.ts';
import { type AuditDamage, Diagnosis } from './audit-diagnosis.ts';
import { ChainHasher, GENESIS_HASH, sequenceIn } from './audit-hash.ts';

export interface ChainVerdict {
  readonly intact: boolean;
  /** Entries that were checked and are good. */
  readonly entries: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly lastHash: string;
  /** The last entry that a trusted checkpoint covers; 0 when none does. */
  readonly signedThrough: number;
  readonly checkpoints: number;
  /** Ids of the keys that signed, the first first. */
  readonly keyIds: readonly string[];
  readonly damage: AuditDamage | null;
  /** Names the first bad entry, or says how many links were checked. */
  readonly finding: string;
}

/** One change of the signing key before the part that is checked: its entry, and the old key's word for it. */
export interface KeyChange {
  readonly body: string;
  readonly hash: string;
  readonly checkpoint: SignedCheckpoint;
}

export interface ChainStart {
  readonly sequence: number;
  readonly previousHash: string;
  /** SPKI DER in base64 of the chain's first key. */
  readonly publicKey: string;
  readonly changes: readonly KeyChange[];
}

const ROTATION = '"event":"KEY_ROTATED"';
/** Hashes of the last entries, to tell a repeated entry from a foreign one. */
const RECENT_MAX = 4_096;

export class ChainVerifier {
  readonly #hasher = new ChainHasher();
  readonly #trusted: ReadonlySet<string>;
  readonly #kept: ReadonlyMap<number, readonly SignedCheckpoint[]>;
  readonly #keys = new Map<string, KeyObject>();
  readonly #line: string[] = [];
  /** Of entry n at n modulo its size. */
  readonly #recent: string[] = [];
  #start = 0;
  #next = 1;
  #hash = GENESIS_HASH;
  #keyId = '';
  /** The line of keys has reached one that the asker trusts. */
  #anchored = false;
  /** The key that the entry just read names, until its checkpoint confirms it. */
  #successor: KeyObject | null = null;
  /** Entry that must be followed by a checkpoint; 0 for none. */
  #due = 0;
  #checkpointAt = 0;
  #signedThrough = 0;
  #checkpoints = 0;
  #damage: AuditDamage | null = null;
  #diagnosis: Diagnosis | null = null;

  constructor(trusted: readonly KeyObject[], kept: readonly SignedCheckpoint[] = []) {
    this.#trusted = new Set(trusted.map(keyIdOf));
    for (const key of trusted) this.#keys.set(keyIdOf(key), key);
    const bySequence = new Map<number, SignedCheckpoint[]>();
    for (const checkpoint of kept) {
      const same = bySequence.get(checkpoint.sequence);
      if (same === undefined) bySequence.set(checkpoint.sequence, [checkpoint]);
      else same.push(checkpoint);
    }
    this.#kept = bySequence;
  }

  /** Sequence of the entry that must come next. */
  get next(): number {
    return this.#next;
  }

  get hash(): string {
    return this.#hash;
  }

  get keyId(): string {
    return this.#keyId;
  }

  /** Something was wrong; what follows is only looked at to tell what. */
  get broken(): boolean {
    return this.#damage !== null || this.#diagnosis !== null;
  }

  /** Before the first entry: follows the line of keys up to the place where the part begins. */
  begin(start: ChainStart): void {
    this.#start = start.sequence;
    this.#next = start.sequence;
    this.#hash = start.previousHash;
    const first = publicKeyOf(start.publicKey);
    if (first === undefined) {
      this.fail('modified', start.sequence, 'the first public key is none');
      return;
    }
    this.#adopt(first);
    for (const { body, hash, checkpoint } of start.changes) {
      const changed = rotationIn(body);
      const sequence = changed?.sequence ?? start.sequence;
      const signer = this.#keys.get(checkpoint.keyId);
      const links =
        changed !== undefined &&
        this.#hasher.hash(changed.previousHash, body) === hash &&
        checkpoint.hash === hash &&
        checkpoint.sequence === sequence &&
        sequence < start.sequence;
      if (!links) {
        this.fail('modified', sequence, `the key change of entry ${sequence} was altered`);
        return;
      }
      if (checkpoint.keyId !== this.#keyId || signer === undefined) {
        this.fail('wrong-key', sequence, `the key change of entry ${sequence} is another key's`);
        return;
      }
      if (!checkpointHolds(checkpoint, signer)) {
        this.fail('modified', sequence, `the key before did not sign the key of entry ${sequence}`);
        return;
      }
      this.#adopt(changed.key);
    }
  }

  entry(body: string, hash: string): void {
    if (this.#damage !== null) return;
    if (this.#diagnosis !== null) {
      this.#diagnosis.entry(body, hash);
      return;
    }
    const sequence = this.#next;
    this.requireCheckpoint();
    if (this.#damage !== null) return;
    const follows = sequenceIn(body) === sequence && this.#hasher.hash(this.#hash, body) === hash;
    if (!follows) {
      this.#diagnosis = new Diagnosis(
        {
          expected: sequence,
          previousHash: this.#hash,
          recent: (earlier) => this.#recentHash(earlier),
          previousSigned: this.#signedThrough === sequence - 1,
          signer: this.#keys.get(this.#keyId),
        },
        body,
        hash,
      );
      return;
    }
    this.#hash = hash;
    this.#next = sequence + 1;
    this.#recent[sequence % RECENT_MAX] = hash;
    if (sequence % CHECKPOINT_EVERY === 0) this.#due = sequence;
    if (body.includes(ROTATION)) this.#rotate(body, sequence);
    if (this.#kept.size > 0) this.#compareKept(sequence, hash);
  }

  /** Where a checkpoint has to stand, and something else comes. */
  requireCheckpoint(): void {
    if (this.#due === 0) return;
    this.fail('deleted', this.#due, `the checkpoint of entry ${this.#due} is missing`);
  }

  checkpoint(checkpoint: SignedCheckpoint): void {
    if (this.#damage !== null) return;
    if (this.#diagnosis !== null) {
      this.#diagnosis.checkpoint(checkpoint);
      return;
    }
    const { sequence, hash, keyId } = checkpoint;
    const last = this.#next - 1;
    if (sequence !== last) {
      const finding = `the checkpoint of entry ${sequence} stands after entry ${last}`;
      this.fail(sequence > last ? 'deleted' : 'reordered', Math.min(sequence, last + 1), finding);
      return;
    }
    if (this.#checkpointAt === sequence) {
      this.fail('duplicated', sequence, `the checkpoint of entry ${sequence} stands twice`);
      return;
    }
    const signer = this.#keys.get(this.#keyId);
    if (keyId !== this.#keyId || signer === undefined) {
      const finding = `the checkpoint of entry ${sequence} was signed by key ${keyId}, not by ${this.#keyId}`;
      this.fail('wrong-key', sequence, finding);
      return;
    }
    if (!checkpointHolds(checkpoint, signer)) {
      const finding = `the checkpoint of entry ${sequence} was not signed here`;
      this.fail('modified', sequence, finding);
      return;
    }
    if (hash !== this.#hash) {
      const finding = `entry ${sequence} is not the one its checkpoint signed`;
      this.fail('modified', sequence, `${finding}${this.#since(sequence)}`);
      return;
    }
    this.#checkpoints += 1;
    this.#checkpointAt = sequence;
    this.#due = 0;
    if (this.#anchored) this.#signedThrough = sequence;
    if (this.#successor !== null) this.#adopt(this.#successor);
    this.#successor = null;
  }

  /** Damage that whoever reads the chain saw itself. */
  fail(kind: AuditDamage['kind'], sequence: number, finding: string): void {
    if (!this.broken) this.#damage = { kind, sequence, finding };
  }

  /**
   * After the last entry; checkpoints kept elsewhere show an end that was cut off. `signed-end`: a part that was handed
   * out ends with a checkpoint, for nothing else proves who wrote its last entries.
   */
  finish(end: 'signed-end' | 'open-end'): ChainVerdict {
    if (this.#diagnosis !== null && this.#damage === null)
      this.#damage = this.#diagnosis.conclude();
    this.requireCheckpoint();
    const last = this.#next - 1;
    for (const [sequence, checkpoints] of this.#kept) {
      if (sequence <= last) continue;
      for (const checkpoint of checkpoints) this.#beyond(checkpoint, last);
    }
    if (!this.#anchored) {
      const finding = 'no key of this chain is the one it was checked with';
      this.fail('wrong-key', this.#start, finding);
    }
    const entries = this.#start === 0 ? 0 : this.#next - this.#start;
    if (end === 'signed-end' && entries > 0 && this.#signedThrough < last) {
      const first = Math.max(this.#start, this.#signedThrough + 1);
      const finding = `no checkpoint covers the entries ${first} to ${last}: the end is cut off, or was added`;
      this.fail('truncated', first, finding);
    }
    return {
      intact: this.#damage === null,
      entries,
      firstSequence: this.#start,
      lastSequence: last,
      lastHash: this.#hash,
      signedThrough: this.#signedThrough,
      checkpoints: this.#checkpoints,
      keyIds: this.#line,
      damage: this.#damage,
      finding: this.#damage?.finding ?? `${entries} links checked`,
    };
  }

  #adopt(key: KeyObject): void {
    this.#keyId = keyIdOf(key);
    this.#keys.set(this.#keyId, key);
    this.#line.push(this.#keyId);
    if (this.#trusted.has(this.#keyId)) this.#anchored = true;
  }

  #rotate(body: string, sequence: number): void {
    const rotation = rotationIn(body);
    if (rotation === undefined) return;
    this.#successor = rotation.key;
    this.#due = sequence;
  }

  #recentHash(sequence: number): string | undefined {
    const known = sequence >= this.#start && sequence < this.#next;
    return known && this.#next - sequence <= RECENT_MAX
      ? this.#recent[sequence % RECENT_MAX]
      : undefined;
  }

  #since(sequence: number): string {
    const first = Math.max(this.#start, this.#signedThrough + 1);
    return first >= sequence ? '' : `: one of the entries ${first} to ${sequence} was changed`;
  }

  #compareKept(sequence: number, hash: string): void {
    for (const kept of this.#kept.get(sequence) ?? []) {
      const signer = this.#keys.get(kept.keyId);
      const ours = signer !== undefined && checkpointHolds(kept, signer);
      if (kept.hash === hash) {
        if (ours && this.#anchored) this.#signedThrough = sequence;
        continue;
      }
      const finding = ours
        ? `entry ${sequence} is not the one that the checkpoint kept elsewhere signed: it or one before it was changed`
        : `the checkpoint kept elsewhere for entry ${sequence} was not signed by this chain's keys`;
      this.fail(ours ? 'modified' : 'wrong-key', sequence, finding);
    }
  }

  #beyond(kept: SignedCheckpoint, last: number): void {
    const signer = this.#keys.get(kept.keyId);
    if (signer === undefined) {
      const finding = `the checkpoint kept elsewhere for entry ${kept.sequence} names key ${kept.keyId}, which this chain does not reach`;
      this.fail('wrong-key', last + 1, `${finding}: it ends with entry ${last}`);
    } else if (checkpointHolds(kept, signer)) {
      this.fail('truncated', last + 1, `entries ${last + 1} to ${kept.sequence} are gone`);
    } else {
      const finding = `the checkpoint kept elsewhere for entry ${kept.sequence} was not signed by key ${kept.keyId}`;
      this.fail('wrong-key', last + 1, finding);
    }
  }
}

/** The new key of a key change; undefined for every other entry. */
function rotationIn(
  body: string,
):
  | { readonly sequence: number; readonly previousHash: string; readonly key: KeyObject }
  | undefined {
  const parsed = parse(body) as {
    readonly event?: unknown;
    readonly sequence?: unknown;
    readonly previousHash?: unknown;
    readonly details?: { readonly checkpointPublicKey?: unknown } | null;
  } | null;
  // The keys of authorizations are rotated too, and leave an entry without this member.
  const key = publicKeyOf(parsed?.details?.checkpointPublicKey);
  if (parsed?.event !== 'KEY_ROTATED' || key === undefined) return undefined;
  return { sequence: Number(parsed.sequence), previousHash: String(parsed.previousHash), key };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
