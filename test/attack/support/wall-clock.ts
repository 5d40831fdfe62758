// The date of the machine as an attacker sets it: a preloaded shim shifts the wall clock of every process of the agent.

import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SOURCE = new URL('./wall-clock.c', import.meta.url).pathname;

export class WallClock {
  readonly #directory = mkdtempSync(join(tmpdir(), 'dsmil-clock-'));
  readonly #file = join(this.#directory, 'offset');

  constructor() {
    this.shift(0);
    const library = join(this.#directory, 'wall-clock.so');
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, SOURCE, '-ldl']);
    this.environment = { LD_PRELOAD: library, DSMIL_CLOCK_FILE: this.#file };
  }

  /** For the agent. */
  readonly environment: Readonly<Record<string, string>>;

  /** By so many seconds from the true time, at once and for all. */
  shift(seconds: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(seconds));
    // In place: the processes have the file mapped.
    const file = openSync(this.#file, 'a+');
    closeSync(file);
    const inPlace = openSync(this.#file, 'r+');
    writeSync(inPlace, bytes, 0, 8, 0);
    closeSync(inPlace);
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
