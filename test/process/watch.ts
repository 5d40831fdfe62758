// What tests of whole processes look at from outside: processes, their open files and sockets, audit entries, devices.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { ControlClient } from '#drivers/bus/simulated/control-client';
import type { Agent, RestAnswer } from '../support/agent.ts';

export type ProcessName = 'kernel' | 'security' | 'interface' | 'simulator';

export interface AuditLine {
  readonly sequence: number;
  readonly event: string;
  readonly actor: string;
  readonly reason: string;
  readonly result: string;
  readonly wallMs: number;
}

export interface LogLine {
  readonly time: number;
  readonly msg: string;
  readonly [member: string]: unknown;
}

/** For a test that has to act between two steps of the agent on a busy host; call it after the agent has started. */
export function actPromptly(): void {
  // Only root may; anybody else is as prompt as the host lets it be.
  if (process.getuid?.() === 0) setPriority(constants.priority.PRIORITY_HIGHEST);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** False for a process that ended, also while nobody has taken its exit status. */
export function alive(pid: number): boolean {
  try {
    const state = /\) (\w) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
    return state !== undefined && state !== 'Z' && state !== 'X';
  } catch {
    return false;
  }
}

/** What each open descriptor of a process leads to. */
export function openFiles(pid: number): readonly string[] {
  const targets: string[] = [];
  for (const descriptor of readdirSync(`/proc/${pid}/fd`)) {
    try {
      targets.push(readlinkSync(`/proc/${pid}/fd/${descriptor}`));
    } catch {
      // Closed since the directory was read.
    }
  }
  return targets;
}

/** Paths of files that a process has mapped. */
export function mappedFiles(pid: number): readonly string[] {
  const lines = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n');
  return [...new Set(lines.flatMap((line) => /(\/.*)$/.exec(line)?.[1] ?? []))];
}

/** Sockets of a process that wait for connections: TCP by address, unix by path (proc_pid_net(5)). */
export function listeners(pid: number): readonly string[] {
  const owned = new Set(
    openFiles(pid).flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []),
  );
  const rows = (table: string) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/));
  const tcp = ['tcp', 'tcp6'].flatMap((table) =>
    rows(table).filter((row) => row[3] === '0A' && owned.has(row[9] ?? '')),
  );
  const unix = rows('unix').filter(
    // __SO_ACCEPTCON of include/uapi/linux/net.h.
    (row) => (Number.parseInt(row[3] ?? '0', 16) & 0x1_0000) !== 0 && owned.has(row[6] ?? ''),
  );
  return [...tcp.map((row) => `tcp ${row[1]}`), ...unix.map((row) => `unix ${row[7]}`)];
}

/** Every entry from `from` on. */
export async function auditOf(agent: Agent, from = 1): Promise<readonly AuditLine[]> {
  const answer = await agent.rest(0, 'GET', `audit?from=${from}&limit=1000`);
  return (answer.body.entries ?? []) as readonly AuditLine[];
}

export async function lastSequence(agent: Agent): Promise<number> {
  const { body } = await agent.rest(0, 'GET', 'system/status');
  return body.auditSequence as number;
}

/** The first entry after `sequence` that fits; waits for it. */
export async function entryAfter(
  agent: Agent,
  sequence: number,
  fits: (entry: AuditLine) => boolean,
): Promise<AuditLine> {
  let found: AuditLine | undefined;
  await agent.waitUntil('an audit entry', async () => {
    const entries = await auditOf(agent, sequence + 1).catch(() => []);
    found = entries.find(fits);
    return found !== undefined;
  });
  if (found === undefined) throw new Error('no entry');
  return found;
}

export function logLines(agent: Agent, name: ProcessName): readonly LogLine[] {
  return agent
    .log(name)
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as LogLine);
}

export function writeRegister(
  agent: Agent,
  device: string,
  name: string,
  value: string,
): Promise<RestAnswer> {
  return agent.rest(0, 'POST', 'operations', {
    operation: 'WRITE',
    device,
    registers: [{ name, value }],
    justification: 'a test of whole processes',
  });
}

export function readRegister(agent: Agent, device: string, name: string): Promise<RestAnswer> {
  return agent.rest(0, 'GET', `devices/${device}/registers?names=${name}`);
}

/** `status` and the code of a fault, or `ok`. */
export function verdict(answer: RestAnswer): string {
  return answer.status === 200 ? 'ok' : `${answer.status} ${String(answer.body.code)}`;
}

/** Waits until an operation succeeds again, by writing; reads and a network that is not there yet are tried again. */
export async function worksAgain(agent: Agent, limitMs = 60_000): Promise<void> {
  let last = '';
  try {
    await agent.waitUntil(
      'operations to work',
      async () => {
        last = await writeRegister(agent, '0x8003', 'DATA', '0x77').then(verdict, String);
        return last === 'ok';
      },
      limitMs,
    );
  } catch (error) {
    throw new Error(`${String(error)}\nlast answer: ${last}`);
  }
}

/** Two people ask for the reset; resolves once the stop is released. */
export async function resetStop(agent: Agent): Promise<readonly RestAnswer[]> {
  const ask = (person: 0 | 1) =>
    agent.rest(person, 'POST', 'emergency-stop/reset', { reason: 'the cause is understood' });
  return [await ask(0), await ask(1)];
}

/** After a reset every device stays deactivated until somebody activates it. */
export async function activateDevice(agent: Agent, device: string): Promise<void> {
  let last = '';
  await agent
    .waitUntil(`${device} to be activated`, async () => {
      const answer = await agent.rest(0, 'POST', 'operations', {
        operation: 'ACTIVATE',
        device,
        justification: 'the stop was reset by two people',
        confirmedRisk: 'CRITICAL',
      });
      last = verdict(answer);
      return last === 'ok';
    })
    .catch((error: unknown) => {
      throw new Error(`${String(error)}\nlast answer: ${last}`);
    });
}

export async function withSimulator<T>(
  agent: Agent,
  act: (control: ControlClient) => Promise<T>,
): Promise<T> {
  const control = await ControlClient.connect(agent.ready.simulator?.control ?? '');
  try {
    return await act(control);
  } finally {
    control.close();
  }
}

/** What the simulated device holds, as `0x...`. */
export function heldBy(agent: Agent, device: string, register: string): Promise<string> {
  return withSimulator(agent, async (control) => (await control.get(device, register)).hex);
}
