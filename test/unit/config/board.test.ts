import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { checkBoard, loadBoard } from '#config/board';
import { FILE_BYTES_MAX } from '#config/yaml-document';
import type { Board } from '#model/board';
import { type DeviceDescriptor, formatToken, PERMANENT_QUARANTINE } from '#model/device';
import { riskName } from '#model/risk';

const ROOT = join(import.meta.dirname, '../../..');
const FIXTURES = join(ROOT, 'test/fixtures/boards');
const PROFILES = join(ROOT, 'drivers/profiles');
const DEFAULT_BOARD = join(PROFILES, 'boards/default.yaml');
const scratch = mkdtempSync(join(tmpdir(), 'board-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

function load(file: string, variables: Record<string, string>, profiles: string): Board {
  const { board, problems } = checkBoard(file, { variables, profileDirectories: [profiles] });
  if (board === undefined) throw new Error(JSON.stringify(problems));
  return board;
}

function deviceOf(board: Board, slug: string): DeviceDescriptor {
  const device = board.devices.find((candidate) => candidate.slug === slug);
  if (device === undefined) throw new Error(`no ${slug}`);
  return device;
}

/** The good board with these lines added, and these changes of single texts. */
function changed(added: string, ...changes: readonly (readonly [string, string])[]): Board {
  let text = readFileSync(join(FIXTURES, 'good.yaml'), 'utf8');
  for (const [from, to] of changes) {
    if (!text.includes(from)) throw new Error(`${from} is not in the good board`);
    text = text.replace(from, to);
  }
  const file = join(scratch, 'changed.yaml');
  writeFileSync(file, `${text}${added}`);
  return load(file, { ROOT: '/r' }, join(FIXTURES, 'profiles'));
}

describe('the stop of a board', () => {
  test('has neither inputs nor stages unless the file says so', () => {
    for (const board of [changed(''), load(DEFAULT_BOARD, { SIMULATOR: '/run/sim' }, PROFILES)]) {
      expect(board.stopInputs).toBeUndefined();
      expect(board.devices.every(({ stopStage }) => stopStage === undefined)).toBe(true);
    }
  });

  test('takes its inputs from conditions on registers, by name, token or id', () => {
    const board = changed(
      `
stopInputs:
  - { name: button, device: first-of-all, register: control, healthy: { bits: 3, value: 1 } }
  - { name: door, device: 0x8001, register: wide, healthy: { mask: 0xFF00, minimum: 0x100 }, periodMs: 50 }
  - { name: lid, device: 14, register: value, healthy: { maximum: 7 } }
`,
      ['name: First,', 'name: First Of All,'],
      ['risk: LOW, quarantined: yes', 'risk: LOW'],
    );
    expect(board.stopInputs).toEqual([
      {
        name: 'button',
        device: 0,
        healthy: { register: 'control', mask: 8n, minimum: 8n, maximum: 8n },
        periodMs: 100,
      },
      {
        name: 'door',
        device: 1,
        healthy: { register: 'wide', mask: 0xff00n, minimum: 0x100n, maximum: 0xff00n },
        periodMs: 50,
      },
      {
        name: 'lid',
        device: 14,
        healthy: { register: 'value', mask: 0xffff_ffffn, minimum: 0n, maximum: 7n },
        periodMs: 100,
      },
    ]);
  });

  test('takes the stage of each device', () => {
    const board = changed('', ['name: Card,', 'name: Card, stopStage: 3,']);
    expect(deviceOf(board, 'card').stopStage).toBe(3);
    expect(deviceOf(board, 'shared').stopStage).toBeUndefined();
  });
});

describe('the default board', () => {
  const board = load(DEFAULT_BOARD, { SIMULATOR: '/run/sim' }, PROFILES);

  test('is the list of devices that the default board is defined by', () => {
    const [, ...lines] = readFileSync(join(FIXTURES, 'default-devices.csv'), 'utf8')
      .trim()
      .split('\n');
    const found = board.devices.map((device) =>
      [
        formatToken(device.id),
        device.name,
        device.busKind,
        riskName(device.baseRisk),
        device.quarantined ? 'yes' : 'no',
      ].join(','),
    );
    expect(found).toEqual(lines);
    expect(found).toHaveLength(84);
  });

  test('has 60 devices in windows, 8 on sysfs, 8 on I2C and 4 on each of two serial lines', () => {
    const count = new Map<string, number>();
    for (const { busId } of board.devices) count.set(busId, (count.get(busId) ?? 0) + 1);
    expect(Object.fromEntries(count)).toEqual({
      memory: 60,
      sysfs: 8,
      'i2c-0': 8,
      'serial-0': 4,
      'serial-1': 4,
    });
  });

  test('quarantines exactly the five tokens that are quarantined for good', () => {
    const quarantined = board.devices.filter((device) => device.quarantined);
    expect(new Set(quarantined.map(({ token }) => token))).toEqual(PERMANENT_QUARANTINE);
  });

  test('puts each memory device at its own 4 KiB window and the standard offsets in it', () => {
    for (const device of board.devices.filter(({ busKind }) => busKind === 'memory')) {
      const address = 0x60000000 + device.group * 0x10000 + device.index * 0x1000;
      expect(device.window).toEqual({ address, length: 0x1000 });
      const offsets = device.registers.map(({ spec, location }) => [
        spec.name,
        location.kind === 'memory' ? location.address - address : -1,
        spec.widthBits,
        spec.access,
      ]);
      expect(offsets).toEqual([
        ['CONTROL', 0x00, 32, 'rw'],
        ['STATUS', 0x04, 32, 'ro'],
        ['CONFIG', 0x08, 32, 'rw'],
        ['DATA', 0x0c, 32, 'rw'],
        ['INTERRUPT', 0x10, 32, 'w1c'],
        ['ERROR', 0x14, 32, 'rc'],
        ['DEBUG', 0x18, 32, 'rw'],
        ['SAFETY', 0x1c, 32, 'rw'],
        ['THERMAL', 0x20, 32, 'ro'],
        ['POWER', 0x24, 32, 'ro'],
      ]);
    }
  });

  test('gives the same logical registers to the devices of every bus', () => {
    for (const device of board.devices) {
      const names = device.registers.map(({ spec }) => spec.name);
      expect(names, device.slug).toEqual(
        expect.arrayContaining([
          'CONTROL',
          'STATUS',
          'CONFIG',
          'DATA',
          'INTERRUPT',
          'ERROR',
          'DEBUG',
          'SAFETY',
          'THERMAL',
          'POWER',
        ]),
      );
    }
  });

  test('stops the fan at full speed before anything else and turns every other enable bit off', () => {
    for (const device of board.devices) {
      const control = device.registers.find(({ spec }) => spec.name === 'CONTROL');
      expect(control?.spec.safeValue, device.slug).toBe(0n);
    }
    const safe = deviceOf(board, 'fan-controller')
      .registers.filter(({ spec }) => spec.safeValue !== null)
      .sort((left, right) => left.spec.safeOrder - right.spec.safeOrder)
      .map(({ spec }) => [spec.name, spec.safeValue]);
    expect(safe).toEqual([
      ['duty', 255n],
      ['CONTROL', 0n],
    ]);
  });

  test('has its buses under the directory of the variable', () => {
    expect(board.buses.map((bus) => [bus.id, bus.kind, bus.accessTimeoutMs])).toEqual([
      ['memory', 'memory', 50],
      ['sysfs', 'sysfs', 500],
      ['i2c-0', 'i2c', 200],
      ['serial-0', 'serial', 300],
      ['serial-1', 'serial', 300],
    ]);
    expect(board.buses[2]).toEqual({
      id: 'i2c-0',
      kind: 'i2c',
      accessTimeoutMs: 200,
      adapter: { socket: '/run/sim/i2c.sock' },
    });
    expect(board.buses[3]).toMatchObject({
      path: '/run/sim/serial-0',
      baudRate: 115200,
      parity: 'none',
    });
  });
});

describe('a board with every kind of bus', () => {
  const board = load(join(FIXTURES, 'good.yaml'), { ROOT: '/r' }, join(FIXTURES, 'profiles'));

  test('lists its devices by linear id, whatever their order in the file', () => {
    expect(board.devices.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4, 5, 6, 9, 14]);
    expect(deviceOf(board, 'last-one')).toMatchObject({
      token: 0x8012,
      groupName: 'One',
      index: 2,
    });
  });

  test('fills in the defaults of each bus', () => {
    expect(Object.fromEntries(board.buses.map((bus) => [bus.id, bus]))).toEqual({
      memory: {
        id: 'memory',
        kind: 'memory',
        path: '/r/memory',
        origin: 0x60000000,
        accessTimeoutMs: 50,
      },
      card: {
        id: 'card',
        kind: 'pci',
        match: { vendor: 0x1234, device: 0x11e8 },
        bar: 0,
        root: '/sys/bus/pci/devices',
        accessTimeoutMs: 50,
      },
      uio: {
        id: 'uio',
        kind: 'uio',
        match: { name: 'shared' },
        map: 0,
        root: '/sys/class/uio',
        accessTimeoutMs: 50,
      },
      sysfs: { id: 'sysfs', kind: 'sysfs', root: '/sys', accessTimeoutMs: 500 },
      'i2c-0': { id: 'i2c-0', kind: 'i2c', adapter: { name: 'SMBus I801' }, accessTimeoutMs: 200 },
      line: {
        id: 'line',
        kind: 'serial',
        path: '/dev/serial/by-id/usb-0',
        baudRate: 19200,
        dataBits: 8,
        parity: 'even',
        stopBits: 1,
        accessTimeoutMs: 300,
      },
      plant: {
        id: 'plant',
        kind: 'modbus-tcp',
        host: '127.0.0.1',
        port: 1502,
        accessTimeoutMs: 250,
      },
    });
  });

  test('places registers by window, directory, chip and unit', () => {
    const places = (slug: string) =>
      deviceOf(board, slug).registers.map(({ location }) => location);
    expect(places('shared')).toEqual([
      { kind: 'memory', address: 0x40 },
      { kind: 'memory', address: 0x48 },
    ]);
    expect(places('fan-2')).toEqual([
      { kind: 'sysfs', directory: 'hwmon:nct6775@platform-2592', attribute: 'pwm2' },
      { kind: 'sysfs', directory: 'path:class/fan', attribute: 'fan1_input' },
    ]);
    expect(places('chip')).toEqual([{ kind: 'i2c', chip: 0x48, command: 0, protocol: 'word' }]);
    expect(places('last-one')).toEqual([
      { kind: 'modbus', unit: 7, table: 'holding', address: 100 },
      { kind: 'modbus', unit: 7, table: 'coil', address: 100 },
    ]);
  });

  test('quarantines what the file says and the permanent token about which it says nothing', () => {
    const quarantined = board.devices.filter((device) => device.quarantined);
    expect(quarantined.map(({ slug }) => slug)).toEqual(['first', 'sealed']);
  });

  test('takes clearance and compartments from the file', () => {
    expect(deviceOf(board, 'fan-2')).toMatchObject({
      clearanceMinimum: 3,
      compartments: ['CRYPTO', 'MAINT'],
    });
    expect(deviceOf(board, 'chip')).toMatchObject({ clearanceMinimum: 0, compartments: [] });
  });
});

describe('loading', () => {
  const options = { variables: { ROOT: '/r' }, profileDirectories: [join(FIXTURES, 'profiles')] };

  test('refuses with the first problem by place and keeps the paths of this machine inside', () => {
    const outcome = loadBoard(join(FIXTURES, 'bad/several.yaml'), options);
    expect(outcome).toMatchObject({
      ok: false,
      fault: {
        code: 'CONFIG_INVALID',
        place: 'several.yaml:7:24',
        consequence: 'the file is not used',
      },
    });
    const shown = outcome.ok ? '' : outcome.fault.finding;
    expect(shown).toMatch(/^buses\[3\]\.kind: must be one of .* \(and 3 more problems\)$/);
    expect(outcome.ok ? '' : outcome.fault.internal).toContain(
      join(FIXTURES, 'bad/several.yaml:9:12'),
    );
  });

  test('refuses a file above 1 MiB without reading it, and takes one of exactly 1 MiB', () => {
    const text = readFileSync(join(FIXTURES, 'good.yaml'), 'utf8');
    const file = join(scratch, 'large.yaml');
    writeFileSync(file, `${text}#${'x'.repeat(FILE_BYTES_MAX - text.length - 1)}`);
    expect(checkBoard(file, options).problems).toEqual([]);
    writeFileSync(file, `${text}#${'x'.repeat(FILE_BYTES_MAX - text.length)}`);
    expect(checkBoard(file, options).problems).toMatchObject([
      { line: 1, column: 1, finding: 'is too large: 1048577 bytes, at most 1048576 are read' },
    ]);
  });

  test('refuses what is no file, no text, or not there', () => {
    const binary = join(scratch, 'binary.yaml');
    writeFileSync(binary, Buffer.from([0x66, 0xff, 0xfe]));
    const finding = (file: string) => checkBoard(file, options).problems[0]?.finding;
    expect(finding(scratch)).toBe('is not a regular file');
    expect(finding('/dev/zero')).toBe('is not a regular file');
    expect(finding(binary)).toBe('is not UTF-8 text');
    expect(finding(join(scratch, 'absent.yaml'))).toMatch(/^cannot be read \(ENOENT/);
  });

  test('refuses nesting that would exhaust the stack', () => {
    const file = join(scratch, 'deep.yaml');
    writeFileSync(file, '['.repeat(400_000));
    expect(checkBoard(file, options).problems.length).toBeGreaterThan(0);
  });

  test('reports a broken profile once, in its own file, however many devices use it', () => {
    const file = join(scratch, 'broken.yaml');
    const profile = join(scratch, 'broken-profile.yaml');
    writeFileSync(profile, 'format: 1\nid: broken-profile\n');
    const device = (token: string, name: string, window: number) =>
      `  - { token: ${token}, name: ${name}, bus: m, profile: broken-profile, at: { window: ${window} }, risk: LOW }\n`;
    writeFileSync(
      file,
      `format: 1\nname: b\nbuses: [{ id: m, kind: memory, path: /dev/mem }]\ndevices:\n${device('0x8000', 'One', 0)}${device('0x8001', 'Two', 4096)}`,
    );
    const { problems } = checkBoard(file, { profileDirectories: [scratch] });
    expect(problems.map((problem) => [problem.file, problem.line, problem.finding])).toEqual([
      [profile, 1, 'version is missing'],
      [profile, 1, 'description is missing'],
      [profile, 1, 'bus is missing'],
    ]);
  });

  test('gives a digest that changes with the board file and with a profile in use, and with nothing else', () => {
    const directory = mkdtempSync(join(scratch, 'digest-'));
    const copy = (name: string, from: string, change = '') =>
      writeFileSync(join(directory, name), readFileSync(from, 'utf8') + change);
    for (const name of ['block', 'chip', 'unit', 'fan', 'everything']) {
      copy(`${name}.yaml`, join(FIXTURES, `profiles/${name}.yaml`));
    }
    copy('board.yaml', join(FIXTURES, 'good.yaml'));
    const digest = (root: string) =>
      load(join(directory, 'board.yaml'), { ROOT: root }, directory).digest;
    const first = digest('/r');
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect(digest('/elsewhere')).toBe(first);
    copy('everything.yaml', join(FIXTURES, 'profiles/everything.yaml'), '# not in use\n');
    expect(digest('/r')).toBe(first);
    copy('fan.yaml', join(FIXTURES, 'profiles/fan.yaml'), '# in use\n');
    const second = digest('/r');
    expect(second).not.toBe(first);
    copy('board.yaml', join(FIXTURES, 'good.yaml'), '# changed\n');
    expect(digest('/r')).not.toBe(second);
  });
});
