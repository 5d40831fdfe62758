// The units of systemd/ in the guest under Debian's systemd as its first process: what their text promises, tried.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle } from '../../scripts/bundle.ts';
import { type BootReport, RigMachine } from '../../scripts/rig/boot.ts';
import { UNIT_TESTS } from './expected.ts';
import { BOOT_LIMIT_MS, itReports, printTimes, story, systemdJob } from './guest-run.ts';
import { requireRig } from './requirement.ts';

/** Seven starts of a process of the agent on emulated processors, each several times longer on a busy host. */
const UNITS_LIMIT_MS = 8 * BOOT_LIMIT_MS;

const rig = requireRig();

describe.skipIf(!rig.met)("the units under Debian's systemd on Debian's kernel", () => {
  let machine: RigMachine | undefined;
  let report: BootReport;

  beforeAll(async () => {
    if (!rig.met) return;
    await bundle();
    machine = new RigMachine({
      rig: rig.value,
      job: systemdJob('units.ts', ['i2c-dev', 'i2c-stub:chip_addr=0x48,0x49', 'lm75', 'uio_cif']),
      timeoutMs: UNITS_LIMIT_MS,
      kernelArguments: ['iomem=relaxed', 'systemd.show_status=no'],
      watchdogAction: 'none',
    });
    report = await machine.finished;
    printTimes('the units', report);
  }, UNITS_LIMIT_MS + 60_000);

  afterAll(async () => {
    await machine?.stop();
  });

  itReports(UNIT_TESTS, () => report);

  it('ends by powering itself off', () => {
    expect(report.end, story(report)).toBe('powered-off');
    expect(report.lines.some(({ name }) => name.startsWith('done'))).toBe(true);
  });
});
