// The agent's own drivers on QEMU's hardware under Debian's kernel, booted with iomem=relaxed.

import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { modbusRtuBus } from '#drivers/bus/modbus-rtu';
import { systemClock } from '#foundation/clock';
import { cell, opened, read, refused, soon, write } from './access.ts';
import { attribute, checkSensors, checkSmbus, sysfsBus } from './chips.ts';
import { check, inGuest, mark } from './report.ts';
import { checkSafeDrive } from './safe-drive.ts';
import { checkRelaxed, checkUio, checkWindows } from './windows.ts';

async function checkSerialLine(): Promise<void> {
  const bus = modbusRtuBus(
    {
      id: 'serial',
      kind: 'serial',
      path: '/dev/ttyS1',
      baudRate: 115_200,
      dataBits: 8,
      parity: 'none',
      stopBits: 1,
      accessTimeoutMs: 3_000,
    },
    systemClock,
  );
  const holding = (address: number, widthBits: 16 | 32 = 16, unit = 17) =>
    cell({ kind: 'modbus', unit, table: 'holding', address }, widthBits);
  await check('a second serial port reads Modbus registers of a peer on the host', async () => {
    await opened(bus);
    assert.equal(await read(bus, holding(3)), 0x0303n);
    assert.equal(await read(bus, holding(4, 32)), 0x0404_0505n);
    return 'holding 3 is 0x0303, holding 4 and 5 are 0x04040505';
  });
  await check('a second serial port writes Modbus registers of a peer on the host', async () => {
    await write(bus, holding(20), 0xbeefn);
    await write(bus, holding(22, 32), 0x0102_0304n);
    assert.equal(await read(bus, holding(20)), 0xbeefn);
    assert.equal(await read(bus, holding(22, 32)), 0x0102_0304n);
    return 'holding 20 is 0xbeef, holding 22 and 23 are 0x01020304';
  });
  await check('a Modbus peer that refuses an address is not asked again', async () => {
    const outcome = await bus.read(holding(200), soon());
    return refused(outcome, 'BUS_EXCEPTION').finding;
  });
  await bus.close();
}

function textOf(path: string): string {
  return readFileSync(path, 'utf8').trim();
}

/** watchdog-api.rst of the Linux kernel: open starts it, any write pets it, `V` before close stops it. */
async function checkWatchdog(): Promise<void> {
  const sysfs = await opened(sysfsBus());
  const directory = '/sys/class/watchdog/watchdog0';
  await check('the i6300esb watchdog runs while open and rests after the magic close', async () => {
    assert.match(textOf(`${directory}/identity`), /i6300ESB/i);
    assert.equal(textOf(`${directory}/state`), 'inactive');
    const device = openSync('/dev/watchdog0', 'w');
    assert.equal(textOf(`${directory}/state`), 'active');
    writeSync(device, '\n');
    assert.equal(await read(sysfs, attribute('path:class/watchdog/watchdog0', 'timeout')), 30n);
    writeSync(device, 'V');
    closeSync(device);
    assert.equal(textOf(`${directory}/state`), 'inactive');
    return 'timeout 30 s, stopped by V';
  });
  await sysfs.close();
}

await inGuest(async () => {
  mark('node');
  await checkWindows();
  await checkRelaxed();
  await checkSmbus();
  await checkSensors();
  await checkSerialLine();
  await checkWatchdog();
  await checkUio();
  await checkSafeDrive();
  mark('done');
});
