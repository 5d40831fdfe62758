// Wake-ups between processes in the event loop's own epoll: FIFO doorbells and the notice of a process's end.

import { closeSync } from 'node:fs';
import { addon } from './addon.ts';

interface NativeSignal {
  doorbellOpen(path: string, mode: number): number;
  doorbellOpenToRing(path: string): number;
  doorbellWatch(descriptor: number, listener: (kinds: number) => void): () => void;
  doorbellRing(descriptor: number): boolean;
  doorbellRingTest(descriptor: number): boolean;
  doorbellDrain(descriptor: number): number;
  processWatch(pid: number, listener: () => void): () => void;
}

const native = addon as NativeSignal;

/** Bits of what was heard since the last call; the same values as in signal.c. */
export const RING_KINDS = { plain: 1, test: 2 } as const;

/** One FIFO, open for both directions: whoever holds it may ring, one process watches. */
export class Doorbell {
  readonly descriptor: number;
  #stop: (() => void) | null = null;
  #open = true;

  /** Makes the FIFO with this mode when absent; throws with an errno `code`, EMEDIUMTYPE for another kind of file. */
  constructor(path: string, mode = 0o660) {
    this.descriptor = native.doorbellOpen(path, mode);
  }

  /** Never blocks; a bell that rings already stays rung. */
  ring(): void {
    if (this.#open) native.doorbellRing(this.descriptor);
  }

  /** Rings so that the listener can tell it from every other ring; lost when the FIFO is full. */
  ringTest(): void {
    if (this.#open) native.doorbellRingTest(this.descriptor);
  }

  /** Takes back rings not yet heard; returns how many. */
  drain(): number {
    return this.#open ? native.doorbellDrain(this.descriptor) : 0;
  }

  /**
   * Calls back after each ring with the bits of `RING_KINDS`; several rings may be heard as one. Keeps the process
   * alive until closed.
   */
  watch(listener: (kinds: number) => void): void {
    this.#stop?.();
    this.#stop = native.doorbellWatch(this.descriptor, listener);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#stop?.();
    closeSync(this.descriptor);
  }
}

/** The far end of a bell that this process may ring and never hear; found again when its listener was away. */
export class DistantBell {
  readonly #path: string;
  #descriptor: number | null = null;

  constructor(path: string) {
    this.#path = path;
    this.#find();
  }

  /** Never blocks; false when nobody listens. */
  ring(): boolean {
    return this.#by(native.doorbellRing);
  }

  ringTest(): boolean {
    return this.#by(native.doorbellRingTest);
  }

  close(): void {
    if (this.#descriptor !== null) closeSync(this.#descriptor);
    this.#descriptor = null;
  }

  #by(ring: (descriptor: number) => boolean): boolean {
    // A FIFO that nobody reads any more may have been replaced by the listener's successor.
    for (let attempt = 0; attempt < 2; attempt++) {
      const descriptor = this.#descriptor ?? this.#find();
      if (descriptor === null) return false;
      if (ring(descriptor)) return true;
      this.close();
    }
    return false;
  }

  #find(): number | null {
    try {
      this.#descriptor = native.doorbellOpenToRing(this.#path);
    } catch {
      // Not made yet, nobody listens, or not for this user: the words of the latch say what a ring would.
      this.#descriptor = null;
    }
    return this.#descriptor;
  }
}

/**
 * Calls back once when the process ends, however it ends (pidfd_open(2)); returns a function that stops watching.
 * Null when there is no such process; throws on anything else.
 */
export function watchProcess(pid: number, listener: () => void): (() => void) | null {
  try {
    return native.processWatch(pid, listener);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return null;
    throw error;
  }
}
