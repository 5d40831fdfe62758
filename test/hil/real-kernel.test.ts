// The agent's drivers under a real Debian kernel on QEMU's hardware: one boot for all tests, one stricter boot.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BootReport, RigMachine } from '../../scripts/rig/boot.ts';
import { RELAXED_TESTS, STRICT_TESTS } from './expected.ts';
import { BOOT_LIMIT_MS, guestJob, itReports, printTimes, SerialPeer, story } from './guest-run.ts';
import { requireRig } from './requirement.ts';

const rig = requireRig();

describe.skipIf(!rig.met)("the drivers on QEMU's hardware under Debian's kernel", () => {
  let machine: RigMachine | undefined;
  let peer: SerialPeer | undefined;
  let report: BootReport;

  beforeAll(async () => {
    if (!rig.met) return;
    machine = new RigMachine({
      rig: rig.value,
      job: guestJob('drivers.ts', [
        ...['i2c-i801', 'i2c-dev', 'i2c-stub:chip_addr=0x48,0x49,0x18,0x0b', 'lm75', 'jc42'],
        ...['sbs-battery', 'i6300esb', 'uio_cif', 'uio_pci_generic'],
      ]),
      timeoutMs: BOOT_LIMIT_MS,
      kernelArguments: ['iomem=relaxed'],
      watchdogAction: 'none',
    });
    peer = await SerialPeer.start(machine);
    report = await machine.finished;
    printTimes('boot with iomem=relaxed', report);
  }, BOOT_LIMIT_MS + 20_000);

  afterAll(async () => {
    await machine?.stop();
    await peer?.stop();
  });

  itReports(RELAXED_TESTS, () => report);

  it('ends by powering itself off', () => {
    expect(report.end, story(report)).toBe('powered-off');
  });

  it('leaves in host memory what the guest wrote through UIO, each width little-endian', () => {
    const memory = report.sharedMemory;
    expect(memory.subarray(0, 16).toString('hex')).toBe('11002233445566778899aabbccddeeff');
    expect(memory.readUInt32LE(0xf_fffc)).toBe(0x600d600d);
  });

  it('leaves there what the safe drive wrote through a PCI BAR, UIO and /dev/mem', () => {
    const memory = report.sharedMemory;
    expect(memory.subarray(0x200, 0x210).toString('hex')).toBe('21002243244365871032547698badcfe');
    expect([0x300, 0x400, 0x500].map((offset) => memory.readUInt32LE(offset))).toEqual([
      0x5afe0003, 0x5afe0004, 0x5afe0005,
    ]);
  });

  it('has written to the Modbus peer exactly what the guest asked for', async () => {
    expect(await peer?.modbus.writes()).toEqual([
      { wrote: 'holding', address: 20, values: [0xbeef] },
      { wrote: 'holding', address: 22, values: [0x0102, 0x0304] },
      // By the safe drive.
      { wrote: 'holding', address: 30, values: [0x5afe] },
      { wrote: 'holding', address: 32, values: [0x0506, 0x0708] },
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
      job: guestJob('strict.ts', ['i6300esb:heartbeat=2']),
      timeoutMs: BOOT_LIMIT_MS,
      kernelArguments: [],
      watchdogAction: 'poweroff',
    });
    report = await machine.finished;
    printTimes('boot without iomem=relaxed', report);
  }, BOOT_LIMIT_MS + 20_000);

  afterAll(async () => {
    await machine?.stop();
  });

  itReports(STRICT_TESTS, () => report);

  it('an unpetted watchdog bites and the machine goes off', () => {
    const events = report.events.map((event) => event.event);
    expect(events, story(report)).toContain('WATCHDOG');
    expect(report.end).toBe('powered-off');
    const marks = report.lines.map((entry) => entry.name);
    expect(marks).toContain('unpetted');
    expect(marks).not.toContain('watchdog-did-not-bite');
  });
});
