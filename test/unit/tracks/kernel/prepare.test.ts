// The promise before a commit: devices leased to one operation, prior contents known, every rule checked, nothing written.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HoldKind } from '#model/hold';
import { Preparation } from '#tracks/kernel/prepare';
import {
  codeOf,
  FAN,
  KernelBench,
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
