// The stop latch over two small shared files and a doorbell: any track engages, kernel alone latches and releases.
// Invariants: everything that is not provably released counts as engaged; a ring of the bell is itself a request, so
// nobody can take back another track's stop by rewriting its word.
// Faults: opening throws an Error with an errno `code`; release and latch outside kernel throw EPERM.

import { join } from 'node:path';
import { type LatchWords, openLatchWords } from '#drivers/native/latch';
import { Doorbell } from '#drivers/native/signal';
import type { StopLatch } from '#model/stop';
import { TRACKS, type TrackName } from '#model/track-name';

export interface SharedStopLatchOptions {
  /** Directory of `stop-request`, `stop-latch` and `stop.bell`, normally /run/dsmil/stop. */
  readonly directory: string;
  readonly self: TrackName;
}

export class SharedStopLatch implements StopLatch {
  readonly #words: LatchWords;
  readonly #bell: Doorbell;
  readonly #kernel: boolean;
  #rung = false;

  constructor(options: SharedStopLatchOptions) {
    const track = TRACKS.indexOf(options.self);
    this.#kernel = options.self === 'kernel';
    this.#bell = new Doorbell(join(options.directory, 'stop.bell'));
    try {
      this.#words = openLatchWords(
        join(options.directory, 'stop-request'),
        join(options.directory, 'stop-latch'),
        track as 0 | 1 | 2,
      );
    } catch (error) {
      this.#bell.close();
      throw error;
    }
  }

  /** Kernel: no latch or release was ever written to this file, so this is the first start since power-up. */
  get fresh(): boolean {
    return this.#words.fresh();
  }

  engage(): void {
    this.#words.engage();
    this.#bell.ring();
  }

  engaged(): boolean {
    return this.#rung || this.#words.engaged();
  }

  latch(): boolean {
    // Rings of requests that are taken in here need not be heard again.
    if (this.#kernel) this.#bell.drain();
    this.#rung = false;
    return this.#words.latch();
  }

  release(): void {
    this.#words.release();
  }

  /** Kernel only, once: called on the event loop after each request; `latch` takes it in. */
  onEngaged(listener: () => void): void {
    if (!this.#kernel) throw new Error('only the kernel track listens to the stop bell');
    this.#bell.watch(() => {
      this.#rung = true;
      listener();
    });
  }

  close(): void {
    this.#bell.close();
    this.#words.close();
  }
}

/**
 * Engages the stop from a process that is no track: a technician's command while the agent does not answer.
 * Throws an Error with an errno `code` when the run directory holds no latch or may not be written.
 */
export function engageStopDirectly(runDirectory: string): void {
  const latch = new SharedStopLatch({ directory: join(runDirectory, 'stop'), self: 'interface' });
  latch.engage();
  latch.close();
}
