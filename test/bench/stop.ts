// From engaging the latch to the last memory register at its safe value, seen from outside in the mapped file.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import { join } from 'node:path';
import { checkBoard } from '#config/board';
import { RegisterWindow, WindowBatch } from '#drivers/native/windows';
import { engageStopDirectly } from '#link/stop-latch';
import { PROFILE_DIRECTORIES } from '../../src/bin/command-line.ts';
import type { Agent } from '../support/agent.ts';
import { NODE, REPOSITORY } from '../support/agent.ts';
import { measureLimit } from './limits.ts';
import { type BenchRow, percentiles, rowOf } from './row.ts';

const COUNT = 1_000;
/** A reset takes longer while panels compete for it. */
const COUNT_LOADED = 200;
const LIMIT_MS = 1_000;
const NAP = new Int32Array(new SharedArrayBuffer(4));

export async function benchStop(agent: Agent): Promise<readonly BenchRow[]> {
  const { simulator, runDirectory } = agent.ready;
  if (simulator === null) return [];
  const memory = join(simulator.directory, 'memory');
  const { board } = checkBoard(join(REPOSITORY, 'drivers/profiles/boards/default.yaml'), {
    variables: { SIMULATOR: simulator.directory },
    profileDirectories: PROFILE_DIRECTORIES,
  });
  if (board === undefined) throw new Error('the default board has problems');
  const devices = board.devices.filter(
    (device) => device.busKind === 'memory' && !device.quarantined,
  );
  const mapped = RegisterWindow.map({
    place: 'bench',
    source: { path: memory },
    offset: 0,
    length: statSync(memory).size,
    access: 'read-write',
  });
  if (!mapped.ok) throw new Error(mapped.fault.finding);
  const cells = devices.map((device) => ({
    window: mapped.value,
    offset: (device.window?.address ?? 0) - 0x60000000,
    widthBits: 32 as const,
  }));
  const controls = new WindowBatch(cells);
  const words = new Uint32Array(cells.length);
  const measure = async (count: number): Promise<readonly number[]> => {
    const samples: number[] = [];
    for (let index = 0; index < count; index++) {
      // As if every device had been activated: CONTROL bit 0.
      for (const cell of cells) cell.window.write(cell.offset, 32, 1n);
      await new Promise((resolve) => setTimeout(resolve, 10));
      const startNs = process.hrtime.bigint();
      engageStopDirectly(runDirectory);
      samples.push(waitUntilSafe(controls, words, startNs));
      await reset(agent);
    }
    return samples;
  };
  const ordinary = getPriority();
  const idle = await measure(COUNT);
  const panels = await startPanels(agent);
  // Else it is this process, on a machine that panels keep busy, whose wait is measured.
  setPriority(constants.priority.PRIORITY_HIGHEST);
  const loaded = await measure(COUNT_LOADED).finally(panels.close);
  setPriority(ordinary);
  mapped.value.close();
  const store = measureLimit('store', memory, 2_000, cells.length);
  const perDevice = cells.length / 1e6;
  const beside = {
    name: 'C loop of as many stores',
    p50: store.p50 * perDevice,
    p95: store.p95 * perDevice,
    p99: store.p99 * perDevice,
  };
  const row = (name: string, samples: readonly number[], limitMs: number) =>
    rowOf({
      name,
      bus: 'memory',
      unit: 'ms',
      n: samples.length,
      figure: percentiles(samples),
      beside,
      goal: { text: `P99 < ${limitMs} ms`, reached: ({ p99 }) => p99 < limitMs },
    });
  const name = `stop latch to the last of ${cells.length} memory devices safe`;
  return [row(name, idle, 2), row('the same while 50 panels read all they can', loaded, 5)];
}

/** `close` fails when the panels had ended by themselves: then nobody read while it was measured. */
async function startPanels(agent: Agent): Promise<{ readonly close: () => Promise<void> }> {
  const { http, ca, people } = agent.ready;
  const child = spawn(
    NODE,
    [
      join(REPOSITORY, 'test/bench/panels.ts'),
      JSON.stringify({ http, ca, token: people[0]?.token }),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const ended = once(child, 'exit');
  await once(child.stdout, 'data');
  return {
    close: async () => {
      child.stdin.end();
      const [code] = await ended;
      if (code !== 0) throw new Error(`the panels ended with ${code} while the stop was measured`);
    },
  };
}

/** Naps of 50 us between looks: looking without pause would keep a processor from the process it waits for. */
function waitUntilSafe(controls: WindowBatch, words: Uint32Array, startNs: bigint): number {
  for (;;) {
    Atomics.wait(NAP, 0, 0, 0.05);
    controls.read(words);
    const elapsedMs = Number(process.hrtime.bigint() - startNs) / 1e6;
    if (words.every((word) => (word & 1) === 0)) return elapsedMs;
    if (elapsedMs > LIMIT_MS) throw new Error(`devices not safe within ${LIMIT_MS} ms`);
  }
}

async function reset(agent: Agent): Promise<void> {
  // A drive of the slow buses may still run, and a new stop voids a first person's request: ask in turn until released.
  let person: 0 | 1 = 0;
  await agent.waitUntil('the reset', async () => {
    const answer = await agent.rest(person, 'POST', 'emergency-stop/reset', {
      reason: 'bench round',
    });
    person = person === 0 ? 1 : 0;
    return answer.status === 200 && answer.body.released === true;
  });
}
