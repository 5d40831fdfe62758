// The agent's own bus drivers against the simulator on the default board: they meet only on the wire.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openBus } from '#drivers/index';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { Cell, RegisterBus } from '#model/bus';
import { registerOf } from '#model/device';
import { readable } from '#model/register';
import { type RunningSimulator, startSimulator } from './fixture.ts';

let simulator: RunningSimulator;
const buses = new Map<string, RegisterBus>();
const soon = (): Deadline => Deadline.after(systemClock, 2_000);

beforeAll(async () => {
  simulator = await startSimulator('drivers/profiles/boards/default.yaml');
  for (const description of simulator.board.buses) {
    const bus = openBus(description, simulator.board.devices, systemClock);
    expect(await bus.open(soon())).toEqual({ ok: true, value: undefined });
    buses.set(description.id, bus);
  }
});
afterAll(async () => {
  for (const bus of buses.values()) await bus.close();
  await simulator.stop();
});
afterEach(async () => {
  await simulator.control.clear();
});

function place(slug: string, register: string): { bus: RegisterBus; cell: Cell } {
  const device = simulator.board.devices.find((candidate) => candidate.slug === slug);
  const placed = device === undefined ? undefined : registerOf(device, register);
  const bus = device === undefined ? undefined : buses.get(device.busId);
  if (device === undefined || placed === undefined || bus === undefined) {
    throw new Error(`no ${slug}.${register}`);
  }
  const { widthBits, signed } = placed.spec;
  const { location } = placed;
  const cell = { device: device.id, place: `${slug}.${register}`, widthBits, signed, location };
  return { bus, cell };
}

const read = (slug: string, register: string): Promise<Outcome<bigint>> => {
  const { bus, cell } = place(slug, register);
  return bus.read(cell, soon());
};
const write = (slug: string, register: string, word: bigint): Promise<Outcome<void>> => {
  const { bus, cell } = place(slug, register);
  return bus.write(cell, word, soon());
};
const codeOf = (outcome: Outcome<unknown>): string => (outcome.ok ? 'ok' : outcome.fault.code);

/** One device of each kind of bus, and a register that may hold anything. */
const SAMPLES = ['tpm-control', 'fan-controller', 'credential-vault', 'remote-access'];

describe('the real drivers on the default board', () => {
  it('read every readable register of every device that is not quarantined', async () => {
    const failed: string[] = [];
    let count = 0;
    for (const device of simulator.board.devices) {
      if (device.quarantined) continue;
      for (const { spec } of device.registers.filter((placed) => readable(placed.spec))) {
        const outcome = await read(device.slug, spec.name);
        count += 1;
        if (!outcome.ok) failed.push(`${device.slug}.${spec.name} ${outcome.fault.finding}`);
      }
    }
    expect(failed).toEqual([]);
    expect(count).toBeGreaterThan(79 * 10);
  });

  it.each(SAMPLES)('write %s and read the same back, once and in the log', async (slug) => {
    await simulator.control.forget();
    expect(await write(slug, 'CONFIG', 0x1234_5678n)).toEqual({ ok: true, value: undefined });
    expect(await read(slug, 'CONFIG')).toEqual({ ok: true, value: 0x1234_5678n });
    expect(await simulator.control.log(slug)).toMatchObject([
      { register: 'CONFIG', value: '0x12345678', taken: true },
    ]);
  });

  it.each(SAMPLES)('see what a sensor of %s is set to', async (slug) => {
    await simulator.control.set(slug, 'THERMAL', '61500');
    expect(await read(slug, 'THERMAL')).toEqual({ ok: true, value: 61_500n });
  });

  it.each(SAMPLES)('find bits of %s stuck', async (slug) => {
    const stuck = { device: slug, register: 'DATA', kind: 'stuck-bits', mask: '1', value: '0' };
    await simulator.control.fault(stuck);
    expect(codeOf(await write(slug, 'DATA', 0x55n))).toBe('ok');
    // The models behind memory and sysfs react when they have noticed the write.
    await simulator.control.get(slug, 'DATA');
    expect(await read(slug, 'DATA')).toEqual({ ok: true, value: 0x54n });
  });

  it('name each fault as the catalogue does', async () => {
    const under = async (fault: Parameters<typeof simulator.control.fault>[0], slug: string) => {
      await simulator.control.fault(fault);
      const outcome = await read(slug, 'THERMAL');
      await simulator.control.clear();
      return codeOf(outcome);
    };
    const vault = { device: 'credential-vault' };
    const access = { device: 'remote-access' };
    const fan = { device: 'fan-controller' };
    expect(await under({ ...vault, kind: 'nack' }, 'credential-vault')).toBe('BUS_NO_ANSWER');
    expect(await under({ ...vault, kind: 'stuck' }, 'credential-vault')).toBe('BUS_TIMEOUT');
    expect(await under({ ...access, kind: 'bad-crc' }, 'remote-access')).toBe('BUS_CORRUPT');
    expect(await under({ ...access, kind: 'silent' }, 'remote-access')).toBe('BUS_TIMEOUT');
    expect(await under({ ...access, kind: 'exception', code: 4 }, 'remote-access')).toBe(
      'BUS_EXCEPTION',
    );
    expect(await under({ ...fan, kind: 'eio' }, 'fan-controller')).toBe('BUS_IO');
    expect(await under({ ...fan, kind: 'absent' }, 'fan-controller')).toBe('BUS_ABSENT');
    expect(await under({ ...fan, kind: 'garbage' }, 'fan-controller')).toBe('BUS_CORRUPT');
    expect(await under({ bus: 'memory', kind: 'truncate' }, 'tpm-control')).toBe(
      'BUS_ERROR_SIGNAL',
    );
    for (const slug of SAMPLES) expect(codeOf(await read(slug, 'THERMAL'))).toBe('ok');
  });

  it('never touch a quarantined device', async () => {
    const outcome = await read('data-destruction', 'STATUS');
    expect(codeOf(outcome)).toBe('DEVICE_QUARANTINED');
    expect((await simulator.control.canaries()).touched).toEqual([]);
  });
});
