import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { Cell } from '#model/bus';
import { UioBus, type UioDescription } from '../../../../drivers/bus/uio.ts';
import type { WindowRegion } from '../../../../drivers/bus/window-source.ts';
import { PAGE_BYTES } from '../../../../drivers/native/windows.ts';

const MAP_BYTES = 2 * PAGE_BYTES;
const IN_PAGE = 0x40;

let directory: string;
let root: string;
let devices: string;
let buses: UioBus[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'uio-'));
  root = join(directory, 'class');
  devices = join(directory, 'dev');
  mkdirSync(root);
  mkdirSync(devices);
  buses = [];
});

afterEach(async () => {
  for (const bus of buses) await bus.close();
  rmSync(directory, { recursive: true });
});

/** What sysfs and /dev show of a UIO device whose map 1 lies `IN_PAGE` bytes into its page. */
function addDevice(node: string, name: string): string {
  mkdirSync(join(root, node, 'maps'), { recursive: true });
  writeFileSync(join(root, node, 'name'), `${name}\n`);
  for (const [map, offset] of [0, IN_PAGE].entries()) {
    const attributes = join(root, node, 'maps', `map${map}`);
    mkdirSync(attributes);
    writeFileSync(join(attributes, 'addr'), '0x00000000fe000000\n');
    writeFileSync(join(attributes, 'offset'), `0x${offset.toString(16)}\n`);
    writeFileSync(join(attributes, 'size'), `0x${MAP_BYTES.toString(16)}\n`);
  }
  const path = join(devices, node);
  writeFileSync(path, Buffer.alloc(5 * PAGE_BYTES));
  return path;
}

function busOf(
  match: UioDescription['match'],
  map = 1,
  regions: readonly WindowRegion[] = [region(0, 0)],
): UioBus {
  const description = { id: 'fpga', kind: 'uio', match, map, root, accessTimeoutMs: 100 } as const;
  const bus = new UioBus(description, regions, devices);
  buses.push(bus);
  return bus;
}

function region(device: number, address: number, length = 64): WindowRegion {
  return { device, place: `device-${device}`, address, length };
}

function cell(device: number, address: number): Cell {
  const place = `device-${device}.r`;
  return { device, place, widthBits: 32, location: { kind: 'memory', address } };
}

const open = (bus: UioBus) => bus.open(Deadline.after(systemClock, 10_000));

function faultOf(outcome: Outcome<unknown>): { code: string; finding: string } {
  if (outcome.ok) throw new Error('expected a fault');
  return outcome.fault;
}

describe('a UIO bus', () => {
  it('finds its device by name and its registers behind page M and the offset within it', async () => {
    addDevice('uio0', 'other');
    const path = addDevice('uio3', 'fpga-regs');
    const far = PAGE_BYTES + 128;
    const bus = busOf({ name: 'fpga-regs' }, 1, [region(0, 0), region(1, far)]);
    expect(await open(bus)).toEqual({ ok: true, value: undefined });
    bus.writeNow(cell(0, 4), 11n);
    bus.writeNow(cell(1, far + 4), 22n);
    const bytes = readFileSync(path);
    expect(bytes.readUInt32LE(PAGE_BYTES + IN_PAGE + 4)).toBe(11);
    expect(bytes.readUInt32LE(PAGE_BYTES + IN_PAGE + far + 4)).toBe(22);
    expect(bus.readNow(cell(1, far + 4))).toEqual({ ok: true, value: 22n });
    expect(bus.kind).toBe('uio');
  });

  it('begins every mapping at page M, because the offset is how UIO selects the map', async () => {
    const path = addDevice('uio0', 'fpga');
    expect((await open(busOf({ name: 'fpga' }, 1, [region(0, PAGE_BYTES + 64)]))).ok).toBe(true);
    const offsets = readFileSync('/proc/self/maps', 'latin1')
      .split('\n')
      .filter((line) => line.endsWith(path))
      .map((line) => Number.parseInt(line.split(' ')[2] ?? '', 16));
    expect(offsets).toEqual([PAGE_BYTES]);
  });

  it('finds its device by a stable link to its node', async () => {
    const path = addDevice('uio7', 'fpga');
    const link = join(devices, 'fpga-link');
    symlinkSync('uio7', link);
    const bus = busOf({ path: link }, 0);
    expect((await open(bus)).ok).toBe(true);
    bus.writeNow(cell(0, 0), 5n);
    expect(readFileSync(path).readUInt32LE(0)).toBe(5);
  });

  it('refuses a window larger than the map, though the node goes on', async () => {
    addDevice('uio0', 'fpga');
    const found = faultOf(await open(busOf({ name: 'fpga' }, 0, [region(0, 0, MAP_BYTES + 4)])));
    expect(found.code).toBe('WINDOW_EXCEEDED');
    expect(found.finding).toContain(`4 bytes beyond map 0 of ${MAP_BYTES} bytes`);
  });

  it('says what is missing: the device, the only one, or the map', async () => {
    addDevice('uio0', 'fpga');
    const finding = async (bus: UioBus) => {
      const found = faultOf(await open(bus));
      expect(found.code).toBe('BUS_ABSENT');
      return found.finding;
    };
    expect(await finding(busOf({ name: 'dsp' }))).toContain('named dsp');
    expect(await finding(busOf({ path: join(devices, 'uio9') }))).toContain('not there');
    for (const map of [2, 5, -1]) {
      expect(await finding(busOf({ name: 'fpga' }, map))).toContain(`no map ${map}`);
    }
    addDevice('uio1', 'fpga');
    expect(await finding(busOf({ name: 'fpga' }))).toContain('2 UIO devices');
  });
});
