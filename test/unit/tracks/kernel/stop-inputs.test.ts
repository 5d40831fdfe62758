// Stop inputs: kernel stops by itself when one is open or cannot be seen, and lets no reset pass while it is.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RELEASE_STOP_ACT } from '#model/authorization';
import type { StopInput } from '#model/board';
import { EmergencyPriority } from '#model/stop';
import { StopInputs } from '#tracks/kernel/stop-inputs';
import { FAN, KernelBench, OFFSET, PUMP, registerSpec } from '../../../support/kernel-bench.ts';

const BUTTON: StopInput = {
  name: 'button',
  device: PUMP,
  healthy: { register: 'STATUS', mask: 0x10n, minimum: 0x10n, maximum: 0x10n },
  periodMs: 100,
};
const DOOR: StopInput = {
  name: 'door',
  device: FAN,
  healthy: { register: 'LEVEL', mask: 0xffffn, minimum: 2n, maximum: 5n },
  periodMs: 50,
};

let bench: KernelBench;
let trips: string[];
let inputs: StopInputs;

beforeEach(async () => {
  bench = await KernelBench.open();
  trips = [];
  bench.poke(PUMP, OFFSET.STATUS, 0x10);
  bench.peer.words.set('fan.LEVEL', 3n);
});
afterEach(async () => {
  inputs.halt();
  await bench.close();
});

function watch(...watched: readonly StopInput[]): void {
  inputs = new StopInputs({
    inputs: watched,
    access: bench.access,
    clock: bench.clock,
    trip: (reason) => trips.push(reason),
    stopEngaged: () => bench.latch.engaged(),
  });
  inputs.start();
}

describe('a stop input', () => {
  it('lets the system run while its condition holds', async () => {
    watch(BUTTON, DOOR);
    await bench.clock.advance(1_000);
    expect(trips).toEqual([]);
    const looks = bench.peer.accesses.filter(({ place }) => place === 'fan.LEVEL').length;
    expect(looks).toBeGreaterThanOrEqual(15);
  });

  it('stops the system at the first look at which it does not hold, by name and reading', async () => {
    watch(BUTTON, DOOR);
    await bench.clock.advance(250);
    bench.poke(PUMP, OFFSET.STATUS, 0x20);
    await bench.clock.advance(100);
    expect(trips).toEqual(['stop input button (pump.STATUS) is open: it reads 0x00000020']);
    bench.peer.words.set('fan.LEVEL', 6n);
    await bench.clock.advance(60);
    expect(trips[1]).toBe('stop input door (fan.LEVEL) is open: it reads 0x0006');
  });

  it('stops once while the stop stands, and again when it is open without one', async () => {
    watch(BUTTON);
    bench.poke(PUMP, OFFSET.STATUS, 0);
    await bench.clock.advance(10);
    bench.latch.engage();
    await bench.clock.advance(1_000);
    expect(trips).toHaveLength(1);
    bench.latch.latch();
    bench.latch.release();
    await bench.clock.advance(150);
    expect(trips.length).toBeGreaterThanOrEqual(2);
  });

  it('that cannot be read counts as healthy for two looks and not for a third', async () => {
    watch(DOOR);
    await bench.clock.advance(120);
    bench.peer.misbehaviours.set('fan.LEVEL', 'nack');
    await bench.clock.advance(70);
    expect(trips).toEqual([]);
    bench.peer.misbehaviours.clear();
    await bench.clock.advance(200);
    bench.peer.misbehaviours.set('fan.LEVEL', 'nack');
    await bench.clock.advance(160);
    expect(trips).toEqual([
      'stop input door (fan.LEVEL) cannot be read: the chip did not acknowledge 3 times in a row',
    ]);
  });

  it('is looked at before operations and polling that wait for the same bus', async () => {
    bench.peer.latencyMs = 10;
    const queue = bench.queues.get('i2c-0');
    const point = bench.access.point(FAN, 'MODE');
    if (queue === undefined || point === undefined) throw new Error('no fan');
    for (let waiting = 0; waiting < 8; waiting++) {
      void queue.read(point.cell, bench.deadline(), 2);
    }
    watch(DOOR);
    await bench.clock.advance(60);
    const order = bench.peer.accesses.map(({ place }) => place);
    expect(order.indexOf('fan.LEVEL')).toBe(1);
  });

  it('compares signed registers by their value', async () => {
    const signed = registerSpec('LEVEL', { widthBits: 16, signed: true });
    await bench.close();
    bench = await KernelBench.open({
      devices: bench.devices.map((device) => ({
        ...device,
        registers: device.registers.map((register) =>
          device.id === FAN && register.spec.name === 'LEVEL'
            ? { ...register, spec: signed }
            : register,
        ),
      })),
    });
    bench.peer.words.set('fan.LEVEL', 0xffffn);
    watch({ ...DOOR, healthy: { ...DOOR.healthy, minimum: -5n, maximum: 0n } });
    await bench.clock.advance(200);
    expect(trips).toEqual([]);
    bench.peer.words.set('fan.LEVEL', 0xfff0n);
    await bench.clock.advance(60);
    expect(trips[0]).toBe('stop input door (fan.LEVEL) is open: it reads 0xFFF0');
  });

  it('looks no more once halted', async () => {
    watch(DOOR);
    await bench.clock.advance(100);
    inputs.halt();
    const looks = bench.peer.accesses.length;
    await bench.clock.advance(1_000);
    expect(bench.peer.accesses.length).toBeLessThanOrEqual(looks + 1);
    expect(trips).toEqual([]);
  });
});

describe('the release of a stop', () => {
  it('is refused while an input is open or cannot be read, and passes when it holds again', async () => {
    await bench.close();
    let circuit: StopInputs | undefined;
    bench = await KernelBench.open({
      stopInputs: { open: (deadline) => circuit?.open(deadline) ?? Promise.resolve([]) },
    });
    watch(BUTTON, DOOR);
    circuit = inputs;
    inputs.halt();
    const cause = {
      id: 1,
      devices: [],
      source: 'kernel',
      reason: 'the button',
      priority: EmergencyPriority.IMMEDIATE,
      triggeredBy: 'kernel',
      wallMs: 0,
    } as const;
    await bench.run(bench.track.stop({ cause }));
    let asked = 0;
    const release = async () => {
      asked += 1;
      const people = bench.signer.grant(`reset-${asked}`, RELEASE_STOP_ACT, ['alice', 'bob']);
      const released = await bench.run(bench.track.releaseStop(people, bench.deadline()));
      return released.ok ? 'released' : `${released.fault.code}: ${released.fault.finding}`;
    };
    bench.poke(PUMP, OFFSET.STATUS, 0);
    bench.peer.words.set('fan.LEVEL', 3n);
    expect(await release()).toBe(
      'STOP_INPUT_OPEN: stop input button (pump.STATUS) is open: it reads 0x00000000',
    );
    bench.poke(PUMP, OFFSET.STATUS, 0x10);
    bench.peer.misbehaviours.set('fan.LEVEL', 'nack');
    expect(await release()).toBe(
      'STOP_INPUT_OPEN: stop input door (fan.LEVEL) cannot be read: the chip did not acknowledge',
    );
    expect(bench.latch.engaged()).toBe(true);
    bench.peer.misbehaviours.clear();
    expect(await release()).toBe('released');
    expect(bench.latch.engaged()).toBe(false);
  });
});
