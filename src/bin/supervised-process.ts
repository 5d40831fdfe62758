// One child of the development supervisor: started, announced ready, restarted alone when it dies.
// Invariants: ends only the process it started; a restart never touches the others.

import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

export interface SupervisedOptions {
  readonly name: string;
  readonly script: string;
  readonly arguments: readonly string[];
  readonly nodeFlags: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly logFile: string;
  /** Longest wait before it is started again, milliseconds; by default 5 s. */
  readonly backoffLastMs?: number;
  /** After an end that nobody asked for, before it is started again. */
  readonly onDied: (name: string, how: string) => void;
  /** Each time it answers again, with what it announced. */
  readonly onReady: (name: string, facts: Readonly<Record<string, unknown>>) => void;
}

const BACKOFF_FIRST_MS = 100;
const BACKOFF_LAST_MS = 5_000;
/** A process that lived this long has earned the first backoff again. */
const STEADY_MS = 10_000;
const READY_DESCRIPTOR = 3;

export class SupervisedProcess {
  readonly name: string;
  readonly #options: SupervisedOptions;
  readonly #log: WriteStream;
  #child: ChildProcess | null = null;
  #backoffMs = BACKOFF_FIRST_MS;
  #startedAtMs = 0;
  #restart: NodeJS.Timeout | null = null;
  #stopping = false;

  constructor(options: SupervisedOptions) {
    this.name = options.name;
    this.#options = options;
    this.#log = createWriteStream(options.logFile, { flags: 'a', mode: 0o640 });
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  start(): void {
    if (this.#stopping) return;
    this.#startedAtMs = performance.now();
    const child = spawn(
      process.execPath,
      [...this.#options.nodeFlags, this.#options.script, ...this.#options.arguments],
      {
        // Nothing is ever written to standard input: that it closes tells the child that the supervisor is gone.
        stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
        // Ctrl-C signals the terminal's process group; the order in which the children end is the supervisor's to choose.
        detached: true,
        env: {
          ...this.#options.environment,
          DSMIL_READY_FD: String(READY_DESCRIPTOR),
          DSMIL_SUPERVISED: 'stdin',
        },
      },
    );
    this.#child = child;
    child.stdin?.on('error', () => undefined);
    child.stdout?.pipe(this.#log, { end: false });
    child.stderr?.pipe(this.#log, { end: false });
    createInterface({ input: child.stdio[READY_DESCRIPTOR] as Readable }).on('line', (line) => {
      this.#options.onReady(this.name, JSON.parse(line) as Record<string, unknown>);
    });
    child.once('error', (error) => this.#ended(child, error.message));
    child.once('exit', (code, signal) => this.#ended(child, signal ?? `exit code ${code}`));
  }

  /** Asks it to end, and ends it when it does not within `patienceMs`. */
  async stop(patienceMs: number): Promise<void> {
    this.#stopping = true;
    if (this.#restart !== null) clearTimeout(this.#restart);
    const child = this.#child;
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
      await ended;
      clearTimeout(timer);
    }
    await new Promise<void>((resolve) => this.#log.end(() => resolve()));
  }

  #ended(child: ChildProcess, how: string): void {
    if (this.#child !== child || this.#stopping) return;
    this.#child = null;
    if (performance.now() - this.#startedAtMs > STEADY_MS) this.#backoffMs = BACKOFF_FIRST_MS;
    this.#options.onDied(this.name, how);
    this.#restart = setTimeout(() => this.start(), this.#backoffMs);
    this.#backoffMs = Math.min(this.#backoffMs * 2, this.#options.backoffLastMs ?? BACKOFF_LAST_MS);
  }
}
