// The promise before a commit: devices leased to one operation, prior contents known, every rule checked, nothing written.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HoldKind } from '#model/hold';
import { OperationType } from '#model/operation';
import { planOf } from '#model/plan';
import { Preparation } from '#tracks/kernel/prepare';
import { GUARDED_DEVICES, THERMAL_OFFSET } from '../../../support/guarded-devices.ts';
import {
  codeOf,
  FAN,
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
let preparation: Preparation;

beforeEach(async () => {
  bench = await KernelBench.open();
  const { access, interlock, clock } = bench;
  preparation = new Preparation({ access, interlock, clock, watch: bench.track.memory });
});
afterEach(() => bench.close());

const holdOf = (device: number, kind: HoldKind) => {
  return { device, kind, reason: 'left in doubt', sinceWallMs: 0 };
};
const ON_PUMP = planWith(writeStep(PUMP, 'DATA', 1n));
const ON_VALVE = planWith(writeStep(VALVE, 'DATA', 1n));
const ON_BOTH = planWith(writeStep(PUMP, 'DATA', 1n), writeStep(VALVE, 'DATA', 1n));

function prepare(operationId: string, plan = ON_PUMP, afterMs = 30_000, basis = '') {
  const order = { operationId, plan, basis, untilMs: bench.clock.nowMs() + afterMs };
  return bench.run(preparation.prepare(order, bench.deadline()));
}

describe('a preparation', () => {
  it('reads what the writes would replace, once for each register, and writes nothing', async () => {
    bench.poke(PUMP, OFFSET.DATA, 7);
    bench.poke(PUMP, OFFSET.CONFIG, 8);
    const before = bench.bytes();
    const plan = planWith(
      writeStep(PUMP, 'DATA', 1n),
      writeStep(PUMP, 'CONFIG', 2n),
      writeStep(PUMP, 'DATA', 3n),
      writeStep(PUMP, 'KEY', 4n, { irreversible: true, expect: null }),
    );
    const prepared = await prepare('a', plan);
    expect(prepared).toMatchObject({
      ok: true,
      value: [
        { device: PUMP, register: 'DATA', value: 7n },
        { device: PUMP, register: 'CONFIG', value: 8n },
      ],
    });
    expect(bench.bytes().equals(before)).toBe(true);
  });

  it('judges a second write of a register by what the first one will leave there', async () => {
    const steps = [50n, 100n].map((value) => writeStep(PUMP, 'SETPOINT', value));
    expect((await prepare('a', planWith(...steps))).ok).toBe(true);
    expect(codeOf(await prepare('b', planWith(writeStep(PUMP, 'SETPOINT', 100n))))).toBe(
      'DEVICE_BUSY',
    );
    preparation.release('a');
    expect(codeOf(await prepare('b', planWith(writeStep(PUMP, 'SETPOINT', 100n))))).toBe(
      'STEP_TOO_LARGE',
    );
  });

  it('gives its devices back when a prior content cannot be read', async () => {
    bench.peer.misbehaviours.set('fan.LEVEL', 'nack');
    const plan = planWith(
      writeStep(PUMP, 'DATA', 1n),
      writeStep(FAN, 'LEVEL', 1n, { widthBits: 16 }),
    );
    expect(codeOf(await prepare('a', plan))).toBe('BUS_NO_ANSWER');
    expect((await prepare('b')).ok).toBe(true);
  });
});

describe('a lease', () => {
  it('keeps a device from every other operation until it is released', async () => {
    expect((await prepare('a', ON_BOTH)).ok).toBe(true);
    const busy = await prepare('b', ON_VALVE);
    expect(!busy.ok && busy.fault).toMatchObject({
      code: 'DEVICE_BUSY',
      place: 'valve',
      finding: 'operation a holds the device',
    });
    preparation.release('a');
    expect((await prepare('b', ON_VALVE)).ok).toBe(true);
  });

  it('is all or nothing over several devices', async () => {
    await prepare('a', ON_VALVE);
    expect(codeOf(await prepare('b', ON_BOTH))).toBe('DEVICE_BUSY');
    expect((await prepare('c', ON_PUMP)).ok).toBe(true);
  });

  it('may be asked for again by its holder, and is not released by anybody else', async () => {
    await prepare('a');
    expect((await prepare('a')).ok).toBe(true);
    preparation.release('b');
    expect(codeOf(await prepare('c'))).toBe('DEVICE_BUSY');
  });

  it('ends with its authorization when no commit came: a security process that died locks nothing', async () => {
    await prepare('a', ON_PUMP, 100);
    await bench.clock.advance(99);
    expect(codeOf(await prepare('b'))).toBe('DEVICE_BUSY');
    await bench.clock.advance(1);
    expect((await prepare('b')).ok).toBe(true);
    expect(preparation.begin('a', ON_PUMP)).toBeUndefined();
  });

  it('that ended while the registers were still being read is no promise', async () => {
    bench.peer.latencyMs = 20;
    const plan = planWith(writeStep(FAN, 'LEVEL', 1n, { widthBits: 16 }));
    const late = await prepare('a', plan, 10);
    expect(!late.ok && late.fault).toMatchObject({
      code: 'DEVICE_BUSY',
      place: 'fan',
      finding: 'the device was let go while its registers were read',
    });
    expect(preparation.begin('a', plan)).toBeUndefined();
  });

  it('outlives its authorization once the commit has begun', async () => {
    await prepare('a', ON_PUMP, 100);
    expect(preparation.begin('a', ON_PUMP)).toEqual([]);
    await bench.clock.advance(1_000);
    expect(codeOf(await prepare('b'))).toBe('DEVICE_BUSY');
    preparation.release('a');
    expect((await prepare('b')).ok).toBe(true);
  });

  it('is not there for who did not prepare all devices of the plan', async () => {
    await prepare('a', ON_PUMP);
    expect(preparation.begin('a', ON_BOTH)).toBeUndefined();
    expect(preparation.begin('b', ON_PUMP)).toBeUndefined();
  });
});

describe('a check without metal', () => {
  it('refuses writes while stopped, held or inhibited, and lets reads pass', async () => {
    const read = planWith({ kind: 'read', device: PUMP, register: 'DATA', widthBits: 32 });
    const codes = () => [ON_PUMP, ON_VALVE, read].map((plan) => codeOf(preparation.check(plan)));
    bench.interlock.add(holdOf(PUMP, 'in-doubt'));
    expect(codes()).toEqual(['DEVICE_INHIBITED', 'no fault', 'no fault']);
    bench.interlock.hold('security is lost');
    expect(codes()).toEqual(['INTERLOCK_OPEN', 'INTERLOCK_OPEN', 'no fault']);
    bench.interlock.resume();
    bench.interlock.add(holdOf(VALVE, 'stopped'));
    expect(codes()).toEqual(['DEVICE_INHIBITED', 'EMERGENCY_STOPPED', 'no fault']);
    bench.securityLatch.engage();
    expect(codes()).toEqual(['EMERGENCY_STOPPED', 'EMERGENCY_STOPPED', 'no fault']);
  });
});

describe('the guards of a plan', () => {
  const MAXIMUM = 60;
  const thermal = [{ device: FAN, register: 'HEAT', widthBits: 16, maximum: MAXIMUM }] as const;
  const unchanged = [
    { device: FAN, register: 'MODE', widthBits: 16 },
    { device: FAN, register: 'TRIM', widthBits: 16 },
  ] as const;
  const guarded = planOf(
    OperationType.WRITE,
    [writeStep(FAN, 'LEVEL', 1n, { widthBits: 16 })],
    1_000,
    { guards: { thermal, unchanged } },
  );

  beforeEach(async () => {
    await bench.close();
    bench = await KernelBench.open({ devices: GUARDED_DEVICES });
    const { access, interlock, clock } = bench;
    preparation = new Preparation({ access, interlock, clock, watch: bench.track.memory });
    bench.peer.words.set('fan.HEAT', 60n).set('fan.MODE', 3n).set('fan.TRIM', 4n);
  });

  it('are read with the priors and promised with them, and what is to stay unchanged is kept for the commit', async () => {
    bench.peer.words.set('fan.LEVEL', 7n);
    const kept = [
      { device: FAN, register: 'MODE', value: 3n },
      { device: FAN, register: 'TRIM', value: 4n },
    ];
    const level = { device: FAN, register: 'LEVEL', value: 7n };
    expect(await prepare('a', guarded)).toEqual({ ok: true, value: [level, ...kept] });
    expect(preparation.begin('a', guarded)).toEqual(kept);
    expect(bench.peer.written()).toEqual([]);
  });

  it('refuse above the limit, and give the device back', async () => {
    bench.peer.words.set('fan.HEAT', 61n);
    const hot = await prepare('a', guarded);
    expect(!hot.ok && hot.fault).toMatchObject({
      code: 'THERMAL_LIMIT',
      place: 'fan.HEAT',
      finding: '61 degC is above the limit of 60 degC',
      metal: 'untouched',
    });
    bench.peer.words.set('fan.HEAT', 60n);
    expect((await prepare('b', guarded)).ok).toBe(true);
  });

  it.each([
    ['a thermometer', 'fan.HEAT', 'THERMAL_LIMIT'],
    ['a register to protect', 'fan.TRIM', 'BUS_NO_ANSWER'],
  ])('refuse when %s cannot be read', async (_, place, code) => {
    bench.peer.misbehaviours.set(place, 'nack');
    expect(codeOf(await prepare('a', guarded))).toBe(code);
    expect(preparation.begin('a', guarded)).toBeUndefined();
  });

  it('judge a negative reading as cold', async () => {
    const cold = planOf(OperationType.WRITE, [writeStep(PUMP, 'DATA', 1n)], 1_000, {
      guards: {
        thermal: [{ device: PUMP, register: 'THERMAL', widthBits: 32, maximum: -5 }],
        unchanged: [],
      },
    });
    bench.poke(PUMP, THERMAL_OFFSET, -5);
    expect((await prepare('a', cold)).ok).toBe(true);
    preparation.release('a');
    bench.poke(PUMP, THERMAL_OFFSET, -4);
    const hot = await prepare('a', cold);
    expect(!hot.ok && hot.fault.finding).toBe('-4 milli-degC is above the limit of -5 milli-degC');
  });
});

describe('the state that a plan was approved for', () => {
  const basis = () => bench.track.memory.basisOf([PUMP]);

  it('is asked after the registers were read: a change that nobody made since voids the approval', async () => {
    bench.track.memory.seen([{ device: PUMP, register: 'DATA', value: 0n }]);
    const approved = basis();
    expect((await prepare('a', ON_PUMP, 30_000, approved)).ok).toBe(true);
    preparation.release('a');
    bench.poke(PUMP, OFFSET.DATA, 9);
    const void_ = await prepare('b', ON_PUMP, 30_000, approved);
    expect(!void_.ok && void_.fault).toMatchObject({
      code: 'PLAN_CHANGED',
      place: 'pump',
      finding: 'the device changed since the plan was approved',
      metal: 'untouched',
    });
    expect(bench.track.memory.state(PUMP).unexplained).toContain('DATA');
    expect((await prepare('b', ON_PUMP, 30_000, basis())).ok).toBe(true);
  });

  it('does not matter to an authorization that was given for any', async () => {
    await prepare('a');
    preparation.release('a');
    bench.poke(PUMP, OFFSET.DATA, 9);
    expect((await prepare('b')).ok).toBe(true);
  });

  it('is asked again at the commit, of plans that only read too', async () => {
    const intent = bench.intent(OperationType.READ, PUMP, { DATA: undefined });
    const plan = must(await bench.track.plan(intent));
    const { operationId } = intent;
    const authorization = bench.signer.grant(operationId, plan.digest, ['alice'], plan.basis);
    bench.track.memory.driving([PUMP])();
    const deadline = bench.deadline();
    const request = { operationId, planDigest: plan.digest, authorization };
    const commit = bench.track.commit({ ...request, deadlineMs: deadline.atMs }, deadline);
    expect(codeOf(await bench.run(commit))).toBe('PLAN_CHANGED');
  });
});

describe('a selection', () => {
  it('holds the devices, and is no preparation', async () => {
    const untilMs = bench.clock.nowMs() + 1_000;
    expect(preparation.select('a', ON_PUMP, untilMs).ok).toBe(true);
    expect(codeOf(await prepare('b'))).toBe('DEVICE_BUSY');
    expect(preparation.begin('a', ON_PUMP)).toBeUndefined();
    expect((await prepare('a')).ok).toBe(true);
    expect(preparation.begin('a', ON_PUMP)).toEqual([]);
  });
});

describe('a preparation of many devices on one bus', () => {
  it('asks them in turn, so that none is refused by a full queue', async () => {
    await prepare(
      'a',
      planWith(
        writeStep(FAN, 'LEVEL', 1n, { widthBits: 16 }),
        writeStep(LAMP, 'LEVEL', 1n, { widthBits: 16 }),
      ),
    );
    expect(bench.peer.accesses.map(({ place }) => place)).toEqual(['fan.LEVEL', 'lamp.LEVEL']);
    expect(bench.queues.get('i2c-0')?.state().queueLength).toBe(0);
  });
});
