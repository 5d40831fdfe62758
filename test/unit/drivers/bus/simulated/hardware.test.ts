// The simulated devices under a virtual clock: what they do by themselves and after a write.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DeviceModel } from '#drivers/bus/simulated/device-model';
import { SimulatedHardware } from '#drivers/bus/simulated/hardware';
import { VirtualClock } from '#foundation/clock';
import type { Board } from '#model/board';
import { boardIn, writeBoard } from './fixture.ts';

let scratch = '';
let board: Board;

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'dsmil-hardware-'));
  board = boardIn(writeBoard(scratch), '/simulator');
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function build(seed = 1): {
  clock: VirtualClock;
  hardware: SimulatedHardware;
  model: (name: string) => DeviceModel;
} {
  const clock = new VirtualClock();
  const hardware = new SimulatedHardware({ board, clock, seed });
  const model = (name: string): DeviceModel => {
    const found = hardware.find(name);
    if (found === undefined) throw new Error(`no ${name}`);
    return found;
  };
  return { clock, hardware, model };
}

describe('simulated hardware', () => {
  it('comes up ready and active, identifies itself and shows believable sensors', () => {
    const block = build().model('first-block');
    expect(block.peek('STATUS')).toBe(3n);
    expect(block.peek('ID')).toBe(0xd511n);
    expect(Number(block.peek('THERMAL'))).toBeGreaterThanOrEqual(35_000);
    expect(Number(block.peek('THERMAL'))).toBeLessThanOrEqual(55_000);
  });

  it('follows the enable bit with the active bit', () => {
    const block = build().model('first-block');
    block.write('CONTROL', 0n);
    expect(block.peek('STATUS')).toBe(1n);
    block.write('CONTROL', 1n);
    expect(block.peek('STATUS')).toBe(3n);
  });

  it('resets the block on the self-clearing bit without turning the device on', () => {
    const block = build().model('first-block');
    block.write('CONFIG', 0x1234n);
    block.hold('INTERRUPT', 0xffn);
    block.write('CONTROL', 2n);
    expect(block.peek('CONTROL')).toBe(0n);
    expect(block.peek('STATUS')).toBe(1n);
    expect(block.peek('CONFIG')).toBe(0n);
    expect(block.peek('INTERRUPT')).toBe(0n);
  });

  it('replays the same drift from the same seed, and another from another', async () => {
    const run = async (seed: number): Promise<string> => {
      const { clock, hardware, model } = build(seed);
      hardware.start();
      await clock.advance(20_000);
      hardware.stop();
      return ['first-block', 'second-block'].map((name) => model(name).peek('THERMAL')).join();
    };
    const [one, again, other] = [await run(7), await run(7), await run(8)];
    expect(again).toBe(one);
    expect(other).not.toBe(one);
  });

  it('keeps every drifting temperature in its range, slowly', async () => {
    const { clock, hardware, model } = build(3);
    hardware.start();
    let before = Number(model('first-block').peek('THERMAL'));
    for (let second = 0; second < 120; second++) {
      await clock.advance(1_000);
      const now = Number(model('first-block').peek('THERMAL'));
      expect(Math.abs(now - before)).toBeLessThanOrEqual(250);
      expect(now).toBeGreaterThanOrEqual(35_000);
      expect(now).toBeLessThanOrEqual(55_000);
      before = now;
    }
    hardware.stop();
  });

  it('lets the fan follow its duty', async () => {
    const { clock, hardware, model } = build();
    hardware.start();
    model('test-fan').write('duty', 0n);
    await clock.advance(20_000);
    expect(Number(model('test-fan').peek('speed'))).toBe(400);
    model('test-fan').write('duty', 255n);
    await clock.advance(20_000);
    expect(Number(model('test-fan').peek('speed'))).toBe(4_600);
    hardware.stop();
  });

  it('leaves a sensor where a person set it until everything is cleared', async () => {
    const { clock, hardware, model } = build();
    hardware.start();
    hardware.set(model('first-block'), 'THERMAL', 47_000n);
    await clock.advance(30_000);
    expect(model('first-block').peek('THERMAL')).toBe(47_000n);
    hardware.clear();
    await clock.advance(30_000);
    expect(model('first-block').peek('THERMAL')).not.toBe(47_000n);
    hardware.stop();
  });

  it('logs writes in order with their time, also those that a device ignores', async () => {
    const { clock, hardware, model } = build();
    model('first-block').write('CONFIG', 5n);
    await clock.advance(40);
    model('second-block').write('STATUS', 9n);
    const [first, second] = hardware.log.last(10);
    expect(first).toEqual({
      sequence: 1,
      atMs: 0,
      device: 'first-block',
      register: 'CONFIG',
      value: 5n,
      taken: true,
    });
    expect(second).toMatchObject({ sequence: 2, atMs: 40, device: 'second-block', taken: false });
  });

  it('counts every touch of a quarantined device', () => {
    const forbidden = build().model('0x8009');
    expect(forbidden.touches).toBe(0);
    forbidden.read('STATUS');
    forbidden.write('CONTROL', 1n);
    expect(forbidden.touches).toBe(2);
  });

  it('uses a counted fault up and lets a timed one expire', async () => {
    const { clock, hardware } = build();
    const target = { busId: 'i2c-0', busKind: 'i2c', device: 'test-chip', register: null } as const;
    hardware.faults.inject(target, { kind: 'nack' }, { count: 2, durationMs: null });
    hardware.faults.inject(target, { kind: 'stuck' }, { count: null, durationMs: 500 });
    const next = (): string | undefined => hardware.faults.spoil('i2c-0', 'test-chip')?.kind;
    expect([next(), next(), next(), next()]).toEqual(['nack', 'nack', 'stuck', 'stuck']);
    expect(hardware.faults.spoil('i2c-0', 'another')).toBeNull();
    await clock.advance(500);
    expect(next()).toBeUndefined();
  });
});
