// A thread of its own that ends the process when one input keeps the event loop for too long, and leaves the input behind.
// Invariants: works while the main thread does not turn; says nothing unless it ends the process.

import { mkdirSync, writeFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { workerData } from 'node:worker_threads';

/** Words: 0 the run, counted up; 1 the deadline of one run in milliseconds, 0 while none is under way; 2 bytes of input. */
export interface WatchdogData {
  readonly words: SharedArrayBuffer;
  readonly input: SharedArrayBuffer;
  /** Where the input is left. */
  readonly path: string;
  readonly target: string;
  /** The seed of run 0. */
  readonly seed: number;
}

const LOOK_MS = 100;
const data = workerData as WatchdogData;
const words = new Int32Array(data.words);
let run = -1;
let since = performance.now();

setInterval(() => {
  const now = Atomics.load(words, 0);
  const limitMs = Atomics.load(words, 1);
  if (now !== run || limitMs === 0) {
    run = now;
    since = performance.now();
    return;
  }
  if (performance.now() - since < limitMs) return;
  const bytes = new Uint8Array(data.input).slice(0, Atomics.load(words, 2));
  mkdirSync(dirname(data.path), { recursive: true });
  writeFileSync(data.path, bytes);
  writeSync(
    2,
    `fuzz ${data.target}: one input kept the event loop for ${limitMs} ms; it is in ${data.path}\n` +
      `repeat it: npm run fuzz -- --target ${data.target} --seed ${data.seed + run}\n`,
  );
  process.kill(process.pid, 'SIGKILL');
}, LOOK_MS);
