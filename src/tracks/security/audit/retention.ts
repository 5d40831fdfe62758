// Moves the oldest entries of the audit chain into sealed segments, and only then takes them out of the database.
// Invariants: numbers and hashes go on; an entry is in the database, in a segment that was read back, or in both; slices are
// short, so that nobody waits.

import type { StatementSync } from 'node:sqlite';
import type { DurableStore } from '#foundation/durable-store';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { CHECKPOINT_EVERY } from '#model/audit-checkpoint';
import { type AuditRecord, blankRecord } from '#model/audit-entry';
import { GENESIS_HASH } from '#model/audit-hash';
import type { SafetyPolicy } from '#model/safety-policy';
import type { AuditChain } from './audit-chain.ts';
import type { SegmentArchive } from './segment-archive.ts';

export interface Archived {
  readonly archived: number;
  readonly message: string;
}

export interface RetentionParts {
  readonly chain: AuditChain;
  readonly store: DurableStore;
  readonly policy: SafetyPolicy['audit']['retention'];
}

export class Retention {
  readonly #parts: RetentionParts;
  readonly #oldest: StatementSync;
  readonly #deleteEntries: StatementSync;
  readonly #deleteCheckpoints: StatementSync;

  constructor(parts: RetentionParts) {
    this.#parts = parts;
    const { database } = parts.store;
    this.#oldest = database.prepare('SELECT min(sequence) AS sequence FROM audit');
    this.#deleteEntries = database.prepare(
      'DELETE FROM audit WHERE sequence >= ? AND sequence <= ?',
    );
    this.#deleteCheckpoints = database.prepare(
      'DELETE FROM audit_signed_checkpoint WHERE sequence >= ? AND sequence <= ?',
    );
  }

  /** More entries in the database than the policy keeps there. */
  get due(): boolean {
    const { chain, policy } = this.#parts;
    return chain.archive !== null && this.#inDatabase(chain.archive) > policy.entriesMax;
  }

  /** Seals every whole segment beyond what the policy keeps. */
  archive(by: Partial<AuditRecord> = {}): Promise<Outcome<Archived>> {
    return this.#parts.chain.exclusively(() => this.#archive(by));
  }

  /** A process that ended while it deleted left entries behind that are in a segment. */
  async finishDeletion(): Promise<void> {
    const { archive } = this.#parts.chain;
    if (archive !== null) await this.#parts.chain.exclusively(() => this.#delete(archive.through));
  }

  async #archive(by: Partial<AuditRecord>): Promise<Outcome<Archived>> {
    const { archive } = this.#parts.chain;
    if (archive === null) {
      const finding = 'this agent keeps no archive';
      return refuse(fault('OPERATION_UNSUPPORTED', { place: 'audit archive', finding }));
    }
    let archived = 0;
    try {
      while (this.due) {
        const sealed = await this.#sealNext(archive, by);
        if (!sealed.ok) return sealed;
        archived += sealed.value;
      }
    } catch (error) {
      return refuse(
        fault('AUDIT_UNAVAILABLE', {
          place: 'audit archive',
          finding: 'the oldest entries could not be sealed into a file',
          consequence: `they stay in the database; ${archived} entries were archived before`,
          internal: describeError(error),
        }),
      );
    }
    const { entriesMax } = this.#parts.policy;
    const kept = this.#inDatabase(archive);
    const message =
      archived === 0
        ? `nothing to archive: ${kept} entries are in the database, and ${entriesMax} may stay there`
        : `${archived} entries archived, the last of them ${archive.through}; ${kept} stay in the database`;
    return succeed({ archived, message });
  }

  async #sealNext(archive: SegmentArchive, by: Partial<AuditRecord>): Promise<Outcome<number>> {
    const { chain, policy } = this.#parts;
    const first = archive.through + 1;
    const wanted = archive.through + policy.segmentEntries;
    const last = Math.max(
      first - 1 + CHECKPOINT_EVERY,
      Math.floor(wanted / CHECKPOINT_EVERY) * CHECKPOINT_EVERY,
    );
    const previousHash = archive.segments.at(-1)?.lastHash ?? GENESIS_HASH;
    const segment = await archive.seal(first, last, previousHash);
    const { file, sha256 } = segment;
    const entry = await chain.append(
      {
        ...blankRecord('AUDIT_ARCHIVED', 'security'),
        operation: 'archiveAudit',
        ...by,
        result: `entries ${first} to ${last} are in ${file}`,
        details: { first, last, file, sha256, lastHash: segment.lastHash },
      },
      () => archive.insert(segment),
    );
    if (!entry.ok) return entry;
    archive.noteInserted(segment);
    await this.#delete(last);
    return succeed(last - first + 1);
  }

  async #delete(through: number): Promise<void> {
    const { store } = this.#parts;
    for (;;) {
      const oldest = this.#oldest.get()?.sequence;
      if (typeof oldest !== 'number' || oldest > through) return;
      const last = Math.min(through, oldest + CHECKPOINT_EVERY - 1);
      await store.transact(() => {
        this.#deleteEntries.run(oldest, last);
        this.#deleteCheckpoints.run(oldest, last);
      });
    }
  }

  #inDatabase(archive: SegmentArchive): number {
    return this.#parts.chain.lastSequence - archive.through;
  }
}
