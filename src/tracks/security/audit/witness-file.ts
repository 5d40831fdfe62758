// A file that keeps a copy of every signed checkpoint, best on media that is not the database's: proof of an end cut off.
// Invariants: nothing waits for it; each line is flushed before the next; what cannot be written is a finding, never a block.

import { open } from 'node:fs/promises';
import { describeError } from '#foundation/fault';
import { asCheckpoint, type SignedCheckpoint } from '#model/audit-checkpoint';

const WAITING_MAX = 256;
/** The newest checkpoints: each of them vouches for all that came before. */
const TAIL_BYTES = 16_384;
const READ_MAX = 16;

export class WitnessFile {
  readonly #path: string;
  readonly #onNote: (detail: object, message: string) => void;
  #waiting: SignedCheckpoint[] = [];
  #writing: Promise<void> | null = null;
  #finding = '';
  #lost = 0;

  constructor(path: string, onNote: (detail: object, message: string) => void) {
    this.#path = path;
    this.#onNote = onNote;
  }

  /** What is wrong with it, one sentence; empty for nothing. */
  get finding(): string {
    return this.#finding;
  }

  /** Checkpoints that it never took. */
  get lost(): number {
    return this.#lost;
  }

  keep(checkpoint: SignedCheckpoint): void {
    this.#waiting.push(checkpoint);
    if (this.#waiting.length > WAITING_MAX) {
      this.#waiting.shift();
      this.#lost += 1;
    }
    this.#writing ??= this.#write().finally(() => {
      this.#writing = null;
    });
  }

  /** Once all that was given is written or given up. */
  async settled(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
  }

  /** The newest checkpoints in it; none where there is no file yet. */
  async newest(): Promise<readonly SignedCheckpoint[]> {
    try {
      const file = await open(this.#path, 'r');
      try {
        const { size } = await file.stat();
        const start = Math.max(0, size - TAIL_BYTES);
        const { buffer, bytesRead } = await file.read(
          Buffer.alloc(size - start),
          0,
          size - start,
          start,
        );
        const lines = buffer.subarray(0, bytesRead).toString('utf8').split('\n');
        // The first may have been cut in two.
        return lines
          .slice(start === 0 ? 0 : 1)
          .flatMap(checkpointIn)
          .slice(-READ_MAX);
      } finally {
        await file.close();
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#fail(error, 'read');
      return [];
    }
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const lines = this.#waiting;
      this.#waiting = [];
      try {
        const file = await open(this.#path, 'a', 0o640);
        try {
          await file.appendFile(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
          await file.sync();
        } finally {
          await file.close();
        }
        this.#finding = '';
      } catch (error) {
        this.#lost += lines.length;
        this.#fail(error, 'written');
      }
    }
  }

  #fail(error: unknown, done: 'read' | 'written'): void {
    const first = this.#finding === '';
    this.#finding = `the witness file of the audit chain cannot be ${done}`;
    if (first) this.#onNote({ error: describeError(error), file: this.#path }, this.#finding);
  }
}

function checkpointIn(line: string): readonly SignedCheckpoint[] {
  try {
    const checkpoint = asCheckpoint(JSON.parse(line));
    return checkpoint === undefined ? [] : [checkpoint];
  } catch {
    return [];
  }
}
