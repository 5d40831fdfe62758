// One page of an export of the audit chain: a block of JSON Lines that an offline verifier reads.

import type { SignedCheckpoint } from '#model/audit-checkpoint';
import { checkpointLine, entryLine, exportBlock } from '#model/audit-export';
import { GENESIS_HASH } from '#model/audit-hash';
import type { AuditChain } from './audit-chain.ts';

export interface ExportPage {
  readonly lines: readonly string[];
  /** First entry of the next page; 0 after the last. */
  readonly next: number;
}

/** So that a page with its quotation marks escaped fits into one message between the processes. */
const PAGE_CHARACTERS_MAX = 400_000;

/**
 * Entries from `from` on, at most `limit`; the last page ends with a checkpoint, which proves who wrote its last entries.
 * Throws where a segment of the archive cannot be read.
 */
export function exportPage(chain: AuditChain, from: number, limit: number): ExportPage {
  const end = chain.lastSequence;
  const { entries, checkpoints } = chain.part(from, Math.min(limit, end - from + 1));
  const before = from === 1 ? undefined : chain.part(from - 1, 1).entries[0];
  const previousHash = before?.hash ?? GENESIS_HASH;
  const lines: string[] = [];
  let characters = 0;
  let last = { sequence: from - 1, hash: previousHash };
  let signed = 0;
  const add = (line: string): void => {
    lines.push(line);
    characters += line.length;
  };
  const addCheckpoint = (checkpoint: SignedCheckpoint): void => {
    add(checkpointLine(checkpoint));
    signed += 1;
  };
  let taken = 0;
  for (const { sequence, body, hash } of entries) {
    if (taken > 0 && characters + body.length > PAGE_CHARACTERS_MAX) break;
    add(entryLine(body, hash));
    taken += 1;
    last = { sequence, hash };
    const checkpoint = checkpoints.get(sequence);
    if (checkpoint !== undefined) addCheckpoint(checkpoint);
    // Where the disk did not take one, the export still needs it.
    else if (sequence === end) addCheckpoint(chain.book.sign(sequence, hash));
  }
  const header = {
    board: chain.board,
    sequence: from,
    previousHash,
    ...chain.book.keyLine(from),
  };
  const totals = {
    entries: taken,
    checkpoints: signed,
    lastSequence: last.sequence,
    lastHash: last.hash,
  };
  const next = last.sequence < end && taken > 0 ? last.sequence + 1 : 0;
  return { lines: exportBlock(header, lines, totals), next };
}
