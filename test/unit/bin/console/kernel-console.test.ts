// Kernel's console on the kernel bench: what may be read, what is remembered, and until when.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ACCESSES_MAX, CONSOLE_REGISTERS_MAX } from '#link/kernel-console';
import { KernelConsole } from '../../../../src/bin/console/kernel-console.ts';
import {
  codeOf,
  FORBIDDEN,
  KernelBench,
  must,
  OFFSET,
  PUMP,
  VALVE,
} from '../../../support/kernel-bench.ts';

const ROOT = 'uid 0 pid 7';

let bench: KernelBench;
let supervised: boolean;
let console: KernelConsole;

beforeEach(async () => {
  bench = await KernelBench.open();
  supervised = false;
  console = new KernelConsole({
    clock: bench.clock,
    track: bench.track,
    access: bench.access,
    interlock: bench.interlock,
    life: 'life-1',
    supervised: () => supervised,
  });
});
afterEach(() => bench.close());

const read = (device: number, registers: readonly string[] = []) =>
  bench.run(console.portOf(ROOT).read({ device, registers }, bench.deadline()));

describe('a read at the console', () => {
  it('gives words from the metal', async () => {
    bench.poke(PUMP, OFFSET.DATA, 0x77);
    expect(must(await read(PUMP, ['DATA']))).toEqual([
      { device: PUMP, register: 'DATA', widthBits: 32, value: 0x77n },
    ]);
  });

  it('without names leaves out what is precious, cleared by reading, or cannot be read', async () => {
    const names = must(await read(PUMP)).map(({ register }) => register);
    expect(names).toEqual(['CONTROL', 'STATUS', 'CONFIG', 'DATA', 'PENDING', 'SETPOINT']);
    expect(names.length).toBeLessThanOrEqual(CONSOLE_REGISTERS_MAX);
  });

  it.each([
    ['a register whose reading has an effect', PUMP, ['DATA', 'ERROR'], 'UNSUPERVISED'],
    ['one that can only be written', PUMP, ['KEY'], 'REGISTER_WRITE_ONLY'],
    ['one that does not exist', PUMP, ['NOPE'], 'REGISTER_UNKNOWN'],
    ['a quarantined device', FORBIDDEN, ['DATA'], 'DEVICE_QUARANTINED'],
    ['a quarantined device without names', FORBIDDEN, [], 'DEVICE_QUARANTINED'],
    ['a device that is not there', 80, ['DATA'], 'DEVICE_UNKNOWN'],
  ])('refuses %s', async (_what, device, registers, code) => {
    const before = bench.bytes();
    expect(codeOf(await read(device, registers))).toBe(code);
    expect(bench.bytes().equals(before)).toBe(true);
  });

  it('refuses a device that was quarantined at run time, and everything while security answers', async () => {
    const hold = { device: VALVE, kind: 'quarantined', reason: 'a test', sinceWallMs: 1 } as const;
    bench.interlock.add(hold);
    expect(codeOf(await read(VALVE, ['DATA']))).toBe('DEVICE_QUARANTINED');
    supervised = true;
    expect(codeOf(await read(PUMP, ['DATA']))).toBe('UNSUPERVISED');
  });
});

describe('the stop at the console', () => {
  it('engages the latch, drives the devices, and names who did it, also while security answers', async () => {
    supervised = true;
    bench.poke(PUMP, OFFSET.CONTROL, 1);
    const receipt = must(await bench.run(console.portOf(ROOT).stop('smoke', bench.deadline())));
    expect(receipt).toMatchObject({ track: 'kernel', ok: true });
    expect([bench.latch.engaged(), bench.peek(PUMP, OFFSET.CONTROL)]).toEqual([true, 0]);
    expect(bench.stops[0]?.cause).toMatchObject({
      triggeredBy: 'local-console',
      reason: `smoke (kernel console, ${ROOT})`,
      devices: [],
    });
    expect(console.report()?.accesses).toMatchObject([
      { what: 'stop', peer: ROOT, detail: 'smoke' },
    ]);
  });
});

describe('what was done while nobody supervised', () => {
  it('is kept with who, what and how often, until security has it', async () => {
    await read(PUMP, ['DATA']);
    await read(PUMP, ['DATA']);
    await read(FORBIDDEN, ['DATA']);
    await console.portOf('uid 990 pid 8').status(bench.deadline());
    const report = console.report();
    expect(report).toMatchObject({
      life: 'life-1',
      forgotten: 0,
      accesses: [
        { number: 1, count: 2, peer: ROOT, what: 'read', devices: [PUMP], detail: 'DATA' },
        { number: 2, count: 1, detail: 'DATA refused: DEVICE_QUARANTINED' },
        { number: 3, what: 'status', peer: 'uid 990 pid 8' },
      ],
    });
    if (report !== null) console.reported(report);
    expect(console.report()).toBeNull();
  });

  it('is told again when more of the same came while it was being told', async () => {
    await read(PUMP, ['DATA']);
    const told = console.report();
    await read(PUMP, ['DATA']);
    if (told !== null) console.reported(told);
    expect(console.report()?.accesses).toMatchObject([{ number: 1, count: 2 }]);
  });

  it('is bounded: what is beyond is counted, and told in parts that fit a message', async () => {
    for (let pid = 0; pid < ACCESSES_MAX + 5; pid++) {
      await console.portOf(`uid 0 pid ${pid}`).status(bench.deadline());
    }
    let accesses = 0;
    let forgotten = 0;
    for (let part = console.report(); part !== null; part = console.report()) {
      expect(part.accesses.length).toBeLessThanOrEqual(16);
      accesses += part.accesses.length;
      forgotten += part.forgotten;
      console.reported(part);
    }
    expect([accesses, forgotten]).toEqual([ACCESSES_MAX, 5]);
  });

  it('leaves no trace of what is looked at while security answers', async () => {
    supervised = true;
    const status = must(await console.portOf(ROOT).status(bench.deadline()));
    expect(status.unsupervised).toBe(false);
    expect(status.devices.find(({ id }) => id === FORBIDDEN)?.quarantined).toBe(true);
    await read(PUMP, ['DATA']);
    expect(console.report()).toBeNull();
  });
});
