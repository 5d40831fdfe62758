import {
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock, VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { Cell } from '#model/bus';
import { tokenOf } from '#model/device';
import type { WidthBits } from '#model/register';
import { MemoryBus } from '../../../../drivers/bus/memory.ts';
import type { WindowRegion } from '../../../../drivers/bus/window-source.ts';

const ORIGIN = 0x6000_0000;
const WINDOW_BYTES = 0x1000;
const QUARANTINED = 9;

let directory: string;
let path: string;
let buses: MemoryBus[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'memory-'));
  path = join(directory, 'board');
  writeFileSync(path, Buffer.alloc(4 * WINDOW_BYTES));
  buses = [];
});

afterEach(async () => {
  for (const bus of buses) await bus.close();
  rmSync(directory, { recursive: true });
});

function region(device: number, changes: Partial<WindowRegion> = {}): WindowRegion {
  const address = ORIGIN + device * WINDOW_BYTES;
  return { device, place: `device-${device}`, address, length: WINDOW_BYTES, ...changes };
}

function cell(device: number, offset: number, widthBits: WidthBits = 32): Cell {
  const address = ORIGIN + device * WINDOW_BYTES + offset;
  const place = `device-${device}.r${offset}`;
  return { device, place, widthBits, location: { kind: 'memory', address } };
}

function busOf(regions: readonly WindowRegion[], file = path): MemoryBus {
  const description = { id: 'rig', kind: 'memory', path: file, origin: ORIGIN } as const;
  const bus = new MemoryBus({ ...description, accessTimeoutMs: 100 }, regions);
  buses.push(bus);
  return bus;
}

async function openBus(regions: readonly WindowRegion[]): Promise<MemoryBus> {
  const bus = busOf(regions);
  expect(await bus.open(soon())).toEqual({ ok: true, value: undefined });
  return bus;
}

function soon(): Deadline {
  return Deadline.after(systemClock, 10_000);
}

function codeOf(outcome: Outcome<unknown>): string {
  return outcome.ok ? 'none' : outcome.fault.code;
}

describe('a memory bus', () => {
  it('reads and writes the registers of each device at the address of the bus', async () => {
    const bus = await openBus([region(0), region(1)]);
    expect(await bus.write(cell(1, 4), 0xcafe_f00dn, soon())).toEqual({
      ok: true,
      value: undefined,
    });
    expect(bus.writeNow(cell(0, 8, 64), 0x0102_0304_0506_0708n).ok).toBe(true);
    expect(readFileSync(path).readUInt32LE(WINDOW_BYTES + 4)).toBe(0xcafe_f00d);
    expect(readFileSync(path).readBigUInt64LE(8)).toBe(0x0102_0304_0506_0708n);
    expect(await bus.read(cell(1, 4), soon())).toEqual({ ok: true, value: 0xcafe_f00dn });
    expect(bus.readNow(cell(0, 8, 64))).toEqual({ ok: true, value: 0x0102_0304_0506_0708n });
    expect(bus.counters()).toMatchObject({ reads: 2, writes: 2, otherFailures: 0 });
  });

  it('keeps a device inside its own window even when another device has the address', async () => {
    const bus = await openBus([region(0), region(1), region(2, { length: 16 })]);
    const stray = { ...cell(1, 0), device: 0 };
    expect(codeOf(bus.readNow(stray))).toBe('WINDOW_EXCEEDED');
    expect(codeOf(bus.writeNow(stray, 1n))).toBe('WINDOW_EXCEEDED');
    expect(codeOf(bus.readNow(cell(2, 16)))).toBe('WINDOW_EXCEEDED');
    expect(codeOf(bus.readNow(cell(2, 12, 64)))).toBe('WINDOW_EXCEEDED');
    expect(codeOf(bus.readNow(cell(3, 0)))).toBe('WINDOW_EXCEEDED');
    expect(codeOf(bus.readNow(cell(0, -4)))).toBe('WINDOW_EXCEEDED');
    expect(codeOf(bus.readNow(cell(0, 2)))).toBe('WINDOW_MISALIGNED');
    expect(codeOf(bus.readNow(cell(0, 0.5, 8)))).toBe('WINDOW_MISALIGNED');
    expect(codeOf(bus.writeNow(cell(0, 0, 8), 256n))).toBe('VALUE_TOO_WIDE');
    const elsewhere: Cell = {
      ...cell(0, 0),
      location: { kind: 'sysfs', directory: 'x', attribute: 'y' },
    };
    expect(codeOf(bus.readNow(elsewhere))).toBe('CONFIG_INVALID');
    expect(readFileSync(path).every((byte) => byte === 0)).toBe(true);
    expect(bus.counters()).toMatchObject({ reads: 0, writes: 0 });
  });

  it('neither maps nor touches a permanently quarantined device, though it is in the list', async () => {
    expect(tokenOf(QUARANTINED)).toBe(0x8009);
    writeFileSync(path, Buffer.alloc(12 * WINDOW_BYTES));
    const bus = await openBus([region(0), region(QUARANTINED)]);
    expect(codeOf(bus.readNow(cell(QUARANTINED, 0)))).toBe('DEVICE_QUARANTINED');
    expect(codeOf(bus.writeNow(cell(QUARANTINED, 0), 1n))).toBe('DEVICE_QUARANTINED');
    const maps = readFileSync('/proc/self/maps', 'latin1')
      .split('\n')
      .filter((line) => line.endsWith(path));
    const offsets = maps.map((line) => Number.parseInt(line.split(' ')[2] ?? '', 16));
    expect(offsets).toEqual([0]);
  });

  it('says which window reaches beyond the file and by how much, and serves the others', async () => {
    const bus = busOf([region(0), region(3, { length: WINDOW_BYTES + 32 })]);
    const opened = await bus.open(soon());
    expect(opened.ok || opened.fault).toMatchObject({
      code: 'WINDOW_EXCEEDED',
      place: 'device-3',
      finding: `the window of ${WINDOW_BYTES + 32} bytes ends 32 bytes beyond a file of ${4 * WINDOW_BYTES} bytes`,
    });
    expect([...bus.refusals().keys()]).toEqual([3]);
    expect(codeOf(bus.readNow(cell(3, 0)))).toBe('WINDOW_EXCEEDED');
    expect(bus.readNow(cell(0, 0)).ok).toBe(true);
  });

  it('refuses a window that is misaligned or starts before the file does', async () => {
    const early = busOf([region(0, { address: ORIGIN - 64 })]);
    expect(codeOf(await early.open(soon()))).toBe('WINDOW_EXCEEDED');
    const crooked = busOf([region(0, { address: ORIGIN + 2 })]);
    expect(codeOf(await crooked.open(soon()))).toBe('WINDOW_MISALIGNED');
  });

  it('is absent while its file is, before it is opened and after it is closed', async () => {
    const absent = busOf([region(0)], join(directory, 'later'));
    expect(codeOf(absent.readNow(cell(0, 0)))).toBe('BUS_ABSENT');
    expect(codeOf(await absent.open(soon()))).toBe('BUS_ABSENT');
    expect(codeOf(absent.readNow(cell(0, 0)))).toBe('BUS_ABSENT');
    writeFileSync(join(directory, 'later'), Buffer.alloc(WINDOW_BYTES, 1));
    expect((await absent.open(soon())).ok).toBe(true);
    expect(absent.readNow(cell(0, 0, 8))).toEqual({ ok: true, value: 1n });
    await absent.close();
    expect(codeOf(absent.readNow(cell(0, 0)))).toBe('BUS_ABSENT');
  });

  it('touches nothing once the deadline has passed', async () => {
    const bus = await openBus([region(0)]);
    const clock = new VirtualClock();
    const deadline = Deadline.after(clock, 0);
    expect(codeOf(await bus.write(cell(0, 0), 1n, deadline))).toBe('DEADLINE_EXCEEDED');
    expect(codeOf(await bus.read(cell(0, 0), deadline))).toBe('DEADLINE_EXCEEDED');
    const many = await bus.readMany([cell(0, 0), cell(0, 4)], deadline);
    expect(many.map(codeOf)).toEqual(['DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED']);
    expect(readFileSync(path).readUInt32LE(0)).toBe(0);
    expect(bus.counters()).toMatchObject({ reads: 0, writes: 0 });
  });
});

describe('a memory bus whose file is truncated', () => {
  it('gives a fault for the devices that are gone, leaves the others alone, and comes back on open', async () => {
    const bus = await openBus([region(0), region(1), region(2)]);
    truncateSync(path, 2 * WINDOW_BYTES);
    const cells = [cell(0, 0), cell(2, 0), cell(1, 0), cell(2, 4), cell(1, 4)];
    const many = await bus.readMany(cells, soon());
    expect(many.map(codeOf)).toEqual([
      'none',
      'BUS_ERROR_SIGNAL',
      'none',
      'BUS_ERROR_SIGNAL',
      'none',
    ]);
    expect(many[1]).toMatchObject({ fault: { place: 'device-2.r0', metal: 'untouched' } });
    expect(bus.writeNow(cell(2, 0), 1n)).toMatchObject({ fault: { metal: 'unknown' } });
    expect(bus.readNow(cell(0, 0)).ok).toBe(true);
    expect(bus.counters()).toMatchObject({ reads: 6, writes: 1, otherFailures: 3 });
    expect(codeOf(await bus.open(soon()))).toBe('WINDOW_EXCEEDED');
    expect(bus.readNow(cell(1, 0)).ok).toBe(true);
    truncateSync(path, 4 * WINDOW_BYTES);
    expect((await bus.open(soon())).ok).toBe(true);
    expect((await bus.readMany(cells, soon())).map(codeOf)).toEqual(cells.map(() => 'none'));
    expect(bus.counters().resynchronizations).toBe(1);
  });

  it('follows a file that was replaced by another when it is opened again', async () => {
    const bus = await openBus([region(0)]);
    const next = join(directory, 'next');
    writeFileSync(next, Buffer.alloc(4 * WINDOW_BYTES, 0x5a));
    renameSync(next, path);
    expect(bus.readNow(cell(0, 0, 8))).toEqual({ ok: true, value: 0n });
    expect((await bus.open(soon())).ok).toBe(true);
    expect(bus.readNow(cell(0, 0, 8))).toEqual({ ok: true, value: 0x5an });
  });
});

describe('reading many registers', () => {
  it('gives each cell what reading it alone gives, fault or word, and again from the same list', async () => {
    writeFileSync(
      path,
      Buffer.from(Array.from({ length: 4 * WINDOW_BYTES }, (_, index) => (index * 11 + 5) & 0xff)),
    );
    const bus = await openBus([region(0), region(1), region(2, { length: 64 })]);
    const cells = fc.array(
      fc.record({
        device: fc.nat({ max: 4 }),
        offset: fc.integer({ min: -8, max: 80 }),
        width: fc.constantFrom<WidthBits>(8, 16, 32, 64),
      }),
      { maxLength: 40 },
    );
    await fc.assert(
      fc.asyncProperty(cells, async (choices) => {
        const list = choices.map(({ device, offset, width }) => cell(device, offset, width));
        const single = list.map((each) => bus.readNow(each));
        expect(await bus.readMany(list, soon())).toEqual(single);
        expect(await bus.readMany(list, soon())).toEqual(single);
      }),
      { numRuns: 100 },
    );
  });

  it('reads anew each time, also after the list was changed or the bus opened again', async () => {
    const bus = await openBus([region(0), region(1)]);
    const list = [cell(0, 0), cell(1, 0)];
    const words = async () => (await bus.readMany(list, soon())).map((one) => one.ok && one.value);
    expect(await words()).toEqual([0n, 0n]);
    bus.writeNow(cell(1, 0), 7n);
    expect(await words()).toEqual([0n, 7n]);
    list.reverse();
    expect(await words()).toEqual([7n, 0n]);
    await bus.close();
    expect((await bus.readMany(list, soon())).map(codeOf)).toEqual(['BUS_ABSENT', 'BUS_ABSENT']);
    expect((await bus.open(soon())).ok).toBe(true);
    expect(await words()).toEqual([7n, 0n]);
    expect(await bus.readMany([], soon())).toEqual([]);
  });
});
