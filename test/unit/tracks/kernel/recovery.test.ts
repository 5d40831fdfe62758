// What became of an interrupted transaction: known where this kernel took part, read off the metal where it did not.

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Deadline } from '#foundation/deadline';
import { OperationType, type RegisterReading } from '#model/operation';
import { planOf, type RegisterPlan } from '#model/plan';
import type { Word } from '#model/register';
import {
  codeOf,
  FAN,
  KernelBench,
  must,
  OFFSET,
  PUMP,
  planWith,
  VALVE,
  writeStep,
} from '../../../support/kernel-bench.ts';

let bench: KernelBench;

beforeEach(async () => {
  bench = await KernelBench.open();
});
afterEach(() => bench.close());

const NARROW = { widthBits: 16 } as const;
/** Mapped memory first, then a slow bus: where a process dies in between, the half of it stands. */
const PLAN = planWith(
  writeStep(PUMP, 'CONFIG', 0x22n, { expect: null }),
  writeStep(FAN, 'LEVEL', 0x44n, NARROW),
);
const PRIORS = priors({ CONFIG: 0x11n, LEVEL: 0x33n });

function priors(words: {
  readonly CONFIG?: Word;
  readonly LEVEL?: Word;
}): readonly RegisterReading[] {
  return [
    ...(words.CONFIG === undefined
      ? []
      : [{ device: PUMP, register: 'CONFIG', value: words.CONFIG }]),
    ...(words.LEVEL === undefined ? [] : [{ device: FAN, register: 'LEVEL', value: words.LEVEL }]),
  ];
}

function holds(config: number, level: Word): void {
  bench.poke(PUMP, OFFSET.CONFIG, config);
  bench.peer.words.set('fan.LEVEL', level);
}

const held = () => [bench.peek(PUMP, OFFSET.CONFIG), bench.peer.words.get('fan.LEVEL')];

function ask(plan: RegisterPlan, before: readonly RegisterReading[], operationId = bench.newId()) {
  const authorization = bench.signer.grant(operationId, plan.digest, ['recovery']);
  const request = { operationId, plan, priors: before, authorization };
  return bench.run(bench.track.recover(request, bench.deadline()));
}

async function recover(plan = PLAN, before = PRIORS) {
  return must(await ask(plan, before));
}

const inhibited = () => [PUMP, FAN].map((device) => bench.interlock.has(device, 'in-doubt'));

describe('a transaction that another life of kernel performed', () => {
  it('is committed where every register holds the new value', async () => {
    holds(0x22, 0x44n);
    const receipt = await recover();
    expect(receipt.effect).toBe('committed');
    expect(receipt.fault).toBeUndefined();
    expect(receipt.readings).toEqual([
      { device: PUMP, register: 'CONFIG', value: 0x22n, before: 0x11n },
      { device: FAN, register: 'LEVEL', value: 0x44n, before: 0x33n },
    ]);
    expect(inhibited()).toEqual([false, false]);
  });

  it('is rolled back where every register holds the old value, and nothing is written', async () => {
    holds(0x11, 0x33n);
    const receipt = await recover();
    expect(receipt).toMatchObject({
      effect: 'rolled-back',
      fault: { code: 'INTERRUPTED', consequence: 'nothing of it stands' },
    });
    expect(bench.peer.written()).toEqual([]);
    expect(inhibited()).toEqual([false, false]);
  });

  it('is undone where only part of it stands, and the registers are seen to hold the old values', async () => {
    holds(0x22, 0x33n);
    const receipt = await recover();
    expect(receipt).toMatchObject({ effect: 'rolled-back', fault: { code: 'INTERRUPTED' } });
    expect(receipt.fault?.finding).toContain('1 of 2 registers had been written (pump.CONFIG)');
    expect(held()).toEqual([0x11, 0x33n]);
  });

  it('compares only the bits that are compared after a write', async () => {
    // Reserved bits of CONFIG are not read back.
    holds(0x7f00_0022, 0x44n);
    expect((await recover()).effect).toBe('committed');
  });

  it('is undone from between two writes of the same register', async () => {
    const steps = [0x22n, 0x55n].map((value) => writeStep(PUMP, 'CONFIG', value, { expect: null }));
    holds(0x22, 0n);
    expect((await recover(planWith(...steps))).effect).toBe('rolled-back');
    expect(held()[0]).toBe(0x11);
  });

  it('settles the same way when it is asked for again, whatever the metal holds by then', async () => {
    holds(0x22, 0x33n);
    const operationId = bench.newId();
    const first = must(await ask(PLAN, PRIORS, operationId));
    await bench.clock.advance(5);
    holds(0x22, 0x44n);
    expect(must(await ask(PLAN, PRIORS, operationId))).toEqual(first);
  });
});

describe('a transaction of which nobody can know what stands', () => {
  const never = planWith(writeStep(PUMP, 'CONFIG', 0x22n, { expect: null, irreversible: true }));
  const writeOnly = planWith(writeStep(PUMP, 'KEY', 1n, { expect: null }));

  it.each<[string, RegisterPlan, readonly RegisterReading[], () => void]>([
    ['a third value', PLAN, PRIORS, () => holds(0x99, 0x33n)],
    [
      'an unreadable register',
      PLAN,
      PRIORS,
      () => bench.peer.misbehaviours.set('fan.LEVEL', 'nack'),
    ],
    [
      'no record of what was there before',
      PLAN,
      priors({ CONFIG: 0x11n }),
      () => holds(0x22, 0x44n),
    ],
    ['a write with an effect that leaves no trace', never, PRIORS, () => holds(0x22, 0n)],
    ['a register that cannot be read', writeOnly, [], () => undefined],
  ])(
    'because of %s is in doubt, its devices are safe and inhibited',
    async (_what, plan, before, arrange) => {
      arrange();
      bench.poke(PUMP, OFFSET.DATA, 7);
      const receipt = await recover(plan, before);
      expect(receipt).toMatchObject({
        effect: 'in-doubt',
        fault: { code: 'IN_DOUBT', metal: 'unknown' },
      });
      expect(bench.interlock.has(PUMP, 'in-doubt')).toBe(true);
      expect(bench.peek(PUMP, OFFSET.DATA)).toBe(0x5afe);
      const refused = await bench.track.plan(
        bench.intent(OperationType.WRITE, PUMP, { CONFIG: 1n }),
      );
      expect(codeOf(refused)).toBe('DEVICE_INHIBITED');
    },
  );

  it('because it cannot be undone is in doubt with every device of it, not only the one that failed', async () => {
    const plan = planWith(
      writeStep(FAN, 'LEVEL', 0x44n, NARROW),
      writeStep(PUMP, 'CONFIG', 0x22n, { expect: null }),
    );
    holds(0x11, 0x44n);
    bench.peer.misbehaviours.set('fan.LEVEL', 'stuck');
    expect((await recover(plan)).effect).toBe('in-doubt');
    expect(inhibited()).toEqual([true, true]);
  });

  it('is in doubt when a register that it promised to leave alone changed', async () => {
    const guards = {
      thermal: [],
      unchanged: [{ device: VALVE, register: 'DATA', widthBits: 32 } as const],
    };
    const plan = planOf(OperationType.WRITE, PLAN.steps, 1_000, { guards });
    holds(0x22, 0x44n);
    bench.poke(VALVE, OFFSET.DATA, 5);
    const before = { device: VALVE, register: 'DATA', value: 5n };
    expect((await recover(plan, [...PRIORS, before])).effect).toBe('committed');
    bench.poke(VALVE, OFFSET.DATA, 6);
    const receipt = await recover(plan, [...PRIORS, before]);
    expect(receipt.fault?.finding).toBe('valve.DATA is outside the plan and changed');
    expect((await recover(plan, PRIORS)).effect).toBe('in-doubt');
  });
});

describe('a transaction that a stop came to', () => {
  const plan = planWith(
    writeStep(PUMP, 'DATA', 0x22n, { expect: null }),
    writeStep(PUMP, 'CONFIG', 0x44n, { expect: null }),
  );
  const before = [
    { device: PUMP, register: 'DATA', value: 0x11n },
    { device: PUMP, register: 'CONFIG', value: 0x33n },
  ];
  function stopped(data: number, config: number): void {
    bench.securityLatch.engage();
    bench.latch.latch();
    bench.poke(PUMP, OFFSET.DATA, data);
    bench.poke(PUMP, OFFSET.CONFIG, config);
  }

  it('is rolled back where every register holds its safe value or what it held before', async () => {
    stopped(0x5afe, 0x33);
    expect(await recover(plan, before)).toMatchObject({
      effect: 'rolled-back',
      fault: { finding: 'the stop drove its devices to their safe values' },
    });
  });

  it('is in doubt where a new value stands beside a safe one, for nothing may be written to undo it', async () => {
    stopped(0x5afe, 0x44);
    expect((await recover(plan, before)).effect).toBe('in-doubt');
    expect(bench.peek(PUMP, OFFSET.CONFIG)).toBe(0x44);
  });

  it('is in doubt at safe values when no stop explains them', async () => {
    bench.poke(PUMP, OFFSET.DATA, 0x5afe);
    bench.poke(PUMP, OFFSET.CONFIG, 0x33);
    expect((await recover(plan, before)).effect).toBe('in-doubt');
  });
});

describe('a transaction that this kernel took part in', () => {
  it('gives the receipt of what it performed', async () => {
    const intent = bench.intent(OperationType.WRITE, PUMP, { DATA: 5n, CONFIG: 6n });
    const plan = must(await bench.track.plan({ ...intent, operationId: 'other' }));
    const receipt = await bench.perform(intent);
    // What the metal holds since is another matter.
    bench.poke(PUMP, OFFSET.DATA, 9);
    expect(must(await ask(plan, [], intent.operationId))).toEqual(receipt);
  });

  it('had no effect when it was promised and never asked for, and can no longer be performed', async () => {
    const intent = bench.intent(OperationType.RESET, PUMP);
    const { operationId } = intent;
    const plan = must(await bench.track.plan(intent));
    const authorization = bench.signer.grant(operationId, plan.digest, ['alice']);
    const request = { operationId, planDigest: plan.digest, authorization };
    must(await bench.run(bench.track.prepare(request, bench.deadline())));
    expect(must(await ask(plan, [], operationId))).toMatchObject({
      effect: 'none',
      fault: { code: 'INTERRUPTED', metal: 'untouched' },
    });
    const deadline = bench.deadline();
    const late = await bench.track.commit({ ...request, deadlineMs: deadline.atMs }, deadline);
    expect(codeOf(late)).toBe('PLAN_UNKNOWN');
    expect(bench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
    // Nobody has to wait for its lease to end.
    await bench.perform(bench.intent(OperationType.WRITE, PUMP, { DATA: 5n }));
  });

  it('is waited for while it is being performed, and left open when that takes too long', async () => {
    bench.peer.latencyMs = 40;
    const intent = bench.intent(OperationType.WRITE, FAN, { MODE: 5n, LEVEL: 6n });
    const { operationId } = intent;
    const plan = must(await bench.track.plan(intent));
    const authorization = bench.signer.grant(operationId, plan.digest, ['alice']);
    const request = { operationId, planDigest: plan.digest, authorization };
    must(await bench.run(bench.track.prepare(request, bench.deadline())));
    const deadline = bench.deadline();
    const performing = bench.track.commit({ ...request, deadlineMs: deadline.atMs }, deadline);
    await bench.clock.advance(10);
    const recovery = (limitMs: number) => {
      const leave = bench.signer.grant(operationId, plan.digest, ['recovery']);
      const asked = { operationId, plan, priors: [], authorization: leave };
      return bench.track.recover(asked, Deadline.after(bench.clock, limitMs));
    };
    const early = await bench.run(recovery(20));
    expect(early).toMatchObject({
      ok: false,
      fault: { code: 'DEADLINE_EXCEEDED', metal: 'unknown' },
    });
    const patient = recovery(5_000);
    expect(must(await bench.run(patient))).toEqual(must(await bench.run(performing)));
  });
});

describe('a request to settle', () => {
  it('is refused where the plan does not have the digest that was signed', async () => {
    holds(0x22, 0x33n);
    const forged = { ...planWith(writeStep(PUMP, 'CONFIG', 0x77n)), digest: PLAN.digest };
    expect(codeOf(await ask(forged, PRIORS))).toBe('PLAN_CHANGED');
    expect(held()).toEqual([0x22, 0x33n]);
  });

  it('is refused under an authorization to commit, one for something else, and one that was used', async () => {
    const operationId = bench.newId();
    const request = { operationId, plan: PLAN, priors: PRIORS };
    const { digest } = PLAN;
    const attempt = async (authorization: ReturnType<typeof bench.signer.grant>) =>
      codeOf(await bench.run(bench.track.recover({ ...request, authorization }, bench.deadline())));
    const refused = 'AUTHORIZATION_INVALID';
    expect(await attempt(bench.signer.grant(operationId, digest, ['alice']))).toBe(refused);
    expect(await attempt(bench.signer.grant(operationId, digest, ['recovery', 'alice']))).toBe(
      refused,
    );
    expect(await attempt(bench.signer.grant('another', digest, ['recovery']))).toBe(refused);
    expect(await attempt(bench.signer.grant(operationId, '0'.repeat(64), ['recovery']))).toBe(
      refused,
    );
    const good = bench.signer.grant(operationId, digest, ['recovery']);
    expect(await attempt(good)).toBe('no fault');
    expect(await attempt(good)).toBe(refused);
  });

  it('ends the hold of a committed activation', async () => {
    const plan = planOf(
      OperationType.ACTIVATE,
      [writeStep(PUMP, 'CONTROL', 1n, { expect: null })],
      1_000,
    );
    bench.interlock.add({ device: PUMP, kind: 'deactivated', reason: 'a stop', sinceWallMs: 0 });
    bench.poke(PUMP, OFFSET.CONTROL, 1);
    await recover(plan, [{ device: PUMP, register: 'CONTROL', value: 0n }]);
    expect(bench.interlock.has(PUMP, 'deactivated')).toBe(false);
  });
});

describe('whatever the registers hold', () => {
  it('all of it stands, or nothing of it, or the devices are inhibited', async () => {
    const word = fc.constantFrom('old', 'new', 'strange');
    const words = { old: [0x11, 0x33n], new: [0x22, 0x44n], strange: [0x99, 0x77n] } as const;
    await fc.assert(
      fc.asyncProperty(word, word, fc.boolean(), async (config, level, stuck) => {
        for (const device of [PUMP, FAN]) bench.interlock.lift(device, 'in-doubt');
        bench.peer.misbehaviours.clear();
        holds(words[config][0], words[level][1]);
        if (stuck) bench.peer.misbehaviours.set('fan.LEVEL', 'stuck');
        await bench.clock.advance(1);
        const { effect } = await recover();
        if (effect === 'committed') expect(held()).toEqual(words.new);
        if (effect === 'rolled-back') expect(held()).toEqual(words.old);
        if (effect === 'in-doubt') expect(inhibited()).toEqual([true, true]);
        const certain = config !== 'strange' && level !== 'strange';
        const undoes = certain && config !== level;
        expect(effect === 'in-doubt').toBe(!certain || (undoes && stuck && level === 'new'));
        expect(effect === 'committed').toBe(config === 'new' && level === 'new');
      }),
      { numRuns: 60 },
    );
  });
});
