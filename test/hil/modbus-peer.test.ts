// The Modbus drivers against Debian's python3-pymodbus: over a pseudo-terminal pair as RTU, and over TCP.

import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ModbusBus } from '#drivers/bus/modbus-bus';
import { modbusRtuBus } from '#drivers/bus/modbus-rtu';
import { modbusTcpBus } from '#drivers/bus/modbus-tcp';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeFault, type Fault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import type { Cell } from '#model/bus';
import type { WidthBits, Word } from '#model/register';
import { endProcess, ModbusPeer, startPseudoTerminals } from './peers/modbus-peer.ts';
import { requirePackages } from './requirement.ts';

type Table = 'holding' | 'input' | 'coil' | 'discrete';

const UNIT = 17;
const ACCESS_TIMEOUT_MS = 1_000;
const packages = requirePackages();

function cell(table: Table, address: number, widthBits: WidthBits = 16, unit = UNIT): Cell {
  const location = { kind: 'modbus', unit, table, address } as const;
  return { device: 0, place: `peer.${table}-${address}`, widthBits, location };
}

function soon(): Deadline {
  return Deadline.after(systemClock, 5_000);
}

function got<T>(outcome: Outcome<T> | undefined): T {
  if (outcome?.ok) return outcome.value;
  throw new Error(outcome === undefined ? 'no outcome' : describeFault(outcome.fault));
}

function faultOf(outcome: Outcome<unknown>): Fault {
  if (outcome.ok) throw new Error(`was not refused: ${String(outcome.value)}`);
  return outcome.fault;
}

interface Bench {
  readonly bus: ModbusBus;
  readonly peer: ModbusPeer;
}

/** What both transports must do alike; `bench` is looked up when a test runs. */
function itSpeaksModbus(bench: () => Bench): void {
  const read = async (place: Cell): Promise<Word> => got(await bench().bus.read(place, soon()));
  const write = async (place: Cell, word: Word): Promise<void> =>
    got(await bench().bus.write(place, word, soon()));

  it('reads a holding register, an input register, a coil and a discrete input', async () => {
    expect(await read(cell('holding', 5))).toBe(0x0505n);
    expect(await read(cell('input', 7))).toBe(0x8007n);
    expect(await read(cell('coil', 3, 8))).toBe(0n);
    expect(await read(cell('discrete', 3, 8))).toBe(1n);
    expect(await read(cell('discrete', 4, 8))).toBe(0n);
  });

  it('writes a holding register that the peer then holds', async () => {
    await write(cell('holding', 30), 0xbeefn);
    expect(await read(cell('holding', 30))).toBe(0xbeefn);
    expect(await bench().peer.writes()).toContainEqual({
      wrote: 'holding',
      address: 30,
      values: [0xbeef],
    });
  });

  it('writes a coil on and off', async () => {
    await write(cell('coil', 9, 8), 1n);
    expect(await read(cell('coil', 9, 8))).toBe(1n);
    await write(cell('coil', 9, 8), 0n);
    expect(await read(cell('coil', 9, 8))).toBe(0n);
    const coils = (await bench().peer.writes()).filter((entry) => entry.wrote === 'coil');
    expect(coils.map((entry) => entry.values[0])).toEqual([1, 0]);
  });

  it('carries a 32-bit value in two registers, the high one first, in one request', async () => {
    await write(cell('holding', 40, 32), 0x0102_0304n);
    expect((await bench().peer.writes()).at(-1)).toEqual({
      wrote: 'holding',
      address: 40,
      values: [0x0102, 0x0304],
    });
    expect(await read(cell('holding', 40, 32))).toBe(0x0102_0304n);
    expect(await read(cell('input', 2, 32))).toBe(0x8002_8003n);
  });

  it('carries a 64-bit value in four registers', async () => {
    await write(cell('holding', 44, 64), 0xfedc_ba98_7654_3210n);
    expect((await bench().peer.writes()).at(-1)?.values).toEqual([0xfedc, 0xba98, 0x7654, 0x3210]);
    expect(await read(cell('holding', 44, 64))).toBe(0xfedc_ba98_7654_3210n);
  });

  it('reads registers that lie together in one batch, in the order asked', async () => {
    const cells = [cell('holding', 12), cell('input', 1), cell('holding', 10, 32)];
    const outcomes = await bench().bus.readMany(cells, soon());
    expect(outcomes.map(got)).toEqual([0x0c0cn, 0x8001n, 0x0a0a_0b0bn]);
  });

  it('reports the exception of an address that the peer has not, and leaves neighbours alone', async () => {
    const beyond = faultOf(await bench().bus.read(cell('holding', 200), soon()));
    expect(beyond.code).toBe('BUS_EXCEPTION');
    expect(beyond.finding).toMatch(/illegal data address/i);
    const written = faultOf(await bench().bus.write(cell('holding', 200), 1n, soon()));
    expect(written.code).toBe('BUS_EXCEPTION');
    expect(written.metal).toBe('untouched');
    const outcomes = await bench().bus.readMany([cell('holding', 63), cell('holding', 64)], soon());
    expect(got(outcomes[0])).toBe(0x3f3fn);
    expect(outcomes[1]?.ok).toBe(false);
  });

  it('refuses to write an input register without a word on the line', async () => {
    const before = (await bench().peer.writes()).length;
    expect(faultOf(await bench().bus.write(cell('input', 1), 1n, soon())).code).toBe(
      'REGISTER_READ_ONLY',
    );
    expect((await bench().peer.writes()).length).toBe(before);
  });

  it('sees a change that the peer made by itself', async () => {
    await bench().peer.tell({ set: 'input', address: 20, values: [0x1111, 0x2222] });
    expect(await read(cell('input', 20, 32))).toBe(0x1111_2222n);
  });

  it('gives an unanswered write an unknown end, and the next request its own answer', async () => {
    await bench().peer.tell({ mute: 1 });
    const late = faultOf(await bench().bus.write(cell('holding', 50), 7n, soon()));
    expect(late.code === 'BUS_TIMEOUT' || late.code === 'BUS_NO_ANSWER').toBe(true);
    expect(late.metal).toBe('unknown');
    // The peer did take it: an unknown end is the only honest one.
    expect(await read(cell('holding', 50))).toBe(7n);
  });
}

describe.skipIf(!packages.met)('Modbus RTU with pymodbus on a pseudo-terminal', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dsmil-modbus-'));
  const [ours, theirs] = [join(directory, 'ours'), join(directory, 'theirs')];
  let line: ChildProcess;
  let bench: Bench;

  beforeAll(async () => {
    line = await startPseudoTerminals(ours, theirs);
    const peer = await ModbusPeer.start('--serial', theirs, '--unit', String(UNIT));
    const bus = modbusRtuBus(
      {
        id: 'serial',
        kind: 'serial',
        path: ours,
        baudRate: 115_200,
        dataBits: 8,
        parity: 'none',
        stopBits: 1,
        accessTimeoutMs: ACCESS_TIMEOUT_MS,
      },
      systemClock,
    );
    got(await bus.open(soon()));
    bench = { bus, peer };
  });

  afterAll(async () => {
    await bench?.bus.close();
    await bench?.peer.stop();
    if (line !== undefined) await endProcess(line);
    rmSync(directory, { recursive: true, force: true });
  });

  itSpeaksModbus(() => bench);

  it('throws away an answer with a wrong check sum, and the next one is right', async () => {
    await bench.peer.tell({ corrupt: 1 });
    const before = bench.bus.counters().corruptAnswers;
    const spoiled = faultOf(await bench.bus.read(cell('holding', 6), soon()));
    expect(spoiled.code).toBe('BUS_CORRUPT');
    expect(bench.bus.counters().corruptAnswers).toBeGreaterThan(before);
    expect(got(await bench.bus.read(cell('holding', 6), soon()))).toBe(0x0606n);
  });

  it('says that a unit which is not on the line does not answer', async () => {
    const silent = faultOf(await bench.bus.read(cell('holding', 1, 16, 99), soon()));
    expect(silent.code === 'BUS_TIMEOUT' || silent.code === 'BUS_NO_ANSWER').toBe(true);
    expect(got(await bench.bus.read(cell('holding', 1), soon()))).toBe(0x0101n);
  });
});

describe.skipIf(!packages.met)('Modbus TCP with pymodbus', () => {
  let bench: Bench;

  beforeAll(async () => {
    const peer = await ModbusPeer.start('--tcp', '0', '--unit', String(UNIT));
    const bus = modbusTcpBus(
      {
        id: 'tcp',
        kind: 'modbus-tcp',
        host: '127.0.0.1',
        port: Number(peer.ready),
        accessTimeoutMs: ACCESS_TIMEOUT_MS,
      },
      systemClock,
    );
    got(await bus.open(soon()));
    bench = { bus, peer };
  });

  afterAll(async () => {
    await bench?.bus.close();
    await bench?.peer.stop();
  });

  itSpeaksModbus(() => bench);

  it('says that the peer is gone when its process has ended', async () => {
    await bench.peer.stop();
    const gone = faultOf(await bench.bus.read(cell('holding', 1), soon()));
    expect(['BUS_ABSENT', 'BUS_STALE', 'BUS_NO_ANSWER', 'BUS_TIMEOUT']).toContain(gone.code);
  });
});
