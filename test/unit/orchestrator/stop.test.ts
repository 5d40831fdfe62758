// The coordinated stop: the latch before anything else, three receipts at once, and two people to undo it.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClearanceLevel } from '#model/principal';
import { EmergencyPriority } from '#model/stop';
import { FAN, must, OFFSET, PUMP, VALVE } from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, MACHINE, person } from './agent-bench.ts';

const WHOLE = { reason: 'smoke', priority: EmergencyPriority.IMMEDIATE, devices: [], groups: [] };
let bench: AgentBench;

beforeEach(async () => {
  bench = await AgentBench.open();
});
afterEach(() => bench.close());

const stop = (request: Parameters<typeof bench.stops.stop>[0] = WHOLE) =>
  bench.settle(bench.stops.stop(request, 'interface', 'alice'));
const reset = (who = ALICE) => bench.settle(bench.stops.requestReset(who));
const engaged = () => bench.kernelBench.latch.engaged();
const codeOf = (outcome: Awaited<ReturnType<typeof reset>>) =>
  outcome.ok ? outcome.value.released : `${outcome.fault.code}: ${outcome.fault.finding}`;

describe('a stop', () => {
  it('engages the latch before any track has had a chance to answer', async () => {
    const pending = bench.stops.stop(WHOLE, 'interface', 'alice');
    expect(engaged()).toBe(true);
    expect(must(await bench.kernelBench.track.snapshot()).stopEngaged).toBe(true);
    await bench.settle(pending);
  });

  it('reaches metal through the latch alone when no order reaches kernel', async () => {
    bench.line.cut = true;
    bench.kernelBench.poke(PUMP, OFFSET.CONTROL, 1);
    const report = await stop();
    expect(report.success).toBe(false);
    expect(report.receipts[0]?.message).toBe('no receipt: the peer is lost');
    expect(engaged()).toBe(true);
    // What the bell of the latch has the kernel process do.
    await bench.settle(bench.kernelBench.track.stopByLatch());
    expect(bench.kernelBench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
  });

  it('brings a receipt from every track, in their order, and keeps its cause', async () => {
    bench.kernelBench.poke(PUMP, OFFSET.CONTROL, 1);
    const report = await stop();
    expect(report).toMatchObject({ success: true, scope: 'whole system' });
    expect(report.receipts.map((receipt) => [receipt.track, receipt.ok])).toEqual([
      ['kernel', true],
      ['security', true],
      ['interface', true],
    ]);
    expect(bench.kernelBench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
    const cause = { source: 'interface', reason: 'smoke', triggeredBy: 'alice' };
    expect(bench.stops.causes).toMatchObject([cause]);
    expect(bench.security.stopRecord.causes()).toMatchObject([cause]);
  });

  it('asks all tracks at once: a silent one delays neither the latch nor the metal', async () => {
    bench.interface.answers = 'never';
    bench.kernelBench.poke(PUMP, OFFSET.CONTROL, 1);
    const pending = bench.stops.stop(WHOLE, 'interface', 'alice');
    expect(engaged()).toBe(true);
    expect(bench.interface.stops).toHaveLength(1);
    await bench.kernelBench.clock.advance(10);
    expect(bench.kernelBench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
    const report = await bench.settle(pending);
    expect(report.success).toBe(false);
    expect(report.receipts.map((receipt) => receipt.ok)).toEqual([true, true, false]);
    expect(report.receipts[2]?.message).toBe('no receipt: no answer within 5000 ms');
    expect(report.durationMs).toBe(5_000);
  });

  it('is as good as its worst receipt: a track that faults, and a device that is not safe', async () => {
    bench.interface.answers = 'with a fault';
    expect((await stop()).success).toBe(false);
    bench.interface.answers = 'at once';
    expect((await stop()).success).toBe(true);
    bench.kernelBench.peer.misbehaviours.set('fan.MODE', 'nack');
    const report = await stop();
    expect(report.success).toBe(false);
    expect(report.receipts[0]?.unsafe).toEqual([
      { device: FAN, finding: 'fan.MODE: the chip did not acknowledge' },
    ]);
  });

  it('happens also when its cause cannot be kept', async () => {
    bench.store.database.exec('DROP TABLE stop_cause');
    const report = await stop();
    expect([report.success, engaged()]).toEqual([true, true]);
  });

  it('of one device leaves the latch and the other devices alone', async () => {
    bench.kernelBench.poke(PUMP, OFFSET.CONTROL, 1);
    bench.kernelBench.poke(VALVE, OFFSET.CONTROL, 1);
    const report = await stop({ ...WHOLE, devices: [PUMP], groups: [] });
    expect(report).toMatchObject({ success: true, scope: 'device pump (0x8000)' });
    expect(engaged()).toBe(false);
    expect(bench.kernelBench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
    expect(bench.kernelBench.peek(VALVE, OFFSET.CONTROL)).toBe(1);
  });
});

describe('a reset', () => {
  it('needs two different people, and releases the latch but starts nothing', async () => {
    bench.kernelBench.poke(PUMP, OFFSET.CONTROL, 1);
    await stop();
    const first = must(await reset(ALICE));
    expect(first.released).toBe(false);
    expect(first.message).toContain('a second person has to ask within 300 s');
    expect(engaged()).toBe(true);
    expect(codeOf(await reset(ALICE))).toBe(false);
    expect(engaged()).toBe(true);
    expect(codeOf(await reset(BOB))).toBe(true);
    expect(engaged()).toBe(false);
    expect(bench.stops.causes).toEqual([]);
    expect(bench.security.stopRecord.causes()).toEqual([]);
    expect(bench.kernelBench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
  });

  it('releases devices that were stopped one by one', async () => {
    await stop({ ...WHOLE, devices: [PUMP], groups: [] });
    expect((await bench.run(bench.write(PUMP, { DATA: 1n }))).fault?.code).toBe(
      'EMERGENCY_STOPPED',
    );
    await reset(ALICE);
    expect(codeOf(await reset(BOB))).toBe(true);
    expect((await bench.run(bench.write(PUMP, { DATA: 1n }))).effect).toBe('committed');
  });

  it('is refused to who is not cleared for SECRET, and to machines', async () => {
    await stop();
    expect(codeOf(await reset(person('carol', ClearanceLevel.CONFIDENTIAL)))).toBe(
      'CLEARANCE_TOO_LOW: resetting needs SECRET, carol has CONFIDENTIAL',
    );
    expect(codeOf(await reset(MACHINE))).toBe('RESET_REFUSED: only people can reset a stop');
    await reset(ALICE);
    expect(codeOf(await reset(MACHINE))).toBe('RESET_REFUSED: only people can reset a stop');
    expect(engaged()).toBe(true);
    expect(codeOf(await reset(person('dave', ClearanceLevel.SECRET)))).toBe(true);
  });

  it('is refused while a track is down, and when nothing is stopped', async () => {
    expect(codeOf(await reset())).toBe('RESET_REFUSED: no stop is engaged');
    await stop();
    await reset(ALICE);
    bench.lose('interface');
    expect(codeOf(await reset(BOB))).toBe('RESET_REFUSED: the interface track is down');
    bench.lose('kernel');
    expect(codeOf(await reset())).toBe('RESET_REFUSED: the kernel and interface track is down');
    expect(engaged()).toBe(true);
  });

  it('has to be completed within five minutes', async () => {
    await stop();
    await reset(ALICE);
    await bench.kernelBench.clock.advance(300_000);
    expect(codeOf(await reset(BOB))).toBe(false);
    expect(engaged()).toBe(true);
    expect(codeOf(await reset(ALICE))).toBe(true);
  });

  it('begins anew when another stop comes between the two people', async () => {
    await stop();
    await reset(ALICE);
    await stop({ ...WHOLE, reason: 'now fire' });
    // Alice has not seen the fire.
    expect(codeOf(await reset(BOB))).toBe(false);
    expect(engaged()).toBe(true);
    expect(bench.stops.causes.map((cause) => cause.reason)).toEqual(['smoke', 'now fire']);
  });

  it('does not take away a stop that comes while kernel releases the latch', async () => {
    await stop();
    await reset(ALICE);
    const completing = bench.stops.requestReset(BOB);
    const again = bench.stops.stop({ ...WHOLE, reason: 'now fire' }, 'interface', 'carol');
    expect(codeOf(await bench.settle(completing))).toBe(
      'RESET_REFUSED: a new stop came during the reset',
    );
    await bench.settle(again);
    expect(engaged()).toBe(true);
    expect(bench.stops.causes.at(-1)?.reason).toBe('now fire');
  });
});
