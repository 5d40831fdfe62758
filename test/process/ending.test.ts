// How the agent ends: asked or killed, no process is left, the devices are safe first, and the next start finds its state.

import { existsSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent, type AgentOptions } from '../support/agent.ts';
import {
  alive,
  auditOf,
  pause,
  verdict,
  withSimulator,
  worksAgain,
  writeRegister,
} from './watch.ts';

const END_MS_MAX = 5_000;
const SAFE_LINE = 'devices driven to their safe values, ending';

let stateDirectory: string;
const agents: Agent[] = [];
/** On `stateDirectory`; one start serves two tests. */
let running: Agent | undefined;

beforeAll(() => {
  stateDirectory = mkdtempSync(join(tmpdir(), 'dsmil-ending-'));
});
afterAll(async () => {
  for (const agent of agents) await agent.stop();
  rmSync(stateDirectory, { recursive: true, force: true });
});

async function start(extra: readonly string[], options: AgentOptions = {}): Promise<Agent> {
  const agent = await Agent.start(extra, options);
  agents.push(agent);
  agent.keepConnections();
  await worksAgain(agent);
  return agent;
}

/**
 * Turns the first memory device on, as the metal shows it. Gives a look at the same metal that outlasts the simulator:
 * CONTROL of 0x8000 is the first word of its memory.
 */
async function turnOn(agent: Agent): Promise<() => number> {
  const memory = openSync(join(agent.ready.stateDirectory, 'simulator/memory'), 'r');
  const control = () => {
    const word = Buffer.alloc(4);
    expect(readSync(memory, word, 0, 4, 0)).toBe(4);
    return word.readUInt32LE();
  };
  expect(verdict(await writeRegister(agent, '0x8000', 'CONTROL', '0x1'))).toBe('ok');
  expect(control()).toBe(1);
  return control;
}

async function noneLeft(pids: Agent['ready']['pids'], limitMs: number): Promise<void> {
  const untilMs = performance.now() + limitMs;
  while (Object.values(pids).some(alive) && performance.now() < untilMs) await pause(10);
  expect(Object.entries(pids).filter(([, pid]) => alive(pid))).toEqual([]);
}

describe('the end of the agent', () => {
  it('by Ctrl-C in its terminal leaves safe devices, then no process, within five seconds', async () => {
    // A terminal signals the whole process group (termios(3), ISIG).
    const agent = await start(['--state-dir', stateDirectory], { prefix: ['setsid'] });
    const control = await turnOn(agent);
    const { pids } = agent.ready;
    const startedMs = performance.now();
    process.kill(-pids.supervisor, 'SIGINT');
    // npm passes it on once more.
    process.kill(-pids.supervisor, 'SIGINT');
    expect(await agent.ended).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(END_MS_MAX);
    await noneLeft(pids, 0);
    const log = readFileSync(join(stateDirectory, 'log/kernel.log'), 'utf8');
    const last = JSON.parse(log.trim().split('\n').at(-1) ?? '') as Record<string, unknown>;
    // Every bus was still there: the simulator ends after kernel.
    expect(last).toMatchObject({ msg: SAFE_LINE, unsafe: [] });
    expect(control()).toBe(0);
  });

  it('leaves a state directory on which the next start goes on, without a stop', async () => {
    const agent = await start(['--state-dir', stateDirectory]);
    running = agent;
    const starts = (await auditOf(agent)).filter(({ event }) => event === 'AGENT_STARTED');
    expect(starts).toHaveLength(2);
    const { body } = await agent.rest(0, 'GET', 'audit/verify');
    expect(body.intact).toBe(true);
    // Ready to be asked comes before everything has been looked at.
    await expect
      .poll(async () => (await agent.rest(0, 'GET', 'system/status')).body, { timeout: 20_000 })
      .toMatchObject({ state: 'READY', stopEngaged: false });
  });

  it('by the death of the supervisor leaves safe devices and no process, and the next start works', async () => {
    const agent = running ?? (await start(['--state-dir', stateDirectory]));
    const control = await turnOn(agent);
    const { pids } = agent.ready;
    process.kill(pids.supervisor, 'SIGKILL');
    expect(await agent.ended).toBe('SIGKILL');
    await noneLeft(pids, END_MS_MAX);
    expect(control()).toBe(0);
    const next = await start(['--state-dir', stateDirectory]);
    expect((await next.rest(0, 'GET', 'audit/verify')).body.intact).toBe(true);
  });

  it('by SIGTERM ends every process in time although a line is dead, and removes a borrowed directory', async () => {
    const agent = await start([], { state: 'temporary' });
    const { pids, stateDirectory: borrowed } = agent.ready;
    expect(existsSync(borrowed)).toBe(true);
    await withSimulator(agent, (control) => control.fault({ bus: 'serial-0', kind: 'silent' }));
    const startedMs = performance.now();
    process.kill(pids.supervisor, 'SIGTERM');
    expect(await agent.ended).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(END_MS_MAX);
    await noneLeft(pids, 0);
    expect(existsSync(borrowed)).toBe(false);
  });
});
