// The in-process bus over the same models, under a virtual clock.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SimulatedHardware } from '#drivers/bus/simulated/hardware';
import { simulatedBus } from '#drivers/bus/simulated/simulated-bus';
import { VirtualClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { Board } from '#model/board';
import { type Cell, isImmediate } from '#model/bus';
import { registerOf } from '#model/device';
import { boardIn, writeBoard } from './fixture.ts';

let scratch = '';
let board: Board;

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'dsmil-simulated-bus-'));
  board = boardIn(writeBoard(scratch), '/simulator');
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function build(slug: string) {
  const clock = new VirtualClock();
  const hardware = new SimulatedHardware({ board, clock, seed: 1 });
  const model = hardware.find(slug);
  if (model === undefined) throw new Error(`no ${slug}`);
  const { device } = model;
  const bus = simulatedBus({ id: device.busId, kind: device.busKind, hardware, clock });
  const cell = (name: string): Cell => {
    const placed = registerOf(device, name);
    if (placed === undefined) throw new Error(`no ${name}`);
    return {
      device: device.id,
      place: `${slug}.${name}`,
      widthBits: placed.spec.widthBits,
      location: placed.location,
    };
  };
  const target = { busId: device.busId, busKind: device.busKind, device: slug, register: null };
  const deadline = (): Deadline => Deadline.after(clock, 200);
  /** Runs the clock until the access is over. */
  const settle = async <T>(access: Promise<T>): Promise<T> => {
    await clock.advance(1_000);
    return access;
  };
  return { clock, hardware, model, bus, cell, target, deadline, settle };
}

const codeOf = (outcome: Outcome<unknown>): string => (outcome.ok ? 'ok' : outcome.fault.code);

describe('the in-process bus', () => {
  it('reads and writes memory without a promise, once it is open', async () => {
    const { bus, cell, deadline } = build('first-block');
    if (!isImmediate(bus)) throw new Error('memory must be immediate');
    expect(codeOf(bus.readNow(cell('CONFIG')))).toBe('BUS_ABSENT');
    await bus.open(deadline());
    expect(bus.writeNow(cell('CONFIG'), 0x99n).ok).toBe(true);
    expect(bus.readNow(cell('CONFIG'))).toEqual({ ok: true, value: 0x99n });
    expect(codeOf(bus.writeNow(cell('NARROW'), 0x1_0000n))).toBe('VALUE_TOO_WIDE');
    expect(bus.counters()).toMatchObject({ reads: 2, writes: 2, otherFailures: 2 });
  });

  it('refuses a quarantined device before the model is touched', async () => {
    const { bus, cell, deadline, model } = build('forbidden-block');
    await bus.open(deadline());
    expect(codeOf(await bus.read(cell('STATUS'), deadline()))).toBe('DEVICE_QUARANTINED');
    expect(codeOf(await bus.write(cell('CONTROL'), 1n, deadline()))).toBe('DEVICE_QUARANTINED');
    expect(model.touches).toBe(0);
  });

  it('clears a read-clears register by reading, which shared memory cannot', async () => {
    const { bus, cell, deadline, hardware, model } = build('first-block');
    await bus.open(deadline());
    hardware.set(model, 'ERROR', 6n);
    expect(await bus.read(cell('ERROR'), deadline())).toEqual({ ok: true, value: 6n });
    expect(await bus.read(cell('ERROR'), deadline())).toEqual({ ok: true, value: 0n });
  });

  it('gives each wire fault the code of the real driver, and a write that may have landed says so', async () => {
    const { bus, cell, deadline, hardware, target, settle } = build('test-unit');
    await bus.open(deadline());
    const writeUnder = async (fault: Parameters<typeof hardware.faults.inject>[1]) => {
      hardware.faults.inject(target, fault, { count: 1, durationMs: null });
      return settle(bus.write(cell('SPEED'), 7n, deadline()));
    };
    expect(codeOf(await writeUnder({ kind: 'silent' }))).toBe('BUS_TIMEOUT');
    expect(codeOf(await writeUnder({ kind: 'exception', code: 6 }))).toBe('BUS_EXCEPTION');
    expect(codeOf(await writeUnder({ kind: 'late', ms: 500 }))).toBe('BUS_TIMEOUT');
    expect(codeOf(await writeUnder({ kind: 'late', ms: 20 }))).toBe('ok');
    const corrupt = await writeUnder({ kind: 'bad-crc' });
    expect(!corrupt.ok && corrupt.fault).toMatchObject({ code: 'BUS_CORRUPT', metal: 'unknown' });
    expect(hardware.log.last(10).map((write) => write.value)).toEqual([7n, 7n]);
  });

  it('is absent while its line has vanished', async () => {
    const { bus, cell, deadline, hardware, target, settle } = build('test-unit');
    const whole = { ...target, device: null };
    await bus.open(deadline());
    hardware.faults.inject(whole, { kind: 'vanish' }, { count: null, durationMs: null });
    expect(codeOf(await settle(bus.read(cell('STATUS'), deadline())))).toBe('BUS_ABSENT');
    expect(codeOf(await bus.open(deadline()))).toBe('BUS_ABSENT');
    hardware.faults.restore(whole);
    expect(codeOf(await settle(bus.read(cell('STATUS'), deadline())))).toBe('ok');
  });

  it('carries one access at a time, in the order asked', async () => {
    const { bus, cell, clock, deadline, hardware } = build('test-unit');
    await bus.open(deadline());
    const writes = [1n, 2n, 3n].map((word) => bus.write(cell('SPEED'), word, deadline()));
    await clock.advance(7);
    expect(hardware.log.last(10).map((write) => write.value)).toEqual([1n]);
    await clock.advance(20);
    await Promise.all(writes);
    expect(hardware.log.last(10).map((write) => write.value)).toEqual([1n, 2n, 3n]);
  });
});
