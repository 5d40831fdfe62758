// What a dry run shows is what the metal then does: contents before and after every write, and the way back.

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperationType, type WritePreview } from '#model/operation';
import { planOf, type RegisterPlan, type RegisterStep } from '#model/plan';
import { formatWord } from '#model/register';
import { previewWrites } from '#orchestrator/plan-preview';
import { describePlan } from '#orchestrator/plan-text';
import { PlanExecutor } from '#tracks/kernel/plan-executor';
import { GUARDED_DEVICES, THERMAL_OFFSET } from '../../support/guarded-devices.ts';
import {
  FAN,
  KernelBench,
  must,
  OFFSET,
  PUMP,
  planWith,
  requests,
  writeStep,
} from '../../support/kernel-bench.ts';

const { ACTIVATE, EMERGENCY_STOP, WRITE } = OperationType;
let bench: KernelBench;
let executor: PlanExecutor;

beforeEach(async () => {
  bench = await KernelBench.open({ devices: GUARDED_DEVICES });
  executor = new PlanExecutor({
    access: bench.access,
    clock: bench.clock,
    stopEngaged: (device) => bench.interlock.stopEngaged(device),
    holdReason: () => bench.interlock.holdReason,
  });
});
afterEach(() => bench.close());

const preview = (plan: RegisterPlan): readonly WritePreview[] =>
  previewWrites(plan, bench.access.devices);

const slow = (register: string, value: bigint, changes = {}) =>
  writeStep(FAN, register, value, { widthBits: 16, ...changes });

/** The plan with what the fan's registers hold now, as kernel sends it with a dry run. */
function looked(plan: RegisterPlan, ...registers: readonly string[]): RegisterPlan {
  const readings = registers.map((register) => {
    return { device: FAN, register, value: bench.peer.words.get(`fan.${register}`) ?? 0n };
  });
  return { ...plan, preview: readings };
}

describe('a preview', () => {
  it('follows the earlier writes of the same plan, and undoes each to what was there before it', async () => {
    bench.peer.words.set('fan.LEVEL', 0x0010n).set('fan.MODE', 0x0001n);
    const plan = planWith(
      slow('LEVEL', 0x0020n),
      slow('MODE', 0x0f00n, { mask: 0xff00n }),
      slow('LEVEL', 0x0003n, { mask: 0x000fn }),
    );
    expect(preview(looked(plan, 'LEVEL', 'MODE'))).toEqual([
      {
        device: FAN,
        register: 'LEVEL',
        before: 0x10n,
        after: 0x20n,
        rollback: 'write fan.LEVEL 0x0010',
      },
      {
        device: FAN,
        register: 'MODE',
        before: 1n,
        after: 0xf01n,
        rollback: 'write fan.MODE 0x0001',
      },
      {
        device: FAN,
        register: 'LEVEL',
        before: 0x20n,
        after: 0x23n,
        rollback: 'write fan.LEVEL 0x0020',
      },
    ]);
  });

  it('says of every kind of register what is known and why a write cannot be undone', () => {
    bench.peer.words.set('fan.ALARM', 0b0111n);
    const plan = planWith(
      slow('ALARM', 0b0010n, { irreversible: true }),
      slow('FIRE', 5n, { irreversible: true }),
      slow('QUEUE', 6n),
      slow('MODE', 1n, { mask: 1n }),
    );
    const shown = preview(looked(plan, 'ALARM'));
    expect(shown.map(({ before, after }) => [before, after])).toEqual([
      [0b0111n, 0b0101n],
      [undefined, 5n],
      [undefined, 6n],
      [undefined, undefined],
    ]);
    expect(shown.map(({ rollback }) => rollback)).toEqual([
      'cannot be undone: a written one clears its bit, and no write sets it again',
      'cannot be undone: the register cannot be read, so nobody knows what it held',
      'cannot be undone: reading the register has a side effect, so nobody knows what it held',
      'cannot be told: what the register holds was not read',
    ]);
  });

  it('of a stop shows the whole safe words, which are never undone', async () => {
    bench.poke(PUMP, OFFSET.DATA, 7);
    bench.poke(PUMP, OFFSET.CONTROL, 0xff);
    const intent = { ...bench.intent(EMERGENCY_STOP, PUMP), dryRun: true };
    const shown = preview(must(await bench.track.plan(intent)));
    expect(shown.map(({ register, before, after }) => [register, before, after])).toEqual([
      ['DATA', 7n, 0x5afen],
      ['CONTROL', 0xffn, 0n],
    ]);
    expect(new Set(shown.map(({ rollback }) => rollback))).toEqual(
      new Set(['not undone: a stop is reset by two people and the device activated again']),
    );
  });

  it('of a dry run is what the real operation then reports', async () => {
    bench.poke(PUMP, OFFSET.CONTROL, 0xf0);
    const intent = bench.intent(ACTIVATE, PUMP);
    const [shown] = preview(must(await bench.track.plan({ ...intent, dryRun: true })));
    const receipt = await bench.perform(intent);
    expect(receipt.readings[0]).toMatchObject({ before: shown?.before, value: shown?.after });
    expect([shown?.before, shown?.after]).toEqual([0xf0n, 0xf1n]);
  });
});

describe('any plan of writes', () => {
  const word = fc.bigInt({ min: 0n, max: 0x7fffn });
  const names = ['MODE', 'LEVEL', 'TRIM'] as const;
  const write = fc.record({ register: fc.constantFrom(...names), value: word, mask: word });

  it('leaves on metal what its preview says, and its rollback read backwards leaves what was there', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(word, word, word),
        fc.array(write, { minLength: 1, maxLength: 6 }),
        async (priors, writes) => {
          const start = new Map(names.map((name, index) => [name, priors[index] ?? 0n]));
          for (const [name, value] of start) bench.peer.words.set(`fan.${name}`, value);
          const steps: RegisterStep[] = writes.map(({ register, value, mask }) =>
            slow(register, value, { mask, expect: { mask, value } }),
          );
          const plan = planWith(...steps);
          const shown = preview(looked(plan, ...names));
          const done = await bench.run(executor.execute(plan, bench.deadline()));
          expect(
            done.readings.map(({ register, before, value }) => [register, before, value]),
          ).toEqual(shown.map(({ register, before, after }) => [register, before, after]));
          const metal = new Map<string, string>();
          for (const { rollback } of [...shown].reverse()) {
            const [, place, value] = rollback.split(' ');
            metal.set(place ?? '', value ?? '');
          }
          for (const [place, value] of metal) {
            const name = place.slice('fan.'.length) as (typeof names)[number];
            expect(value).toBe(formatWord(start.get(name) ?? 0n, 16));
          }
          expect(metal.size).toBe(new Set(writes.map(({ register }) => register)).size);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe('a plan in words', () => {
  it('names every transaction and what it is conditional on', async () => {
    bench.poke(PUMP, THERMAL_OFFSET, 1);
    const intent = bench.intent(WRITE, PUMP, { DATA: 5n });
    const requirements = {
      ...intent.requirements,
      thermalMonitoringRequired: true,
      memoryProtectionRequired: true,
    };
    const targets = [...intent.targets, { device: FAN, registers: requests({ LEVEL: 1n }) }];
    const plan = must(await bench.track.plan({ ...intent, requirements, targets }));
    expect(describePlan(plan, bench.access.devices)).toEqual([
      'write pump.DATA 0x00000005',
      'write fan.LEVEL 0x0001',
      'watch pump.THERMAL at most 85000 before every step',
      'watch fan.HEAT at most 60 before every step',
      'watch pump for changes of CONTROL, CONFIG, SETPOINT',
      'watch fan for changes of MODE, TRIM',
    ]);
    const masked = planOf(WRITE, [slow('LEVEL', 1n, { mask: 3n })], 0);
    expect(describePlan(masked, bench.access.devices)).toEqual([
      'write fan.LEVEL 0x0001 under mask 0x0003',
    ]);
  });
});
