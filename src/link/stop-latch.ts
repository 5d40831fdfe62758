// The stop latch over two small shared files and a doorbell: any track engages, kernel alone latches and releases.
// Invariants: everything that is not provably released counts as engaged; a ring of the bell is itself a request, so
// nobody can take back another track's stop by rewriting its word; only a ring that is clearly a test is one, and a
// request whose ring the full bell refused is found when any other ring is heard.
// Faults: opening throws an Error with an errno `code`; release and latch outside kernel throw EPERM.

import { join } from 'node:path';
import { LATCH_STATE, type LatchWords, openLatchWords } from '#drivers/native/latch';
import { Doorbell, RING_KINDS } from '#drivers/native/signal';
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
  #watching = false;
  #onEngaged: () => void = () => undefined;
  #onTested: () => void = () => undefined;

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

  test(): void {
    this.#bell.ringTest();
  }

  finding(): string {
    const state = this.#words.state();
    const found: string[] = [];
    if ((state & LATCH_STATE.requestFileUnsound) !== 0) found.push('the request words are unsound');
    if ((state & LATCH_STATE.latchFileUnsound) !== 0) found.push('the latched word is unsound');
    if ((state & LATCH_STATE.latchedWordUnknown) !== 0)
      found.push('the latched word holds a value that kernel never writes');
    return found.join('; ');
  }

  /** Kernel only, once: called on the event loop after each request; `latch` takes it in. */
  onEngaged(listener: () => void): void {
    this.#watch();
    this.#onEngaged = listener;
  }

  /** Kernel only, once: called on the event loop after a ring that was a test and nothing else. */
  onTested(listener: () => void): void {
    this.#watch();
    this.#onTested = listener;
  }

  #watch(): void {
    if (!this.#kernel) throw new Error('only the kernel track listens to the stop bell');
    if (this.#watching) return;
    this.#watching = true;
    this.#bell.watch((kinds) => this.#hear(kinds));
  }

  #hear(kinds: number): void {
    const state = this.#words.state();
    // A stop whose own ring found the bell full, or whose words were spoiled, shows in the words.
    const asked = state !== 0 && state !== LATCH_STATE.latched;
    if (kinds !== RING_KINDS.test || asked) {
      this.#rung = true;
      this.#onEngaged();
    }
    if ((kinds & RING_KINDS.test) !== 0) this.#onTested();
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
