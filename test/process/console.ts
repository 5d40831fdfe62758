// The `dsmil` command as a technician at the machine runs it, against an agent under test.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { type Agent, NODE, REPOSITORY } from '../support/agent.ts';

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

export function dsmil(agent: Agent, args: readonly string[]): Promise<Ran> {
  const startedMs = performance.now();
  return new Promise((resolve) => {
    const { DSMIL_TOKEN: _token, ...inherited } = process.env;
    const env = { ...inherited, DSMIL_SOCKET: agent.ready.socket };
    const script = join(REPOSITORY, 'build/bin/dsmil.js');
    const child = spawn(NODE, ['--disable-warning=ExperimentalWarning', script, ...args], { env });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (part: Buffer) => {
      stdout += part;
    });
    child.stderr.on('data', (part: Buffer) => {
      stderr += part;
    });
    child.on('close', (code) =>
      resolve({ code, stdout, stderr, ms: performance.now() - startedMs }),
    );
  });
}
