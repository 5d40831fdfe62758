// Dry runs and safety requirements through the whole agent: over the links, from the intent to the receipt.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CoordinationResult,
  NO_REQUIREMENTS,
  OperationType,
  type SafetyRequirements,
} from '#model/operation';
import { GUARDED_DEVICES, THERMAL_OFFSET } from '../../support/guarded-devices.ts';
import { FAN, OFFSET, PUMP, VALVE } from '../../support/kernel-bench.ts';
import { AgentBench } from './agent-bench.ts';

const { EMERGENCY_STOP, WRITE } = OperationType;
let bench: AgentBench;

beforeEach(async () => {
  bench = await AgentBench.open({ devices: GUARDED_DEVICES });
  bench.kernelBench.peer.words.set('fan.HEAT', 30n);
});
afterEach(() => bench.close());

const under = (requirements: Partial<SafetyRequirements>) => ({
  requirements: { ...NO_REQUIREMENTS, ...requirements },
});

describe('a dry run', () => {
  it('tells registers before and after, the way back, the risk by track and the worst time', async () => {
    const { kernelBench } = bench;
    kernelBench.poke(PUMP, OFFSET.DATA, 7);
    const before = kernelBench.bytes();
    const intent = bench.write(PUMP, { DATA: 5n, PENDING: 1n }, { dryRun: true });
    const receipt = await bench.run(intent);
    expect(receipt).toMatchObject({ result: CoordinationResult.SUCCESS, effect: 'none' });
    expect(receipt.preview).toEqual([
      {
        device: PUMP,
        register: 'DATA',
        before: 7n,
        after: 5n,
        rollback: 'write pump.DATA 0x00000007',
      },
      {
        device: PUMP,
        register: 'PENDING',
        before: 0n,
        after: 0n,
        rollback: 'cannot be undone: a written one clears its bit, and no write sets it again',
      },
    ]);
    expect(receipt.assessments?.map(({ track }) => track)).toEqual([
      'kernel',
      'security',
      'interface',
    ]);
    expect(receipt.worstCaseMs).toBeGreaterThan(0);
    expect(kernelBench.bytes().equals(before)).toBe(true);
    const real = await bench.run(bench.write(PUMP, { DATA: 5n, PENDING: 1n }));
    expect(real.planDigest).toBe(receipt.planDigest);
    expect([real.preview, real.assessments, real.worstCaseMs]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('of an emergency stop shows the safe values of the whole board and stops nothing', async () => {
    const before = bench.kernelBench.bytes();
    const intent = { ...bench.intent(EMERGENCY_STOP, PUMP, {}, { dryRun: true }), targets: [] };
    const receipt = await bench.run(intent);
    expect(receipt).toMatchObject({ result: CoordinationResult.SUCCESS, effect: 'none' });
    expect(
      receipt.preview?.map(({ device, register, after }) => [device, register, after]),
    ).toEqual([
      [PUMP, 'DATA', 0x5afen],
      [PUMP, 'CONTROL', 0n],
      [VALVE, 'DATA', 0x5afen],
      [VALVE, 'CONTROL', 0n],
      [FAN, 'MODE', 0n],
    ]);
    expect(bench.kernelBench.latch.engaged()).toBe(false);
    expect(bench.kernelBench.bytes().equals(before)).toBe(true);
  });
});

describe('a safety requirement', () => {
  const both = under({ thermalMonitoringRequired: true, memoryProtectionRequired: true });

  it('is kept from the plan to the metal', async () => {
    bench.kernelBench.poke(PUMP, THERMAL_OFFSET, 85_000);
    const receipt = await bench.run(bench.write(PUMP, { DATA: 5n }, both));
    expect(receipt).toMatchObject({ effect: 'committed' });
    bench.kernelBench.poke(PUMP, THERMAL_OFFSET, 85_001);
    const hot = await bench.run(bench.write(PUMP, { DATA: 6n }, both));
    expect(hot).toMatchObject({
      result: CoordinationResult.FAILED,
      effect: 'none',
      fault: { code: 'THERMAL_LIMIT', place: 'pump.THERMAL', metal: 'untouched' },
    });
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(5);
  });

  it('undoes a write that changed another register of the device', async () => {
    const { peer } = bench.kernelBench;
    peer.words.set('fan.MODE', 3n).set('fan.LEVEL', 4n);
    peer.onAccess = ({ kind, word }) => {
      if (kind === 'write' && word === 9n) peer.words.set('fan.MODE', 0n);
    };
    const receipt = await bench.run(bench.write(FAN, { LEVEL: 9n }, both));
    expect(receipt).toMatchObject({
      effect: 'rolled-back',
      fault: {
        code: 'MEMORY_PROTECTION',
        place: 'fan.MODE',
        finding: 'the plan does not write it, but it was 0x0003 and is 0x0000',
      },
    });
    expect(peer.words.get('fan.LEVEL')).toBe(4n);
  });

  it.each([
    ['thermal_monitoring_required', VALVE, { thermalMonitoringRequired: true }, { DATA: 1n }],
    ['rollback_capability_required', PUMP, { rollbackCapabilityRequired: true }, { KEY: 1n }],
  ] as const)(
    'that cannot be kept denies the operation: %s',
    async (name, device, needs, writes) => {
      const before = bench.kernelBench.bytes();
      const receipt = await bench.run(bench.intent(WRITE, device, writes, under(needs)));
      expect(receipt).toMatchObject({
        result: CoordinationResult.DENIED,
        effect: 'none',
        fault: { code: 'REQUIREMENT_UNMET' },
      });
      expect(receipt.fault?.finding).toContain(name);
      expect(bench.kernelBench.bytes().equals(before)).toBe(true);
    },
  );
});
