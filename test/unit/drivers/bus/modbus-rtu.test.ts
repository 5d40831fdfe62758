// Modbus RTU over a real pseudo-terminal pair, against a peer that answers late, wrong, in pieces or not at all.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ModbusBus } from '#drivers/bus/modbus-bus';
import { modbusRtuBus, type RtuOptions } from '#drivers/bus/modbus-rtu';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { Cell, Location } from '#model/bus';
import type { WidthBits } from '#model/register';
import { ModbusUnits, RtuPeer, TtyPair, until, withCrc } from '../../../support/modbus-peer.ts';

type Table = Extract<Location, { kind: 'modbus' }>['table'];

let directory = '';
let pair: TtyPair;
let peer: RtuPeer;
let units: ModbusUnits;
let bus: ModbusBus;
const soon = () => Deadline.after(systemClock, 8_000);
/** Long enough for a busy machine to answer within, short enough to wait for. */
const ACCESS_MS = 300;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'rtu-'));
  pair = new TtyPair(directory);
  await pair.appear();
  units = new ModbusUnits([1, 2]);
  peer = new RtuPeer(units);
  await peer.serve(pair.far);
  bus = busWith({});
  expect(await bus.open(soon())).toEqual({ ok: true, value: undefined });
});
afterEach(async () => {
  await bus.close();
  await peer.close();
  await pair.vanish();
  rmSync(directory, { recursive: true });
});

function busWith(options: RtuOptions): ModbusBus {
  return modbusRtuBus(
    {
      id: 'serial-0',
      kind: 'serial',
      path: pair.near,
      baudRate: 19_200,
      dataBits: 8,
      parity: 'none',
      stopBits: 1,
      accessTimeoutMs: ACCESS_MS,
    },
    systemClock,
    options,
  );
}

function cell(
  address: number,
  unit = 1,
  widthBits: WidthBits = 16,
  table: Table = 'holding',
): Cell {
  return {
    device: 73,
    place: `engine.r${address}`,
    widthBits,
    location: { kind: 'modbus', unit, table, address },
  };
}

function faultOf(outcome: Outcome<unknown>) {
  if (outcome.ok) throw new Error(`expected a fault, got ${String(outcome.value)}`);
  return outcome.fault;
}

function set(unit: number, address: number, value: number): void {
  const registers = units.registers.get(unit);
  if (registers !== undefined) registers[address] = value;
}

const reads = (address: number, value: bigint, unit = 1) =>
  bus
    .read(cell(address, unit), soon())
    .then((outcome) => expect(outcome).toEqual({ ok: true, value }));

describe('Modbus RTU', () => {
  test('every table and width is read and written as the profile says', async () => {
    await bus.write(cell(10), 0x1234n, soon());
    await bus.write(cell(11, 1, 32), 0xdeadbeefn, soon());
    await bus.write(cell(13, 1, 64), 0x0102030405060708n, soon());
    await bus.write(cell(3, 1, 8, 'coil'), 1n, soon());
    expect([...(units.registers.get(1) ?? []).slice(10, 17)]).toEqual([
      0x1234, 0xdead, 0xbeef, 0x0102, 0x0304, 0x0506, 0x0708,
    ]);
    const words = await bus.readMany(
      [
        cell(13, 1, 64),
        cell(11, 1, 32),
        cell(10, 1, 16, 'input'),
        cell(3, 1, 8, 'coil'),
        cell(2, 1, 8, 'discrete'),
      ],
      soon(),
    );
    expect(words.map((outcome) => (outcome.ok ? outcome.value : outcome.fault))).toEqual([
      0x0102030405060708n,
      0xdeadbeefn,
      0x1234n,
      1n,
      0n,
    ]);
  });

  test('adjacent registers share one request, and each is asked alone when one of them does not exist', async () => {
    for (let at = 0; at < 6; at++) set(1, at, 100 + at);
    const cells = [3, 0, 1, 2, 5].map((at) => cell(at));
    const outcomes = await bus.readMany(cells, soon());
    expect(outcomes.map((outcome) => outcome.ok && outcome.value)).toEqual([
      103n,
      100n,
      101n,
      102n,
      105n,
    ]);
    expect(units.requests).toEqual(['1:0300000004', '1:0300050001']);
    units.holes.add(2);
    const again = await bus.readMany(cells, soon());
    expect(again.map((outcome) => (outcome.ok ? outcome.value : outcome.fault.code))).toEqual([
      103n,
      100n,
      101n,
      'BUS_EXCEPTION',
      105n,
    ]);
  });

  test('an exception is named in words and leaves the metal untouched', async () => {
    units.holes.add(7);
    expect(faultOf(await bus.write(cell(7), 1n, soon()))).toMatchObject({
      code: 'BUS_EXCEPTION',
      place: 'engine.r7',
      finding: 'the unit answered exception 2, illegal data address',
      metal: 'untouched',
    });
  });

  test('an absent unit times out and its neighbour answers right after', async () => {
    set(2, 0, 5);
    const fault = faultOf(await bus.write(cell(0, 9), 1n, soon()));
    expect(fault).toMatchObject({
      code: 'BUS_TIMEOUT',
      finding: 'unit 9 did not answer',
      metal: 'unknown',
    });
    await reads(0, 5n, 2);
    expect(bus.counters()).toMatchObject({ timeouts: 1, resynchronizations: 1 });
  });

  test('a wrong CRC is thrown away, and the next answer counts', async () => {
    set(1, 0, 42);
    units.tricks.push((usual, send) => {
      const broken = Buffer.from(usual);
      broken[3] = (broken[3] ?? 0) ^ 1;
      send(broken);
    });
    const fault = faultOf(await bus.read(cell(0), soon()));
    expect(fault.code).toBe('BUS_CORRUPT');
    expect(fault.finding).toMatch(/^CRC 0x[0-9A-F]{4} received, 0x[0-9A-F]{4} computed$/);
    await reads(0, 42n);
  });

  test('another unit’s answer is never taken, and the right one still is', async () => {
    set(1, 0, 42);
    units.tricks.push((usual, send) => {
      const foreign = Buffer.from(usual.subarray(0, -2));
      foreign[0] = 2;
      foreign[4] = 99;
      send(withCrc(foreign));
      setTimeout(() => send(usual), 20);
    });
    await reads(0, 42n);
    expect(bus.counters().strayAnswers).toBe(1);
  });

  test('an answer in two halves is one answer', async () => {
    set(1, 0, 42);
    units.tricks.push((usual, send) => {
      send(usual.subarray(0, 3));
      setTimeout(() => send(usual.subarray(3)), 60);
    });
    await reads(0, 42n);
  });

  test('half an answer is no answer', async () => {
    units.tricks.push((usual, send) => send(usual.subarray(0, 4)));
    const fault = faultOf(await bus.read(cell(0), soon()));
    expect(fault).toMatchObject({
      code: 'BUS_CORRUPT',
      finding: 'only 4 bytes of an answer came from unit 1',
    });
    await reads(0, 0n);
  });

  test('noise and then silence is ignored; noise that touches the answer spoils it', async () => {
    set(1, 0, 42);
    units.tricks.push((usual, send) => {
      send(Buffer.from([0x00, 0xff, 0x7e]));
      setTimeout(() => send(usual), 120);
    });
    await reads(0, 42n);
    units.tricks.push((usual, send) =>
      send(Buffer.concat([Buffer.from([0x00, 0xff, 0x7e]), usual])),
    );
    const fault = faultOf(await bus.read(cell(0), soon()));
    expect(fault.finding).toMatch(/^no answer from unit 1, only noise: \d+ bytes$/);
    await reads(0, 42n);
  });

  test('a late answer is never taken for the next request’s', async () => {
    set(1, 0, 111);
    set(1, 1, 222);
    units.tricks.push((usual, send) => setTimeout(() => send(usual), ACCESS_MS + 150));
    expect(faultOf(await bus.read(cell(0), soon())).code).toBe('BUS_TIMEOUT');
    // Same unit, function and length: only holding back can tell the two answers apart.
    await reads(1, 222n);
    expect(bus.counters()).toMatchObject({ timeouts: 1, strayAnswers: 1 });
  });

  test('a request that cannot be mistaken for the late one does not wait for it', async () => {
    bus = await reopened({ lateWindowMs: 60_000 });
    set(2, 0, 7);
    units.tricks.push(() => {});
    expect(faultOf(await bus.read(cell(0), soon())).code).toBe('BUS_TIMEOUT');
    await reads(0, 7n, 2);
    const held = faultOf(await bus.read(cell(0), Deadline.after(systemClock, 200)));
    expect(held).toMatchObject({
      code: 'BUS_TIMEOUT',
      finding: "unit 1 still owes an answer that could be mistaken for this one's",
    });
    expect(units.requests).toHaveLength(2);
    peer.babble(withCrc(Buffer.from('0103020001', 'hex')));
    await until(() => bus.counters().strayAnswers === 1);
    await reads(0, 0n);
  });

  test('a late answer glued to the next unit’s answer is cut off and thrown away', async () => {
    set(1, 0, 111);
    set(2, 0, 222);
    let late: Buffer = Buffer.alloc(0);
    units.tricks.push((usual) => {
      late = usual;
    });
    expect(faultOf(await bus.read(cell(0), soon())).code).toBe('BUS_TIMEOUT');
    units.tricks.push((usual, send) => send(Buffer.concat([late, usual])));
    await reads(0, 222n, 2);
    expect(bus.counters().strayAnswers).toBe(1);
  });

  test('a write without an answer says that the metal is unknown', async () => {
    units.tricks.push(() => {});
    expect(faultOf(await bus.write(cell(4), 9n, soon()))).toMatchObject({
      code: 'BUS_TIMEOUT',
      metal: 'unknown',
    });
    expect(units.registers.get(1)?.[4]).toBe(9);
  });

  test('a tty that vanishes is reported at once, and comes back', async () => {
    bus = await reopened({ reopenIntervalMs: 50 });
    await reads(0, 0n);
    units.tricks.push(() => void pair.vanish());
    const during = faultOf(await bus.write(cell(0), 1n, soon()));
    expect(during).toMatchObject({ code: 'BUS_STALE', metal: 'unknown' });
    const away = faultOf(await bus.read(cell(0), soon()));
    expect(away).toMatchObject({ code: 'BUS_ABSENT', metal: 'untouched' });
    expect(faultOf(await bus.open(soon())).code).toBe('BUS_ABSENT');
    await pair.vanish();
    await pair.appear();
    await peer.serve(pair.far);
    set(1, 0, 77);
    await expect
      .poll(async () => (await bus.read(cell(0), soon())).ok, { timeout: 5_000 })
      .toBe(true);
    await reads(0, 77n);
  });

  test('callers that come together are served one after another', async () => {
    for (let at = 0; at < 8; at++) set(1, at, at + 1);
    const outcomes = await Promise.all(
      [0, 1, 2, 3, 4, 5, 6, 7].map((at) => bus.read(cell(at), soon())),
    );
    expect(outcomes.map((outcome) => outcome.ok && outcome.value)).toEqual([
      1n,
      2n,
      3n,
      4n,
      5n,
      6n,
      7n,
      8n,
    ]);
  });

  test('what no request can carry is refused before the line is used', async () => {
    const refused = [
      await bus.read(cell(0, 0), soon()),
      await bus.read(cell(0, 248), soon()),
      await bus.read(cell(0xffff, 1, 32), soon()),
      await bus.write(cell(0), 0x10000n, soon()),
      await bus.write(cell(0, 1, 8, 'coil'), 2n, soon()),
      await bus.write(cell(0, 1, 16, 'input'), 2n, soon()),
      await bus.write({ ...cell(0), device: 9 }, 2n, soon()),
    ].map((outcome) => faultOf(outcome).code);
    expect(refused).toEqual([
      'CONFIG_INVALID',
      'CONFIG_INVALID',
      'CONFIG_INVALID',
      'VALUE_TOO_WIDE',
      'VALUE_OUT_OF_LIMITS',
      'REGISTER_READ_ONLY',
      'DEVICE_QUARANTINED',
    ]);
    expect(units.requests).toEqual([]);
  });
});

async function reopened(options: RtuOptions): Promise<ModbusBus> {
  await bus.close();
  const other = busWith(options);
  expect((await other.open(soon())).ok).toBe(true);
  return other;
}

// Debian's own interpreter: another python3 first in PATH would not see Debian's packages.
const PYTHON = '/usr/bin/python3';
const probe = spawnSync(PYTHON, ['-c', 'import pymodbus.server, serial']);
const pymodbus = probe.status === 0;
if (!pymodbus)
  console.log(
    `skipped: pymodbus cannot be imported by ${PYTHON} (apt-get install python3-pymodbus python3-serial)`,
  );

describe.skipIf(!pymodbus)('Modbus RTU against pymodbus', () => {
  test('reads, writes, merges and gets exceptions from a server that nobody here wrote', async () => {
    await peer.close();
    const script = join(import.meta.dirname, '../../../support/pymodbus-server.py');
    const server = spawn(PYTHON, [script, pair.far], { stdio: ['ignore', 'inherit', 'inherit'] });
    const ended = new Promise((resolve) => server.once('exit', resolve));
    try {
      await expect
        .poll(async () => (await bus.read(cell(0), soon())).ok, { timeout: 15_000 })
        .toBe(true);
      const outcomes = await bus.readMany(
        [
          cell(0),
          cell(1),
          cell(2, 2),
          cell(5, 1, 16, 'input'),
          cell(1, 1, 8, 'coil'),
          cell(1, 1, 8, 'discrete'),
        ],
        soon(),
      );
      expect(outcomes.map((outcome) => (outcome.ok ? outcome.value : outcome.fault))).toEqual([
        100n,
        101n,
        102n,
        505n,
        1n,
        0n,
      ]);
      expect(await bus.write(cell(20, 2, 32), 0xcafebaben, soon())).toEqual({
        ok: true,
        value: undefined,
      });
      expect(await bus.read(cell(20, 2, 32), soon())).toEqual({ ok: true, value: 0xcafebaben });
      expect(await bus.write(cell(30), 0xabcdn, soon())).toEqual({ ok: true, value: undefined });
      expect(await bus.read(cell(30), soon())).toEqual({ ok: true, value: 0xabcdn });
      expect(await bus.write(cell(4, 1, 8, 'coil'), 1n, soon())).toEqual({
        ok: true,
        value: undefined,
      });
      expect(await bus.read(cell(4, 1, 8, 'coil'), soon())).toEqual({ ok: true, value: 1n });
      expect(faultOf(await bus.read(cell(5_000), soon())).finding).toBe(
        'the unit answered exception 2, illegal data address',
      );
    } finally {
      server.kill('SIGKILL');
      await ended;
    }
  });
});
