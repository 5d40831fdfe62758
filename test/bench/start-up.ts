// From `npm start` to everything answering, and what each process keeps in memory, beside an empty Node.

import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Agent, NODE } from '../support/agent.ts';
import { type BenchRow, percentiles, rowOf } from './row.ts';

const ROUNDS = 5;
const TRACKS = ['kernel', 'security', 'interface'] as const;

export async function benchStartUp(): Promise<readonly BenchRow[]> {
  const ready: number[] = [];
  const empty: number[] = [];
  const resident: Record<(typeof TRACKS)[number] | 'all', number[]> = {
    kernel: [],
    security: [],
    interface: [],
    all: [],
  };
  for (let round = 0; round < ROUNDS; round++) {
    empty.push(timeMs(() => spawnSync(NODE, ['-e', '0'])));
    const startMs = performance.now();
    const agent = await Agent.start();
    ready.push(performance.now() - startMs);
    await agent.rest(0, 'GET', 'devices');
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    let all = 0;
    for (const name of TRACKS) {
      const size = residentMiB(agent.ready.pids[name]);
      resident[name].push(size);
      all += size;
    }
    resident.all.push(all);
    await agent.stop();
  }
  const emptySize = await emptyNodeMiB();
  const beside = { name: 'an empty Node', p50: emptySize, p95: emptySize, p99: emptySize };
  return [
    rowOf({
      name: 'npm start to everything answers',
      bus: 'all',
      unit: 'ms',
      n: ROUNDS,
      figure: percentiles(ready),
      beside: { name: 'an empty Node', ...percentiles(empty) },
      goal: { text: '< 2 s', reached: (row) => row.p50 < 2_000 },
    }),
    ...TRACKS.map((name) =>
      rowOf({
        name: `${name} process, resident`,
        bus: 'none',
        unit: 'MiB',
        n: ROUNDS,
        figure: percentiles(resident[name]),
        beside,
      }),
    ),
    rowOf({
      name: 'three processes together, resident',
      bus: 'none',
      unit: 'MiB',
      n: ROUNDS,
      figure: percentiles(resident.all),
      beside: {
        name: 'three empty Nodes',
        p50: 3 * emptySize,
        p95: 3 * emptySize,
        p99: 3 * emptySize,
      },
      goal: { text: '< 220 MiB', reached: (row) => row.p50 < 220 },
    }),
  ];
}

function timeMs(call: () => void): number {
  const startMs = performance.now();
  call();
  return performance.now() - startMs;
}

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024;
}

async function emptyNodeMiB(): Promise<number> {
  const child = spawn(NODE, ['-e', 'setTimeout(() => {}, 5000)'], { stdio: 'ignore' });
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const size = residentMiB(child.pid ?? 0);
  child.kill();
  return size;
}
