// One plan on metal: in order, read back, undone in reverse, stopped between two writes, honest about what is left.

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createRegisterDriver } from '#drivers/device/register-driver';
import type { DeviceDescriptor } from '#model/device';
import { OperationType } from '#model/operation';
import { planOf, type RegisterPlan, type RegisterStep } from '#model/plan';
import { PlanExecutor } from '#tracks/kernel/plan-executor';
import {
  FAN_MAXIMUM,
  GUARDED_DEVICES,
  PUMP_MAXIMUM,
  THERMAL_OFFSET,
} from '../../../support/guarded-devices.ts';
import {
  BENCH_DEVICES,
  FAN,
  FORBIDDEN,
  KernelBench,
  LAMP,
  must,
  OFFSET,
  PUMP,
  planWith,
  VALVE,
  writeStep,
} from '../../../support/kernel-bench.ts';

let bench: KernelBench;
let executor: PlanExecutor;

async function open(devices: readonly DeviceDescriptor[]) {
  bench = await KernelBench.open({ devices });
  executor = new PlanExecutor({
    access: bench.access,
    clock: bench.clock,
    stopEngaged: (device) => bench.interlock.stopEngaged(device),
    holdReason: () => bench.interlock.holdReason,
  });
}

async function reopen(devices: readonly DeviceDescriptor[]) {
  await bench.close();
  await open(devices);
}

beforeEach(() => open(BENCH_DEVICES));
afterEach(() => bench.close());

const slow = (device: number, register: string, value: bigint, changes = {}) =>
  writeStep(device, register, value, { widthBits: 16, ...changes });

function fanMissing(): never {
  throw new Error('the board has no fan');
}

function stop(device: number) {
  bench.interlock.add({ device, kind: 'stopped', reason: 'smoke', sinceWallMs: 0 });
}

function execute(plan: RegisterPlan, deadlineMs = 10_000) {
  return bench.run(executor.execute(plan, bench.deadline(deadlineMs)));
}

describe('a plan that goes well', () => {
  it('leaves every write standing on the metal, with what was there before', async () => {
    bench.poke(PUMP, OFFSET.CONFIG, 0xab00_0001);
    const done = await execute(
      planWith(
        writeStep(PUMP, 'DATA', 0x1234n),
        writeStep(PUMP, 'CONFIG', 0x77n, { mask: 0xffn, expect: { mask: 0xffn, value: 0x77n } }),
        { kind: 'read', device: PUMP, register: 'STATUS', widthBits: 32 },
      ),
    );
    expect(done.effect).toBe('committed');
    expect(done.fault).toBeUndefined();
    expect(done.readings).toEqual([
      { device: PUMP, register: 'DATA', value: 0x1234n, before: 0n },
      { device: PUMP, register: 'CONFIG', value: 0xab00_0077n, before: 0xab00_0001n },
      { device: PUMP, register: 'STATUS', value: 0n },
    ]);
    expect(bench.peek(PUMP, OFFSET.DATA)).toBe(0x1234);
    expect(bench.peek(PUMP, OFFSET.CONFIG)).toBe(0xab00_0077);
  });

  it('waits for a register to settle before it is read back', async () => {
    await execute(planWith(slow(FAN, 'LEVEL', 5n, { settleUs: 20_000 })));
    const [, write, readBack] = bench.peer.accesses;
    expect([write?.kind, readBack?.kind]).toEqual(['write', 'read']);
    expect((readBack?.atMs ?? 0) - (write?.atMs ?? 0)).toBeGreaterThanOrEqual(20);
  });

  it('takes a register that needs a second look: compares up to three times', async () => {
    let looks = 0;
    bench.peer.onAccess = ({ kind }) => {
      if (kind !== 'read') return;
      looks += 1;
      // Prior, then two read-backs of something else, then the value.
      if (looks === 2 || looks === 3) bench.peer.words.set('fan.LEVEL', 0xdn);
      if (looks === 4) bench.peer.words.set('fan.LEVEL', 5n);
    };
    const done = await execute(planWith(slow(FAN, 'LEVEL', 5n)));
    expect([done.effect, looks]).toEqual(['committed', 4]);
  });
});

describe('a plan of reads', () => {
  it('gives what can be read, with a fault beside each register that cannot', async () => {
    bench.peer.words.set('fan.MODE', 3n);
    bench.peer.misbehaviours.set('fan.LEVEL', 'nack');
    const read = (register: string) =>
      ({ kind: 'read', device: FAN, register, widthBits: 16 }) as const;
    const done = await execute(planWith(read('MODE'), read('LEVEL'), read('FIRE')));
    expect(done).toMatchObject({
      effect: 'none',
      readings: [
        { register: 'MODE', value: 3n },
        { register: 'LEVEL', fault: { code: 'BUS_NO_ANSWER' } },
        { register: 'FIRE', fault: { code: 'REGISTER_WRITE_ONLY' } },
      ],
    });
    expect(done.fault).toBeUndefined();
  });

  it('fails when nothing at all could be read', async () => {
    bench.peer.misbehaviours.set('fan.LEVEL', 'nack');
    const done = await execute(
      planWith({ kind: 'read', device: FAN, register: 'LEVEL', widthBits: 16 }),
    );
    expect(done.fault?.code).toBe('BUS_NO_ANSWER');
  });
});

describe('a plan that fails midway', () => {
  it('is undone in reverse order after three mismatches, and says which register did not take what', async () => {
    bench.peer.words.set('fan.MODE', 1n).set('fan.LEVEL', 2n).set('lamp.MODE', 4n);
    bench.peer.misbehaviours.set('lamp.MODE', 'stuck');
    const done = await execute(
      planWith(slow(FAN, 'MODE', 0x11n), slow(FAN, 'LEVEL', 0x22n), slow(LAMP, 'MODE', 0x44n)),
    );
    expect(done).toMatchObject({
      effect: 'rolled-back',
      inDoubt: [],
      fault: {
        code: 'READ_BACK_MISMATCH',
        place: 'lamp.MODE',
        finding: 'wrote 0x0044, read back 0x0004 three times',
        consequence: '3 of 3 writes rolled back',
        metal: 'touched',
      },
    });
    expect(bench.peer.written()).toEqual([
      'fan.MODE=11',
      'fan.LEVEL=22',
      'lamp.MODE=44',
      'lamp.MODE=4',
      'fan.LEVEL=2',
      'fan.MODE=1',
    ]);
    expect(bench.peer.words.get('fan.MODE')).toBe(1n);
  });

  it('undoes mapped memory and a slow bus in one transaction', async () => {
    bench.poke(PUMP, OFFSET.DATA, 0xaaaa);
    bench.peer.misbehaviours.set('fan.LEVEL', 'nack');
    const before = bench.bytes();
    const done = await execute(planWith(writeStep(PUMP, 'DATA', 1n), slow(FAN, 'LEVEL', 1n)));
    expect(done).toMatchObject({ effect: 'rolled-back', fault: { code: 'BUS_NO_ANSWER' } });
    expect(bench.bytes().equals(before)).toBe(true);
    expect(bench.peer.written()).toEqual([]);
  });

  it('is in doubt when a write that cannot be undone was made before', async () => {
    bench.peer.misbehaviours.set('lamp.MODE', 'stuck');
    const done = await execute(
      planWith(
        slow(LAMP, 'LEVEL', 1n),
        slow(FAN, 'FIRE', 1n, { irreversible: true, expect: null }),
        slow(LAMP, 'MODE', 1n),
      ),
    );
    expect(done.effect).toBe('in-doubt');
    expect(done.inDoubt).toEqual([FAN]);
    expect(done.fault?.consequence).toBe(
      '2 of 3 writes rolled back, the device is inhibited until a person releases it',
    );
    expect(bench.peer.words.get('lamp.LEVEL')).toBe(0n);
  });

  it('is in doubt when the undoing does not arrive either', async () => {
    bench.peer.onAccess = ({ kind, place, word }) => {
      if (kind === 'write' && place === 'fan.MODE' && word === 1n) {
        bench.peer.misbehaviours.set('lamp.MODE', 'nack');
      }
      if (place === 'lamp.MODE') bench.peer.misbehaviours.set('fan.MODE', 'nack');
    };
    const done = await execute(planWith(slow(FAN, 'MODE', 1n), slow(LAMP, 'MODE', 1n)));
    expect(done).toMatchObject({ effect: 'in-doubt', inDoubt: [FAN] });
  });

  it('undoes also a write whose answer was lost, because the device may have taken it', async () => {
    bench.peer.words.set('fan.LEVEL', 7n);
    bench.peer.onAccess = ({ kind, word }) => {
      if (kind === 'write' && word === 9n) bench.peer.misbehaviours.set('fan.LEVEL', 'silence');
      else bench.peer.misbehaviours.clear();
    };
    const done = await execute(planWith(slow(FAN, 'LEVEL', 9n)));
    expect(done).toMatchObject({ effect: 'rolled-back', fault: { code: 'BUS_TIMEOUT' } });
    expect(bench.peer.words.get('fan.LEVEL')).toBe(7n);
  });

  it('touches nothing when the first write is refused', async () => {
    const before = bench.bytes();
    const done = await execute(
      planWith(writeStep(PUMP, 'STATUS', 1n), writeStep(PUMP, 'DATA', 1n)),
    );
    expect(done).toMatchObject({
      effect: 'none',
      inDoubt: [],
      fault: { code: 'REGISTER_READ_ONLY', metal: 'untouched' },
    });
    expect(bench.bytes().equals(before)).toBe(true);
  });

  it('never writes a quarantined device, and undoes what came before', async () => {
    const before = bench.bytes();
    const done = await execute(
      planWith(writeStep(PUMP, 'DATA', 1n), writeStep(FORBIDDEN, 'DATA', 1n)),
    );
    expect(done).toMatchObject({ effect: 'rolled-back', fault: { code: 'DEVICE_QUARANTINED' } });
    expect(bench.bytes().equals(before)).toBe(true);
  });

  it('does not start a reset again when it is undone', async () => {
    bench.poke(PUMP, OFFSET.CONTROL, 0x3);
    bench.peer.misbehaviours.set('fan.LEVEL', 'nack');
    const expectation = { mask: 0x1n, value: 0n };
    await execute(
      planWith(
        writeStep(PUMP, 'CONTROL', 0n, { mask: 1n, expect: expectation }),
        slow(FAN, 'LEVEL', 1n),
      ),
    );
    expect(bench.peek(PUMP, OFFSET.CONTROL)).toBe(0x1);
  });
});

describe('the stop', () => {
  it('between two writes keeps the second from being made', async () => {
    bench.peer.onAccess = ({ kind, place }) => {
      if (kind === 'write' && place === 'fan.MODE') bench.securityLatch.engage();
    };
    const done = await execute(planWith(slow(FAN, 'MODE', 1n), slow(FAN, 'LEVEL', 1n)));
    expect(done).toMatchObject({
      effect: 'stopped',
      inDoubt: [],
      fault: {
        code: 'STOPPED_MIDWAY',
        place: 'fan.LEVEL',
        consequence: '1 of 2 writes were made; the stopped devices go to their safe values',
        metal: 'touched',
      },
    });
    expect(bench.peer.written()).toEqual(['fan.MODE=1']);
  });

  it.each([0, 1, 2, 3, 4])(
    'is tested before every write: after %i of them no more is made',
    async (made) => {
      const steps = ['MODE', 'LEVEL', 'MODE', 'LEVEL'].map((register, index) =>
        slow(FAN, register, BigInt(index + 1)),
      );
      let writes = 0;
      if (made === 0) bench.securityLatch.engage();
      bench.peer.onAccess = ({ kind }) => {
        writes += kind === 'write' ? 1 : 0;
        if (kind === 'write' && writes === made) bench.securityLatch.engage();
      };
      const done = await execute(planWith(...steps));
      expect(bench.peer.written()).toHaveLength(made);
      expect(done.effect).toBe(made === 4 ? 'committed' : 'stopped');
    },
  );

  it('while the prior content is read keeps even the first write from being made', async () => {
    bench.peer.onAccess = () => bench.securityLatch.engage();
    const done = await execute(planWith(slow(FAN, 'MODE', 1n)));
    expect(done).toMatchObject({ effect: 'stopped', fault: { metal: 'untouched' } });
    expect(bench.peer.written()).toEqual([]);
  });

  it('of one device undoes what the same plan wrote to another', async () => {
    bench.poke(PUMP, OFFSET.DATA, 0xaaaa);
    bench.peer.onAccess = ({ place }) => {
      if (place === 'fan.MODE') stop(FAN);
    };
    const done = await execute(planWith(writeStep(PUMP, 'DATA', 1n), slow(FAN, 'MODE', 1n)));
    expect(done).toMatchObject({ effect: 'stopped', inDoubt: [] });
    expect(bench.peek(PUMP, OFFSET.DATA)).toBe(0xaaaa);
    expect(bench.peer.written()).toEqual([]);
  });

  it('of one device leaves another in doubt when that cannot be undone', async () => {
    bench.peer.onAccess = ({ place }) => {
      if (place === 'fan.MODE') stop(FAN);
    };
    const done = await execute(
      planWith(
        writeStep(PUMP, 'KEY', 1n, { irreversible: true, expect: null }),
        slow(FAN, 'MODE', 1n),
      ),
    );
    expect(done).toMatchObject({ effect: 'stopped', inDoubt: [PUMP] });
  });

  it('that changes a register before its read-back is told as a stop, not as doubt', async () => {
    bench.peer.onAccess = ({ kind }) => {
      if (kind !== 'write') return;
      bench.securityLatch.engage();
      bench.peer.misbehaviours.set('fan.MODE', 'stuck');
    };
    const done = await execute(planWith(slow(FAN, 'MODE', 1n)));
    expect(done).toMatchObject({
      effect: 'stopped',
      inDoubt: [],
      fault: { code: 'STOPPED_MIDWAY', finding: 'the stop came during this write' },
    });
  });
});

describe('a hold and a deadline', () => {
  it('a hold between two writes has the first one undone', async () => {
    bench.peer.words.set('fan.MODE', 7n);
    bench.peer.onAccess = ({ kind, place }) => {
      if (kind === 'write' && place === 'fan.MODE') bench.interlock.hold('security is lost');
    };
    const done = await execute(planWith(slow(FAN, 'MODE', 1n), slow(FAN, 'LEVEL', 1n)));
    expect(done).toMatchObject({
      effect: 'rolled-back',
      fault: { code: 'INTERLOCK_OPEN', place: 'fan.LEVEL', finding: 'security is lost' },
    });
    expect(bench.peer.written()).toEqual(['fan.MODE=1', 'fan.MODE=7']);
  });

  it('a deadline between two writes has the first one undone, in time of its own', async () => {
    bench.peer.words.set('fan.MODE', 7n);
    bench.peer.latencyMs = 10;
    // Prior, write and read-back of the first take 30 ms.
    const done = await execute(planWith(slow(FAN, 'MODE', 1n), slow(FAN, 'LEVEL', 1n)), 35);
    expect(done).toMatchObject({ effect: 'rolled-back', fault: { code: 'DEADLINE_EXCEEDED' } });
    expect(bench.peer.words.get('fan.MODE')).toBe(7n);
    expect(bench.peer.words.has('fan.LEVEL')).toBe(false);
  });

  it('a deadline that has passed already lets nothing be written', async () => {
    const before = bench.bytes();
    const done = await execute(planWith(writeStep(VALVE, 'DATA', 1n)), 0);
    expect(done).toMatchObject({
      effect: 'none',
      fault: { code: 'DEADLINE_EXCEEDED', metal: 'untouched' },
    });
    expect(bench.bytes().equals(before)).toBe(true);
  });
});

describe('a register that changed since it was planned', () => {
  it('is judged again by its largest step right before the write', async () => {
    bench.poke(PUMP, OFFSET.SETPOINT, 90);
    const done = await execute(planWith(writeStep(PUMP, 'SETPOINT', 10n)));
    expect(done).toMatchObject({ effect: 'none', fault: { code: 'STEP_TOO_LARGE' } });
    expect(bench.peek(PUMP, OFFSET.SETPOINT)).toBe(90);
  });
});

describe('a plan under thermal monitoring', () => {
  const thermal = [
    { device: PUMP, register: 'THERMAL', widthBits: 32, maximum: PUMP_MAXIMUM },
    { device: FAN, register: 'HEAT', widthBits: 16, maximum: FAN_MAXIMUM },
  ] as const;
  const guarded = (...steps: readonly RegisterStep[]) =>
    planOf(OperationType.WRITE, steps, 1_000, { guards: { thermal, unchanged: [] } });

  beforeEach(async () => {
    await reopen(GUARDED_DEVICES);
    bench.peer.words.set('fan.MODE', 1n).set('fan.LEVEL', 2n).set('fan.HEAT', 60n);
    bench.poke(PUMP, THERMAL_OFFSET, 85_000);
  });

  it('looks at the thermometers before the first step and between any two, reads included', async () => {
    const read = { kind: 'read', device: FAN, register: 'SPEED', widthBits: 16 } as const;
    const done = await execute(
      guarded(slow(FAN, 'MODE', 5n), slow(FAN, 'LEVEL', 6n), read, { ...read, register: 'TRIM' }),
    );
    expect(done.effect).toBe('committed');
    const seen = bench.peer.accesses.map(({ kind, place }) => `${kind} ${place}`);
    const heat = 'read fan.HEAT';
    const written = (register: string) =>
      ['read', 'write', 'read'].map((kind) => `${kind} fan.${register}`);
    expect(seen).toEqual([
      heat,
      ...written('MODE'),
      heat,
      ...written('LEVEL'),
      heat,
      'read fan.SPEED',
      heat,
      'read fan.TRIM',
    ]);
  });

  it('does not begin above the limit of any of its devices', async () => {
    bench.poke(PUMP, THERMAL_OFFSET, 85_001);
    const done = await execute(guarded(slow(FAN, 'MODE', 5n)));
    expect(done).toMatchObject({
      effect: 'none',
      fault: {
        code: 'THERMAL_LIMIT',
        place: 'pump.THERMAL',
        finding: '85001 milli-degC is above the limit of 85000 milli-degC',
        metal: 'untouched',
      },
    });
    expect(bench.peer.written()).toEqual([]);
  });

  it('is undone when the limit is passed between two writes', async () => {
    bench.peer.onAccess = ({ kind, place }) => {
      if (kind === 'write' && place === 'fan.MODE') bench.peer.words.set('fan.HEAT', 61n);
    };
    const done = await execute(guarded(slow(FAN, 'MODE', 5n), slow(FAN, 'LEVEL', 6n)));
    expect(done).toMatchObject({
      effect: 'rolled-back',
      inDoubt: [],
      fault: {
        code: 'THERMAL_LIMIT',
        place: 'fan.HEAT',
        consequence: '1 of 1 writes rolled back',
        metal: 'touched',
      },
    });
    expect(bench.peer.written()).toEqual(['fan.MODE=5', 'fan.MODE=1']);
  });

  it('is undone when a thermometer falls silent between two writes', async () => {
    bench.peer.onAccess = ({ kind, place }) => {
      if (kind === 'write' && place === 'fan.MODE')
        bench.peer.misbehaviours.set('fan.HEAT', 'nack');
    };
    const done = await execute(guarded(slow(FAN, 'MODE', 5n), slow(FAN, 'LEVEL', 6n)));
    expect(done).toMatchObject({
      effect: 'rolled-back',
      fault: {
        code: 'THERMAL_LIMIT',
        finding: 'the temperature cannot be read: the chip did not acknowledge',
      },
    });
    expect(bench.peer.words.get('fan.MODE')).toBe(1n);
  });

  it('reads nothing above the limit either', async () => {
    bench.peer.words.set('fan.HEAT', 61n);
    const read = { kind: 'read', device: FAN, register: 'SPEED', widthBits: 16 } as const;
    const done = await execute(guarded(read));
    expect(done).toMatchObject({ effect: 'none', readings: [], fault: { code: 'THERMAL_LIMIT' } });
    expect(bench.peer.accesses.some(({ place }) => place === 'fan.SPEED')).toBe(false);
  });

  it('is told as stopped, not as hot, when the stop came first', async () => {
    bench.peer.onAccess = ({ kind, place }) => {
      if (kind !== 'write' || place !== 'fan.MODE') return;
      bench.securityLatch.engage();
      bench.peer.words.set('fan.HEAT', 99n);
    };
    const done = await execute(guarded(slow(FAN, 'MODE', 5n), slow(FAN, 'LEVEL', 6n)));
    expect(done).toMatchObject({ effect: 'stopped', fault: { code: 'STOPPED_MIDWAY' } });
    expect(bench.peer.written()).toEqual(['fan.MODE=5']);
  });
});

describe('a plan under memory protection', () => {
  const unchanged = [
    { device: FAN, register: 'LEVEL', widthBits: 16 },
    { device: FAN, register: 'TRIM', widthBits: 16 },
  ] as const;
  const found = [
    { device: FAN, register: 'LEVEL', value: 2n },
    { device: FAN, register: 'TRIM', value: 0x8004n },
  ];
  const guarded = (...steps: readonly RegisterStep[]) =>
    planOf(OperationType.WRITE, steps, 1_000, { guards: { thermal: [], unchanged } });
  const run = (plan: RegisterPlan, words = found) =>
    bench.run(executor.execute(plan, bench.deadline(), words));

  beforeEach(async () => {
    await reopen(GUARDED_DEVICES);
    bench.peer.words.set('fan.MODE', 1n).set('fan.LEVEL', 2n).set('fan.TRIM', 0x8004n);
  });

  it('commits when the other registers hold what they held, apart from bits the device clears itself', async () => {
    bench.peer.onAccess = ({ kind }) => {
      if (kind === 'write') bench.peer.words.set('fan.TRIM', 0x0004n);
    };
    expect((await run(guarded(slow(FAN, 'MODE', 5n)))).effect).toBe('committed');
  });

  it('is undone when another register of the device has changed, which it names with was and is', async () => {
    bench.peer.onAccess = ({ kind, word }) => {
      if (kind === 'write' && word === 5n) bench.peer.words.set('fan.LEVEL', 0x22n);
    };
    expect(await run(guarded(slow(FAN, 'MODE', 5n)))).toMatchObject({
      effect: 'rolled-back',
      inDoubt: [],
      fault: {
        code: 'MEMORY_PROTECTION',
        place: 'fan.LEVEL',
        finding: 'the plan does not write it, but it was 0x0002 and is 0x0022',
        consequence: '1 of 1 writes rolled back',
        metal: 'touched',
      },
    });
    expect(bench.peer.words.get('fan.MODE')).toBe(1n);
    // Not ours: who changed it may need what it holds now.
    expect(bench.peer.words.get('fan.LEVEL')).toBe(0x22n);
  });

  it('leaves the device in doubt when its own write cannot be undone', async () => {
    bench.peer.words.set('fan.LEVEL', 3n);
    const fire = slow(FAN, 'FIRE', 1n, { irreversible: true, expect: null });
    expect(await run(guarded(fire))).toMatchObject({
      effect: 'in-doubt',
      inDoubt: [FAN],
      fault: { code: 'MEMORY_PROTECTION', metal: 'touched' },
    });
  });

  it('is undone when nobody can tell: the register cannot be read, or was not read in prepare', async () => {
    expect(await run(guarded(slow(FAN, 'MODE', 5n)), found.slice(0, 1))).toMatchObject({
      effect: 'rolled-back',
      fault: { code: 'MEMORY_PROTECTION', place: 'fan.TRIM' },
    });
    bench.peer.misbehaviours.set('fan.LEVEL', 'nack');
    expect(await run(guarded(slow(FAN, 'MODE', 5n)))).toMatchObject({
      effect: 'rolled-back',
      fault: {
        code: 'MEMORY_PROTECTION',
        finding: 'it cannot be read after the last write: the chip did not acknowledge',
      },
    });
    expect(bench.peer.words.get('fan.MODE')).toBe(1n);
  });
});

describe('the semantics of a register', () => {
  beforeEach(() => reopen(GUARDED_DEVICES));

  it('w1c: only the named bits are written, and what else is pending is neither read before nor acknowledged', async () => {
    bench.peer.words.set('fan.ALARM', 0b1111n);
    bench.peer.onAccess = ({ kind, word }) => {
      if (kind === 'write' && word !== undefined)
        bench.peer.words.set('fan.ALARM', 0b1111n & ~word);
    };
    bench.peer.misbehaviours.set('fan.ALARM', 'stuck');
    const step = slow(FAN, 'ALARM', 0b0110n, {
      mask: 0b0010n,
      expect: { mask: 0b0010n, value: 0n },
      irreversible: true,
    });
    const done = await execute(planWith(step));
    expect(done.effect).toBe('committed');
    expect(bench.peer.written()).toEqual(['fan.ALARM=2']);
    expect(bench.peer.words.get('fan.ALARM')).toBe(0b1101n);
    expect(bench.peer.accesses.map(({ kind }) => kind)).toEqual(['write', 'read']);
  });

  it('precious and read-clears registers are read only when a step names them', async () => {
    await execute(planWith(slow(FAN, 'QUEUE', 1n, { irreversible: true, expect: null })));
    expect(bench.peer.accesses.map(({ kind, place }) => `${kind} ${place}`)).toEqual([
      'write fan.QUEUE',
    ]);
    const read = { kind: 'read', device: FAN, register: 'CAUSE', widthBits: 16 } as const;
    await execute(planWith(read));
    expect(bench.peer.accesses.at(-1)).toMatchObject({ kind: 'read', place: 'fan.CAUSE' });
  });

  it('the largest step is judged for each write of a plan, from what the one before left', async () => {
    await reopen(BENCH_DEVICES);
    const steps = [50n, 100n].map((value) => writeStep(PUMP, 'SETPOINT', value));
    expect((await execute(planWith(...steps))).effect).toBe('committed');
    const done = await execute(planWith(writeStep(PUMP, 'SETPOINT', 39n)));
    expect(done).toMatchObject({ effect: 'none', fault: { code: 'STEP_TOO_LARGE' } });
    expect(bench.peek(PUMP, OFFSET.SETPOINT)).toBe(100);
  });

  it('reserved bits keep what they hold under a write of the whole register', async () => {
    await reopen(BENCH_DEVICES);
    bench.poke(PUMP, OFFSET.CONFIG, 0xab00_0000);
    const expectation = { mask: 0x00ff_ffffn, value: 0x12n };
    const done = await execute(planWith(writeStep(PUMP, 'CONFIG', 0x12n, { expect: expectation })));
    expect(done.effect).toBe('committed');
    expect(bench.peek(PUMP, OFFSET.CONFIG)).toBe(0xab00_0012);
  });

  it('a self-clearing bit reads back as zero, late enough and while it is still set', async () => {
    const driver = createRegisterDriver(bench.access.devices.get(FAN) ?? fanMissing());
    const registers = [{ register: 'TRIM', value: 0x8001n }];
    const planned = must(driver.plan(OperationType.WRITE, { device: FAN, registers }));
    let looks = 0;
    bench.peer.onAccess = ({ kind }) => {
      looks += kind === 'read' ? 1 : 0;
      // The second look after the write: the first one still finds the bit.
      if (looks === 2) bench.peer.words.set('fan.TRIM', 0x0001n);
    };
    expect((await execute(planWith(...planned.steps))).effect).toBe('committed');
    expect(bench.peer.written()).toEqual(['fan.TRIM=8001']);
  });

  it('bits outside the read-back mask may read as anything', async () => {
    bench.peer.onAccess = ({ kind }) => {
      if (kind === 'write') bench.peer.misbehaviours.set('fan.LEVEL', 'stuck');
    };
    bench.peer.words.set('fan.LEVEL', 0x0105n);
    const expectation = { mask: 0x00ffn, value: 0x05n };
    const done = await execute(planWith(slow(FAN, 'LEVEL', 0x0205n, { expect: expectation })));
    expect(done.effect).toBe('committed');
  });
});

describe('a plan that fails at any of its writes', () => {
  const word = fc.bigInt({ min: 0n, max: 0xffffn });
  const register = fc.constantFrom('MODE', 'LEVEL', 'TRIM');
  const write = fc.record({ register, value: word, mask: word });

  it('leaves every register as it was before, whatever was written how often', async () => {
    await reopen(GUARDED_DEVICES);
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(word, word, word),
        fc.array(write, { minLength: 1, maxLength: 8 }),
        async (priors, writes) => {
          const before = new Map(
            ['MODE', 'LEVEL', 'TRIM'].map((name, index) => [`fan.${name}`, priors[index] ?? 0n]),
          );
          for (const [place, value] of before) bench.peer.words.set(place, value);
          const steps = writes.map(({ register: name, value, mask }) =>
            slow(FAN, name, value, { mask, expect: { mask, value } }),
          );
          // This one sticks, so that its write is the one that fails.
          bench.peer.words.set('fan.SPEED', 0n);
          bench.peer.misbehaviours.set('fan.SPEED', 'stuck');
          const done = await execute(planWith(...steps, slow(FAN, 'SPEED', 1n)));
          expect(done).toMatchObject({ effect: 'rolled-back', inDoubt: [] });
          for (const [place, value] of before) {
            const clearing = place === 'fan.TRIM' ? 0x8000n : 0n;
            expect((bench.peer.words.get(place) ?? 0n) & ~clearing).toBe(value & ~clearing);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});
