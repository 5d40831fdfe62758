// What forbids a write right now, and in which order it is said.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeviceHold, HoldKind } from '#model/hold';
import { OperationType } from '#model/operation';
import { Interlock } from '#tracks/kernel/interlock';
import { BENCH_DEVICES, codeOf, KernelBench, PUMP, VALVE } from '../../../support/kernel-bench.ts';

const { READ, WRITE, RESET, ACTIVATE, DEACTIVATE, CONFIG } = OperationType;
let bench: KernelBench;

beforeEach(async () => {
  bench = await KernelBench.open();
});
afterEach(() => bench.close());

const hold = (kind: HoldKind, reason = 'because', device = PUMP): DeviceHold => {
  return { device, kind, reason, sinceWallMs: 1 };
};
const check = (type: OperationType, effect: 'reads' | 'writes' = 'writes') => {
  const device = BENCH_DEVICES[PUMP];
  if (device === undefined) throw new Error('no pump');
  return codeOf(bench.interlock.check(device, type, effect));
};

describe('the interlock', () => {
  it('lets everything pass while nothing forbids it', () => {
    for (const type of [WRITE, CONFIG, RESET, ACTIVATE, DEACTIVATE]) {
      expect(check(type)).toBe('no fault');
    }
  });

  it.each([
    ['quarantined', 'DEVICE_QUARANTINED', 'DEVICE_QUARANTINED'],
    ['stopped', 'EMERGENCY_STOPPED', 'no fault'],
    ['in-doubt', 'DEVICE_INHIBITED', 'no fault'],
    ['deactivated', 'DEVICE_DEACTIVATED', 'no fault'],
  ] as const)(
    'forbids writing a device that is %s, and reading only in quarantine',
    (kind, write, read) => {
      bench.interlock.add(hold(kind));
      expect([check(WRITE), check(READ, 'reads')]).toEqual([write, read]);
      bench.interlock.lift(PUMP, kind);
      expect(check(WRITE)).toBe('no fault');
    },
  );

  it('lets a deactivated device be activated, deactivated and reset, and nothing else', () => {
    bench.interlock.add(hold('deactivated'));
    expect([ACTIVATE, DEACTIVATE, RESET].map((type) => check(type))).toEqual([
      'no fault',
      'no fault',
      'no fault',
    ]);
    expect([WRITE, CONFIG].map((type) => check(type))).toEqual([
      'DEVICE_DEACTIVATED',
      'DEVICE_DEACTIVATED',
    ]);
  });

  it('lets no operation touch a device that is on its way into quarantine', () => {
    bench.interlock.leave(PUMP);
    expect([check(WRITE), check(READ, 'reads')]).toEqual([
      'DEVICE_QUARANTINED',
      'DEVICE_QUARANTINED',
    ]);
    expect([PUMP, VALVE].map((id) => bench.interlock.stopEngaged(id))).toEqual([true, false]);
    bench.interlock.add(hold('quarantined'));
    expect(bench.interlock.stopEngaged(PUMP)).toBe(true);
    bench.interlock.lift(PUMP, 'quarantined');
    expect([bench.interlock.stopEngaged(PUMP), check(WRITE)]).toEqual([false, 'no fault']);
  });

  it('says the gravest reason first', () => {
    bench.interlock.add(hold('deactivated'));
    bench.interlock.add(hold('in-doubt'));
    expect(check(WRITE)).toBe('DEVICE_INHIBITED');
    bench.interlock.hold('security is lost');
    expect(check(WRITE)).toBe('INTERLOCK_OPEN');
    bench.interlock.add(hold('stopped'));
    expect(check(WRITE)).toBe('EMERGENCY_STOPPED');
    bench.interlock.add(hold('quarantined'));
    expect(check(WRITE)).toBe('DEVICE_QUARANTINED');
  });

  it('stops every device by the latch and one by its hold, also for what is under way', () => {
    bench.interlock.add(hold('stopped'));
    expect([bench.interlock.stopEngaged(PUMP), bench.interlock.stopEngaged(VALVE)]).toEqual([
      true,
      false,
    ]);
    bench.securityLatch.engage();
    expect(bench.interlock.stopEngaged(VALVE)).toBe(true);
  });

  it('keeps the first reason of a hold, and lifts a kind from all devices at once', () => {
    bench.interlock.add(hold('stopped', 'first'));
    bench.interlock.add(hold('stopped', 'second'));
    bench.interlock.add(hold('stopped', 'valve', VALVE));
    bench.interlock.add(hold('in-doubt', 'doubt', VALVE));
    expect(bench.interlock.holds().map(({ reason }) => reason)).toEqual([
      'first',
      'valve',
      'doubt',
    ]);
    expect(bench.interlock.liftAll('stopped')).toEqual([PUMP, VALVE]);
    expect(bench.interlock.kindsOf(VALVE)).toEqual(['in-doubt']);
  });
});

describe('the memory of quarantine', () => {
  it('is told of every change of it and of nothing else, and holds the devices after a restart', () => {
    let kept: readonly DeviceHold[] = [];
    let changes = 0;
    const memory = {
      recall: () => kept,
      remember: (holds: readonly DeviceHold[]) => {
        kept = holds;
        changes += 1;
      },
    };
    const first = new Interlock(bench.latch, memory);
    first.add(hold('in-doubt'));
    first.add(hold('quarantined'));
    first.add(hold('quarantined', 'again'));
    first.add(hold('quarantined', 'because', VALVE));
    first.lift(VALVE, 'quarantined');
    first.lift(VALVE, 'quarantined');
    first.lift(PUMP, 'in-doubt');
    expect(changes).toBe(3);
    const second = new Interlock(bench.latch, memory);
    expect(second.holds()).toEqual([hold('quarantined')]);
    expect(changes).toBe(3);
  });
});
