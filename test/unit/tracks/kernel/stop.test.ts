// Driving devices to their safe values: memory first, declared order within a device, nobody held up by a neighbour.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeviceDescriptor } from '#model/device';
import type { RegisterSpec } from '#model/register';
import { SafeState } from '#tracks/kernel/stop';
import {
  BENCH_DEVICES,
  FAN,
  FORBIDDEN,
  HEATER,
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

/** The bench's devices with changes to single registers and stages. */
function devicesWith(
  changes: Readonly<Record<string, Partial<RegisterSpec>>>,
  stages: Readonly<Record<number, number>> = {},
): readonly DeviceDescriptor[] {
  return BENCH_DEVICES.map((device) => ({
    ...device,
    ...(stages[device.id] === undefined ? {} : { stopStage: stages[device.id] as number }),
    registers: device.registers.map(({ spec, location }) => ({
      location,
      spec: { ...spec, ...changes[`${device.slug}.${spec.name}`] },
    })),
  }));
}

async function reopen(devices: readonly DeviceDescriptor[]): Promise<void> {
  await bench.close();
  bench = await KernelBench.open({ devices });
}

describe('the read-back', () => {
  it('finds a register on a slow bus that keeps its content, after one more try', async () => {
    bench.peer.misbehaviours.set('fan.MODE', 'stuck');
    const report = await drive([]);
    expect(report.unsafe).toEqual([{ device: FAN, finding: 'fan.MODE: wrote 0x0, read back 0x9' }]);
    expect(report.safe).not.toContain(FAN);
    const fan = bench.peer.accesses.filter(({ place }) => place === 'fan.MODE');
    expect(fan.map(({ kind }) => kind)).toEqual(['write', 'read', 'write', 'read']);
  });

  it('is content when the second try is taken', async () => {
    bench.peer.misbehaviours.set('fan.MODE', 'stuck');
    bench.peer.onAccess = ({ place, kind }) => {
      if (place === 'fan.MODE' && kind === 'read') bench.peer.misbehaviours.clear();
    };
    expect((await drive([])).unsafe).toEqual([]);
    expect(bench.peer.words.get('fan.MODE')).toBe(0n);
  });

  it('finds mapped memory that does not hold what was written', async () => {
    await reopen(devicesWith({ 'pump.CONTROL': { settleUs: 5_000 } }));
    // Somebody else on the same memory, after each of the two writes.
    for (const afterMs of [2, 7])
      bench.clock.after(afterMs, () => bench.poke(PUMP, OFFSET.CONTROL, 1));
    const report = await drive([]);
    expect(report.unsafe).toEqual([
      { device: PUMP, finding: 'pump.CONTROL: wrote 0x0, read back 0x1' },
    ]);
    expect(report.safe).toContain(VALVE);
  });

  it('writes mapped memory once more when the first write did not stand', async () => {
    await reopen(devicesWith({ 'pump.CONTROL': { settleUs: 5_000 } }));
    bench.clock.after(2, () => bench.poke(PUMP, OFFSET.CONTROL, 1));
    expect((await drive([])).unsafe).toEqual([]);
    expect(bench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
  });

  it('compares no bit that the device clears by itself or that its profile leaves out', async () => {
    await reopen(
      devicesWith({ 'fan.MODE': { selfClearingMask: 0x1n, readBackMask: 0xfn, safeValue: 0x3n } }),
    );
    bench.peer.onAccess = ({ place, kind }) => {
      if (place === 'fan.MODE' && kind === 'read') bench.peer.words.set('fan.MODE', 0xf2n);
    };
    expect((await drive([FAN])).unsafe).toEqual([]);
  });

  it('reads nothing that is write-only, precious or cleared by reading', async () => {
    await reopen(
      devicesWith({
        'fan.MODE': { access: 'wo', safeValue: 1n },
        'fan.LEVEL': { precious: true, safeValue: 1n },
        'fan.FIRE': { access: 'rc', safeValue: 1n },
        'pump.KEY': { safeValue: 7n },
      }),
    );
    const report = await drive([FAN, PUMP]);
    expect(report.safe).toEqual([PUMP, FAN]);
    expect(bench.peer.accesses.map(({ kind }) => kind)).toEqual(['write', 'write', 'write']);
    expect(bench.peek(PUMP, OFFSET.KEY)).toBe(7);
  });

  it('waits as long as the register takes to settle', async () => {
    await reopen(devicesWith({ 'fan.MODE': { settleUs: 20_000 } }));
    await drive([FAN]);
    const [write, read] = bench.peer.accesses;
    expect([write?.kind, read?.kind]).toEqual(['write', 'read']);
    expect((read?.atMs ?? 0) - (write?.atMs ?? 0)).toBeGreaterThanOrEqual(20);
  });

  it('that is not answered leaves the device unsafe', async () => {
    bench.peer.onAccess = ({ place, kind }) => {
      if (kind === 'read' && place === 'fan.MODE') bench.peer.misbehaviours.set(place, 'silence');
    };
    const { unsafe } = await drive([]);
    expect(unsafe).toEqual([
      { device: FAN, finding: 'fan.MODE: wrote 0x0, not read back: no answer in time' },
    ]);
  });

  it('says that mapped memory refuses a write although the register cannot be read', async () => {
    await reopen(devicesWith({ 'pump.KEY': { safeValue: 7n } }));
    await bench.memory.close();
    const { unsafe } = await drive([PUMP]);
    expect(unsafe).toEqual([{ device: PUMP, finding: expect.stringMatching(/^pump\.\w+: /) }]);
  });
});

describe('a device that does not answer', () => {
  const SEVERAL = {
    'fan.LEVEL': { safeValue: 1n, safeOrder: 2 },
    'fan.FIRE': { safeValue: 1n, safeOrder: 3 },
    'lamp.LEVEL': { safeValue: 1n, safeOrder: 2 },
  };

  it('has its remaining writes after every other device of its bus', async () => {
    await reopen(devicesWith(SEVERAL));
    bench.peer.misbehaviours.set('fan.MODE', 'nack');
    const report = await drive([]);
    expect(report.unsafe).toEqual([
      { device: FAN, finding: 'fan.MODE: the chip did not acknowledge' },
    ]);
    const written = bench.peer.written();
    const last = Math.max(written.indexOf('lamp.MODE=0'), written.indexOf('lamp.LEVEL=1'));
    expect(written.indexOf('fan.LEVEL=1')).toBeGreaterThan(last);
    expect(written.filter((one) => one === 'fan.MODE=0')).toHaveLength(2);
    expect(bench.peer.words.get('fan.FIRE')).toBe(1n);
  });

  it('is safe when it answers at its second turn', async () => {
    bench.peer.misbehaviours.set('fan.MODE', 'nack');
    bench.peer.onAccess = ({ place }) => {
      if (place === 'lamp.MODE') bench.peer.misbehaviours.clear();
    };
    expect((await drive([])).unsafe).toEqual([]);
    expect(bench.peer.words.get('fan.MODE')).toBe(0n);
  });

  it('is asked last when it is known not to answer', async () => {
    bench.peer.misbehaviours.set('fan.MODE', 'nack').set('fan.LEVEL', 'nack');
    for (let turn = 0; turn < 3; turn++) {
      await bench.run(bench.track.memory.observe(FAN, bench.deadline(100)));
    }
    bench.peer.accesses.length = 0;
    await drive([]);
    expect(bench.peer.accesses[0]?.place).toBe('lamp.MODE');
    expect(bench.peer.words.get('lamp.MODE')).toBe(0n);
  });
});

describe('the stages of a stop', () => {
  it('come in their order, the lowest first, also when mapped memory is in a later one', async () => {
    await reopen(devicesWith({}, { [FAN]: 1, [LAMP]: 0, [PUMP]: 2, [VALVE]: 0 }));
    bench.poke(PUMP, OFFSET.CONTROL, 1);
    bench.poke(VALVE, OFFSET.CONTROL, 1);
    const seen: string[] = [];
    bench.peer.onAccess = ({ kind, place }) => {
      if (kind !== 'write') return;
      const on = [PUMP, VALVE].filter((device) => bench.peek(device, OFFSET.CONTROL) !== 0);
      seen.push(`${place} while ${on.join(',')} on`);
    };
    const report = await drive([]);
    expect(seen).toEqual(['lamp.MODE while 0 on', 'fan.MODE while 0 on']);
    expect(bench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
    expect(report.unsafe).toEqual([]);
    expect(report.safe).toHaveLength(5);
  });

  it('wait for a dead device no longer than its share of the budget', async () => {
    await reopen(devicesWith({}, { [FAN]: 0, [LAMP]: 1, [PUMP]: 1 }));
    bench.peer.misbehaviours.set('fan.MODE', 'silence');
    bench.poke(PUMP, OFFSET.CONTROL, 1);
    const startMs = bench.clock.nowMs();
    let pumpMs = Number.POSITIVE_INFINITY;
    bench.peer.onAccess = ({ place, atMs }) => {
      if (place === 'lamp.MODE') pumpMs = Math.min(pumpMs, atMs - startMs);
    };
    const report = await drive([], 60);
    expect(pumpMs).toBeLessThanOrEqual(31);
    expect(report.unsafe.map(({ device }) => device)).toEqual([FAN]);
    expect(report.safe).toEqual(expect.arrayContaining([LAMP, PUMP]));
  });

  it('leave out what must not be touched now, and say nothing of it', async () => {
    const leftOut = (device: number) => device === VALVE || device === LAMP;
    const state = new SafeState(bench.access, bench.clock, 1_000, leftOut);
    const report = await bench.run(state.drive([]));
    expect([...report.safe].sort()).toEqual([PUMP, HEATER, FAN]);
    expect(report.unsafe).toEqual([]);
    expect(bench.peek(VALVE, OFFSET.CONTROL)).toBe(0xffff_ffff);
    expect(bench.peer.accesses.some(({ place }) => place.startsWith('lamp'))).toBe(false);
  });
});
