// The built program and its plans, for tests: runs it on a plan file, and writes plans with the right last line.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { crc32c } from '#drivers/native/rings';
import { bootId } from '../../src/bin/safe-drive-plan.ts';
import { REPOSITORY } from './agent.ts';

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
  const sum = crc32c(Buffer.from(text), 'chosen').toString(16).padStart(8, '0');
  return `${text}end ${steps} ${sum}\n`;
}
