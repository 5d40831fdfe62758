// Exports of the audit chain as JSON Lines: how their lines are written, and how they are checked with nothing but a key.
// An export is a row of blocks: a header, entries as the very bytes that were hashed, checkpoints where they stand, and a
// last line with the digest of the block; each line ends with a line feed.
// Invariants: the same entries give the same bytes; reading needs constant memory; no byte may differ from what is written here.

import { createHash, type Hash, type KeyObject } from 'node:crypto';
import { type Canonical, canonicalText } from '#foundation/canonical';
import { asCheckpoint, type SignedCheckpoint } from './audit-checkpoint.ts';
import {
  type ChainStart,
  type ChainVerdict,
  ChainVerifier,
  type KeyChange,
} from './audit-verifier.ts';

export const EXPORT_FORMAT = 'dsmil-audit-export';
export const EXPORT_VERSION = 1;

export interface ExportHeader extends ChainStart {
  readonly board: string;
}

export interface ExportTotals {
  readonly entries: number;
  readonly checkpoints: number;
  readonly lastSequence: number;
  readonly lastHash: string;
}

const ENTRY_START = '{"entry":';
const ENTRY_MIDDLE = ',"hash":"';
const HASH_DIGITS = 64;
const ENTRY_TAIL = ENTRY_MIDDLE.length + HASH_DIGITS + '"}'.length;
/** Longer than any entry of the agent: a file without line feeds must not fill the memory. */
const LINE_LENGTH_MAX = 4 * 1024 * 1024;

export function headerLine(header: ExportHeader): string {
  return canonicalText({
    format: EXPORT_FORMAT,
    version: EXPORT_VERSION,
    board: header.board,
    publicKey: header.publicKey,
    changes: header.changes as unknown as Canonical,
    fromSequence: header.sequence,
    previousHash: header.previousHash,
  });
}

/** `body` stays byte for byte what was hashed. */
export function entryLine(body: string, hash: string): string {
  return `${ENTRY_START}${body}${ENTRY_MIDDLE}${hash}"}`;
}

export function checkpointLine(checkpoint: SignedCheckpoint): string {
  return canonicalText({ checkpoint: { ...checkpoint } });
}

/** Closes a block: `digest` is SHA-256 over all its lines before this one, line feeds included. */
export function endLine(totals: ExportTotals, digest: string): string {
  return canonicalText({ end: { ...totals, digest } });
}

/** A whole block of these lines between header and end. */
export function exportBlock(
  header: ExportHeader,
  lines: readonly string[],
  totals: ExportTotals,
): readonly string[] {
  const block = [headerLine(header), ...lines];
  const digest = createHash('sha256');
  for (const line of block) digest.update(`${line}\n`);
  return [...block, endLine(totals, digest.digest('hex'))];
}

/** What a line of a block holds; undefined for what is no line of an export, to the byte. */
export type ExportLine =
  | { readonly kind: 'entry'; readonly body: string; readonly hash: string }
  | { readonly kind: 'checkpoint'; readonly checkpoint: SignedCheckpoint }
  | { readonly kind: 'header'; readonly header: ExportHeader }
  | { readonly kind: 'end' };

export function readLine(line: string): ExportLine | undefined {
  if (line.startsWith(ENTRY_START)) {
    const at = line.length - ENTRY_TAIL;
    if (at < ENTRY_START.length || !line.startsWith(ENTRY_MIDDLE, at) || !line.endsWith('"}')) {
      return undefined;
    }
    const hash = line.slice(at + ENTRY_MIDDLE.length, -2);
    return { kind: 'entry', body: line.slice(ENTRY_START.length, at), hash };
  }
  if (line.startsWith('{"end":')) return { kind: 'end' };
  const value = objectIn(line);
  if (value === undefined) return undefined;
  const checkpoint = asCheckpoint(value.checkpoint);
  if (checkpoint !== undefined) {
    return checkpointLine(checkpoint) === line ? { kind: 'checkpoint', checkpoint } : undefined;
  }
  const header = headerIn(value);
  if (header === undefined || headerLine(header) !== line) return undefined;
  return { kind: 'header', header };
}

export interface ExportCheck {
  /** The chain's first public key, or any later one. */
  readonly publicKeys: readonly KeyObject[];
  /** Checkpoints that were kept elsewhere. */
  readonly kept?: readonly SignedCheckpoint[];
}

/** Checks a whole export as it comes in, a file or an answer. */
export async function verifyExport(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  check: ExportCheck,
): Promise<ChainVerdict> {
  const reader = new ExportReader(check);
  for await (const chunk of chunks) reader.take(chunk);
  return reader.finish();
}

/** The same for whoever has the bytes in pieces. */
export class ExportReader {
  readonly #verifier: ChainVerifier;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #rest = '';
  #digest: Hash = createHash('sha256');
  #block: { entries: number; checkpoints: number } | null = null;
  #first: ExportHeader | null = null;
  /** A later header that does not go on where the block before ended. */
  #misplaced: number | null = null;
  #lines = 0;

  constructor({ publicKeys, kept = [] }: ExportCheck) {
    this.#verifier = new ChainVerifier(publicKeys, kept);
  }

  take(chunk: Uint8Array): void {
    let text: string;
    try {
      text = this.#rest + this.#decoder.decode(chunk, { stream: true });
    } catch {
      this.#fail('modified', `line ${this.#lines + 1} or one soon after is not UTF-8`);
      return;
    }
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      this.#line(text.slice(start, end));
      start = end + 1;
    }
    this.#rest = text.slice(start);
    if (this.#rest.length <= LINE_LENGTH_MAX) return;
    this.#rest = '';
    this.#fail('modified', `line ${this.#lines + 1} is longer than ${LINE_LENGTH_MAX} characters`);
  }

  finish(): ChainVerdict {
    if (this.#first === null) {
      this.#fail('truncated', 'the export has no header');
    } else if (this.#rest !== '' || this.#block !== null) {
      const finding = `the export ends in the middle of a block, after entry ${this.#verifier.next - 1}`;
      this.#fail('truncated', finding);
    }
    this.#judgeHeader();
    return this.#verifier.finish('signed-end');
  }

  #line(line: string): void {
    this.#lines += 1;
    const read = readLine(line);
    if (read === undefined) {
      this.#fail('modified', `line ${this.#lines} is no line of an export`);
      return;
    }
    if (read.kind === 'header') {
      this.#open(line, read.header);
      return;
    }
    const block = this.#block;
    if (block === null) {
      const kind = read.kind === 'end' ? 'duplicated' : 'deleted';
      this.#fail(kind, `line ${this.#lines} belongs to a block whose header is missing`);
      return;
    }
    if (read.kind === 'end') {
      this.#close(line, block);
      return;
    }
    this.#digest.update(`${line}\n`);
    if (read.kind === 'entry') {
      block.entries += 1;
      this.#verifier.entry(read.body, read.hash);
    } else {
      block.checkpoints += 1;
      this.#verifier.checkpoint(read.checkpoint);
    }
    this.#judgeHeader();
  }

  #open(line: string, header: ExportHeader): void {
    if (this.#block !== null) {
      const finding = `the block before line ${this.#lines} has no last line`;
      this.#fail('deleted', finding);
    }
    this.#digest = createHash('sha256').update(`${line}\n`);
    this.#block = { entries: 0, checkpoints: 0 };
    if (this.#first === null) {
      this.#first = header;
      this.#verifier.begin(header);
      return;
    }
    const goesOn =
      header.sequence === this.#verifier.next &&
      header.previousHash === this.#verifier.hash &&
      header.publicKey === this.#first.publicKey &&
      header.board === this.#first.board;
    if (!goesOn) this.#misplaced = this.#lines;
  }

  #close(line: string, { entries, checkpoints }: { entries: number; checkpoints: number }): void {
    this.#verifier.requireCheckpoint();
    const lastSequence = this.#verifier.next - 1;
    const totals = { entries, checkpoints, lastSequence, lastHash: this.#verifier.hash };
    if (endLine(totals, this.#digest.digest('hex')) !== line) {
      const finding = `line ${this.#lines} does not close its block: a line of it was changed, added or taken away`;
      this.#fail('modified', finding);
    }
    this.#block = null;
  }

  /** What is wrong with a block shows best in its first entry; only where that fits, the header itself is to blame. */
  #judgeHeader(): void {
    if (this.#misplaced === null || this.#verifier.broken) return;
    this.#fail('modified', `the header in line ${this.#misplaced} does not belong to this export`);
    this.#misplaced = null;
  }

  #fail(kind: 'modified' | 'truncated' | 'deleted' | 'duplicated', finding: string): void {
    this.#verifier.fail(kind, this.#verifier.next, finding);
  }
}

function objectIn(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}

function headerIn(value: Readonly<Record<string, unknown>>): ExportHeader | undefined {
  const { format, version, board, publicKey, changes, fromSequence, previousHash } = value;
  const ours = format === EXPORT_FORMAT && version === EXPORT_VERSION;
  if (!ours || typeof board !== 'string' || typeof publicKey !== 'string') return undefined;
  if (!Number.isSafeInteger(fromSequence) || Number(fromSequence) < 1) return undefined;
  if (typeof previousHash !== 'string' || !/^[0-9a-f]{64}$/.test(previousHash)) return undefined;
  const read = Array.isArray(changes) ? changes.map(changeIn) : [undefined];
  if (read.includes(undefined)) return undefined;
  return {
    board,
    publicKey,
    changes: read as readonly KeyChange[],
    sequence: Number(fromSequence),
    previousHash,
  };
}

function changeIn(value: unknown): KeyChange | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { body, hash, checkpoint } = value as Readonly<Record<string, unknown>>;
  const signed = asCheckpoint(checkpoint);
  if (typeof body !== 'string' || typeof hash !== 'string' || signed === undefined)
    return undefined;
  return { body, hash, checkpoint: signed };
}
