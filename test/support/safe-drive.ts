// The built program and its plans, for tests: runs it on a plan file, and writes plans with the right last line.

import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32c } from '#drivers/native/rings';
import { bootId } from '../../src/bin/safe-drive-plan.ts';

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
export const SAFE_DRIVE = join(REPOSITORY, 'drivers/native/build/dsmil-safe-drive');
export const PLAN_REFUSED = 254;
export const ANY_BOARD = 'a'.repeat(64);

/** First line of a plan that was written since this machine started. */
export function planHead(board = ANY_BOARD): string {
  return `dsmil-safe-drive 2 ${board} ${bootId()}`;
}

export interface Drove {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
  readonly ms: number;
}

/** The simulated hardware may live in this process, so it must not stand still meanwhile. */
export function safeDrive(args: readonly string[], program = SAFE_DRIVE): Promise<Drove> {
  const startMs = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (part: Buffer) => {
      stderr += part;
    });
    child.on('error', reject);
    child.on('close', (status, signal) =>
      resolve({ status, signal, stderr, ms: performance.now() - startMs }),
    );
  });
}

/** Lines and the last one that confirms them. */
export function planText(lines: readonly string[]): string {
  const text = lines.map((line) => `${line}\n`).join('');
  const steps = lines.filter((line) => /^(step|absent) /.test(line)).length;
  const sum = crc32c(Buffer.from(text, 'latin1'), 'chosen').toString(16).padStart(8, '0');
  return `${text}end ${steps} ${sum}\n`;
}

const SOURCES = join(REPOSITORY, 'drivers/native/safe-drive');

/** The program whole, or what reads plans and drives nothing (test/fuzz/safe-drive-reader.c). */
export type Watched = 'program' | 'reader';

/**
 * Compiles to `output` with everything watched that C leaves undefined: every byte read or written where none belongs.
 * False, with a sentence on standard error, on a machine without a compiler that can.
 */
export function compileWatched(what: Watched, output: string): boolean {
  const all = readdirSync(SOURCES).filter((name) => name.endsWith('.c'));
  const parts = what === 'program' ? all : ['plan.c', 'field.c'];
  const sources = parts.map((name) => join(SOURCES, name));
  if (what === 'reader') sources.push(join(REPOSITORY, 'test/fuzz/safe-drive-reader.c'));
  const failure = compile([`-I${SOURCES}`, ...sources, '-o', output], '');
  if (failure === null) return true;
  process.stderr.write(`the safe drive is not tried under sanitizers: ${failure}\n`);
  return false;
}

/** Whether this machine has a compiler with the sanitizers; says so on standard error where it has none. */
export function canWatch(): boolean {
  const failure = compile(['-x', 'c', '-', '-o', '/dev/null'], 'int main(void) { return 0; }\n');
  if (failure === null) return true;
  process.stderr.write(`no C compiler with sanitizers: ${failure}\n`);
  return false;
}

function compile(args: readonly string[], input: string): string | null {
  const watching = ['-std=c11', '-O1', '-g', '-fsanitize=address,undefined'];
  const compiled = spawnSync(
    process.env.CC ?? 'cc',
    [...watching, '-fno-sanitize-recover=all', ...args],
    { encoding: 'utf8', input },
  );
  return compiled.status === 0 ? null : (compiled.error?.message ?? compiled.stderr);
}
