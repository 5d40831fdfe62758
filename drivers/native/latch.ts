// Typed access to the native words of the stop latch in their two shared files.

import { addon } from './addon.ts';

export interface LatchWords {
  engage(): void;
  engaged(): boolean;
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
