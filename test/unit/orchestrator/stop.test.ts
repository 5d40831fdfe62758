// The coordinated stop: the latch before anything else, three receipts at once, and two people to undo it.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperationType } from '#model/operation';
import { ClearanceLevel } from '#model/principal';
import { EmergencyPriority, type StopCause } from '#model/stop';
import {
  FAN,
  FORBIDDEN,
  HEATER,
  LAMP,
  must,
  OFFSET,
  PUMP,
  VALVE,
} from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, MACHINE, ORIGIN, person } from './agent-bench.ts';

const { ACTIVATE } = OperationType;

const WHOLE = { reason: 'smoke', priority: EmergencyPriority.IMMEDIATE, devices: [], groups: [] };
let bench: AgentBench;

beforeEach(async () => {
  bench = await AgentBench.open();
});
afterEach(() => bench.close());

const stop = (request: Parameters<typeof bench.stops.stop>[0] = WHOLE) =>
  bench.settle(bench.stops.stop(request, 'interface', 'alice'));
const reset = (who = ALICE) => bench.settle(bench.stops.requestReset(who));
const rows = (table: string) =>
  Number(bench.store.database.prepare(`SELECT count(*) AS count FROM ${table}`).get()?.count);
const keptCauses = () =>
  bench.store.database
    .prepare('SELECT cause FROM stop_cause ORDER BY position')
    .all()
    .map((row) => JSON.parse(String(row.cause)) as StopCause);
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

  it('of single devices reaches kernel whatever the length of its texts, which are cut to be seen', async () => {
    bench.kernelBench.poke(PUMP, OFFSET.CONTROL, 1);
    const peer = `${'p'.repeat(256)}, without a session`;
    const request = { ...WHOLE, devices: [PUMP], reason: 'r'.repeat(5_000) };
    const report = await bench.settle(bench.stops.stop(request, 'interface', peer));
    expect(report.receipts[0]).toMatchObject({ track: 'kernel', ok: true });
    expect(bench.kernelBench.peek(PUMP, OFFSET.CONTROL)).toBe(0);
    const [cause] = bench.stops.causes;
    expect([cause?.triggeredBy, cause?.reason]).toEqual([
      `${'p'.repeat(127)}…`,
      `${'r'.repeat(4_095)}…`,
    ]);
    // Kernel's word of it is known as the same stop.
    expect(bench.stops.causes).toHaveLength(1);
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
    await bench.kernelBench.clock.advance(10);
    expect(bench.interface.stops).toHaveLength(1);
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
    bench.tolerated = [];
    const { database } = bench.store;
    database.exec('ALTER TABLE stop_cause RENAME TO elsewhere');
    const report = await stop();
    expect([report.success, engaged()]).toEqual([true, true]);
    expect(bench.stops.causes).toMatchObject([{ reason: 'smoke' }]);
    expect(bench.tolerated).toHaveLength(1);
    // It is written as soon as the disk takes it.
    database.exec('ALTER TABLE elsewhere RENAME TO stop_cause');
    await bench.kernelBench.clock.advance(1_000);
    expect(keptCauses()).toMatchObject([{ id: 1, reason: 'smoke' }]);
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

describe('the scope of a stop', () => {
  it('of a group is its devices on this board, said plainly, without the quarantined', async () => {
    bench.kernelBench.poke(FORBIDDEN, OFFSET.CONTROL, 1);
    bench.kernelBench.poke(VALVE, OFFSET.CONTROL, 1);
    const report = await stop({ ...WHOLE, groups: [0] });
    expect(report).toMatchObject({
      success: true,
      scope: 'group 0 (bench): 5 devices; 1 quarantined device is never driven',
      devices: [PUMP, VALVE, HEATER, FAN, LAMP],
    });
    expect(engaged()).toBe(false);
    expect(bench.kernelBench.peek(VALVE, OFFSET.CONTROL)).toBe(0);
    expect(bench.kernelBench.peek(FORBIDDEN, OFFSET.CONTROL)).toBe(1);
  });

  it('leaves out a device that was quarantined at run time, and drives nothing for it', async () => {
    const alice = await bench.signIn(ALICE);
    const { orchestrator, kernelBench } = bench;
    const reason = 'it behaves strangely since noon';
    await bench.settle(orchestrator.quarantineDevice(alice, VALVE, reason, ORIGIN));
    kernelBench.poke(VALVE, OFFSET.CONTROL, 1);
    const group = await stop({ ...WHOLE, groups: [0] });
    expect(group.scope).toBe('group 0 (bench): 4 devices; 2 quarantined devices are never driven');
    const alone = await stop({ ...WHOLE, devices: [VALVE] });
    expect(alone).toMatchObject({ success: true, scope: '1 quarantined device is never driven' });
    expect(engaged()).toBe(false);
    const whole = await stop();
    expect(whole.receipts[0]?.safe).not.toContain(VALVE);
    expect(whole.success).toBe(true);
    expect(kernelBench.peek(VALVE, OFFSET.CONTROL)).toBe(1);
  });

  it('of nothing that is on this board is the whole system', async () => {
    const report = await stop({ ...WHOLE, devices: [77], groups: [6] });
    expect(report).toMatchObject({
      success: true,
      scope: 'whole system, for group 6 and device 77 are not on this board',
      devices: [],
    });
    expect(engaged()).toBe(true);
  });

  it('of a device holds it on record, and in kernel also when the order was lost', async () => {
    bench.line.cut = true;
    const report = await stop({ ...WHOLE, devices: [PUMP] });
    expect(report.success).toBe(false);
    expect(bench.security.holds.has(PUMP, 'stopped')).toBe(true);
    // Kernel takes it from the record.
    expect(bench.kernelBench.interlock.has(PUMP, 'stopped')).toBe(true);
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0x5afe);
  });
});

describe('what kernel reports', () => {
  const receipt = {
    track: 'kernel',
    ok: true,
    message: 'all safe',
    safe: [],
    unsafe: [],
    durationMs: 1,
  } as const;

  it('is put on record once, whoever stopped and however often it is told', async () => {
    await stop({ ...WHOLE, devices: [PUMP] });
    const [cause] = bench.stops.causes;
    if (cause === undefined) throw new Error('no cause');
    bench.orchestrator.kernelStopped(cause, receipt);
    expect(bench.stops.causes).toHaveLength(1);
    // The latch is another matter than the one device.
    bench.orchestrator.kernelStopped(null, receipt);
    bench.orchestrator.kernelStopped(null, receipt);
    expect(bench.stops.causes.map(({ id, reason }) => [id, reason])).toEqual([
      [1, 'smoke'],
      [2, 'the stop latch was engaged'],
    ]);
  });

  it('of a stop that security forgot when it was killed is put on record then', async () => {
    await stop({ ...WHOLE, devices: [PUMP] });
    const [cause] = bench.stops.causes;
    if (cause === undefined) throw new Error('no cause');
    bench.orchestrator.kernelStopped({ ...cause, wallMs: cause.wallMs - 5 }, receipt);
    expect(bench.stops.causes.map(({ id }) => id)).toEqual([1, 2]);
  });

  it('of a stop that was reset meanwhile is no new stop', async () => {
    await stop({ ...WHOLE, devices: [PUMP] });
    const [cause] = bench.stops.causes;
    if (cause === undefined) throw new Error('no cause');
    await reset(ALICE);
    expect(codeOf(await reset(BOB))).toBe(true);
    bench.orchestrator.kernelStopped(cause, receipt);
    expect(bench.stops.causes).toEqual([]);
  });
});

describe('an acknowledgment', () => {
  const acknowledge = (by: string) => bench.settle(bench.stops.acknowledge(by));

  it('is one for each person and cause, and survives until the reset', async () => {
    await stop();
    expect(must(await acknowledge('alice'))).toMatchObject([{ stopId: 1, by: 'alice' }]);
    await stop({ ...WHOLE, reason: 'now fire' });
    await acknowledge('bob');
    await Promise.all([acknowledge('alice'), acknowledge('alice')]);
    expect(bench.stops.acknowledgments.map(({ stopId, by }) => `${stopId} ${by}`).sort()).toEqual([
      '1 alice',
      '1 bob',
      '2 alice',
      '2 bob',
    ]);
    await reset(ALICE);
    expect(codeOf(await reset(BOB))).toBe(true);
    expect(bench.stops.acknowledgments).toEqual([]);
    expect(rows('stop_acknowledgment')).toBe(0);
  });

  it('is refused when nothing is stopped, and when the disk does not take it', async () => {
    const none = await acknowledge('alice');
    expect(none.ok ? '' : none.fault.code).toBe('STOP_NOT_ENGAGED');
    await stop();
    bench.store.database.exec('DROP TABLE stop_acknowledgment');
    const lost = await acknowledge('alice');
    expect(lost.ok ? '' : lost.fault.code).toBe('AUDIT_UNAVAILABLE');
    expect(bench.stops.acknowledgments).toEqual([]);
  });
});

describe('a reset', () => {
  it('leaves what it deactivates on record, until each device is activated', async () => {
    await stop();
    await reset(ALICE);
    expect(codeOf(await reset(BOB))).toBe(true);
    const held = () => bench.security.holds.all().map(({ device, kind }) => `${device} ${kind}`);
    expect(held()).toEqual(['0 deactivated', '1 deactivated', '2 deactivated']);
    expect(rows('device_hold')).toBe(3);
    expect((await bench.run(bench.intent(ACTIVATE, PUMP))).effect).toBe('committed');
    expect(bench.kernelBench.interlock.has(PUMP, 'deactivated')).toBe(false);
  });

  it('that the disk does not take is none: the stop stands again', async () => {
    await stop();
    await reset(ALICE);
    bench.store.database.exec('ALTER TABLE stop_counter RENAME TO elsewhere');
    expect(codeOf(await reset(BOB))).toBe(
      'RESET_REFUSED: the end of the stop could not be put on disk',
    );
    expect(engaged()).toBe(true);
    expect(bench.stops.causes).toHaveLength(1);
    bench.store.database.exec('ALTER TABLE elsewhere RENAME TO stop_counter');
    await bench.settle(bench.kernelBench.track.stopByLatch());
    expect(codeOf(await reset(BOB))).toBe(true);
    expect(engaged()).toBe(false);
  });

  it('of a device that the disk does not take leaves the device stopped', async () => {
    await stop({ ...WHOLE, devices: [PUMP] });
    await reset(ALICE);
    bench.store.database.exec('ALTER TABLE stop_counter RENAME TO elsewhere');
    expect(codeOf(await reset(BOB))).toContain('RESET_REFUSED');
    expect(engaged()).toBe(false);
    await bench.kernelBench.clock.advance(10);
    expect(bench.kernelBench.interlock.has(PUMP, 'stopped')).toBe(true);
    expect(bench.security.holds.has(PUMP, 'stopped')).toBe(true);
  });

  it('is refused while the audit chain cannot be written', async () => {
    await stop();
    const [alice, bob] = [await bench.signIn(ALICE), await bench.signIn(BOB)];
    const ask = async (session: string) => {
      const reason = 'the cause was looked at';
      return codeOf(await bench.settle(bench.orchestrator.resetStop(session, reason, ORIGIN)));
    };
    expect(await ask(alice)).toBe(false);
    bench.store.database.exec(
      "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(FAIL, 'disk full'); END",
    );
    await bench.settle(bench.security.announcer.record('AGENT_STARTED', 'test', null, [], ''));
    expect(await ask(bob)).toContain('AUDIT_UNAVAILABLE');
    expect(engaged()).toBe(true);
    bench.store.database.exec('DROP TRIGGER full');
    await bench.settle(bench.security.announcer.record('AGENT_STARTED', 'test', null, [], ''));
    expect(await ask(bob)).toBe(true);
  });

  it('is refused by kernel while a device is not at its safe values, and names it', async () => {
    bench.kernelBench.peer.misbehaviours.set('fan.MODE', 'stuck');
    bench.kernelBench.peer.words.set('fan.MODE', 9n);
    await stop();
    await reset(ALICE);
    expect(codeOf(await reset(BOB))).toBe(
      'RESET_REFUSED: not at their safe values: fan.MODE: wrote 0x0, read back 0x9',
    );
    expect(engaged()).toBe(true);
    bench.kernelBench.peer.misbehaviours.clear();
    expect(codeOf(await reset(BOB))).toBe(true);
    expect(bench.kernelBench.peer.words.get('fan.MODE')).toBe(0n);
  });

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
    const early = await bench.run(bench.write(PUMP, { DATA: 1n }));
    expect(early.fault?.code).toBe('DEVICE_DEACTIVATED');
    expect((await bench.run(bench.intent(ACTIVATE, PUMP))).effect).toBe('committed');
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
