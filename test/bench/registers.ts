// Register reads over a mapped file and sysfs reads, beside C doing the same in the same run.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryBus } from '#drivers/bus/memory';
import { SysfsBus } from '#drivers/bus/sysfs';
import { RegisterWindow, WindowBatch } from '#drivers/native/windows';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Cell } from '#model/bus';
import { measureLimit } from './limits.ts';
import { type BenchRow, percentiles, rowOf } from './row.ts';

const ROUNDS = 2_000;
const PER_ROUND = 1_000;
const WINDOW_BYTES = 4_096;

export async function benchRegisters(): Promise<readonly BenchRow[]> {
  const directory = mkdtempSync(join(tmpdir(), 'dsmil-bench-'));
  try {
    const file = join(directory, 'memory');
    writeFileSync(file, Buffer.alloc(WINDOW_BYTES, 0x5a));
    return [...(await windowRows(file)), await sysfsRow(directory)];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function windowRows(file: string): Promise<readonly BenchRow[]> {
  const beside = {
    name: 'C loop of volatile loads',
    ...measureLimit('load', file, ROUNDS, PER_ROUND),
  };
  const mapped = RegisterWindow.map({
    place: 'bench',
    source: { path: file },
    offset: 0,
    length: WINDOW_BYTES,
    access: 'read-write',
  });
  if (!mapped.ok) throw new Error(mapped.fault.finding);
  const window = mapped.value;
  const single = rounds(ROUNDS, PER_ROUND, (index) => window.read((index & 1023) << 2, 32));
  const cells = Array.from({ length: PER_ROUND }, (_, index) => ({
    window,
    offset: (index & 1023) << 2,
    widthBits: 32 as const,
  }));
  const batch = new WindowBatch(cells);
  const words = new Uint32Array(PER_ROUND);
  const batched: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startNs = process.hrtime.bigint();
    const stop = batch.read(words);
    batched.push(Number(process.hrtime.bigint() - startNs) / PER_ROUND);
    if (stop !== undefined) throw new Error('the batch stopped');
  }
  window.close();
  return [
    rowOf({
      name: 'batched register read, each',
      bus: 'memory',
      unit: 'ns',
      n: ROUNDS * PER_ROUND,
      figure: percentiles(batched),
      beside,
      goal: { text: '<= 3 ns', reached: (row) => row.p50 <= 3 },
    }),
    rowOf({
      name: 'single checked register read',
      bus: 'memory',
      unit: 'ns',
      n: ROUNDS * PER_ROUND,
      figure: percentiles(single),
      beside,
      goal: { text: '<= 100 ns', reached: (row) => row.p50 <= 100 },
    }),
    rowOf({
      name: 'single read through the bus, outcome and word',
      bus: 'memory',
      unit: 'ns',
      n: ROUNDS * 100,
      figure: percentiles(await busRounds(file)),
      beside,
    }),
  ];
}

async function busRounds(file: string): Promise<number[]> {
  const region = { device: 0, place: 'bench', address: 0, length: WINDOW_BYTES };
  const bus = new MemoryBus(
    { id: 'bench', kind: 'memory', path: file, origin: 0, accessTimeoutMs: 10 },
    [region],
  );
  await bus.open(Deadline.after(systemClock, 1_000));
  const cells: Cell[] = Array.from({ length: 1_024 }, (_, index) => ({
    device: 0,
    place: 'bench.register',
    widthBits: 32,
    location: { kind: 'memory', address: index << 2 },
  }));
  const samples = rounds(ROUNDS, 100, (index) => {
    const cell = cells[index & 1023];
    if (cell === undefined || !bus.readNow(cell).ok) throw new Error('the read failed');
  });
  await bus.close();
  return samples;
}

async function sysfsRow(directory: string): Promise<BenchRow> {
  const hwmon = join(directory, 'sys/class/hwmon/hwmon0');
  mkdirSync(hwmon, { recursive: true });
  writeFileSync(join(hwmon, 'name'), 'bench\n');
  writeFileSync(join(hwmon, 'temp1_input'), '45000\n');
  const beside = {
    name: 'C pread',
    ...measureLimit('pread', join(hwmon, 'temp1_input'), 20_000, 1),
  };
  const bus = new SysfsBus(
    { id: 'bench', kind: 'sysfs', root: join(directory, 'sys'), accessTimeoutMs: 100 },
    systemClock,
  );
  const deadline = Deadline.after(systemClock, 60_000);
  await bus.open(deadline);
  const cell: Cell = {
    device: 0,
    place: 'bench.temp1_input',
    widthBits: 32,
    location: { kind: 'sysfs', directory: 'hwmon:bench', attribute: 'temp1_input' },
  };
  const samples: number[] = [];
  for (let index = 0; index < 22_000; index++) {
    const startNs = process.hrtime.bigint();
    const word = await bus.read(cell, deadline);
    const endNs = process.hrtime.bigint();
    if (!word.ok) throw new Error(word.fault.finding);
    if (index >= 2_000) samples.push(Number(endNs - startNs) / 1_000);
  }
  await bus.close();
  return rowOf({
    name: 'sysfs attribute read, outcome and word',
    bus: 'sysfs',
    unit: 'us',
    n: samples.length,
    figure: percentiles(samples),
    beside: {
      name: beside.name,
      p50: beside.p50 / 1_000,
      p95: beside.p95 / 1_000,
      p99: beside.p99 / 1_000,
    },
    goal: { text: '<= 3 us', reached: (row) => row.p50 <= 3 },
  });
}

/** Mean nanoseconds of one call in each round, after two rounds of warming up. */
function rounds(count: number, perRound: number, call: (index: number) => unknown): number[] {
  const samples: number[] = [];
  for (let round = -20; round < count; round++) {
    const startNs = process.hrtime.bigint();
    for (let index = 0; index < perRound; index++) call(index);
    if (round >= 0) samples.push(Number(process.hrtime.bigint() - startNs) / perRound);
  }
  return samples;
}
