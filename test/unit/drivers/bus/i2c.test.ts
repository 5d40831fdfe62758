// I2C registers against a peer on a socket, and the discovery of kernel adapters.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { I2cBus } from '#drivers/bus/i2c';
import { findAdapter, KernelI2cAdapter } from '#drivers/bus/i2c-kernel';
import { SocketI2cAdapter } from '#drivers/bus/i2c-socket';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { Cell, Location } from '#model/bus';
import type { WidthBits } from '#model/register';
import { I2cPeer } from '../../../support/i2c-peer.ts';

type Protocol = Extract<Location, { kind: 'i2c' }>['protocol'];

const CHIP = 0x48;
let directory = '';
let peer: I2cPeer;
let bus: I2cBus;
let memory: Buffer;
const soon = () => Deadline.after(systemClock, 5_000);

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'i2c-'));
  peer = new I2cPeer(join(directory, 'bus'));
  memory = Buffer.alloc(256);
  peer.chips.set(CHIP, memory);
  await peer.listen();
  bus = busWith(1_000);
});
afterEach(async () => {
  await bus.close();
  await peer.close();
  rmSync(directory, { recursive: true });
});

function busWith(accessTimeoutMs: number): I2cBus {
  const adapter = new SocketI2cAdapter(peer.path);
  const description = {
    id: 'i2c-0',
    kind: 'i2c',
    accessTimeoutMs,
    adapter: { socket: peer.path },
  } as const;
  return new I2cBus(description, adapter, systemClock);
}

function cell(command: number, widthBits: WidthBits, protocol: Protocol, chip = CHIP): Cell {
  return {
    device: 2,
    place: 'vault.data',
    widthBits,
    location: { kind: 'i2c', chip, command, protocol },
  };
}

function faultOf(outcome: Outcome<unknown>) {
  if (outcome.ok) throw new Error(`expected a fault, got ${String(outcome.value)}`);
  return outcome.fault;
}

describe('I2C bus', () => {
  test('each protocol puts its bytes in its own order', async () => {
    memory.set([0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88], 0x10);
    const cells = [
      cell(0x10, 8, 'byte'),
      cell(0x10, 16, 'word'),
      cell(0x10, 16, 'word-swapped'),
      cell(0x10, 8, 'raw'),
      cell(0x10, 32, 'raw'),
      cell(0x10, 64, 'raw'),
    ];
    const words = (await bus.readMany(cells, soon())).map((outcome) =>
      outcome.ok ? outcome.value : outcome.fault,
    );
    expect(words).toEqual([0x11n, 0x2211n, 0x1122n, 0x11n, 0x11223344n, 0x1122334455667788n]);
    await bus.write(cell(0x20, 16, 'word'), 0xabcdn, soon());
    await bus.write(cell(0x22, 16, 'word-swapped'), 0xabcdn, soon());
    await bus.write(cell(0x24, 32, 'raw'), 0x01020304n, soon());
    await bus.write(cell(0x28, 8, 'byte'), 0x7fn, soon());
    expect(memory.subarray(0x20, 0x29).toString('hex')).toBe('cdababcd010203047f');
  });

  test('any word written is read back, on any protocol and width', async () => {
    const places = fc.constantFrom<[Protocol, WidthBits]>(
      ['byte', 8],
      ['word', 16],
      ['word-swapped', 16],
      ['raw', 8],
      ['raw', 16],
      ['raw', 32],
      ['raw', 64],
    );
    await fc.assert(
      fc.asyncProperty(
        places,
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        async ([protocol, width], any) => {
          const word = BigInt.asUintN(width, any);
          const target = cell(0x40, width, protocol);
          expect(await bus.write(target, word, soon())).toEqual({ ok: true, value: undefined });
          expect(await bus.read(target, soon())).toEqual({ ok: true, value: word });
        },
      ),
      { numRuns: 50 },
    );
  });

  test('an absent chip does not acknowledge, and its neighbours are not disturbed', async () => {
    const fault = faultOf(await bus.write(cell(0, 8, 'byte', 0x50), 1n, soon()));
    expect(fault).toMatchObject({ code: 'BUS_NO_ANSWER', metal: 'untouched', place: 'vault.data' });
    expect((await bus.read(cell(0, 8, 'byte'), soon())).ok).toBe(true);
    expect(bus.counters()).toMatchObject({ noAnswers: 1, reads: 1, writes: 1 });
  });

  test('lost arbitration, a short answer and an adapter time-out are told apart', async () => {
    peer.tricks.push(
      ({ id }) => ({ id, status: 'arbitration-lost', bytes: Buffer.alloc(0) }),
      ({ id }) => ({ id, status: 'ok', bytes: Buffer.from([1]) }),
      ({ id }) => ({ id, status: 'timeout', bytes: Buffer.alloc(0) }),
    );
    const target = cell(0, 16, 'word');
    const codes = [];
    for (let turn = 0; turn < 3; turn++) codes.push(faultOf(await bus.read(target, soon())).code);
    expect(codes).toEqual(['BUS_IO', 'BUS_CORRUPT', 'BUS_TIMEOUT']);
  });

  test('nothing is sent until a late transfer returned, and its answer is nobody else’s', async () => {
    bus = busWith(60);
    memory.set([7, 9], 0);
    peer.tricks.push(() => ({ afterMs: 200 }));
    const late = faultOf(await bus.write(cell(0, 8, 'byte'), 8n, soon()));
    expect(late).toMatchObject({ code: 'BUS_TIMEOUT', metal: 'unknown' });
    const held = faultOf(await bus.read(cell(1, 8, 'byte'), soon()));
    expect(held).toMatchObject({
      code: 'BUS_TIMEOUT',
      consequence: 'nothing was sent',
      metal: 'untouched',
    });
    expect(peer.requests).toHaveLength(1);
    await expect.poll(() => bus.counters().resynchronizations).toBe(1);
    expect(await bus.read(cell(1, 8, 'byte'), soon())).toEqual({ ok: true, value: 9n });
  });

  test('a transfer that never returns is abandoned, and the bus works again', async () => {
    bus = busWith(30);
    peer.tricks.push(() => 'silence');
    expect(faultOf(await bus.read(cell(0, 8, 'byte'), soon())).code).toBe('BUS_TIMEOUT');
    await expect.poll(() => bus.counters().resynchronizations, { timeout: 5_000 }).toBe(1);
    expect((await bus.read(cell(0, 8, 'byte'), soon())).ok).toBe(true);
  });

  test('an answer with another id is stray and never taken', async () => {
    memory[0] = 5;
    peer.tricks.push((usual) => ({ ...usual, id: usual.id + 1 }));
    bus = busWith(50);
    expect(faultOf(await bus.read(cell(0, 8, 'byte'), soon())).code).toBe('BUS_TIMEOUT');
    expect(bus.counters().strayAnswers).toBe(1);
  });

  test('an adapter that goes away and comes back is found again', async () => {
    expect((await bus.read(cell(0, 8, 'byte'), soon())).ok).toBe(true);
    await peer.close();
    await expect
      .poll(async () => faultOf(await bus.read(cell(0, 8, 'byte'), soon())).code)
      .toBe('BUS_ABSENT');
    peer = new I2cPeer(peer.path);
    peer.chips.set(CHIP, memory);
    await peer.listen();
    expect((await bus.read(cell(0, 8, 'byte'), soon())).ok).toBe(true);
  });

  test('what no transfer can carry is refused before the bus is used', async () => {
    const refused = [
      await bus.read(cell(0, 32, 'byte'), soon()),
      await bus.read(cell(0, 8, 'byte', 0x00), soon()),
      await bus.read(cell(0, 8, 'byte', 0x80), soon()),
      await bus.read(cell(300, 8, 'byte'), soon()),
      await bus.write(cell(0, 8, 'byte'), 256n, soon()),
      await bus.read({ ...cell(0, 8, 'byte'), device: 9 }, soon()),
    ].map((outcome) => faultOf(outcome).code);
    expect(refused.slice(0, 4)).toEqual(Array(4).fill('CONFIG_INVALID'));
    expect(refused.slice(4)).toEqual(['VALUE_TOO_WIDE', 'DEVICE_QUARANTINED']);
    expect(peer.requests).toHaveLength(0);
  });

  test('callers that come together are served one after another', async () => {
    memory.set([1, 2, 3, 4, 5, 6, 7, 8], 0);
    const reads = await Promise.all(
      [0, 1, 2, 3, 4, 5, 6, 7].map((at) => bus.read(cell(at, 8, 'byte'), soon())),
    );
    expect(reads.map((read) => (read.ok ? read.value : read.fault))).toEqual([
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
});

describe('kernel adapters', () => {
  function adapter(entry: string, name: string): void {
    mkdirSync(join(directory, entry));
    writeFileSync(join(directory, entry, 'name'), `${name}\n`);
  }

  test('are found by the beginning of their name, whatever their number', () => {
    adapter('i2c-3', 'SMBus I801 adapter at 0700');
    adapter('i2c-12', 'SMBus stub driver');
    adapter('3-0050', 'eeprom');
    expect(findAdapter('SMBus I801', directory)).toEqual({ ok: true, value: 3 });
    expect(findAdapter('SMBus stub', directory)).toEqual({ ok: true, value: 12 });
    expect(findAdapter('eeprom', directory)).toMatchObject({ ok: false, errno: 'ENOENT' });
    expect(findAdapter('SMBus', directory)).toMatchObject({
      ok: false,
      detail: expect.stringMatching(/^2 adapters/),
    });
  });

  test.each([{ number: 4_000 }, { name: 'no such adapter' }])(
    '%j absent is a fault of the bus, not a crash',
    async (match) => {
      const absent = new I2cBus(
        { id: 'i2c-9', kind: 'i2c', accessTimeoutMs: 500, adapter: match },
        new KernelI2cAdapter(match, directory),
        systemClock,
      );
      expect(faultOf(await absent.open(soon()))).toMatchObject({
        code: 'BUS_ABSENT',
        place: 'bus i2c-9',
      });
      expect(faultOf(await absent.read(cell(0, 8, 'byte'), soon())).code).toBe('BUS_ABSENT');
      await absent.close();
    },
  );
});
