// The registry makes the right bus for every kind of description, and gives each device its own memory region.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { regionsOf } from '#drivers/bus/window-region';
import { openBus } from '#drivers/index';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { BusDescription } from '#model/board';
import type { Location } from '#model/bus';
import { type DeviceDescriptor, tokenOf } from '#model/device';
import type { RegisterSpec, WidthBits } from '#model/register';

function register(
  name: string,
  location: Location,
  widthBits: WidthBits = 32,
): DeviceDescriptor['registers'][number] {
  const spec: RegisterSpec = {
    name,
    widthBits,
    access: 'rw',
    volatile: true,
    precious: false,
    signed: false,
    unit: '',
    scale: 1,
    description: '',
    fields: [],
    limits: null,
    maxStep: null,
    reservedMask: 0n,
    readBackMask: 0n,
    selfClearingMask: 0n,
    settleUs: 0,
    safeValue: null,
    safeOrder: 0,
    riskFloor: 1,
  };
  return { spec, location };
}

function device(id: number, registers: DeviceDescriptor['registers']): DeviceDescriptor {
  return {
    id,
    token: tokenOf(id),
    name: `Device ${id}`,
    slug: `device-${id}`,
    group: 0,
    index: id,
    groupName: 'Group',
    busKind: 'memory',
    busId: 'memory-0',
    profile: 'test',
    baseRisk: 2,
    quarantined: false,
    clearanceMinimum: 0,
    compartments: [],
    registers,
    behaviour: {
      identify: [],
      observe: { registers: [], power: [], status: [] },
      operations: { reset: null, activate: null, deactivate: null, configure: null },
    },
  };
}

const at = (address: number): Location => ({ kind: 'memory', address });
const base = { id: 'memory-0', accessTimeoutMs: 100 };
const descriptions: readonly BusDescription[] = [
  { ...base, kind: 'memory', path: '/absent', origin: 0 },
  { ...base, kind: 'pci', match: { address: '0000:00:00.0' }, bar: 0, root: '/absent' },
  { ...base, kind: 'uio', match: { name: 'absent' }, map: 0, root: '/absent' },
  { ...base, kind: 'sysfs', root: '/absent' },
  { ...base, kind: 'i2c', adapter: { socket: '/absent' } },
  { ...base, kind: 'i2c', adapter: { name: 'absent adapter' } },
  {
    ...base,
    kind: 'serial',
    path: '/absent',
    baudRate: 9600,
    dataBits: 8,
    parity: 'none',
    stopBits: 1,
  },
  // Port 1 of the loopback has no server.
  { ...base, kind: 'modbus-tcp', host: '127.0.0.1', port: 1 },
];

describe('bus registry', () => {
  test.each(descriptions)(
    '%j becomes a bus that reports its absence and may be opened later',
    async (description) => {
      const bus = openBus(description, [device(0, [register('data', at(0))])], systemClock);
      expect([bus.id, bus.kind]).toEqual([description.id, description.kind]);
      const opened = await bus.open(Deadline.after(systemClock, 2_000));
      expect(opened).toMatchObject({ ok: false, fault: { code: 'BUS_ABSENT' } });
      await bus.close();
    },
  );

  test('a memory bus serves the registers of the devices on it, and only those', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'registry-'));
    try {
      const path = join(directory, 'registers');
      writeFileSync(path, Buffer.alloc(8192, 0));
      const own = device(0, [register('control', at(0x10)), register('data', at(0x20))]);
      const elsewhere = { ...device(1, [register('data', at(0x30))]), busId: 'memory-1' };
      const description = { ...base, kind: 'memory', path, origin: 0 } as const;
      const bus = openBus(description, [own, elsewhere], systemClock);
      const deadline = Deadline.after(systemClock, 2_000);
      expect((await bus.open(deadline)).ok).toBe(true);
      const cell = {
        device: 0,
        place: 'device-0.data',
        widthBits: 32,
        location: at(0x20),
      } as const;
      expect((await bus.write(cell, 0xabcdn, deadline)).ok).toBe(true);
      expect(await bus.read(cell, deadline)).toEqual({ ok: true, value: 0xabcdn });
      expect((await bus.read({ ...cell, device: 1, location: at(0x30) }, deadline)).ok).toBe(false);
      await bus.close();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('a region is the stated window, or reaches from the lowest register to the end of the highest', () => {
    const mixed = device(3, [
      register('high', at(0x1008), 64),
      register('low', at(0xffe), 16),
      register('text', { kind: 'sysfs', directory: 'leds:a', attribute: 'brightness' }),
    ]);
    const stated = {
      ...device(5, [register('low', at(0x2000))]),
      window: { address: 0x2000, length: 0x1000 },
    };
    expect(regionsOf([mixed, device(4, []), stated])).toEqual([
      { device: 3, place: 'device-3', address: 0xffc, length: 0x14 },
      { device: 5, place: 'device-5', address: 0x2000, length: 0x1000 },
    ]);
  });
});
