// Runs one target on damaged inputs until a time or a number of runs is over, and makes small what it complains about.
// Invariants: run k of seed N is run 0 of seed N + k, so the seed that is printed repeats the failure as its first run;
// every input has a deadline; whatever is thrown or rejected anywhere in the process is laid to the input under way.

import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { INPUT_BYTES_MAX } from './byte-mutators.ts';
import { FuzzRandom } from './random.ts';
import { type Complaint, describeThrown } from './verdict.ts';
import type { WatchdogData } from './watchdog.ts';

/** A target that is ready: servers up, files made. */
export interface FuzzBench {
  /** Valid inputs, made by the product's own encoders; the same in every life. */
  readonly corpus: readonly Buffer[];
  /** A damaged input; nothing but the arguments may count. */
  mutate(input: Buffer, random: FuzzRandom): Buffer;
  /** Feeds the real path. Every wait in here has its own bound below the deadline. */
  check(input: Buffer): Promise<Complaint>;
  close(): Promise<void>;
}

export interface FuzzTarget {
  readonly name: string;
  readonly open: () => Promise<FuzzBench>;
  /** Runs in CI, where a busy machine must not decide how much is tried. */
  readonly runs: number;
}

export interface FuzzBounds {
  readonly seed: number;
  readonly runs: number;
  readonly forMs: number;
  /** Called now and then with how far it got. */
  readonly onProgress?: (runs: number, elapsedMs: number) => void;
}

export interface FuzzFailure {
  /** Starts with the failing input. */
  readonly seed: number;
  readonly complaint: string;
  /** Made small. */
  readonly input: Buffer;
  readonly path: string;
}

export interface FuzzResult {
  readonly target: string;
  readonly runs: number;
  readonly elapsedMs: number;
  /** Memory that stayed, after collecting, between a tenth of the runs and the end. */
  readonly grownBytes: number;
  readonly failure: FuzzFailure | null;
}

export const FOUND_DIRECTORY = fileURLToPath(new URL('./found', import.meta.url));
const INPUT_DEADLINE_MS = 20_000;
/** Longer than the deadline of an input, which tells more when the event loop still turns. */
const WATCHDOG_MS = 30_000;
const MINIMISE_MS = 20_000;
const MINIMISE_TRIES = 400;
/** Caches and pools fill up at the start; what a leak of 1 KiB a run adds to them soon stands out. */
const GROWTH_BYTES_MAX = 64 * 1024 * 1024;
const WARM_RUNS = 300;
/** Whatever the time: a machine that does ten other things still tries something. */
const RUNS_MIN = 5;
const PROGRESS_EVERY_MS = 30_000;

export function foundInputs(target: string): readonly string[] {
  mkdirSync(FOUND_DIRECTORY, { recursive: true });
  return readdirSync(FOUND_DIRECTORY)
    .filter((name) => name.startsWith(`${target}-`) && /-[0-9a-f]{12}$/.test(name))
    .filter((name) => name.length === target.length + 13)
    .sort();
}

export function readFound(name: string): Buffer {
  return readFileSync(join(FOUND_DIRECTORY, name));
}

/** Listens for what nobody caught, from construction until `close`. */
class LooseErrors {
  readonly #seen: unknown[] = [];
  readonly #note = (error: unknown): void => {
    this.#seen.push(error);
  };

  constructor() {
    process.on('uncaughtException', this.#note);
    process.on('unhandledRejection', this.#note);
  }

  take(): Complaint {
    const [first] = this.#seen.splice(0);
    return first === undefined ? null : `nobody caught: ${describeThrown(first)}`;
  }

  close(): void {
    process.off('uncaughtException', this.#note);
    process.off('unhandledRejection', this.#note);
  }
}

class Watchdog {
  readonly #words = new Int32Array(new SharedArrayBuffer(12));
  readonly #input = new Uint8Array(new SharedArrayBuffer(INPUT_BYTES_MAX));
  readonly #worker: Worker;

  constructor(target: string, seed: number) {
    const data: WatchdogData = {
      words: this.#words.buffer,
      input: this.#input.buffer,
      path: join(FOUND_DIRECTORY, `${target}-hang`),
      target,
      seed,
    };
    this.#worker = new Worker(new URL('./watchdog.ts', import.meta.url), { workerData: data });
    this.#worker.unref();
  }

  begin(run: number, input: Buffer): void {
    const kept = input.subarray(0, INPUT_BYTES_MAX);
    this.#input.set(kept);
    Atomics.store(this.#words, 2, kept.length);
    Atomics.store(this.#words, 0, run);
    Atomics.store(this.#words, 1, WATCHDOG_MS);
  }

  rest(): void {
    Atomics.store(this.#words, 1, 0);
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** One input under its deadline, with everything that went wrong meanwhile. */
async function judge(bench: FuzzBench, input: Buffer, loose: LooseErrors): Promise<Complaint> {
  let timer: NodeJS.Timeout | undefined;
  const overdue = new Promise<Complaint>((resolve) => {
    const finding = `no verdict within ${INPUT_DEADLINE_MS} ms`;
    timer = setTimeout(() => resolve(finding), INPUT_DEADLINE_MS);
  });
  let complaint: Complaint;
  try {
    complaint = await Promise.race([bench.check(input), overdue]);
  } catch (error) {
    complaint = `thrown: ${describeThrown(error)}`;
  } finally {
    clearTimeout(timer);
  }
  // A rejection that nobody handles is told one turn later.
  await new Promise((resolve) => setImmediate(resolve));
  return complaint ?? loose.take();
}

/** Takes pieces out, the large ones first, for as long as it still complains. */
async function minimise(
  input: Buffer,
  complains: (input: Buffer) => Promise<boolean>,
): Promise<Buffer> {
  const endMs = performance.now() + MINIMISE_MS;
  let best = input;
  let tries = 0;
  for (let size = best.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < best.length; ) {
      if (tries++ > MINIMISE_TRIES || performance.now() > endMs) return best;
      const shorter = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
      if (await complains(shorter)) best = shorter;
      else at += size;
    }
  }
  return best;
}

let collect: (() => void) | undefined;

/** Bytes in use after a full collection. */
function memoryInUse(): number {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function keep(target: string, input: Buffer): string {
  const hash = createHash('sha256').update(input).digest('hex').slice(0, 12);
  const path = join(FOUND_DIRECTORY, `${target}-${hash}`);
  mkdirSync(FOUND_DIRECTORY, { recursive: true });
  writeFileSync(path, input);
  return path;
}

export async function fuzz(target: FuzzTarget, bounds: FuzzBounds): Promise<FuzzResult> {
  const bench = await target.open();
  const loose = new LooseErrors();
  const watchdog = new Watchdog(target.name, bounds.seed);
  let startMs = performance.now();
  const elapsedMs = () => performance.now() - startMs;
  const inputOf = (seed: number): Buffer => {
    const random = new FuzzRandom(seed);
    return bench.mutate(random.pick(bench.corpus), random);
  };
  let runs = 0;
  let warmBytes: number | null = null;
  let toldMs = 0;
  try {
    // What cannot pass undamaged would be no target at all.
    for (const input of bench.corpus) {
      const complaint = await judge(bench, input, loose);
      if (complaint !== null) throw new Error(`${target.name}: a valid input: ${complaint}`);
    }
    startMs = performance.now();
    while (runs < bounds.runs && (runs < RUNS_MIN || elapsedMs() < bounds.forMs)) {
      const seed = bounds.seed + runs;
      const input = inputOf(seed);
      watchdog.begin(runs, input);
      const complaint = await judge(bench, input, loose);
      watchdog.rest();
      runs += 1;
      if (complaint !== null) {
        const small = await minimise(
          input,
          async (tried) => (await judge(bench, tried, loose)) !== null,
        );
        const path = keep(target.name, small);
        const failure = { seed, complaint, input: small, path };
        return { target: target.name, runs, elapsedMs: elapsedMs(), grownBytes: 0, failure };
      }
      const warm = runs >= WARM_RUNS && elapsedMs() > bounds.forMs / 10;
      if (warmBytes === null && warm) warmBytes = memoryInUse();
      if (elapsedMs() - toldMs > PROGRESS_EVERY_MS) {
        toldMs = elapsedMs();
        bounds.onProgress?.(runs, toldMs);
      }
    }
    const grownBytes = warmBytes === null ? 0 : memoryInUse() - warmBytes;
    const last = bounds.seed + runs - 1;
    const failure =
      grownBytes <= GROWTH_BYTES_MAX
        ? null
        : {
            seed: last,
            complaint: `${grownBytes} bytes more are in use after ${runs} runs`,
            input: Buffer.alloc(0),
            path: '',
          };
    return { target: target.name, runs, elapsedMs: elapsedMs(), grownBytes, failure };
  } finally {
    await watchdog.close();
    loose.close();
    await bench.close();
  }
}

/** Everything that was ever found with this target; the first complaint, or null. */
export async function replayFound(target: FuzzTarget): Promise<Complaint> {
  const names = foundInputs(target.name);
  if (names.length === 0) return null;
  const bench = await target.open();
  const loose = new LooseErrors();
  try {
    for (const name of names) {
      const complaint = await judge(bench, readFound(name), loose);
      if (complaint !== null) return `${name}: ${complaint}`;
    }
    return null;
  } finally {
    loose.close();
    await bench.close();
  }
}

export function describeFailure({ target, failure }: FuzzResult): string {
  if (failure === null) return `${target}: nothing found`;
  return [
    `${target}: ${failure.complaint}`,
    `input of ${failure.input.length} bytes: ${failure.path}`,
    `repeat it: npm run fuzz -- --target ${target} --seed ${failure.seed} --minutes 1`,
  ].join('\n');
}
