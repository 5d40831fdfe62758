// Walks the audit chain where it lies, archived segments first and then the database, and checks every link and checkpoint.
// Invariants: other work gets its turn every few milliseconds; what is appended during the walk is not part of it.

import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describeError } from '#foundation/fault';
import { publicKeyOf, type SignedCheckpoint } from '#model/audit-checkpoint';
import { readLine } from '#model/audit-export';
import { GENESIS_HASH } from '#model/audit-hash';
import { type ChainVerdict, ChainVerifier } from '#model/audit-verifier';
import type { CheckpointBook } from './checkpoint-book.ts';
import type { Segment, SegmentArchive } from './segment-archive.ts';
import { type TamperFinding, TamperMark } from './tamper-mark.ts';

/** Longest time that the walk keeps the event loop, milliseconds. */
const SLICE_MS = 4;
const ROWS = 250;
const LINES = 64;

export interface ChainWalkParts {
  readonly database: DatabaseSync;
  readonly book: CheckpointBook;
  readonly archive: SegmentArchive | null;
  /** The entry that the chain ends with, as this process knows it. */
  readonly lastSequence: () => number;
  /** An archived entry says that the chain was found damaged before. */
  readonly onEarlierFinding: (finding: TamperFinding) => void;
}

export class ChainWalk {
  readonly #parts: ChainWalkParts;
  readonly #rows: StatementSync;
  readonly #newest: StatementSync;

  constructor(parts: ChainWalkParts) {
    this.#parts = parts;
    this.#rows = parts.database.prepare(
      'SELECT sequence, body, hash FROM audit WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?',
    );
    this.#rows.setReturnArrays(true);
    this.#newest = parts.database.prepare('SELECT max(sequence) AS sequence FROM audit');
  }

  /** The last entry that this process wrote or found, or one that somebody else put behind it. */
  #end(): number {
    return Math.max(this.#parts.lastSequence(), Number(this.#newest.get()?.sequence ?? 0));
  }

  /** All of it. `kept` are checkpoints from other media. */
  async full(kept: readonly SignedCheckpoint[]): Promise<ChainVerdict> {
    const { archive, book, onEarlierFinding } = this.#parts;
    const end = this.#end();
    const line = book.keyLine(1);
    const first = publicKeyOf(line.publicKey);
    const verifier = new ChainVerifier(first === undefined ? [] : [first], kept);
    verifier.begin({
      sequence: 1,
      previousHash: GENESIS_HASH,
      publicKey: line.publicKey,
      changes: [],
    });
    const pace = new Pace();
    let place = '';
    for (const segment of archive?.segments ?? []) {
      if (verifier.broken || archive === null) break;
      await walkSegment(archive, segment, { verifier, pace, onEarlierFinding });
      if (verifier.broken) place = `segment ${segment.file}`;
    }
    await this.#walkRows(verifier, archive?.through ?? 0, end, pace);
    return inPlace(this.#judge(verifier, end), place);
  }

  /** From the last checkpoint on: a few milliseconds, for the start of the process. */
  end(kept: readonly SignedCheckpoint[]): ChainVerdict {
    const { book } = this.#parts;
    const end = this.#end();
    const signed = book.newest;
    const from = signed === null || signed.sequence > end ? 1 : signed.sequence;
    const after = from === 1 ? 0 : from - 1;
    const { publicKey, changes } = book.keyLine(from);
    const first = publicKeyOf(publicKey);
    const relevant = kept.filter(({ sequence }) => sequence >= from);
    const verifier = new ChainVerifier(first === undefined ? [] : [first], relevant);
    verifier.begin({ sequence: from, previousHash: this.#hashOf(after), publicKey, changes });
    let last = after;
    for (;;) {
      const rows = this.#take(verifier, last, end);
      if (rows === 0) break;
      last += rows;
    }
    return this.#judge(verifier, end);
  }

  async #walkRows(verifier: ChainVerifier, after: number, end: number, pace: Pace): Promise<void> {
    let last = after;
    for (;;) {
      const rows = this.#take(verifier, last, end);
      if (rows === 0) return;
      last += rows;
      await pace.rest();
    }
  }

  /** Hands over the next rows; how far the numbers went. */
  #take(verifier: ChainVerifier, after: number, end: number): number {
    const rows = this.#rows.all(after, end, ROWS) as unknown as (readonly [
      number,
      string,
      string,
    ])[];
    if (rows.length === 0) return 0;
    const [lastSequence] = rows.at(-1) ?? [after];
    const checkpoints = this.#parts.book.between(after + 1, lastSequence);
    for (const [sequence, body, hash] of rows) {
      if (sequence !== verifier.next && !verifier.broken) misplaced(verifier, sequence, body);
      verifier.entry(body, hash);
      const checkpoint = checkpoints.get(sequence);
      if (checkpoint !== undefined) verifier.checkpoint(checkpoint);
    }
    return lastSequence - after;
  }

  #judge(verifier: ChainVerifier, end: number): ChainVerdict {
    const { book } = this.#parts;
    const wanted = Math.max(end, book.newest?.sequence ?? 0);
    const last = verifier.next - 1;
    if (!verifier.broken && last < wanted) {
      const gone =
        last + 1 === wanted ? `entry ${wanted} is` : `entries ${last + 1} to ${wanted} are`;
      verifier.fail('truncated', last + 1, `${gone} gone`);
    }
    const { lastSequence } = this.#parts;
    if (this.#end() > lastSequence()) {
      const foreign = lastSequence() + 1;
      verifier.fail('spliced', foreign, `entry ${foreign} was not written by this agent`);
    }
    const wrongKey = book.keyFinding();
    if (wrongKey !== null) verifier.fail('wrong-key', last, wrongKey);
    return verifier.finish('open-end');
  }

  /** As the entry itself has it; of the first there is none before. */
  #hashOf(sequence: number): string {
    if (sequence === 0) return GENESIS_HASH;
    const row = this.#rows.all(sequence - 1, sequence, 1)[0] as unknown as
      | readonly [number, string, string]
      | undefined;
    if (row !== undefined) return row[2];
    const archived = this.#parts.archive?.segments.find(({ last }) => last === sequence);
    return archived?.lastHash ?? GENESIS_HASH;
  }
}

/** Names the file too, where the damage is in one. */
function inPlace(verdict: ChainVerdict, place: string): ChainVerdict {
  const { damage } = verdict;
  if (damage === null || place === '' || damage.finding.startsWith(place)) return verdict;
  const finding = `${place}: ${damage.finding}`;
  return { ...verdict, finding, damage: { ...damage, finding } };
}

/** The database counts differently than the entry says: its number was changed there, for the bytes are hashed. */
function misplaced(verifier: ChainVerifier, sequence: number, body: string): void {
  if (!body.includes(`"sequence":${verifier.next},`)) return;
  const finding = `entry ${verifier.next} stands in the place of entry ${sequence}`;
  verifier.fail('reordered', verifier.next, finding);
}

interface SegmentWalk extends Pick<ChainWalkParts, 'onEarlierFinding'> {
  readonly verifier: ChainVerifier;
  readonly pace: Pace;
}

async function walkSegment(
  archive: SegmentArchive,
  segment: Segment,
  { verifier, pace, onEarlierFinding }: SegmentWalk,
): Promise<void> {
  const { first, last, file } = segment;
  if (first !== verifier.next) {
    const finding = `segment ${file} begins with entry ${first}, and entry ${verifier.next} is due`;
    verifier.fail(first > verifier.next ? 'deleted' : 'duplicated', verifier.next, finding);
    return;
  }
  try {
    const lines = archive.lines(segment);
    for (let count = 1; ; count++) {
      const next = await lines.next();
      if (next.done === true) {
        if (next.value !== segment.sha256) {
          verifier.fail('modified', first, `segment ${file} was altered`);
        }
        break;
      }
      const read = readLine(next.value);
      if (read?.kind === 'entry') {
        verifier.entry(read.body, read.hash);
        const earlier = TamperMark.inEntry(read.body);
        if (earlier !== null) onEarlierFinding(earlier);
      } else if (read?.kind === 'checkpoint') verifier.checkpoint(read.checkpoint);
      if (count % LINES === 0) await pace.rest();
    }
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const what = missing ? 'is missing' : `cannot be read (${describeError(error)})`;
    const finding = `segment ${file} with the entries ${first} to ${last} ${what}`;
    verifier.fail(missing ? 'deleted' : 'modified', Math.min(verifier.next, last), finding);
  }
  if (verifier.next !== last + 1) {
    const finding = `segment ${file} ends with entry ${verifier.next - 1}, not ${last}`;
    verifier.fail('truncated', verifier.next, finding);
  }
}

/** Lets other work run when the slice is used up. */
class Pace {
  #since = performance.now();

  async rest(): Promise<void> {
    if (performance.now() - this.#since < SLICE_MS) return;
    await nextTurn();
    this.#since = performance.now();
  }
}
