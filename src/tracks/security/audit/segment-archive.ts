// The oldest entries of the audit chain in files of their own: exports of whole runs of entries, compressed and never changed.
// Invariants: a segment ends with a checkpoint; it is on record only after its file was flushed, named and read back; its file
// is a row of gzip members of 1,000 entries (RFC 1952 section 2.2), so that any entry is near.
// Faults: a segment that is missing or altered is named; nothing is deleted because of it.

import { createHash } from 'node:crypto';
import { closeSync, createReadStream, fstatSync, mkdirSync, openSync, readSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { createGunzip, gunzipSync, gzip } from 'node:zlib';
import { CHECKPOINT_EVERY, publicKeyOf, type SignedCheckpoint } from '#model/audit-checkpoint';
import {
  checkpointLine,
  type ExportHeader,
  endLine,
  entryLine,
  headerLine,
  readLine,
  verifyExport,
} from '#model/audit-export';
import type { CheckpointBook } from './checkpoint-book.ts';

const compress = promisify(gzip);

export interface StoredEntry {
  readonly sequence: number;
  readonly body: string;
  readonly hash: string;
}

/** Entries in order, with the checkpoints among them. */
export interface ChainPart {
  readonly entries: readonly StoredEntry[];
  readonly checkpoints: ReadonlyMap<number, SignedCheckpoint>;
}

export interface Segment {
  readonly first: number;
  readonly last: number;
  readonly previousHash: string;
  readonly lastHash: string;
  /** Name in the archive's directory. */
  readonly file: string;
  readonly bytes: number;
  /** Hexadecimal SHA-256 of the file. */
  readonly sha256: string;
  /** Where its gzip members begin, bytes, the first at 0. */
  readonly offsets: readonly number[];
}

export interface SegmentArchiveParts {
  readonly database: DatabaseSync;
  readonly directory: string;
  readonly board: string;
  readonly book: CheckpointBook;
  /** Entries that are still in the database. */
  readonly stored: (first: number, last: number) => ChainPart;
}

export class SegmentArchive {
  readonly #parts: SegmentArchiveParts;
  readonly #insert: StatementSync;
  #segments: readonly Segment[];

  constructor(parts: SegmentArchiveParts) {
    this.#parts = parts;
    parts.database.exec(`
      CREATE TABLE IF NOT EXISTS audit_segment (
        first_sequence INTEGER PRIMARY KEY, last_sequence INTEGER NOT NULL, previous_hash TEXT NOT NULL,
        last_hash TEXT NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
        offsets TEXT NOT NULL
      ) STRICT;
    `);
    this.#insert = parts.database.prepare(
      'INSERT INTO audit_segment (first_sequence, last_sequence, previous_hash, last_hash, file, bytes, sha256, offsets) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
    );
    this.#segments = parts.database
      .prepare('SELECT * FROM audit_segment ORDER BY first_sequence')
      .all()
      .map(segmentOf);
  }

  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /** The last archived entry; 0 for none. */
  get through(): number {
    return this.#segments.at(-1)?.last ?? 0;
  }

  /**
   * Writes these entries to a file, flushes it and reads it back. The caller puts it on record; until then it is a file
   * that nobody knows, and the next attempt writes it anew. Throws on whatever the disk says.
   */
  async seal(first: number, last: number, previousHash: string): Promise<Segment> {
    const { directory, board, book } = this.#parts;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const file = `audit-${numbered(first)}-${numbered(last)}.jsonl.gz`;
    const path = join(directory, file);
    const header: ExportHeader = { board, sequence: first, previousHash, ...book.keyLine(first) };
    const written = await this.#write(`${path}.new`, header, last);
    await rename(`${path}.new`, path);
    await flushDirectory(directory);
    const segment: Segment = { first, last, previousHash, file, ...written };
    await this.#readBack(segment, path);
    return segment;
  }

  /** Inside the transaction of the entry that says so. */
  insert(segment: Segment): void {
    const { first, last, previousHash, lastHash, file, bytes, sha256, offsets } = segment;
    const columns = [first, last, previousHash, lastHash, file, bytes, sha256] as const;
    this.#insert.run(...columns, JSON.stringify(offsets));
  }

  /** Once that is durable. */
  noteInserted(segment: Segment): void {
    this.#segments = [...this.#segments, segment];
  }

  /** Archived entries from this one on, at most a few thousand. Throws, naming the segment, where it cannot be read. */
  read(from: number, limit: number): ChainPart {
    const segment = this.#segments.find(({ last }) => last >= from);
    if (segment === undefined || segment.first > from)
      return { entries: [], checkpoints: new Map() };
    const wanted = Math.max(1, Math.min(limit, 4 * CHECKPOINT_EVERY));
    const member = Math.floor((from - segment.first) / CHECKPOINT_EVERY);
    const lastMember = Math.floor((from + wanted - 1 - segment.first) / CHECKPOINT_EVERY);
    const start = segment.offsets[member] ?? 0;
    const end = segment.offsets[lastMember + 1] ?? segment.bytes;
    const entries: StoredEntry[] = [];
    const checkpoints = new Map<number, SignedCheckpoint>();
    const text = gunzipSync(this.#bytes(segment, start, end)).toString('utf8');
    let sequence = segment.first + member * CHECKPOINT_EVERY;
    for (const line of text.split('\n')) {
      const read = line === '' ? undefined : readLine(line);
      if (read?.kind === 'entry') {
        if (sequence >= from && entries.length < wanted) {
          entries.push({ sequence, body: read.body, hash: read.hash });
        }
        sequence += 1;
      } else if (read?.kind === 'checkpoint') {
        checkpoints.set(read.checkpoint.sequence, read.checkpoint);
      }
    }
    return { entries, checkpoints };
  }

  /** Every line of a segment as its file has it now, and at the end the digest of that file. */
  async *lines(segment: Segment): AsyncGenerator<string, string> {
    const digest = createHash('sha256');
    const source = createReadStream(join(this.#parts.directory, segment.file));
    source.on('data', (chunk) => digest.update(chunk));
    const unpacked = source.pipe(createGunzip());
    source.on('error', (error) => unpacked.destroy(error));
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    let rest = '';
    for await (const chunk of unpacked as AsyncIterable<Uint8Array>) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
    return digest.digest('hex');
  }

  async #write(
    path: string,
    header: ExportHeader,
    last: number,
  ): Promise<Pick<Segment, 'lastHash' | 'bytes' | 'sha256' | 'offsets'>> {
    const file = await open(path, 'w', 0o600);
    const ofFile = createHash('sha256');
    const ofLines = createHash('sha256');
    const offsets: number[] = [];
    let bytes = 0;
    let entries = 0;
    let checkpoints = 0;
    let lastHash = header.previousHash;
    let lines = [headerLine(header)];
    try {
      for (let first = header.sequence; first <= last; first += CHECKPOINT_EVERY) {
        const part = this.#parts.stored(first, Math.min(last, first + CHECKPOINT_EVERY - 1));
        for (const { sequence, body, hash } of part.entries) {
          lines.push(entryLine(body, hash));
          const checkpoint = part.checkpoints.get(sequence);
          if (checkpoint !== undefined) lines.push(checkpointLine(checkpoint));
          checkpoints += checkpoint === undefined ? 0 : 1;
          lastHash = hash;
        }
        entries += part.entries.length;
        let text = `${lines.join('\n')}\n`;
        ofLines.update(text);
        if (first + CHECKPOINT_EVERY > last) {
          const totals = { entries, checkpoints, lastSequence: last, lastHash };
          text += `${endLine(totals, ofLines.digest('hex'))}\n`;
        }
        const packed = await compress(text);
        ofFile.update(packed);
        offsets.push(bytes);
        bytes += packed.length;
        await file.writeFile(packed);
        lines = [];
      }
      await file.sync();
    } catch (error) {
      await file.close();
      await rm(path, { force: true });
      throw error;
    }
    await file.close();
    return { lastHash, bytes, sha256: ofFile.digest('hex'), offsets };
  }

  async #readBack(segment: Segment, path: string): Promise<void> {
    const anchor = publicKeyOf(this.#parts.book.keyLine(segment.first).publicKey);
    const digest = createHash('sha256');
    const source = createReadStream(path);
    source.on('data', (chunk) => digest.update(chunk));
    const publicKeys = anchor === undefined ? [] : [anchor];
    const verdict = await verifyExport(source.pipe(createGunzip()), { publicKeys });
    const same = verdict.lastSequence === segment.last && digest.digest('hex') === segment.sha256;
    if (!verdict.intact || !same) {
      throw new Error(`${basename(path)} does not hold what was written: ${verdict.finding}`);
    }
  }

  #bytes(segment: Segment, start: number, end: number): Buffer {
    const descriptor = openSync(join(this.#parts.directory, segment.file), 'r');
    try {
      if (fstatSync(descriptor).size !== segment.bytes) {
        throw new Error(`segment ${segment.file} is not as long as it was`);
      }
      const bytes = Buffer.alloc(end - start);
      readSync(descriptor, bytes, 0, bytes.length, start);
      return bytes;
    } finally {
      closeSync(descriptor);
    }
  }
}

function numbered(sequence: number): string {
  return String(sequence).padStart(12, '0');
}

/** A name is on disk only once its directory is (fsync(2)). */
async function flushDirectory(directory: string): Promise<void> {
  for (const path of [directory, dirname(directory)]) {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

function segmentOf(row: Readonly<Record<string, unknown>>): Segment {
  let offsets: readonly number[] = [];
  try {
    offsets = (JSON.parse(String(row.offsets)) as unknown[]).map(Number);
  } catch {
    // Told as an unreadable segment once somebody reads it.
  }
  return {
    first: Number(row.first_sequence),
    last: Number(row.last_sequence),
    previousHash: String(row.previous_hash),
    lastHash: String(row.last_hash),
    file: basename(String(row.file)),
    bytes: Number(row.bytes),
    sha256: String(row.sha256),
    offsets,
  };
}
