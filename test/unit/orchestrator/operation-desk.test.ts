// The desk: EMERGENCY_STOP as an operation, ids and limits, and what a stop is not kept from.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EventType } from '#model/event';
import { CoordinationResult, type Intent, NO_REQUIREMENTS, OperationType } from '#model/operation';
import { RiskLevel } from '#model/risk';
import {
  codeOf,
  FAN,
  FORBIDDEN,
  HEATER,
  must,
  OFFSET,
  PUMP,
  VALVE,
} from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, CLERK, ORIGIN } from './agent-bench.ts';

const { READ, EMERGENCY_STOP } = OperationType;
let bench: AgentBench;

beforeEach(async () => {
  bench = await AgentBench.open();
});
afterEach(() => bench.close());

/** By a person with the least clearance, without a word of justification or confirmation. */
function stopOf(devices: readonly number[], changes: Partial<Intent> = {}): Intent {
  return {
    operationId: bench.kernelBench.newId(),
    type: EMERGENCY_STOP,
    targets: devices.map((device) => ({ device, registers: [] })),
    requirements: NO_REQUIREMENTS,
    justification: '',
    confirmedRisk: RiskLevel.UNKNOWN,
    dryRun: false,
    involved: [],
    ...changes,
  };
}

const stopEntries = () => bench.entries().filter((entry) => entry.event === 'EMERGENCY_STOP');

describe('EMERGENCY_STOP as an operation', () => {
  it('without targets stops the whole system, and says so', async () => {
    const clerk = await bench.signIn(CLERK);
    const receipt = must(await bench.operate(clerk, stopOf([])));
    expect(receipt).toMatchObject({
      type: EMERGENCY_STOP,
      state: 'EMERGENCY_STOPPED',
      result: CoordinationResult.SUCCESS,
      effect: 'stopped',
      planDigest: '',
      readings: [],
    });
    expect(receipt).not.toHaveProperty('fault');
    expect(receipt.reasons[0]).toMatch(/^scope: whole system/);
    expect(receipt.tracks.map(({ track, ok }) => [track, ok])).toEqual([
      ['kernel', true],
      ['security', true],
      ['interface', true],
    ]);
    expect(bench.kernelBench.latch.engaged()).toBe(true);
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0x5afe);
    expect(bench.stops.causes).toMatchObject([{ triggeredBy: 'clerk', devices: [] }]);
    await bench.kernelBench.clock.advance(1);
    expect(stopEntries()).toMatchObject([{ actor: 'clerk', origin: ORIGIN }]);
    const told = bench.events.filter((event) => event.type === EventType.EMERGENCY_STOP);
    expect(told).toHaveLength(1);
  });

  it('stops the devices it names and no other', async () => {
    const alice = await bench.signIn(ALICE);
    const receipt = must(await bench.operate(alice, stopOf([PUMP], { justification: 'smoke' })));
    expect(receipt).toMatchObject({ result: CoordinationResult.SUCCESS, effect: 'stopped' });
    expect(receipt.reasons[0]).toMatch(/pump|0x8000/);
    expect(bench.stops.causes).toMatchObject([{ reason: 'smoke', devices: [PUMP] }]);
    const pump = must(await bench.operate(alice, bench.write(PUMP, { DATA: 1n })));
    expect(pump).toMatchObject({ state: 'EMERGENCY_STOPPED', effect: 'none' });
    const valve = must(await bench.operate(alice, bench.write(VALVE, { DATA: 1n })));
    expect(valve.effect).toBe('committed');
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0x5afe);
  });

  it('ends what is selected on the devices it names', async () => {
    const alice = await bench.signIn(ALICE);
    const select = async (device: number) => {
      const intent = bench.write(device, { DATA: 1n }, { selectForSeconds: 60 });
      return must(await bench.operate(alice, intent)).operationId;
    };
    const pump = await select(PUMP);
    const valve = await select(VALVE);
    must(await bench.operate(await bench.signIn(CLERK), stopOf([PUMP])));
    await bench.kernelBench.clock.advance(1);
    const ends = bench.entries().filter((entry) => entry.event === 'SELECTION_ENDED');
    expect(ends).toMatchObject([{ operationId: pump, actor: 'clerk', result: 'stopped' }]);
    const deadline = bench.kernelBench.deadline();
    const { LOW, MODERATE } = RiskLevel;
    const operate = (id: string, risk: RiskLevel) =>
      bench.settle(bench.orchestrator.operateSelected(alice, id, risk, ORIGIN, deadline));
    expect(codeOf(await operate(pump, LOW))).toBe('SELECTION_UNKNOWN');
    expect(must(await operate(valve, MODERATE)).effect).toBe('committed');
  });

  it('is FAILED, and stopped all the same, when a track gives no receipt', async () => {
    bench.interface.answers = 'with a fault';
    const alice = await bench.signIn(ALICE);
    const receipt = must(await bench.operate(alice, stopOf([])));
    expect(receipt).toMatchObject({
      state: 'EMERGENCY_STOPPED',
      result: CoordinationResult.FAILED,
      effect: 'stopped',
      fault: { code: 'STOP_INCOMPLETE', finding: expect.stringMatching(/^interface: no receipt/) },
    });
    expect(receipt.tracks.map(({ track, ok }) => [track, ok])).toEqual([
      ['kernel', true],
      ['security', true],
      ['interface', false],
    ]);
    expect(bench.kernelBench.latch.engaged()).toBe(true);
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0x5afe);
  });

  it('is kept by nothing: not a locked session, not sixteen operations, not an id used before, not audit', async () => {
    const alice = await bench.signIn(ALICE);
    const bob = await bench.signIn(BOB);
    must(await bench.operate(alice, bench.intent(READ, FORBIDDEN)));
    expect(codeOf(await bench.operate(alice, bench.write(PUMP, { DATA: 1n })))).toBe(
      'ACCOUNT_LOCKED',
    );
    const { orchestrator, kernelBench } = bench;
    const first = bench.write(PUMP, { DATA: 1n });
    must(await bench.operate(bob, first));
    const running = Array.from({ length: 16 }, () => {
      const intent = bench.intent(READ, FAN, { LEVEL: undefined });
      return orchestrator.operate(bob, intent, ORIGIN, kernelBench.deadline());
    });
    bench.store.database.exec(
      `CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END`,
    );
    const { operationId } = first;
    const receipt = must(await bench.operate(alice, stopOf([], { operationId })));
    expect(receipt.effect).toBe('stopped');
    expect(bench.kernelBench.latch.engaged()).toBe(true);
    expect(bench.stops.causes).toMatchObject([{ triggeredBy: 'locked session' }]);
    await bench.settle(Promise.all(running));
    // The receipt of the operation that used the id first stands.
    expect(must(await orchestrator.operation(bob, operationId)).effect).toBe('committed');
    bench.store.database.exec('DROP TRIGGER full');
    await kernelBench.clock.advance(3_000);
    expect(stopEntries()).toMatchObject([{ actor: 'locked session' }]);
  });

  it('can be asked for again under its own id, and its receipt can be asked for', async () => {
    const alice = await bench.signIn(ALICE);
    const stop = stopOf([PUMP]);
    must(await bench.operate(alice, stop));
    const again = must(await bench.operate(alice, stop));
    expect(again.effect).toBe('stopped');
    const { orchestrator } = bench;
    expect(must(await orchestrator.operation(alice, stop.operationId))).toEqual(again);
    expect(must(await orchestrator.operations(alice, 10))).toEqual([again]);
  });

  it('is shown by a dry run to whoever is signed in, and touches nothing', async () => {
    const before = bench.kernelBench.bytes();
    const clerk = await bench.signIn(CLERK);
    const shown = must(await bench.operate(clerk, stopOf([HEATER], { dryRun: true })));
    expect(shown.fault).toBeUndefined();
    expect(shown).toMatchObject({ state: 'COMPLETED', effect: 'none' });
    expect(shown).not.toHaveProperty('approvalsNeeded');
    expect(shown.transactions?.join()).toContain('heater.DATA');
    expect(bench.kernelBench.latch.engaged()).toBe(false);
    expect(bench.kernelBench.bytes().equals(before)).toBe(true);
    expect(bench.stops.causes).toEqual([]);
  });
});

describe('a dry run', () => {
  it('uses up no id: the same one can be performed afterwards', async () => {
    const alice = await bench.signIn(ALICE);
    const intent = bench.write(PUMP, { DATA: 1n });
    must(await bench.operate(alice, { ...intent, dryRun: true }));
    expect(codeOf(await bench.orchestrator.operation(alice, intent.operationId))).toBe(
      'OPERATION_UNKNOWN',
    );
    expect(must(await bench.operate(alice, intent)).effect).toBe('committed');
  });
});

describe('receipts', () => {
  it('are kept for the last thousand operations', async () => {
    const alice = await bench.signIn(ALICE);
    const clerk = await bench.signIn(CLERK);
    const first = must(await bench.operate(alice, stopOf([PUMP])));
    const selecting = bench.write(VALVE, { DATA: 1n }, { selectForSeconds: 300 });
    const { operationId } = must(await bench.operate(alice, selecting));
    const { orchestrator } = bench;
    for (let count = 0; count < 998; count++)
      await orchestrator.operate(clerk, stopOf([PUMP]), ORIGIN, bench.kernelBench.deadline());
    const known = (id: string) => orchestrator.operation(alice, id);
    expect((await known(first.operationId)).ok).toBe(true);
    must(await bench.operate(alice, stopOf([PUMP])));
    expect(codeOf(await known(first.operationId))).toBe('OPERATION_UNKNOWN');
    must(await bench.operate(alice, stopOf([PUMP])));
    expect(codeOf(await known(operationId))).toBe('OPERATION_UNKNOWN');
    // Its selection is open all the same, and lets nobody in under that id.
    const other = { ...bench.write(VALVE, { CONFIG: 1n }), operationId };
    expect(codeOf(await bench.operate(await bench.signIn(BOB), other))).toBe('REQUEST_MALFORMED');
    expect(must(await orchestrator.operations(alice, 2_000))).toHaveLength(1_000);
  });
});
