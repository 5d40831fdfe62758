// What happened to an audit chain where it breaks: told from the entry that does not fit and from what follows it.
// Invariants: pure and of constant size, however much follows.

import type { KeyObject } from 'node:crypto';
import { checkpointHolds, type SignedCheckpoint } from './audit-checkpoint.ts';
import { ChainHasher, sequenceIn } from './audit-hash.ts';

export const DAMAGE_KINDS = [
  'deleted',
  'modified',
  'reordered',
  /** The end is missing, as a checkpoint kept elsewhere or the form of the export shows. */
  'truncated',
  /** A piece that is right in itself and belongs to another chain. */
  'spliced',
  'duplicated',
  'wrong-key',
] as const;
export type DamageKind = (typeof DAMAGE_KINDS)[number];

export interface AuditDamage {
  readonly kind: DamageKind;
  /** The first bad entry. */
  readonly sequence: number;
  readonly finding: string;
}

/** What was known when the chain broke. */
export interface BreakingPoint {
  readonly expected: number;
  readonly previousHash: string;
  /** Hash of an entry that came not long before. */
  readonly recent: (sequence: number) => string | undefined;
  /** A trusted checkpoint covers the very entry before. */
  readonly previousSigned: boolean;
  readonly signer: KeyObject | undefined;
}

interface Stray {
  readonly sequence: number;
  readonly previousHash: string;
  /** Its hash is that of its own words: nobody changed it since it was made. */
  readonly genuine: boolean;
}

export class Diagnosis {
  readonly #hasher = new ChainHasher();
  readonly #at: BreakingPoint;
  readonly #stray: Stray;
  readonly #strayHash: string;
  /** End of the run of entries that follows from the stray one. */
  #runHash: string;
  #runOpen = true;
  #runSigned = false;
  #expectedFound = false;
  #strayAgain: 'no' | 'same' | 'other' = 'no';

  constructor(at: BreakingPoint, body: string, hash: string) {
    this.#at = at;
    this.#stray = strayOf(this.#hasher, body, hash);
    this.#strayHash = hash;
    this.#runHash = hash;
  }

  entry(body: string, hash: string): void {
    const sequence = sequenceIn(body);
    if (sequence === this.#at.expected) {
      if (this.#hasher.hash(this.#at.previousHash, body) === hash) this.#expectedFound = true;
    } else if (sequence === this.#stray.sequence) {
      const same = hash === this.#strayHash;
      if (this.#strayAgain === 'no' || same) this.#strayAgain = same ? 'same' : 'other';
    }
    if (!this.#runOpen) return;
    this.#runOpen = this.#hasher.hash(this.#runHash, body) === hash;
    if (this.#runOpen) this.#runHash = hash;
  }

  checkpoint(checkpoint: SignedCheckpoint): void {
    if (!this.#runOpen || this.#runSigned || checkpoint.hash !== this.#runHash) return;
    const { signer } = this.#at;
    this.#runSigned = signer !== undefined && checkpointHolds(checkpoint, signer);
  }

  conclude(): AuditDamage {
    const { expected, recent } = this.#at;
    const { sequence, genuine } = this.#stray;
    const before = expected - 1;
    if (!genuine) {
      const finding =
        sequence === expected || Number.isNaN(sequence)
          ? `entry ${expected} was changed after it was written`
          : `entry ${expected} says it is ${sequence} and was changed after it was written`;
      return { kind: 'modified', sequence: expected, finding };
    }
    if (sequence === expected) return this.#misfit(expected, before);
    if (sequence > expected) return this.#ahead(expected, sequence);
    const known = recent(sequence);
    if (known !== undefined && known !== this.#strayHash) {
      const finding = `after entry ${before} comes an entry ${sequence} of another chain`;
      return { kind: 'spliced', sequence: expected, finding };
    }
    const finding = `after entry ${before} comes entry ${sequence} a second time`;
    return { kind: 'duplicated', sequence: expected, finding };
  }

  /** The right number behind the wrong entry: either may be the foreign one. */
  #misfit(expected: number, before: number): AuditDamage {
    if (this.#runSigned && !this.#at.previousSigned && before > 0) {
      const finding = `entry ${expected}, which a checkpoint covers, follows another entry ${before}: that was changed and its hash made to fit, or it ends a piece of another history`;
      return { kind: 'modified', sequence: before, finding };
    }
    const finding = `entry ${expected} does not follow entry ${before}: it belongs to another chain`;
    return { kind: 'spliced', sequence: expected, finding };
  }

  #ahead(expected: number, sequence: number): AuditDamage {
    const range =
      sequence - 1 === expected
        ? `entry ${expected} is missing`
        : `entries ${expected} to ${sequence - 1} are missing`;
    if (!this.#expectedFound) {
      return { kind: 'deleted', sequence: expected, finding: `${range}, ${sequence} follows` };
    }
    const place = `stands before entry ${expected}`;
    switch (this.#strayAgain) {
      case 'same':
        return {
          kind: 'duplicated',
          sequence: expected,
          finding: `entry ${sequence} ${place} and again in its place`,
        };
      case 'other':
        return {
          kind: 'spliced',
          sequence: expected,
          finding: `an entry ${sequence} of another chain ${place}`,
        };
      case 'no':
        return { kind: 'reordered', sequence: expected, finding: `entry ${sequence} ${place}` };
    }
  }
}

function strayOf(hasher: ChainHasher, body: string, hash: string): Stray {
  const members = membersOf(body);
  const sequence = Number.isSafeInteger(members.sequence) ? Number(members.sequence) : Number.NaN;
  const { previousHash } = members;
  const linked = typeof previousHash === 'string' && /^[0-9a-f]{64}$/.test(previousHash);
  return {
    sequence,
    previousHash: linked ? previousHash : '',
    genuine: linked && !Number.isNaN(sequence) && hasher.hash(previousHash, body) === hash,
  };
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
