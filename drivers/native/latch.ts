// Typed access to the native words of the stop latch, each in a shared file that its writer alone may write.

import { addon } from './addon.ts';

/** Bits of `LatchWords.state`; the same values as in latch.c. */
export const LATCH_STATE = {
  /** A track asked and kernel has not taken it in. */
  requested: 1,
  latched: 2,
  /** Absent, cut short or of another make. */
  requestFileUnsound: 4,
  latchFileUnsound: 8,
  /** The latched word is none that kernel ever writes. */
  latchedWordUnknown: 16,
} as const;

export interface LatchWords {
  engage(): void;
  engaged(): boolean;
  /** The bits of `LATCH_STATE`; 0 is the only state that is not engaged. */
  state(): number;
  /** True until a kernel process has latched or released for the first time. */
  fresh(): boolean;
  /** Kernel only, else throws EPERM. */
  latch(): boolean;
  /** Kernel only, else throws EPERM. */
  release(): void;
  close(): void;
}

interface NativeLatch {
  latchOpen(
    requestPaths: readonly string[],
    latchPath: string,
    self: number,
    kernel: boolean,
  ): LatchWords;
}

/**
 * `requestPaths` are those of kernel, security, interface and people, and `self` an index of them; only kernel makes and
 * writes the latch file, and makes the word of people.
 */
export function openLatchWords(
  requestPaths: readonly string[],
  latchPath: string,
  self: 0 | 1 | 2 | 3,
): LatchWords {
  return (addon as NativeLatch).latchOpen(requestPaths, latchPath, self, self === 0);
}
