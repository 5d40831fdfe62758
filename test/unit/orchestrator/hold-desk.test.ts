// People and holds: who may hold a device and let it go, how many it takes, and what a failing disk means.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Outcome } from '#foundation/outcome';
import { type HoldKind, releaseHoldAct } from '#model/hold';
import type { HoldProgress } from '#model/orchestrator-port';
import { ClearanceLevel, type Principal } from '#model/principal';
import { codeOf, FORBIDDEN, must, OFFSET, PUMP, VALVE } from '../../support/kernel-bench.ts';
import { AgentBench, ALICE, BOB, CLERK, MACHINE, person } from './agent-bench.ts';

let bench: AgentBench;
const REASON = 'looked at it on site';

beforeEach(async () => {
  bench = await AgentBench.open();
});
afterEach(() => bench.close());

const desk = () => bench.security.holdDesk;
const kernelHolds = (device: number, kind: HoldKind) =>
  bench.kernelBench.interlock.has(device, kind);

function release(by: Principal, device = PUMP, reason = REASON): Promise<Outcome<HoldProgress>> {
  const { announcer } = bench.security;
  const record = (told: string, beside: () => void) =>
    announcer.record('DEVICE_RELEASED', by.id, null, [device], told, {}, beside);
  return bench.settle(desk().release(by, device, reason, bench.kernelBench.deadline(), record));
}

function quarantine(by: Principal, device = PUMP, reason = REASON) {
  return bench.settle(desk().quarantine(by, device, reason));
}

async function inDoubt(device: number): Promise<void> {
  const hold = { device, kind: 'in-doubt', reason: 'a test', sinceWallMs: 1 } as const;
  await bench.settle(bench.security.holds.add([hold]));
  await bench.settle(bench.security.supervision.refresh());
}

describe('a device in doubt', () => {
  it('is let go by one person with SECRET, in kernel and on record', async () => {
    await inDoubt(PUMP);
    expect(kernelHolds(PUMP, 'in-doubt')).toBe(true);
    expect(must(await release(person('carol', ClearanceLevel.SECRET)))).toMatchObject({
      released: true,
      message: 'in-doubt was released by carol',
    });
    expect(kernelHolds(PUMP, 'in-doubt')).toBe(false);
    expect(bench.security.holds.all()).toEqual([]);
  });

  it('stays held when kernel cannot be reached', async () => {
    await inDoubt(PUMP);
    bench.lose('kernel');
    expect(codeOf(await release(ALICE))).toBe('TRACK_UNAVAILABLE');
    expect(bench.security.holds.has(PUMP, 'in-doubt')).toBe(true);
  });

  it('stays held, in kernel as well, when its release cannot be made durable', async () => {
    await inDoubt(PUMP);
    bench.store.database.exec(
      "CREATE TRIGGER full BEFORE DELETE ON device_hold BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    expect(codeOf(await release(ALICE))).toBe('AUDIT_UNAVAILABLE');
    expect(bench.security.holds.has(PUMP, 'in-doubt')).toBe(true);
    expect(kernelHolds(PUMP, 'in-doubt')).toBe(true);
  });
});

describe('a quarantine at run time', () => {
  it('drives the device safe once more, and then nothing touches it, reading included', async () => {
    bench.kernelBench.poke(PUMP, OFFSET.DATA, 7);
    must(await quarantine(ALICE));
    expect(bench.kernelBench.peek(PUMP, OFFSET.DATA)).toBe(0x5afe);
    expect(kernelHolds(PUMP, 'quarantined')).toBe(true);
    const read = await bench.run(bench.intent(1, PUMP, { DATA: undefined }));
    expect(read.fault?.code).toBe('DEVICE_QUARANTINED');
  });

  it('ends when two different people ask, not when one asks twice', async () => {
    must(await quarantine(ALICE));
    for (const by of [ALICE, ALICE]) expect(must(await release(by)).released).toBe(false);
    expect(kernelHolds(PUMP, 'quarantined')).toBe(true);
    expect(must(await release(BOB)).released).toBe(true);
    expect(kernelHolds(PUMP, 'quarantined')).toBe(false);
    expect((await bench.run(bench.write(PUMP, { DATA: 1n }))).effect).toBe('committed');
  });

  it('waits five minutes for the second person, and a new one forgets who asked before', async () => {
    must(await quarantine(ALICE));
    must(await release(ALICE));
    await bench.kernelBench.clock.advance(300_000);
    expect(must(await release(BOB)).released).toBe(false);
    must(await quarantine(ALICE));
    expect(must(await release(ALICE)).released).toBe(false);
  });

  it('holds also where the disk does not take it, and says that a restart would forget it', async () => {
    bench.store.database.exec(
      "CREATE TRIGGER full BEFORE INSERT ON device_hold BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    bench.tolerated = [];
    const refused = await quarantine(ALICE);
    expect(refused).toMatchObject({
      ok: false,
      fault: { code: 'AUDIT_UNAVAILABLE', consequence: expect.stringContaining('restart') },
    });
    // What kernel holds is tried once more, and the log of the machine says that it failed again.
    expect(bench.tolerated.map(String)).toEqual([expect.stringContaining('not on record')]);
    expect(kernelHolds(PUMP, 'quarantined')).toBe(true);
  });
});

describe('it is refused', () => {
  it.each<[string, string, () => Promise<Outcome<unknown>>]>([
    ['to who has too little clearance', 'CLEARANCE_TOO_LOW', () => release(CLERK)],
    ['to a machine', 'NOT_PERMITTED', () => quarantine(MACHINE)],
    [
      'for another device than one’s own',
      'NOT_PERMITTED',
      () => quarantine({ ...ALICE, devices: [VALVE] }),
    ],
    ['without a reason', 'JUSTIFICATION_NEEDED', () => release(ALICE, PUMP, '   too short ')],
    ['for a device that the board does not have', 'DEVICE_UNKNOWN', () => release(ALICE, 70)],
    ['for the permanent quarantine', 'DEVICE_QUARANTINED', () => release(ALICE, FORBIDDEN)],
    ['where nothing is held', 'HOLD_UNKNOWN', () => release(ALICE)],
  ])('%s', async (_what, code, attempt) => {
    expect(codeOf(await attempt())).toBe(code);
  });

  it('for holds that end by themselves, saying how', async () => {
    const hold = { device: PUMP, kind: 'deactivated', reason: '', sinceWallMs: 1 } as const;
    await bench.settle(bench.security.holds.add([hold]));
    expect(await release(ALICE)).toMatchObject({
      fault: { code: 'HOLD_UNKNOWN', finding: 'it is deactivated, which ends with its activation' },
    });
  });
});

describe('kernel', () => {
  it('lets nothing go without an authorization for just that, nor a quarantine for one person', async () => {
    await inDoubt(PUMP);
    must(await quarantine(ALICE, VALVE));
    const { track, signer } = bench.kernelBench;
    const lift = (device: number, kind: HoldKind, act: string, people: readonly string[]) =>
      track.lift({
        device,
        kind,
        authorization: signer.grant(bench.kernelBench.newId(), act, people),
      });
    const doubt = releaseHoldAct(PUMP, 'in-doubt');
    expect(codeOf(await lift(VALVE, 'in-doubt', doubt, ['alice']))).toBe('AUTHORIZATION_INVALID');
    const alone = releaseHoldAct(VALVE, 'quarantined');
    expect(codeOf(await lift(VALVE, 'quarantined', alone, ['alice', 'alice']))).toBe(
      'NOT_PERMITTED',
    );
    expect(kernelHolds(PUMP, 'in-doubt') && kernelHolds(VALVE, 'quarantined')).toBe(true);
  });
});
