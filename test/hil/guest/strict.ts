// What a stricter kernel refuses: ranges of its own drivers without iomem=relaxed, and everything under lockdown.
// Ends by leaving the watchdog unpetted, so that the host sees it bite.

import assert from 'node:assert/strict';
import { openSync, writeFileSync } from 'node:fs';
import { at, barAddress, EDU, opened, read, refused, soon, WATCHDOG } from './access.ts';
import { check, inGuest, mark } from './report.ts';
import { eduBus, physicalBus, watchdogBar } from './windows.ts';

/** The timeout that the module's `heartbeat` parameter sets; WDIOC_SETTIMEOUT would need ioctl(2). */
const BITE_AFTER_S = 2;

await inGuest(async () => {
  mark('node');
  await check('a BAR without a driver is open without iomem=relaxed', async () => {
    const edu = await opened(eduBus());
    const identification = await read(edu, at(0));
    const physical = await opened(physicalBus(barAddress(EDU.vendor, EDU.device, 0), 0x1000));
    await edu.close();
    await physical.close();
    return `identification 0x${identification.toString(16)}`;
  });
  await check('the BAR of a kernel driver is refused with its owner', async () => {
    const { finding } = refused(await watchdogBar().open(soon()), 'BUS_PERMISSION');
    assert.match(finding, /owns the range/);
    return finding;
  });
  await check(
    'the range of a kernel driver through /dev/mem is refused with its owner',
    async () => {
      const address = barAddress(WATCHDOG.vendor, WATCHDOG.device, 0);
      const outcome = await physicalBus(address, 16).open(soon());
      const { finding } = refused(outcome, 'BUS_PERMISSION');
      assert.match(finding, /owns the range/);
      return finding;
    },
  );
  await check('kernel lockdown is named where it closes a BAR and /dev/mem', async () => {
    writeFileSync('/sys/kernel/security/lockdown', 'integrity');
    const bar = refused(await eduBus().open(soon()), 'BUS_PERMISSION');
    assert.match(bar.finding, /lockdown \(integrity\)/);
    const address = barAddress(EDU.vendor, EDU.device, 0);
    const physical = refused(await physicalBus(address, 0x1000).open(soon()), 'BUS_PERMISSION');
    assert.match(physical.finding, /lockdown \(integrity\)/);
    return bar.finding;
  });
  openSync('/dev/watchdog0', 'w');
  mark('unpetted');
  setTimeout(() => mark('watchdog-did-not-bite'), BITE_AFTER_S * 10_000);
});
