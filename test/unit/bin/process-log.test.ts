// The log of a process whose reader reads, is gone, or has stopped reading.

import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';

const LOG = new URL('../../../src/bin/process-log.ts', import.meta.url).href;
/** Says on descriptor 3 when all its lines are logged, before the fatal one. */
const SCRIPT = `
import { writeSync } from 'node:fs';
import { openLog } from ${JSON.stringify(LOG)};
const log = openLog('test');
const [lines, waitMs] = process.argv.slice(1).map(Number);
await new Promise((resolve) => setTimeout(resolve, waitMs));
for (let line = 0; line < lines; line++) log.info({ line, text: 'x'.repeat(500) }, 'a line');
writeSync(3, 'end');
log.fatal('the last');
process.exit(70);
`;

function run(lines: number, waitMs: number): ChildProcess {
  return spawn(
    process.execPath,
    ['--input-type=module', '-e', SCRIPT, String(lines), String(waitMs)],
    { stdio: ['ignore', 'pipe', 'inherit', 'pipe'] },
  );
}

const ended = (child: ChildProcess) => new Promise((resolve) => child.once('close', resolve));

describe('the log of a process', () => {
  it('arrives whole, the last line of a sudden end as well', async () => {
    const child = run(20, 0);
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    (child.stdio[3] as Readable).resume();
    expect(await ended(child)).toBe(70);
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { readonly msg: string; readonly line?: number });
    expect(lines.map(({ line }) => line ?? 20).sort((left, right) => left - right)).toEqual(
      Array.from({ length: 21 }, (_, line) => line),
    );
    expect(lines.some(({ msg }) => msg === 'the last')).toBe(true);
  });

  it('does not keep the process from ending when nobody reads any more', async () => {
    const child = run(50, 300);
    child.stdout?.destroy();
    (child.stdio[3] as Readable).resume();
    expect(await ended(child)).toBe(70);
  });

  it('does not keep the process from its work when the reader stands still', async () => {
    const child = run(5_000, 0);
    child.stdout?.pause();
    let said = '';
    await new Promise<void>((resolve) => {
      child.stdio[3]?.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        resolve();
      });
    });
    expect(said).toBe('end');
    child.kill('SIGKILL');
  });
});
