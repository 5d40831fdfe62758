// What a guest script tells the host: one JSON line for each finished test, appended to the shared file.

import { appendFileSync, readFileSync } from 'node:fs';
import type { GuestLine } from '../../../scripts/rig/boot.ts';

const FILE = process.env.RIG_RESULTS;

/** Runs the script in the guest only: elsewhere its modules are loaded and nothing is touched. */
export async function inGuest(run: () => Promise<void>): Promise<void> {
  if (FILE !== undefined) await run();
}

function tell(line: GuestLine): void {
  if (FILE === undefined) throw new Error('this script runs in the rig only');
  appendFileSync(FILE, `${JSON.stringify(line)}\n`);
}

/** A point on the time line, with the guest's uptime. */
export function mark(name: string): void {
  const uptime = readFileSync('/proc/uptime', 'latin1').split(' ')[0];
  tell({ kind: 'mark', name, detail: `${uptime} s since the kernel began` });
}

/** Runs one test; what it throws is its failure, what it returns is the detail that the host prints. */
export async function check(name: string, run: () => Promise<string> | string): Promise<void> {
  const startMs = performance.now();
  let ok = false;
  let detail: string;
  try {
    detail = await run();
    ok = true;
  } catch (error) {
    detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  tell({ kind: 'result', name, ok, detail, durationMs: Math.round(performance.now() - startMs) });
}
