// Driving devices to their safe values: memory first, declared order within a device, nobody held up by a neighbour.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SafeState } from '#tracks/kernel/stop';
import {
  FAN,
  FORBIDDEN,
  KernelBench,
  LAMP,
  OFFSET,
  PUMP,
  VALVE,
} from '../../../support/kernel-bench.ts';

let bench: KernelBench;

beforeEach(async () => {
  bench = await KernelBench.open();
  for (const device of [PUMP, VALVE, FORBIDDEN]) {
    for (const offset of Object.values(OFFSET)) bench.poke(device, offset, 0xffff_ffff);
  }
  bench.peer.words.set('fan.MODE', 9n).set('lamp.MODE', 9n);
});
afterEach(() => bench.close());

const drive = (devices: readonly number[], budgetMs = 1_000) =>
  bench.run(new SafeState(bench.access, bench.clock, budgetMs).drive(devices));

describe('the safe state', () => {
  it('writes exactly the declared safe values of every device but the quarantined', async () => {
    const report = await drive([]);
    expect(report.unsafe).toEqual([]);
    expect([...report.safe].sort()).toEqual([0, 1, 2, 3, 4]);
    for (const device of [PUMP, VALVE]) {
      expect(bench.peek(device, OFFSET.CONTROL)).toBe(0);
      expect(bench.peek(device, OFFSET.DATA)).toBe(0x5afe);
      for (const offset of [OFFSET.CONFIG, OFFSET.SETPOINT, OFFSET.PENDING, OFFSET.KEY]) {
        expect(bench.peek(device, offset)).toBe(0xffff_ffff);
      }
    }
    for (const offset of Object.values(OFFSET)) {
      expect(bench.peek(FORBIDDEN, offset)).toBe(0xffff_ffff);
    }
    expect([...bench.peer.written()].sort()).toEqual(['fan.MODE=0', 'lamp.MODE=0']);
  });

  it('reaches mapped memory before the first slow access has been answered', async () => {
    let memoryAtFirstAccess: number | undefined;
    bench.peer.onAccess = () => {
      memoryAtFirstAccess ??= bench.peek(VALVE, OFFSET.CONTROL);
    };
    bench.peer.latencyMs = 40;
    const report = await drive([]);
    expect(memoryAtFirstAccess).toBe(0);
    expect(report.immediateMs).toBe(0);
    expect(report.durationMs).toBeGreaterThanOrEqual(80);
  });

  it('concerns only the devices that were named', async () => {
    const report = await drive([PUMP, FAN]);
    expect(report.safe).toEqual([PUMP, FAN]);
    expect(bench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
    expect(bench.peek(VALVE, OFFSET.CONTROL)).toBe(0xffff_ffff);
    expect(bench.peer.written()).toEqual(['fan.MODE=0']);
  });

  it('is reached by all others when one device does not answer, and names that one', async () => {
    bench.peer.misbehaviours.set('fan.MODE', 'silence');
    const report = await drive([]);
    expect(report.unsafe).toEqual([{ device: FAN, finding: 'fan.MODE: no answer in time' }]);
    expect(report.safe).toContain(LAMP);
    expect(bench.peer.words.get('lamp.MODE')).toBe(0n);
    expect(bench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
  });

  it('tries also a device whose circuit is open', async () => {
    bench.peer.misbehaviours.set('fan.MODE', 'nack');
    for (let turn = 0; turn < 3; turn++) {
      await bench.run(bench.track.memory.observe(FAN, bench.deadline(100)));
      bench.peer.misbehaviours.set('fan.LEVEL', 'nack');
    }
    bench.peer.misbehaviours.clear();
    const report = await drive([FAN]);
    expect(report.safe).toEqual([FAN]);
  });

  it('ends within its budget, and names who was not reached', async () => {
    bench.peer.latencyMs = 45;
    const report = await drive([], 40);
    expect(report.durationMs).toBeLessThan(100);
    expect(report.unsafe.map((one) => one.device)).toContain(LAMP);
    expect(report.unsafe.length + report.safe.length).toBe(5);
  });
});

describe('the order within a device', () => {
  it('is the declared safe order, not that of the profile', async () => {
    const reversed = await KernelBench.open({
      devices: bench.devices.map((device) =>
        device.id === FAN
          ? {
              ...device,
              registers: device.registers.map((register) => {
                const order = { MODE: 2, LEVEL: 1, FIRE: 3 }[register.spec.name] ?? 0;
                return { ...register, spec: { ...register.spec, safeValue: 1n, safeOrder: order } };
              }),
            }
          : device,
      ),
    });
    const state = new SafeState(reversed.access, reversed.clock, 1_000);
    await reversed.run(state.drive([FAN]));
    expect(reversed.peer.written()).toEqual(['fan.LEVEL=1', 'fan.MODE=1', 'fan.FIRE=1']);
    await reversed.close();
  });
});
