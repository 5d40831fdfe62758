// What people change and the entry that says so are one: neither is on disk without the other, but for a move towards safety.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { EmergencyPriority } from '#model/stop';
import { codeOf, must, PUMP } from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, ORIGIN } from './agent-bench.ts';

const STOP = { reason: 'smoke', priority: EmergencyPriority.HIGH, devices: [], groups: [] };
const REASON = 'smoke came out of it';

let bench: AgentBench;
let alice: string;
let bob: string;

beforeEach(async () => {
  bench = await AgentBench.open();
  alice = await bench.signIn(ALICE);
  bob = await bench.signIn(BOB);
});
afterEach(() => bench.close());

/** The disk has room for everything but entries: what is written beside one is undone with it. */
function entriesFail(): void {
  bench.store.database.exec(
    "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END",
  );
}
function entriesWork(): void {
  bench.store.database.exec('DROP TRIGGER full');
}
function rows(table: string): number {
  return bench.store.database.prepare(`SELECT * FROM ${table}`).all().length;
}
function entriesOf(event: string) {
  return bench.entries().filter((entry) => entry.event === event);
}

it('a stop is not acknowledged without its entry', async () => {
  must(await bench.settle(bench.orchestrator.stop(alice, STOP, ORIGIN)));
  entriesFail();
  const acknowledge = () => bench.settle(bench.orchestrator.acknowledgeStop(alice, ORIGIN));
  expect(codeOf(await acknowledge())).toBe('AUDIT_UNAVAILABLE');
  expect(bench.stops.acknowledgments).toEqual([]);
  expect(rows('stop_acknowledgment')).toBe(0);
  entriesWork();
  expect(must(await acknowledge())).toHaveLength(1);
  expect(entriesOf('STOP_ACKNOWLEDGED')).toMatchObject([{ result: '1 acknowledgments stand' }]);
});

it('a stop is not reset without its entry: it stands in kernel, in memory and on disk', async () => {
  must(await bench.settle(bench.orchestrator.stop(alice, STOP, ORIGIN)));
  const reset = (session: string) =>
    bench.settle(bench.orchestrator.resetStop(session, REASON, ORIGIN));
  expect(must(await reset(alice)).released).toBe(false);
  entriesFail();
  expect(codeOf(await reset(bob))).toBe('RESET_REFUSED');
  expect(bench.stops.causes).toHaveLength(1);
  expect(rows('stop_cause')).toBe(1);
  expect(bench.kernelBench.latch.engaged()).toBe(true);
  await bench.settle(bench.kernelBench.track.stopByLatch());
  entriesWork();
  // The next entry shows that the chain can be written again, which a reset asks for first.
  must(await bench.settle(bench.orchestrator.acknowledgeStop(alice, ORIGIN)));
  expect(must(await reset(bob)).released).toBe(true);
  expect(bench.kernelBench.latch.engaged()).toBe(false);
  expect(rows('stop_cause')).toBe(0);
  const released = entriesOf('EMERGENCY_RESET').filter(({ result }) => /is released/.test(result));
  expect(released).toMatchObject([{ reason: REASON }]);
});

it('a device goes into quarantine also without its entry, which follows as soon as it can', async () => {
  entriesFail();
  const quarantine = bench.orchestrator.quarantineDevice(alice, PUMP, REASON, ORIGIN);
  const answer = await bench.settle(quarantine);
  expect(answer).toMatchObject({
    ok: false,
    fault: { code: 'AUDIT_UNAVAILABLE', consequence: expect.stringMatching(/held.*follows/) },
  });
  expect(bench.kernelBench.track.interlock.has(PUMP, 'quarantined')).toBe(true);
  expect(rows('device_hold')).toBe(1);
  entriesWork();
  await bench.kernelBench.clock.advance(2_000);
  expect(entriesOf('DEVICE_QUARANTINED')).toMatchObject([
    { actor: 'alice', reason: REASON, result: expect.stringMatching(/^quarantined \(recorded/) },
  ]);
});

it('no entry speaks of a hold that the disk did not take, and a late one brings back no hold that has ended', async () => {
  const quarantine = () =>
    bench.settle(bench.orchestrator.quarantineDevice(alice, PUMP, REASON, ORIGIN));
  bench.store.database.exec(
    "CREATE TRIGGER full BEFORE INSERT ON device_hold BEGIN SELECT RAISE(ABORT, 'full'); END",
  );
  bench.tolerated = [];
  expect(codeOf(await quarantine())).toBe('AUDIT_UNAVAILABLE');
  expect(entriesOf('DEVICE_QUARANTINED')).toEqual([]);
  bench.store.database.exec('DROP TRIGGER full');
  bench.security.holds.liftBeside(PUMP, 'quarantined');
  await bench.kernelBench.clock.advance(2_000);
  expect(entriesOf('DEVICE_QUARANTINED')).toHaveLength(1);
  expect(rows('device_hold')).toBe(0);
});
