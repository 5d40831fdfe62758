// Recovery of open transactions: kernel is asked, the answer is written down once, and the devices are held until then.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fault } from '#foundation/fault';
import { refuse } from '#foundation/outcome';
import { OperationType } from '#model/operation';
import { OrchestratorState } from '#model/orchestrator-port';
import { planOf, type RegisterPlan } from '#model/plan';
import { FAN, must, OFFSET, PUMP, planWith, VALVE, writeStep } from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, gone } from './agent-bench.ts';

let bench: AgentBench;

beforeEach(async () => {
  bench = await AgentBench.open();
});
afterEach(async () => {
  bench.security.recovery.halt();
  await bench.close();
});

const PLAN = planWith(
  writeStep(PUMP, 'CONFIG', 0x22n, { expect: null }),
  writeStep(FAN, 'LEVEL', 0x44n, { widthBits: 16 }),
);
const PRIORS = [
  { device: PUMP, register: 'CONFIG', value: 0x11n },
  { device: FAN, register: 'LEVEL', value: 0x33n },
];

/** As if a security process had died after the decision. */
async function decided(plan: RegisterPlan = PLAN, priors = PRIORS): Promise<string> {
  const intent = bench.write(PUMP, { CONFIG: 0x22n });
  const decision = {
    intent,
    plan,
    priors,
    votes: { kernel: 'yes', security: 'yes', interface: 'yes' } as const,
    requestedBy: 'alice',
    decidedWallMs: 5,
  };
  must(await bench.settle(bench.journal.decide(decision)));
  return intent.operationId;
}

function metal(config: number, level: bigint): void {
  bench.kernelBench.poke(PUMP, OFFSET.CONFIG, config);
  bench.kernelBench.peer.words.set('fan.LEVEL', level);
}

const settle = () => bench.settle(bench.security.recovery.settleAll(bench.kernelBench.deadline()));
const recovered = () => bench.entries().filter(({ event }) => event === 'TRANSACTION_RECOVERED');
const doubtful = () =>
  bench.security.holds
    .all()
    .filter(({ kind }) => kind === 'in-doubt')
    .map(({ device }) => device);
const status = async () => must(await bench.settle(bench.orchestrator.status()));
const mute = () => {
  const { recover } = bench.line;
  bench.line.recover = async () => refuse(gone('kernel'));
  return () => {
    bench.line.recover = recover;
  };
};

describe('an open transaction', () => {
  it('of which half stands is undone, closed and on record with who asked and what was found', async () => {
    const operationId = await decided();
    metal(0x22, 0x33n);
    expect(await settle()).toBe(true);
    expect(bench.kernelBench.peek(PUMP, OFFSET.CONFIG)).toBe(0x11);
    expect(bench.journal.open()).toEqual([]);
    expect(recovered()).toMatchObject([
      {
        operationId,
        actor: 'security',
        devices: [PUMP, FAN],
        operation: 'WRITE',
        planDigest: PLAN.digest,
        decision: 'asked for by alice',
        result: expect.stringMatching(/^rolled-back: .*nothing of it stands$/),
        details: { code: 'INTERRUPTED', votes: { kernel: 'yes', interface: 'yes' } },
      },
    ]);
    expect(doubtful()).toEqual([]);
    expect(bench.interface.aborted).toEqual([operationId]);
  });

  it('that stands is committed with the other tracks too', async () => {
    const operationId = await decided();
    metal(0x22, 0x44n);
    await settle();
    expect(recovered()).toMatchObject([{ operationId, result: 'committed' }]);
    expect(bench.interface.aborted).toEqual([]);
  });

  it('of which nobody knows is in doubt: its devices are held here and by kernel until a person lets them go', async () => {
    await decided();
    metal(0x99, 0x33n);
    await settle();
    expect(recovered()).toMatchObject([{ result: expect.stringMatching(/^in-doubt: /) }]);
    expect(doubtful()).toEqual([PUMP, FAN]);
    expect((await bench.run(bench.write(PUMP, { DATA: 1n }))).fault?.code).toBe('DEVICE_INHIBITED');
    const session = await bench.signIn(ALICE);
    for (const device of [PUMP, FAN]) {
      const release = bench.orchestrator.releaseDevice(
        session,
        device,
        'looked at it on site',
        { transport: 'rest', peer: '' },
        bench.kernelBench.deadline(),
      );
      expect(must(await bench.settle(release)).released).toBe(true);
    }
    expect((await bench.run(bench.write(PUMP, { DATA: 1n }))).effect).toBe('committed');
  });

  it('is settled once, however many come for it', async () => {
    await decided();
    metal(0x22, 0x44n);
    expect(await Promise.all([settle(), settle()])).toEqual([true, true]);
    expect(recovered()).toHaveLength(1);
  });

  it('that ended the hold of an activation ends it on record as well', async () => {
    await bench.settle(
      bench.security.holds.add([
        { device: PUMP, kind: 'deactivated', reason: 'a stop', sinceWallMs: 0 },
      ]),
    );
    const steps = [writeStep(PUMP, 'CONTROL', 1n, { expect: null })];
    await decided(planOf(OperationType.ACTIVATE, steps, 1_000), [
      { device: PUMP, register: 'CONTROL', value: 0n },
    ]);
    bench.kernelBench.poke(PUMP, OFFSET.CONTROL, 1);
    await settle();
    expect(bench.security.holds.all()).toEqual([]);
  });
});

describe('while kernel cannot say', () => {
  it('the transaction stays open, its devices are held, and it is settled by itself once kernel can', async () => {
    const speak = mute();
    const operationId = await decided();
    metal(0x22, 0x44n);
    bench.security.recovery.handOver(operationId, [PUMP, FAN]);
    await bench.kernelBench.clock.advance(600);
    expect(bench.journal.open()).toHaveLength(1);
    expect((await status()).holds).toMatchObject([
      { device: PUMP, kind: 'in-doubt' },
      { device: FAN, kind: 'in-doubt' },
    ]);
    const receipt = await bench.run(bench.write(PUMP, { DATA: 1n }));
    expect(receipt).toMatchObject({ effect: 'none', fault: { code: 'DEVICE_INHIBITED' } });
    expect((await bench.run(bench.write(VALVE, { DATA: 1n }))).effect).toBe('committed');
    speak();
    await bench.kernelBench.clock.advance(600);
    expect(recovered()).toMatchObject([{ operationId, result: 'committed' }]);
    expect((await status()).holds).toEqual([]);
    expect((await bench.run(bench.write(PUMP, { DATA: 1n }))).effect).toBe('committed');
  });

  it('security does not take charge, and says that the system recovers', async () => {
    const speak = mute();
    await decided();
    metal(0x22, 0x44n);
    bench.kernelBench.interlock.hold('kernel has just started');
    await bench.settle(bench.security.supervision.take());
    expect(bench.security.supervision.inCharge).toBe(false);
    expect((await status()).state).toBe(OrchestratorState.RECOVERING);
    expect(bench.kernelBench.interlock.holdReason).toBe('kernel has just started');
    speak();
    await bench.settle(bench.security.supervision.take());
    expect(bench.security.supervision.inCharge).toBe(true);
    expect(bench.kernelBench.interlock.holdReason).toBeNull();
  });

  it('nobody lets its devices go', async () => {
    mute();
    const operationId = await decided();
    bench.security.recovery.handOver(operationId, [PUMP, FAN]);
    const session = await bench.signIn(ALICE);
    const refused = await bench.settle(
      bench.orchestrator.releaseDevice(
        session,
        PUMP,
        'looked at it on site',
        { transport: 'rest', peer: '' },
        bench.kernelBench.deadline(),
      ),
    );
    expect(refused).toMatchObject({ ok: false, fault: { code: 'DEVICE_BUSY' } });
  });
});

describe('a person who was told of doubt', () => {
  it('finds the device held although it turned out that everything stands', async () => {
    bench.line.loseCommit = gone('kernel', 'unknown');
    const speak = mute();
    const receipt = await bench.run(bench.write(PUMP, { DATA: 3n }));
    expect(receipt).toMatchObject({ effect: 'in-doubt', fault: { code: 'IN_DOUBT' } });
    bench.line.loseCommit = null;
    expect(bench.journal.open()).toMatchObject([{ operationId: receipt.operationId, told: true }]);
    speak();
    await bench.kernelBench.clock.advance(600);
    expect(bench.journal.open()).toEqual([]);
    expect(recovered()).toMatchObject([
      {
        operationId: receipt.operationId,
        result: expect.stringMatching(/^committed; .*stay held/),
      },
    ]);
    expect(doubtful()).toEqual([PUMP]);
    // Kernel knows of it too, so that not even a mistake here would write.
    expect(bench.kernelBench.interlock.has(PUMP, 'in-doubt')).toBe(true);
  });

  it('is told before the time of the caller is over', async () => {
    bench.line.loseCommit = gone('kernel', 'unknown');
    mute();
    const { clock } = bench.kernelBench;
    const startMs = clock.nowMs();
    const deadline = bench.kernelBench.deadline(2_000);
    const intent = bench.write(PUMP, { DATA: 3n });
    const origin = { transport: 'rest', peer: '' } as const;
    const run = bench.security.runner.run({ intent, principal: ALICE, origin, deadline });
    expect((await bench.settle(run)).effect).toBe('in-doubt');
    expect(clock.nowMs() - startMs).toBeLessThan(2_000);
  });
});

describe('a transaction that cannot be believed', () => {
  it('by its row puts the devices that the row names in doubt', async () => {
    await decided();
    bench.store.database.exec(
      "UPDATE transaction_journal SET decision = replace(decision, '0x22', '0x23')",
    );
    metal(0x22, 0x44n);
    await settle();
    expect(bench.journal.open()).toEqual([]);
    expect(doubtful()).toEqual([PUMP, FAN]);
    expect(recovered()).toMatchObject([{ result: expect.stringContaining('damaged') }]);
    expect(bench.kernelBench.interlock.has(PUMP, 'in-doubt')).toBe(true);
  });

  it('not even by whose it is puts every device in doubt that may be touched', async () => {
    await decided();
    bench.store.database.exec("UPDATE transaction_journal SET devices = '?'");
    await settle();
    const all = bench.kernelBench.devices.filter(({ quarantined }) => !quarantined);
    expect(doubtful()).toEqual(all.map(({ id }) => id));
  });

  it('because kernel refuses to settle it is in doubt after three refusals', async () => {
    await decided();
    const no = fault('PLAN_CHANGED', { place: 'kernel', finding: 'not this plan' });
    bench.line.recover = async () => refuse(no);
    for (const done of [false, false, true]) {
      expect(await settle()).toBe(done);
      bench.security.recovery.halt();
    }
    expect(doubtful()).toEqual([PUMP, FAN]);
  });
});

describe('a disk that does not take the outcome', () => {
  it('leaves the transaction open and its devices held, and is asked again', async () => {
    const operationId = await decided();
    metal(0x22, 0x44n);
    bench.store.database.exec(
      "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    bench.security.recovery.handOver(operationId, [PUMP, FAN]);
    await bench.kernelBench.clock.advance(600);
    expect(bench.journal.open()).toHaveLength(1);
    expect(bench.security.holds.doubt(PUMP)).toBeDefined();
    bench.store.database.exec('DROP TRIGGER full');
    await bench.kernelBench.clock.advance(600);
    expect(bench.journal.open()).toEqual([]);
    expect(recovered()).toMatchObject([{ operationId, result: 'committed' }]);
    expect(bench.security.holds.doubt(PUMP)).toBeUndefined();
  });
});
