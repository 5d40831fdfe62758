// Wake-ups between processes in the event loop's own epoll: FIFO doorbells and the notice of a process's end.

import { closeSync } from 'node:fs';
import { addon } from './addon.ts';

interface NativeSignal {
  doorbellOpen(path: string): number;
  doorbellWatch(descriptor: number, listener: (kinds: number) => void): () => void;
  doorbellRing(descriptor: number): void;
  doorbellRingTest(descriptor: number): void;
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

  /** Makes the FIFO with mode 0660 when absent; throws with an errno `code`, EMEDIUMTYPE for another kind of file. */
  constructor(path: string) {
    this.descriptor = native.doorbellOpen(path);
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
