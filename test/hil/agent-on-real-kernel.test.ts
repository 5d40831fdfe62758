// The whole agent in the guest on test/hil/guest/board.yaml: a coordinated read and write on each bus.

import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BootReport, RigMachine } from '../../scripts/rig/boot.ts';
import { Agent } from '../support/agent.ts';
import { AGENT_TESTS } from './expected.ts';
import {
  BOOT_LIMIT_MS,
  guestJob,
  itReports,
  printTimes,
  SerialPeer,
  story,
  warmCompileCache,
} from './guest-run.ts';
import { requireRig } from './requirement.ts';

/** Four Node processes start on emulated processors, so a busy host counts many times over. */
const AGENT_LIMIT_MS = 2.5 * BOOT_LIMIT_MS;

const rig = requireRig();
const script = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));

describe.skipIf(!rig.met)("the whole agent on QEMU's hardware under Debian's kernel", () => {
  let machine: RigMachine | undefined;
  let peer: SerialPeer | undefined;
  let report: BootReport;

  beforeAll(async () => {
    if (!rig.met) return;
    // One start on the host bundles the agent and fills its compile cache; the guest then only loads.
    const agent = await Agent.start();
    await agent.stop();
    warmCompileCache(script('scripts/start.ts'), '--help');
    warmCompileCache(script('build/bin/dsmil.js'), 'device', 'read', '--help');
    machine = new RigMachine({
      rig: rig.value,
      job: guestJob('agent.ts', [
        ...['i2c-i801', 'i2c-dev', 'i2c-stub:chip_addr=0x48,0x49,0x18', 'lm75', 'jc42', 'uio_cif'],
      ]),
      timeoutMs: AGENT_LIMIT_MS,
      kernelArguments: ['iomem=relaxed'],
      watchdogAction: 'none',
    });
    peer = await SerialPeer.start(machine);
    report = await machine.finished;
    printTimes('the whole agent', report);
  }, AGENT_LIMIT_MS + 60_000);

  afterAll(async () => {
    await machine?.stop();
    await peer?.stop();
  });

  itReports(AGENT_TESTS, () => report);

  it('ends by powering itself off', () => {
    expect(report.end, story(report)).toBe('powered-off');
  });

  it('has left in host memory what was written through the agent', () => {
    const memory = report.sharedMemory;
    expect([0, 4, 8].map((offset) => memory.readUInt32LE(offset))).toEqual([
      0xfeedbeef, 0x600dcafe, 0x0badf00d,
    ]);
  });

  it('has written to the Modbus peer exactly what was asked of the agent', async () => {
    expect(await peer?.modbus.writes()).toEqual([
      { wrote: 'holding', address: 5, values: [0xbeef] },
      { wrote: 'holding', address: 6, values: [0xcafe] },
    ]);
  });
});
