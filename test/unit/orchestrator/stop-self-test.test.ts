// The periodic test of the stop path: over the real bell, found out when it fails, told once, and never in the way.

import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EventType } from '#model/event';
import { OrchestratorState } from '#model/orchestrator-port';
import { EmergencyPriority } from '#model/stop';
import { must, OFFSET, PUMP } from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB } from './agent-bench.ts';

const WHOLE = { reason: 'smoke', priority: EmergencyPriority.IMMEDIATE, devices: [], groups: [] };
const PERIOD_MS = 10_000;
let bench: AgentBench;

beforeEach(async () => {
  bench = await AgentBench.open();
});
afterEach(() => bench.close());

const test = () => bench.settle(bench.security.stopTest.run());
const status = async () => must(await bench.orchestrator.status());
const told = () => bench.entries().filter(({ event }) => event === 'STOP_TESTED');
const changed = () =>
  bench.events.filter(
    ({ type, data }) =>
      type === EventType.SYSTEM_STATUS_CHANGED && String(data.finding).includes('stop path'),
  );

/** Kernel's ear is taken away: tests ring, and nobody hears them. */
function deafen(): void {
  bench.kernelBench.latch.onTested(() => undefined);
}

function heal(): void {
  bench.kernelBench.latch.onTested(() => bench.kernelBench.track.bellTested());
}

describe('the test of the stop path', () => {
  it('runs in its period, passes, touches nothing and is not put on record', async () => {
    expect((await status()).stopTest).toBeNull();
    const before = bench.kernelBench.bytes();
    await bench.kernelBench.clock.advance(PERIOD_MS);
    await bench.settle(Promise.resolve());
    const { stopTest, state } = await status();
    expect(stopTest).toMatchObject({ ok: true, finding: 'kernel answered' });
    expect(state).toBe(OrchestratorState.READY);
    expect([bench.kernelBench.latch.engaged(), bench.stops.causes]).toEqual([false, []]);
    expect(bench.kernelBench.bytes().equals(before)).toBe(true);
    expect([told(), changed()]).toEqual([[], []]);
    const first = stopTest?.wallMs ?? 0;
    await bench.kernelBench.clock.advance(PERIOD_MS);
    expect((await status()).stopTest?.wallMs).toBeGreaterThanOrEqual(first + PERIOD_MS);
  });

  it('that kernel does not hear makes the system DEGRADED until one is heard again', async () => {
    deafen();
    await test();
    const failed = await status();
    expect(failed.stopTest?.ok).toBe(false);
    expect(failed.state).toBe(OrchestratorState.DEGRADED);
    expect(failed.findings).toEqual([
      expect.stringMatching(/^the stop path failed its test: kernel did not/),
    ]);
    await test();
    expect(told()).toHaveLength(1);
    expect(changed()).toHaveLength(1);
    heal();
    await test();
    expect((await status()).state).toBe(OrchestratorState.READY);
    await test();
    await bench.settle(Promise.resolve());
    expect(told().map(({ result }) => result)).toEqual([
      expect.stringMatching(/^the stop path failed its test/),
      'the stop path works again: kernel answered',
    ]);
    expect(changed()).toHaveLength(2);
  });

  it('waits no longer than a second for kernel', async () => {
    bench.line.testStop = () => new Promise(() => undefined);
    const startMs = bench.kernelBench.clock.nowMs();
    await test();
    expect(bench.kernelBench.clock.nowMs() - startMs).toBeLessThanOrEqual(1_001);
    expect((await status()).stopTest).toMatchObject({
      ok: false,
      finding: 'kernel did not answer within 1000 ms',
    });
  });

  it('finds words of the latch that were spoiled', async () => {
    const file = openSync(join(bench.kernelBench.directory, 'kernel/latch'), 'r+');
    writeSync(file, Buffer.from([0x5a, 0x5a, 0x5a, 0x5a]), 0, 4, 8);
    closeSync(file);
    await test();
    expect((await status()).stopTest).toMatchObject({
      ok: false,
      finding: 'seen by security, the latched word holds a value that kernel never writes',
    });
  });

  it('passes with a finding while a bus is closed: the other devices are reached', async () => {
    const { misbehaviours } = bench.kernelBench.peer;
    misbehaviours.set('fan.MODE', 'absent').set('fan.LEVEL', 'absent');
    const { track, clock } = bench.kernelBench;
    await bench.settle(track.memory.observe(3, bench.kernelBench.deadline()));
    expect(clock.nowMs()).toBeGreaterThan(0);
    await test();
    const { stopTest, state } = await status();
    expect(stopTest).toMatchObject({
      ok: true,
      finding: 'bus i2c-0 is not open, a stop may not reach its 2 devices',
    });
    expect(state).toBe(OrchestratorState.READY);
  });

  it('is not run while a stop stands, and does not hide one', async () => {
    await bench.settle(bench.stops.stop(WHOLE, 'interface', 'alice'));
    await test();
    expect((await status()).stopTest).toBeNull();
    await bench.settle(bench.stops.requestReset(ALICE));
    await bench.settle(bench.stops.requestReset(BOB));
    await test();
    expect((await status()).stopTest?.ok).toBe(true);
  });

  it('gives way to a stop that comes while it runs', async () => {
    deafen();
    bench.kernelBench.poke(PUMP, OFFSET.CONTROL, 1);
    const testing = bench.security.stopTest.run();
    const stopping = bench.stops.stop(WHOLE, 'interface', 'alice');
    await bench.settle(Promise.all([testing, stopping]));
    expect(bench.kernelBench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
    expect((await status()).stopTest).toBeNull();
    expect(told()).toEqual([]);
  });

  it('is not run while kernel is away, which says enough', async () => {
    bench.lose('kernel');
    await test();
    expect((await status()).stopTest).toBeNull();
  });

  it('puts a latch on record that stands without a cause, once nobody has explained it', async () => {
    bench.kernelBench.latch.engage();
    bench.kernelBench.latch.latch();
    await test();
    expect(bench.stops.causes).toEqual([]);
    await test();
    await test();
    expect(bench.stops.causes).toMatchObject([
      { devices: [], reason: 'the stop latch was found engaged', triggeredBy: 'latch' },
    ]);
  });
});
