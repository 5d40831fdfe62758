// I2C in the guest: SMBus EEPROMs behind i2c-i801, and i2c-stub with the kernel's lm75, jc42 and sbs-battery on it.

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { I2cBus } from '#drivers/bus/i2c';
import { findAdapter, I2C_DEVICES, KernelI2cAdapter } from '#drivers/bus/i2c-kernel';
import { SysfsBus } from '#drivers/bus/sysfs';
import { systemClock } from '#foundation/clock';
import type { Cell } from '#model/bus';
import type { WidthBits } from '#model/register';
import { cell, opened, read, refused, soon, until, write } from './access.ts';
import { check } from './report.ts';

export const EEPROM = 0x50;
export const LM75 = 0x48;
export const BARE_CHIP = 0x49;
export const JC42 = 0x18;
const BATTERY = 0x0b;
export const I801 = 'SMBus I801 adapter';
export const STUB = 'SMBus stub driver';

type Protocol = 'byte' | 'word' | 'word-swapped' | 'raw';

export function on(chip: number, command: number, protocol: Protocol, widthBits: WidthBits): Cell {
  return cell({ kind: 'i2c', chip, command, protocol }, widthBits);
}

export function attribute(directory: string, name: string, widthBits: WidthBits = 32): Cell {
  return cell({ kind: 'sysfs', directory, attribute: name }, widthBits);
}

export function i2cBus(name: string): I2cBus {
  const description = {
    id: 'i2c',
    kind: 'i2c',
    adapter: { name },
    accessTimeoutMs: 2_000,
  } as const;
  return new I2cBus(description, new KernelI2cAdapter({ name }), systemClock);
}

export function sysfsBus(): SysfsBus {
  return new SysfsBus(
    { id: 'sysfs', kind: 'sysfs', root: '/sys', accessTimeoutMs: 2_000 },
    systemClock,
  );
}

/** Lets a kernel driver take a chip of the stub and waits for what it makes of it. */
export async function bindChip(driver: string, chip: number, made: string): Promise<void> {
  const number = findAdapter(STUB, I2C_DEVICES);
  assert.ok(number.ok, 'no i2c-stub adapter');
  const adapter = `${I2C_DEVICES}/i2c-${number.value}`;
  const text = `0x${chip.toString(16).padStart(2, '0')}`;
  writeFileSync(`${adapter}/new_device`, `${driver} ${text}`);
  const client = `${I2C_DEVICES}/${number.value}-00${text.slice(2)}`;
  await until(`${driver} to make ${made}`, () =>
    existsSync(`${client}/${made}`) ? true : undefined,
  );
}

export async function checkSmbus(): Promise<void> {
  const bus = i2cBus(I801);
  await check('an SMBus EEPROM behind i2c-i801 keeps a byte', async () => {
    await opened(bus);
    const before = await read(bus, on(EEPROM, 0x10, 'byte', 8));
    await write(bus, on(EEPROM, 0x10, 'byte', 8), 0xa5n);
    assert.equal(await read(bus, on(EEPROM, 0x10, 'byte', 8)), 0xa5n);
    await write(bus, on(EEPROM, 0x10, 'byte', 8), before);
    assert.equal(await read(bus, on(EEPROM, 0x10, 'byte', 8)), before);
    return `0x${before.toString(16)} to 0xa5 and back`;
  });
  await check('an SMBus EEPROM takes a word low byte first, and swapped when asked', async () => {
    await write(bus, on(EEPROM, 0x20, 'word', 16), 0x1234n);
    assert.equal(await read(bus, on(EEPROM, 0x20, 'byte', 8)), 0x34n);
    assert.equal(await read(bus, on(EEPROM, 0x20, 'word-swapped', 16)), 0x3412n);
    return '0x1234 lies as 34 12';
  });
  // QEMU 7.2's i801 gives a wrong last byte for an I2C block read (2 bytes came as `ca e1`, 4 as `ca fe f0 00`,
  // and polled it times out), so what was written is read byte by byte; raw reads are tried on the stub.
  await check('a raw block written to an SMBus EEPROM lies there high byte first', async () => {
    await write(bus, on(EEPROM, 0x30, 'raw', 32), 0xcafe_f00dn);
    const bytes: bigint[] = [];
    for (let offset = 0; offset < 4; offset++) {
      bytes.push(await read(bus, on(EEPROM, 0x30 + offset, 'byte', 8)));
    }
    assert.deepEqual(bytes, [0xcan, 0xfen, 0xf0n, 0x0dn]);
    return '0xcafef00d lies as ca fe f0 0d';
  });
  await check('eight EEPROMs on one adapter are told apart', async () => {
    for (let chip = 0; chip < 8; chip++) {
      await write(bus, on(EEPROM + chip, 0x40, 'byte', 8), BigInt(chip * 3));
    }
    for (let chip = 0; chip < 8; chip++) {
      assert.equal(await read(bus, on(EEPROM + chip, 0x40, 'byte', 8)), BigInt(chip * 3));
    }
    return '0x50 to 0x57';
  });
  await check('a chip that is not there does not acknowledge', async () => {
    const outcome = await bus.read(on(0x30, 0, 'byte', 8), soon());
    const { finding } = refused(outcome, 'BUS_NO_ANSWER');
    assert.equal(await read(bus, on(EEPROM, 0x40, 'byte', 8)), 0n, 'the next chip answers');
    return finding;
  });
  await bus.close();
}

export async function checkSensors(): Promise<void> {
  const stub = i2cBus(STUB);
  const sysfs = sysfsBus();
  const temperature = attribute('hwmon:lm75', 'temp1_input');
  await check('the lm75 driver shows what the chip holds through hwmon', async () => {
    await opened(stub);
    await opened(sysfs);
    await write(stub, on(LM75, 0, 'word-swapped', 16), 0x1980n);
    await write(stub, on(LM75, 2, 'word-swapped', 16), 0x4b00n);
    await write(stub, on(LM75, 3, 'word-swapped', 16), 0x5000n);
    await bindChip('lm75', LM75, 'hwmon');
    assert.equal(await read(sysfs, temperature), 25_500n);
    return '25500 milli-degC';
  });
  await check('a limit written through hwmon is read back from the lm75 driver', async () => {
    const limit = attribute('hwmon:lm75', 'temp1_max');
    await write(sysfs, limit, 60_000n);
    assert.equal(await read(sysfs, limit), 60_000n);
    return '60000 milli-degC';
  });
  await check('a negative temperature limit passes through hwmon', async () => {
    const limit = attribute('hwmon:lm75', 'temp1_max_hyst');
    await write(sysfs, limit, BigInt.asUintN(32, -12_500n));
    assert.equal(BigInt.asIntN(32, await read(sysfs, limit)), -12_500n);
    return '-12500 milli-degC';
  });
  await check('a chip that a kernel driver has claimed is refused on raw I2C', async () => {
    // The kernel asks who owns a chip when a file is given its address, so files from before the driver still work.
    const later = await opened(i2cBus(STUB));
    const outcome = await later.write(on(LM75, 3, 'word-swapped', 16), 0n, soon());
    await later.close();
    const said = refused(outcome, 'BUS_PERMISSION');
    assert.equal(said.metal, 'untouched');
    return said.finding;
  });
  await check('a write to a read-only attribute changes nothing', async () => {
    const outcome = await sysfs.write(temperature, 1n, soon());
    assert.equal(outcome.ok, false);
    assert.equal(outcome.fault.metal, 'untouched');
    assert.equal(await read(sysfs, temperature), 25_500n);
    return `${outcome.fault.code}: ${outcome.fault.finding}`;
  });
  await check('a chip without a kernel driver is used through raw I2C', async () => {
    await write(stub, on(BARE_CHIP, 3, 'word-swapped', 16), 0x3c00n);
    assert.equal(await read(stub, on(BARE_CHIP, 3, 'word-swapped', 16)), 0x3c00n);
    assert.equal(await read(stub, on(BARE_CHIP, 3, 'word', 16)), 0x003cn);
    await write(stub, on(BARE_CHIP, 8, 'raw', 32), 0xcafe_f00dn);
    assert.equal(await read(stub, on(BARE_CHIP, 8, 'raw', 32)), 0xcafe_f00dn);
    assert.equal(await read(stub, on(BARE_CHIP, 8, 'byte', 8)), 0xcan);
    return 'word, swapped word and raw block';
  });
  await check('the jc42 driver shows what the chip holds through hwmon', async () => {
    await write(stub, on(JC42, 0, 'word-swapped', 16), 0x00ffn);
    await write(stub, on(JC42, 5, 'word-swapped', 16), 0x0190n);
    await write(stub, on(JC42, 6, 'word-swapped', 16), 0x104an);
    await write(stub, on(JC42, 7, 'word-swapped', 16), 0x0200n);
    await bindChip('jc42', JC42, 'hwmon');
    assert.equal(await read(sysfs, attribute('hwmon:jc42', 'temp1_input')), 25_000n);
    await write(sysfs, attribute('hwmon:jc42', 'temp1_crit'), 95_000n);
    assert.equal(await read(sysfs, attribute('hwmon:jc42', 'temp1_crit')), 95_000n);
    return '25000 milli-degC, critical 95000 milli-degC';
  });
  await check('the sbs-battery driver shows its charge through power_supply', async () => {
    // Smart Battery Data Specification 1.1: 0x0d relative charge, 0x09 voltage, 0x16 status, 0x1a information.
    const words: readonly (readonly [number, bigint])[] = [
      [0x03, 0n],
      [0x09, 12_000n],
      [0x0d, 83n],
      [0x16, 0x00c0n],
      [0x1a, 0x0031n],
    ];
    for (const [command, word] of words) await write(stub, on(BATTERY, command, 'word', 16), word);
    await bindChip('sbs-battery', BATTERY, 'power_supply');
    const name = `sbs-${adapterNumber()}-000b`;
    assert.equal(await read(sysfs, attribute(`power_supply:${name}`, 'capacity', 8)), 83n);
    assert.equal(await read(sysfs, attribute(`power_supply:${name}`, 'voltage_now')), 12_000_000n);
    return `${name} at 83 %, 12 V`;
  });
  await check('the machine clock tells the time through sysfs', async () => {
    const seconds = await read(sysfs, attribute('path:class/rtc/rtc0', 'since_epoch', 64));
    const differs = Math.abs(Number(seconds) - Date.now() / 1000);
    assert.ok(differs < 5, `differs from the system's time by ${differs} s`);
    return `${seconds} s`;
  });
  await check('a sysfs directory that is not there is an absent bus', async () => {
    const outcome = await sysfs.read(attribute('hwmon:tmp999', 'temp1_input'), soon());
    return refused(outcome, 'BUS_ABSENT').finding;
  });
  await stub.close();
  await sysfs.close();
}

function adapterNumber(): number {
  const number = findAdapter(STUB, I2C_DEVICES);
  return number.ok ? number.value : -1;
}
