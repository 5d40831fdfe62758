// The safe drive in the guest, on real interfaces of the kernel's: one plan over all of them, and a look at the metal through
// the agent's own drivers or, for shared memory, by the host. Runs last: it leaves its values where the host looks for them.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { modbusRtuBus } from '#drivers/bus/modbus-rtu';
import { safeBusOf } from '#drivers/bus/safe-step';
import { systemClock } from '#foundation/clock';
import type { BusDescription } from '#model/board';
import type { Cell } from '#model/bus';
import type { DeviceDescriptor } from '#model/device';
import { planHead, planText } from '../../support/safe-drive.ts';
import { at, barAddress, cell, EDU, IVSHMEM, opened, read, write } from './access.ts';
import { attribute, BARE_CHIP, EEPROM, I801, i2cBus, on, STUB, sysfsBus } from './chips.ts';
import { check } from './report.ts';
import { physicalBus } from './windows.ts';

const PROGRAM = fileURLToPath(
  new URL('../../../drivers/native/build/dsmil-safe-drive', import.meta.url),
);
const PLAN = '/run/safe-drive.plan';
const SHARED_BYTES = 0x10_0000;
/** Of the driver; the program waits four times as long, for emulated processors are slow. */
const accessTimeoutMs = 400;

interface Order {
  readonly cell: Cell;
  readonly word: bigint;
  /** Of the bits that are read back; all of them when absent. */
  readonly mask?: bigint;
}

interface Part {
  readonly token: string;
  readonly bus: BusDescription;
  readonly window?: { readonly address: number; readonly length: number };
  readonly orders: readonly Order[];
}

const modbus = {
  id: 'serial',
  kind: 'serial',
  path: '/dev/ttyS1',
  baudRate: 115_200,
  dataBits: 8,
  parity: 'none',
  stopBits: 1,
  accessTimeoutMs,
} as const;
const holding = (address: number, widthBits: 16 | 32) =>
  cell({ kind: 'modbus', unit: 17, table: 'holding', address }, widthBits);
const adapter = (name: string): BusDescription => ({
  id: 'i2c',
  kind: 'i2c',
  adapter: { name },
  accessTimeoutMs,
});
const pci = (match: typeof EDU | typeof IVSHMEM, bar: number): BusDescription => ({
  id: 'pci',
  kind: 'pci',
  match,
  bar,
  root: '/sys/bus/pci/devices',
  accessTimeoutMs,
});
const uio: BusDescription = {
  id: 'uio',
  kind: 'uio',
  match: { name: 'CIF_???' },
  map: 1,
  root: '/sys/class/uio',
  accessTimeoutMs,
};
const physical: BusDescription = {
  id: 'physical',
  kind: 'memory',
  path: '/dev/mem',
  origin: 0,
  accessTimeoutMs,
};

/** The lines of each part by the agent's own encoders, as kernel leaves them. */
function planOf(parts: readonly Part[]): string {
  const buses: string[] = [];
  const steps: string[] = [];
  for (const [index, { token, bus, window, orders }] of parts.entries()) {
    const device = { id: 0, slug: 'part', busId: bus.id, window } as unknown as DeviceDescriptor;
    const placed = safeBusOf(bus, [device]);
    assert.ok(placed.ok, placed.ok ? '' : `${placed.fault.finding} [${placed.fault.internal}]`);
    buses.push(`bus ${index} ${placed.value.fields}`);
    for (const order of orders) {
      const mask = order.mask ?? (1n << BigInt(order.cell.widthBits)) - 1n;
      const step = placed.value.step({ ...order, mask, expected: order.word & mask });
      assert.ok(step.ok, step.ok ? '' : step.fault.finding);
      steps.push(`step ${token} part.r ${index} ${placed.value.timeoutMs} 0 ${step.value}`);
    }
  }
  return planText([planHead(), ...buses, 'stage 0', ...steps]);
}

interface Drove {
  readonly status: number | null;
  readonly lines: readonly string[];
}

function drive(parts: readonly Part[]): Drove {
  writeFileSync(PLAN, planOf(parts), { mode: 0o600 });
  const run = spawnSync(PROGRAM, [PLAN], { encoding: 'utf8', timeout: 30_000 });
  return { status: run.status, lines: run.stderr.trim().split('\n') };
}

/** Every device of the parts is safe, with each of its values read back. */
function allSafe(parts: readonly Part[]): string {
  const { status, lines } = drive(parts);
  const story = lines.join('\n');
  assert.equal(status, 0, story);
  for (const { token, orders } of parts) {
    const line = lines.find((text) => text.startsWith(`0x${token.toUpperCase()} safe: `)) ?? '';
    assert.equal(line.split(', read back ').length - 1, orders.length, story);
  }
  return lines.slice(0, -1).join(' | ');
}

export async function checkSafeDrive(): Promise<void> {
  const shared = barAddress(IVSHMEM.vendor, IVSHMEM.device, 2);
  const edu = barAddress(EDU.vendor, EDU.device, 0);
  await check(
    'the safe drive puts chips of i2c-stub and i2c-i801 into their safe state',
    async () => {
      const stub = await opened(i2cBus(STUB));
      const smbus = await opened(i2cBus(I801));
      const before = await read(smbus, on(EEPROM, 0x40, 'byte', 8));
      const chip: readonly Order[] = [
        { cell: on(BARE_CHIP, 0x20, 'byte', 8), word: 0x5an },
        { cell: on(BARE_CHIP, 0x21, 'word', 16), word: 0x1234n },
        { cell: on(BARE_CHIP, 0x22, 'word-swapped', 16), word: 0x5678n },
        { cell: on(BARE_CHIP, 0x30, 'raw', 32), word: 0xcafe_f00dn },
        { cell: on(BARE_CHIP, 0x38, 'raw', 64), word: 0x0102_0304_0506_0708n },
      ];
      const detail = allSafe([
        { token: '8020', bus: adapter(STUB), orders: chip },
        {
          token: '8021',
          bus: adapter(I801),
          orders: [{ cell: on(EEPROM, 0x40, 'byte', 8), word: before ^ 0xffn }],
        },
      ]);
      for (const order of chip) assert.equal(await read(stub, order.cell), order.word);
      assert.equal(await read(stub, on(BARE_CHIP, 0x21, 'byte', 8)), 0x34n);
      assert.equal(await read(stub, on(BARE_CHIP, 0x22, 'byte', 8)), 0x56n);
      assert.equal(await read(stub, on(BARE_CHIP, 0x30, 'byte', 8)), 0xcan);
      assert.equal(await read(smbus, on(EEPROM, 0x40, 'byte', 8)), before ^ 0xffn);
      await write(smbus, on(EEPROM, 0x40, 'byte', 8), before);
      await stub.close();
      await smbus.close();
      return detail;
    },
  );
  await check(
    'the safe drive names a chip that is claimed or not there, and drives the rest',
    async () => {
      const { status, lines } = drive([
        {
          token: '8020',
          bus: adapter(STUB),
          orders: [{ cell: on(0x48, 3, 'word-swapped', 16), word: 0n }],
        },
        {
          token: '8021',
          bus: adapter(I801),
          orders: [{ cell: on(0x33, 0, 'byte', 8), word: 0n }],
        },
        {
          token: '8022',
          bus: physical,
          window: { address: shared, length: SHARED_BYTES },
          orders: [{ cell: at(shared + 0x500), word: 0x5afe_0005n }],
        },
      ]);
      const story = lines.join('\n');
      assert.equal(status, 2, story);
      assert.match(lines[0] ?? '', /^0x8020 NOT KNOWN TO BE SAFE: .*the chip is not to be had/);
      assert.match(
        lines[1] ?? '',
        /^0x8021 NOT KNOWN TO BE SAFE: .*the chip did not take the write/,
      );
      assert.match(lines[2] ?? '', /^0x8022 safe: /);
      return story;
    },
  );
  await check(
    'the safe drive writes a PCI BAR, a UIO map and /dev/mem, and reads them back',
    async () => {
      const detail = allSafe([
        {
          token: '8023',
          bus: pci(IVSHMEM, 2),
          window: { address: 0, length: SHARED_BYTES },
          orders: [
            { cell: at(0x200, 8), word: 0x21n },
            { cell: at(0x202, 16), word: 0x4322n },
            { cell: at(0x204), word: 0x8765_4324n },
            { cell: at(0x208, 64), word: 0xfedc_ba98_7654_3210n },
          ],
        },
        {
          token: '8024',
          bus: uio,
          window: { address: 0, length: SHARED_BYTES },
          orders: [{ cell: at(0x300), word: 0x5afe_0003n }],
        },
        {
          token: '8025',
          bus: physical,
          window: { address: shared, length: SHARED_BYTES },
          orders: [{ cell: at(shared + 0x400), word: 0x5afe_0004n }],
        },
      ]);
      const seen = await opened(physicalBus(shared, SHARED_BYTES));
      assert.equal(await read(seen, at(shared + 0x208, 64)), 0xfedc_ba98_7654_3210n);
      assert.equal(await read(seen, at(shared + 0x300)), 0x5afe_0003n);
      await seen.close();
      return detail;
    },
  );
  await check(
    'the safe drive says what a register of edu shows that holds something else',
    async () => {
      // Liveness shows the complement of what was written; the DMA source keeps it.
      const { status, lines } = drive([
        {
          token: '8026',
          bus: pci(EDU, 0),
          window: { address: 0, length: 0x1000 },
          orders: [
            { cell: at(0x04), word: 0x0f0f_0f0fn },
            { cell: at(0x80, 64), word: 0x0123_4567_89ab_cdefn },
          ],
        },
      ]);
      const story = lines.join('\n');
      assert.equal(status, 1, story);
      assert.match(
        lines[0] ?? '',
        /differs: wrote 0x0F0F0F0F, read back 0xF0F0F0F0; part\.r: wrote 0x0123456789ABCDEF, read back 0x0123456789ABCDEF$/,
      );
      const metal = await opened(physicalBus(edu, 0x1000));
      assert.equal(await read(metal, at(edu + 0x80, 64)), 0x0123_4567_89ab_cdefn);
      await write(metal, at(edu + 0x80, 64), 0n);
      await metal.close();
      return story;
    },
  );
  await check(
    'the safe drive writes a limit of the lm75 driver and registers of a Modbus peer',
    async () => {
      const limit = attribute('hwmon:lm75', 'temp1_max');
      const sysfs = await opened(sysfsBus());
      const before = await read(sysfs, limit);
      const detail = allSafe([
        {
          token: '8030',
          bus: { id: 'sysfs', kind: 'sysfs', root: '/sys', accessTimeoutMs },
          orders: [{ cell: limit, word: 66_000n }],
        },
        {
          token: '8031',
          bus: modbus,
          orders: [
            { cell: holding(30, 16), word: 0x5afen },
            { cell: holding(32, 32), word: 0x0506_0708n },
          ],
        },
      ]);
      assert.equal(await read(sysfs, limit), 66_000n);
      await write(sysfs, limit, before);
      await sysfs.close();
      const line = await opened(modbusRtuBus({ ...modbus, accessTimeoutMs: 3_000 }, systemClock));
      assert.equal(await read(line, holding(30, 16)), 0x5afen);
      assert.equal(await read(line, holding(32, 32)), 0x0506_0708n);
      await line.close();
      assert.ok(existsSync(PLAN));
      return detail;
    },
  );
}
