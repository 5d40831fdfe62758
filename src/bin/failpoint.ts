// Stops the security process at one state of one transaction, so that a test can end processes exactly there.
// Off unless DSMIL_FAILPOINTS=on is in the environment, which no unit file sets; it only delays, and for ten seconds at most.
// How: `STATE operation-id` in <run directory>/failpoint; the process writes <run directory>/failpoint-reached when it is
// there, and goes on once the first file is gone.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TransactionState } from '#model/transaction';

const BLOCKED_MS_MAX = 10_000;
const LOOK_EVERY_MS = 5;

export function failpoint(
  runDirectory: string,
  environment: Readonly<Record<string, string | undefined>>,
): ((state: TransactionState, operationId: string) => void) | undefined {
  if (environment.DSMIL_FAILPOINTS !== 'on') return undefined;
  const wanted = join(runDirectory, 'failpoint');
  const reached = join(runDirectory, 'failpoint-reached');
  const never = new Int32Array(new SharedArrayBuffer(4));
  return (state, operationId) => {
    if (read(wanted) !== `${state} ${operationId}`) return;
    writeFileSync(reached, `${state} ${operationId}`);
    const untilMs = performance.now() + BLOCKED_MS_MAX;
    // The whole process stands still, as one that is about to be ended does.
    while (existsSync(wanted) && performance.now() < untilMs)
      Atomics.wait(never, 0, 0, LOOK_EVERY_MS);
  };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
