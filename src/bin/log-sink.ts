// Where log lines go: one descriptor, written outside the event loop, so that a log nobody reads stops nothing.
// Invariants: at most `LINES_MAX` lines wait; a broken or stalled reader costs lines, never time and never the exit.
// Pino's own destination waits for ever in its last flush when the reader is gone (EPIPE), and kernel must be able to end.

import { write, writeSync } from 'node:fs';

const LINES_MAX = 1_000;
/** Until the next try when a non-blocking descriptor is full (EAGAIN). */
const AGAIN_MS = 20;
/** A write that takes longer shows a reader that stands still; nothing is written while waiting for it then. */
const STALLED_MS = 100;

export class LogSink {
  readonly #descriptor: number;
  #waiting: string[] = [];
  #writing = false;
  #writingSinceMs = 0;
  #broken = false;
  #dropped = 0;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Lines that were not written because their reader was gone or too slow. */
  get dropped(): number {
    return this.#dropped;
  }

  write(line: string): void {
    if (this.#broken || this.#waiting.length >= LINES_MAX) {
      this.#dropped += 1;
      return;
    }
    this.#waiting.push(line);
    if (!this.#writing) this.#next();
  }

  /** At the end of the process, and by pino after a fatal line: what still waits, unless the reader stands still. */
  flushSync(): void {
    const stalled = this.#writing && performance.now() - this.#writingSinceMs > STALLED_MS;
    if (this.#broken || stalled || this.#waiting.length === 0) return;
    const text = this.#waiting.join('');
    this.#waiting = [];
    try {
      writeSync(this.#descriptor, text);
    } catch {
      // Full or gone, and no time left to wait for a reader.
    }
  }

  #next(): void {
    if (this.#waiting.length === 0) return;
    const bytes = Buffer.from(this.#waiting.join(''));
    this.#waiting = [];
    this.#writing = true;
    this.#writingSinceMs = performance.now();
    this.#put(bytes);
  }

  /** One write at a time; what has begun is finished before the process is gone. */
  #put(bytes: Buffer): void {
    write(this.#descriptor, bytes, (error, written) => {
      if (error?.code === 'EAGAIN') {
        setTimeout(() => this.#put(bytes), AGAIN_MS).unref();
        return;
      }
      if (error !== null) {
        this.#broken = true;
        this.#dropped += this.#waiting.length + 1;
        this.#waiting = [];
        return;
      }
      if (written < bytes.length) {
        this.#put(bytes.subarray(written));
        return;
      }
      this.#writing = false;
      this.#next();
    });
  }
}
