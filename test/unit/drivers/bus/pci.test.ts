import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { Cell } from '#model/bus';
import { PciBus, type PciDescription } from '../../../../drivers/bus/pci.ts';

const PAGE = 4096;
const MEMORY = '0x0000000000040200';
const PORTS = '0x0000000000040101';
const NONE = '0x0000000000000000 0x0000000000000000 0x0000000000000000';

let root: string;
let buses: PciBus[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'pci-'));
  buses = [];
});

afterEach(async () => {
  for (const bus of buses) await bus.close();
  rmSync(root, { recursive: true });
});

/** What sysfs shows of a function with one memory BAR, one port BAR and nothing else. */
function addFunction(
  address: string,
  ids: { vendor: number; device: number },
  start = 0xfe00_0000,
): string {
  const directory = join(root, address);
  const hex = (value: number, digits: number) => `0x${value.toString(16).padStart(digits, '0')}`;
  mkdirSync(directory);
  writeFileSync(join(directory, 'vendor'), `${hex(ids.vendor, 4)}\n`);
  writeFileSync(join(directory, 'device'), `${hex(ids.device, 4)}\n`);
  writeFileSync(join(directory, 'enable'), '0\n');
  const bar = `${hex(start, 16)} ${hex(start + 2 * PAGE - 1, 16)} ${MEMORY}`;
  const ports = `${hex(0xc000, 16)} ${hex(0xc01f, 16)} ${PORTS}`;
  writeFileSync(
    join(directory, 'resource'),
    `${[bar, ports, ...Array(11).fill(NONE)].join('\n')}\n`,
  );
  writeFileSync(join(directory, 'resource0'), Buffer.alloc(3 * PAGE));
  return directory;
}

function busOf(match: PciDescription['match'], bar = 0, length = 2 * PAGE): PciBus {
  const description = { id: 'edu', kind: 'pci', match, bar, root, accessTimeoutMs: 100 } as const;
  const bus = new PciBus(description, [{ device: 0, place: 'edu', address: 0, length }]);
  buses.push(bus);
  return bus;
}

function cell(address: number): Cell {
  const place = `edu.r${address}`;
  return { device: 0, place, widthBits: 32, location: { kind: 'memory', address } };
}

const open = (bus: PciBus) => bus.open(Deadline.after(systemClock, 10_000));

function faultOf(outcome: Outcome<unknown>): { code: string; finding: string } {
  if (outcome.ok) throw new Error('expected a fault');
  return outcome.fault;
}

describe('a PCI bus', () => {
  it('finds its function by ids, enables it, and serves the BAR by offset', async () => {
    addFunction('0000:00:03.0', { vendor: 0x8086, device: 0x1234 });
    const directory = addFunction('0000:00:04.0', { vendor: 0x1234, device: 0x11e8 });
    const bus = busOf({ vendor: 0x1234, device: 0x11e8 });
    expect(await open(bus)).toEqual({ ok: true, value: undefined });
    expect(readFileSync(join(directory, 'enable'), 'latin1')).toMatch(/^1/);
    expect(bus.writeNow(cell(PAGE + 8), 0xdead_beefn).ok).toBe(true);
    expect(readFileSync(join(directory, 'resource0')).readUInt32LE(PAGE + 8)).toBe(0xdead_beef);
    expect(bus.readNow(cell(PAGE + 8))).toEqual({ ok: true, value: 0xdead_beefn });
    expect(bus.kind).toBe('pci');
  });

  it('finds its function by address and leaves an enabled one as it is', async () => {
    const directory = addFunction('0000:00:1f.3', { vendor: 1, device: 2 });
    writeFileSync(join(directory, 'enable'), '2\n');
    expect((await open(busOf({ address: '0000:00:1F.3' }))).ok).toBe(true);
    expect(readFileSync(join(directory, 'enable'), 'latin1')).toBe('2\n');
  });

  it('places a small BAR where its address lies within a page', async () => {
    const directory = addFunction('0000:00:04.0', { vendor: 1, device: 2 }, 0xfe00_0200);
    const bus = busOf({ vendor: 1, device: 2 }, 0, 32);
    expect((await open(bus)).ok).toBe(true);
    bus.writeNow(cell(4), 77n);
    expect(readFileSync(join(directory, 'resource0')).readUInt32LE(0x204)).toBe(77);
  });

  it('refuses a window larger than the BAR, though the file goes on', async () => {
    addFunction('0000:00:04.0', { vendor: 1, device: 2 });
    const found = faultOf(await open(busOf({ vendor: 1, device: 2 }, 0, 2 * PAGE + 4)));
    expect(found).toMatchObject({ code: 'WINDOW_EXCEEDED' });
    expect(found.finding).toContain('4 bytes beyond BAR 0 of 8192 bytes');
  });

  it('says what is missing: the function, the only one, the BAR or its memory', async () => {
    addFunction('0000:00:04.0', { vendor: 1, device: 2 });
    const finding = async (bus: PciBus) => {
      const found = faultOf(await open(bus));
      expect(found.code).toBe('BUS_ABSENT');
      return found.finding;
    };
    expect(await finding(busOf({ vendor: 1, device: 3 }))).toContain('ids 0001:0003');
    expect(await finding(busOf({ address: '0000:00:05.0' }))).toContain('no such window');
    expect(await finding(busOf({ address: '../../0000:00:04.0' }))).toContain('of the form');
    expect(await finding(busOf({ vendor: 1, device: 2 }, 1))).toContain('I/O port range');
    for (const bar of [2, 6, -1, 100]) {
      expect(await finding(busOf({ vendor: 1, device: 2 }, bar))).toContain(`no BAR ${bar}`);
    }
    addFunction('0000:00:05.0', { vendor: 1, device: 2 });
    expect(await finding(busOf({ vendor: 1, device: 2 }))).toContain('2 PCI functions');
  });
});
