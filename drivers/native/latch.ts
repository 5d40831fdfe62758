// Typed access to the native words of the stop latch in their two shared files.

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
  latchOpen(requestPath: string, latchPath: string, track: number, kernel: boolean): LatchWords;
}

/** `track` is 0 kernel, 1 security, 2 interface; only kernel makes and writes the latch file. */
export function openLatchWords(
  requestPath: string,
  latchPath: string,
  track: 0 | 1 | 2,
): LatchWords {
  return (addon as NativeLatch).latchOpen(requestPath, latchPath, track, track === 0);
}
