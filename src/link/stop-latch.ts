// The stop latch over small shared files and doorbells: any track engages, and so do people; kernel alone latches and releases.
// Invariants: everything that is not provably released counts as engaged; each requester has a word and a directory of
// its own, so nobody can take back, replace or remove another's stop; a ring of the bell is itself a request, and who rings
// cannot hear, so no ring is taken from kernel; only a ring that is clearly a test is one, and a request whose ring was
// lost is found when any other ring is heard, or when kernel begins to listen.
// Faults: opening throws an Error with an errno `code`; release and latch outside kernel throw EPERM.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { LATCH_STATE, type LatchWords, openLatchWords } from '#drivers/native/latch';
import { DistantBell, Doorbell, RING_KINDS } from '#drivers/native/signal';
import type { StopLatch } from '#model/stop';
import { TRACKS, type TrackName } from '#model/track-name';

/** Who may ask for a stop. `people`: whoever is at this machine, through no track. */
export type StopRequester = TrackName | 'people';

export interface SharedStopLatchOptions {
  /** Directory with one directory for each requester, normally /run/dsmil/stop; what is missing is made for one user alone. */
  readonly directory: string;
  readonly self: StopRequester;
}

const REQUESTERS: readonly StopRequester[] = [...TRACKS, 'people'];
/** Kernel listens, its group and nobody else may ring. */
const BELL_MODE = 0o620;
const PRIVATE_MODE = 0o700;

/** The files of a latch, relative to its directory. */
export const STOP_FILES = {
  latch: 'kernel/latch',
  bell: 'kernel/bell',
  peopleBell: 'people/bell',
  request: (requester: StopRequester) => `${requester}/request`,
} as const;

export class SharedStopLatch implements StopLatch {
  readonly #words: LatchWords;
  /** Kernel's ears: for the tracks, and for people. */
  readonly #ears: readonly Doorbell[];
  readonly #bell: DistantBell;
  readonly #kernel: boolean;
  #rung = false;
  #watching = false;
  #closed = false;
  #onEngaged: () => void = () => undefined;
  #onTested: () => void = () => undefined;

  constructor(options: SharedStopLatchOptions) {
    const { directory, self } = options;
    this.#kernel = self === 'kernel';
    const own: readonly StopRequester[] =
      self === 'people' ? [] : self === 'kernel' ? ['kernel', 'people'] : [self];
    for (const name of own)
      mkdirSync(join(directory, name), { recursive: true, mode: PRIVATE_MODE });
    const bells = this.#kernel ? [STOP_FILES.bell, STOP_FILES.peopleBell] : [];
    this.#ears = bells.map((name) => new Doorbell(join(directory, name), BELL_MODE));
    this.#bell = new DistantBell(
      join(directory, self === 'people' ? STOP_FILES.peopleBell : STOP_FILES.bell),
    );
    try {
      this.#words = openLatchWords(
        REQUESTERS.map((requester) => join(directory, STOP_FILES.request(requester))),
        join(directory, STOP_FILES.latch),
        REQUESTERS.indexOf(self) as 0 | 1 | 2 | 3,
      );
    } catch (error) {
      this.#closeBells();
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
    for (const ear of this.#ears) ear.drain();
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
    for (const ear of this.#ears) ear.watch((kinds) => this.#hear(kinds));
    // Who asked while nobody listened has left a word, and no ring.
    setImmediate(() => {
      if (!this.#closed) this.#hear(0);
    });
  }

  #hear(kinds: number): void {
    const state = this.#words.state();
    // A stop whose own ring found the bell full, or whose words were spoiled, shows in the words.
    const asked = state !== 0 && state !== LATCH_STATE.latched;
    const rung = kinds !== 0 && kinds !== RING_KINDS.test;
    if (rung || asked) {
      this.#rung = true;
      this.#onEngaged();
    }
    if ((kinds & RING_KINDS.test) !== 0) this.#onTested();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closeBells();
    this.#words.close();
  }

  #closeBells(): void {
    for (const ear of this.#ears) ear.close();
    this.#bell.close();
  }
}

/**
 * Engages the stop from a process that is no track: a technician's command while the agent does not answer.
 * Throws an Error with an errno `code` when the run directory holds no latch or may not be written.
 */
export function engageStopDirectly(runDirectory: string): void {
  const latch = new SharedStopLatch({ directory: join(runDirectory, 'stop'), self: 'people' });
  latch.engage();
  latch.close();
}
