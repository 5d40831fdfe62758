// Devices that people let go again: on record with who did it, or held.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VALVE } from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, ORIGIN } from './agent-bench.ts';

const REASON = 'seen to be in order again';

let bench: AgentBench;
beforeEach(async () => {
  bench = await AgentBench.open();
});
afterEach(() => bench.close());

async function inDoubt(): Promise<void> {
  const hold = { device: VALVE, kind: 'in-doubt', reason: 'a test', sinceWallMs: 1 } as const;
  await bench.settle(bench.security.holds.add([hold]));
  await bench.settle(bench.security.supervision.refresh());
}

function release(session: string) {
  const deadline = bench.kernelBench.deadline();
  return bench.settle(bench.orchestrator.releaseDevice(session, VALVE, REASON, ORIGIN, deadline));
}

/** The disk takes no audit entry until `emptyDisk`; everything else fits. */
function fillDisk(): void {
  bench.store.database.exec(
    "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END",
  );
}

function emptyDisk(): void {
  bench.store.database.exec('DROP TRIGGER full');
}

describe('a device in doubt', () => {
  it('is let go by one person, whose name is on record', async () => {
    await inDoubt();
    const released = await release(await bench.signIn(ALICE));
    expect(released).toMatchObject({ ok: true, value: { released: true } });
    expect(bench.security.holds.has(VALVE, 'in-doubt')).toBe(false);
    expect(bench.kernelBench.interlock.has(VALVE, 'in-doubt')).toBe(false);
    const entries = bench.entries().filter((entry) => entry.event === 'DEVICE_RELEASED');
    expect(entries).toMatchObject([{ actor: ALICE.id, devices: [VALVE] }]);
  });

  it('stays held, in kernel too, when nobody could read later who let it go', async () => {
    await inDoubt();
    const session = await bench.signIn(BOB);
    fillDisk();
    const refused = await release(session);
    expect(refused).toMatchObject({ ok: false, fault: { code: 'AUDIT_UNAVAILABLE' } });
    expect(bench.security.holds.has(VALVE, 'in-doubt')).toBe(true);
    expect(bench.kernelBench.interlock.has(VALVE, 'in-doubt')).toBe(true);
    emptyDisk();
    expect(await release(session)).toMatchObject({ ok: true, value: { released: true } });
    expect(bench.kernelBench.interlock.has(VALVE, 'in-doubt')).toBe(false);
  });
});
