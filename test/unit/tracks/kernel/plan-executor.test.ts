// One plan on metal: in order, read back, undone in reverse, stopped between two writes, honest about what is left.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RegisterPlan } from '#model/plan';
import { PlanExecutor } from '#tracks/kernel/plan-executor';
import {
  FAN,
  FORBIDDEN,
  KernelBench,
  LAMP,
  OFFSET,
  PUMP,
  planWith,
  VALVE,
  writeStep,
} from '../../../support/kernel-bench.ts';

let bench: KernelBench;
let executor: PlanExecutor;

beforeEach(async () => {
  bench = await KernelBench.open();
  executor = new PlanExecutor({
    access: bench.access,
    clock: bench.clock,
    stopEngaged: (device) => bench.interlock.stopEngaged(device),
    holdReason: () => bench.interlock.holdReason,
  });
});
afterEach(() => bench.close());

const slow = (device: number, register: string, value: bigint, changes = {}) =>
  writeStep(device, register, value, { widthBits: 16, ...changes });

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
