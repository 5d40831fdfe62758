// Compiles and runs the C program that measures the machine's own costs.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Percentiles, percentiles } from './row.ts';

const here = dirname(fileURLToPath(import.meta.url));

/** Nanoseconds per access in plain C. */
export function measureLimit(
  kind: 'load' | 'store' | 'pread',
  file: string,
  rounds: number,
  perRound: number,
): Percentiles {
  const source = join(here, 'limits.c');
  const program = join(here, '../../.cache/bench/limits');
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(dirname(program), { recursive: true });
    execFileSync(process.env.CC ?? 'cc', ['-O2', '-o', program, source], { stdio: 'inherit' });
  }
  const output = execFileSync(program, [kind, file, String(rounds), String(perRound)], {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return percentiles(output.trim().split('\n').map(Number));
}
