// A file that keeps a copy of every signed checkpoint, best on media that is not the database's: proof of an end cut off.
// Invariants: nothing waits for it longer than two seconds; each line is flushed before the next; one call to the medium is under
// way for reading and one for writing, so that one that never answers costs no more threads; what cannot be done is a finding.

import { open } from 'node:fs/promises';
import type { Clock } from '#foundation/clock';
import { describeError } from '#foundation/fault';
import { asCheckpoint, type SignedCheckpoint } from '#model/audit-checkpoint';

const WAITING_MAX = 256;
/** The newest checkpoints: each of them vouches for all that came before. */
const TAIL_BYTES = 16_384;
const READ_MAX = 16;
/** A medium that takes longer (a network share that is gone, a pipe that nobody reads) does not answer. */
const ANSWER_MS = 2_000;

export interface WitnessFileParts {
  readonly path: string;
  readonly clock: Clock;
  readonly onNote: (detail: object, message: string) => void;
}

export class WitnessFile {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #onNote: WitnessFileParts['onNote'];
  #waiting: SignedCheckpoint[] = [];
  #writing: Promise<void> | null = null;
  #reading: Promise<readonly SignedCheckpoint[]> | null = null;
  #finding = '';
  #lost = 0;

  constructor({ path, clock, onNote }: WitnessFileParts) {
    this.#path = path;
    this.#clock = clock;
    this.#onNote = onNote;
  }

  /** What is wrong with it, one sentence; empty for nothing. */
  get finding(): string {
    const lost = this.#lost === 1 ? '1 checkpoint is' : `${this.#lost} checkpoints are`;
    return this.#finding === '' || this.#lost === 0
      ? this.#finding
      : `${this.#finding}: ${lost} not in it`;
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

  /** The newest checkpoints in it; none where there is no file yet, or where the medium does not answer. */
  newest(): Promise<readonly SignedCheckpoint[]> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = null;
    });
    const reading = this.#reading;
    return new Promise((resolve) => {
      const cancel = this.#clock.after(ANSWER_MS, () => {
        this.#fail(new Error(`no answer after ${ANSWER_MS} ms`), 'read');
        resolve([]);
      });
      void reading.then((found) => {
        cancel();
        resolve(found);
      });
    });
  }

  async #read(): Promise<readonly SignedCheckpoint[]> {
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
      const cancel = this.#clock.after(ANSWER_MS, () =>
        this.#fail(new Error(`no answer after ${ANSWER_MS} ms`), 'written'),
      );
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
      } finally {
        cancel();
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
