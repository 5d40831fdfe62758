// Exercises as administrators start and end them: who may, when not, and that nothing of one outlives it.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Deadline } from '#foundation/deadline';
import { permanentlyQuarantined } from '#model/device';
import type { ExerciseReport } from '#model/exercise';
import { RiskLevel, riskRank } from '#model/risk';
import { recordActs } from '#tracks/security/administration';
import { ChaosDesk } from '#tracks/security/chaos/chaos-desk';
import { ExerciseBook } from '#tracks/security/chaos/exercise-book';
import { SCENARIOS, scenarioView } from '#tracks/security/chaos/scenarios';
import { SecondAdministrator } from '#tracks/security/identity/second-administrator';
import { Turns } from '#tracks/security/identity/turns';
import type { AdministrationCaller } from '#tracks/security/ports';
import { must } from '../../../../support/kernel-bench.ts';
import { ORIGIN } from '../../../orchestrator/agent-bench.ts';
import { DeskBench, type Somebody } from '../identity/desk-bench.ts';

let bench: DeskBench;
/** What the desk believes of the world beside its accounts. */
let world: { stop: boolean; doubt: number[] };

beforeEach(async () => {
  bench = await DeskBench.open();
  world = { stop: false, doubt: [] };
});
afterEach(() => bench.close());

/** A desk on the bench's own books: one life of it. */
function desk(board: 'simulated' | 'real'): ChaosDesk {
  const { security } = bench.agent;
  const { audit, floor, accounts, tokens, principals } = security;
  const { wallMs } = floor;
  const record = recordActs(audit);
  return new ChaosDesk({
    clock: bench.clock,
    wallMs,
    simulated: board === 'simulated',
    devices: bench.agent.kernelBench.devices,
    isQuarantined: ({ id }) => permanentlyQuarantined(id),
    book: new ExerciseBook(bench.agent.store),
    accounts,
    tokens,
    sessions: principals,
    audit,
    second: new SecondAdministrator({ clock: bench.clock, accounts, record, wallMs }),
    turns: new Turns(),
    stopEngaged: () => world.stop,
    inDoubt: () => world.doubt,
    onError: (error) => {
      throw error;
    },
  });
}

async function caller(name: Somebody): Promise<AdministrationCaller> {
  const { principals } = bench.agent.security;
  const session = must(principals.session(await bench.local(name)));
  return {
    session,
    credential: principals.credentialOf(session.id),
    origin: ORIGIN,
    deadline: Deadline.after(bench.clock, 5_000),
  };
}

async function start(on: ChaosDesk, name: Somebody, scenario = 'brute-force', reason = 'a drill') {
  const asker = await caller(name);
  return bench.agent.settle(on.handlers().startChaos(asker, { scenario, reason }));
}

async function started(on: ChaosDesk, name: Somebody = 'alice') {
  const { exercise } = must(await start(on, name));
  if (exercise === null) throw new Error('it did not begin');
  return exercise;
}

async function end(on: ChaosDesk, id: string, report: Partial<ExerciseReport> = {}) {
  const asker = await caller('bob');
  const whole: ExerciseReport = {
    scenario: 'brute-force',
    detected: true,
    evidence: ['it was seen'],
    responseMs: 12.75,
    contained: true,
    containment: 'nothing was left',
    limitsKept: true,
    limits: ['3 of at most 60 requests'],
    ...report,
  };
  return bench.agent.settle(on.handlers().endChaos(asker, { id, report: whole }));
}

const signIn = (token: string) =>
  bench.agent.settle(bench.agent.orchestrator.authenticate({ kind: 'token', token }, ORIGIN));

describe('the scenarios', () => {
  it('are ten, each within ten minutes and said in its limits', async () => {
    const asker = await caller('alice');
    const { simulated, scenarios } = must(
      await desk('simulated').handlers().chaosScenarios(asker, {}),
    );
    expect(simulated).toBe(true);
    expect(scenarios).toEqual(SCENARIOS.map(scenarioView));
    expect(new Set(scenarios.map(({ id }) => id)).size).toBe(10);
    for (const plan of SCENARIOS) {
      expect(plan.durationSecondsMax).toBeLessThanOrEqual(600);
      expect(scenarioView(plan).limits).toContain(`at most ${plan.requestsMax} requests`);
    }
  });
});

describe('on a simulated board', () => {
  it('one administrator gets an exercise whose account has the lowest rights', async () => {
    const exercise = await started(desk('simulated'));
    expect(exercise.startedBy).toBe('alice');
    expect(exercise.endsAtWallMs - bench.clock.wallMs()).toBeLessThanOrEqual(600_000);
    const account = bench.record(exercise.account);
    expect(account).toMatchObject({
      kind: 'machine',
      clearance: 'RESTRICTED',
      compartments: [],
      administrator: false,
      enabled: true,
      validUntilWallMs: exercise.endsAtWallMs,
    });
    const { devices } = bench.agent.kernelBench;
    const dangerous = devices.filter(
      ({ id, baseRisk }) =>
        permanentlyQuarantined(id) || riskRank(baseRisk) >= riskRank(RiskLevel.HIGH),
    );
    expect(dangerous.length).toBeGreaterThan(0);
    for (const { id } of dangerous) expect(account.devices).not.toContain(id);
    const session = must(await signIn(exercise.token));
    expect(session).toMatchObject({ way: 'token', administrator: false });
  });

  it('is on record with its account, and never with its token', async () => {
    const exercise = await started(desk('simulated'));
    const [entry] = bench.entries('CHAOS_STARTED');
    expect(entry).toMatchObject({ actor: 'alice', reason: 'a drill', operation: 'startChaos' });
    expect(entry?.details).toMatchObject({ exercise: exercise.id, scenario: 'brute-force' });
    expect(JSON.stringify(bench.agent.entries())).not.toContain(exercise.token);
  });

  it('another one waits until the first has ended', async () => {
    const on = desk('simulated');
    const { id } = await started(on);
    const second = await start(on, 'bob', 'staged-intrusion');
    expect(second).toMatchObject({ ok: false, fault: { code: 'CHAOS_REFUSED' } });
    must(await end(on, id));
    expect((await start(on, 'bob', 'staged-intrusion')).ok).toBe(true);
  });

  it.each([
    ['the stop is engaged', () => (world.stop = true), 'emergency stop'],
    ['a device is in doubt', () => world.doubt.push(1), 'in doubt'],
  ])('is refused while %s', async (_, happen, told) => {
    happen();
    const refused = await start(desk('simulated'), 'alice');
    expect(refused).toMatchObject({ ok: false, fault: { code: 'CHAOS_REFUSED' } });
    expect(JSON.stringify(refused)).toContain(told);
    expect(bench.entries('CHAOS_STARTED')).toEqual([]);
  });

  it('is refused to a machine, to who is no administrator, and under another name', async () => {
    const on = desk('simulated');
    for (const name of ['robot', 'erin'] as const)
      expect(await start(on, name)).toMatchObject({ ok: false, fault: { code: 'CHAOS_REFUSED' } });
    const unknown = await start(on, 'alice', 'meteor-strike');
    expect(unknown).toMatchObject({ ok: false, fault: { code: 'CHAOS_REFUSED' } });
  });

  it('ends with its report on record, once, and with it account, token and sessions', async () => {
    const on = desk('simulated');
    const exercise = await started(on);
    const session = must(await signIn(exercise.token));
    expect(must(await end(on, exercise.id))).toEqual({ recorded: true });
    expect(must(await end(on, exercise.id))).toEqual({ recorded: true });
    const entries = bench.entries('CHAOS_ENDED');
    expect(entries).toHaveLength(1);
    expect(entries[0]).toMatchObject({
      actor: 'bob',
      result: 'detected after 13 ms, contained, limits kept',
    });
    expect(entries[0]?.details.report).toMatchObject({ detected: true, responseMs: 13 });
    expect(bench.record(exercise.account).enabled).toBe(false);
    expect(bench.stateOf(session.id)).not.toBe('live');
    // Told at once, so that its open connections are cut.
    expect(bench.ended).toMatchObject([{ reason: 'the exercise has ended' }]);
    expect((await signIn(exercise.token)).ok).toBe(false);
  });

  it('takes no report about something else, nor for an exercise that never was', async () => {
    const on = desk('simulated');
    const { id } = await started(on);
    for (const asked of [end(on, id, { scenario: 'side-channel' }), end(on, 'chaos-none')]) {
      expect(await asked).toMatchObject({ ok: false, fault: { code: 'CHAOS_REFUSED' } });
    }
    expect(on.running).toBe(id);
  });

  it('is over at its time without a report, and a late one is refused', async () => {
    const on = desk('simulated');
    const exercise = await started(on);
    await bench.clock.advance(exercise.endsAtWallMs - bench.clock.wallMs() + 1);
    await bench.agent.settle(Promise.resolve());
    expect(on.running).toBeNull();
    expect(bench.entries('CHAOS_ENDED')[0]).toMatchObject({ actor: 'security' });
    expect((await signIn(exercise.token)).ok).toBe(false);
    expect(await end(on, exercise.id)).toMatchObject({
      ok: false,
      fault: { code: 'CHAOS_REFUSED' },
    });
  });

  it('is closed when security starts again, and leaves no token that opens anything', async () => {
    const exercise = await started(desk('simulated'));
    const next = desk('simulated');
    await bench.agent.settle(next.start());
    expect(next.running).toBeNull();
    expect(bench.record(exercise.account).enabled).toBe(false);
    expect((await signIn(exercise.token)).ok).toBe(false);
    expect(bench.entries('CHAOS_ENDED')[0]?.result).toContain('started again');
    // The next life finds nothing left to close.
    await bench.agent.settle(desk('simulated').start());
    expect(bench.entries('CHAOS_ENDED')).toHaveLength(1);
  });

  it('unlocks nothing that the attack set off', async () => {
    const on = desk('simulated');
    const exercise = await started(on);
    bench.agent.security.principals.lockAccount(exercise.account, 'a probe');
    must(await end(on, exercise.id));
    expect(bench.agent.security.lockouts.lockOf(exercise.account)?.standing).toBe(true);
  });

  it('begins not at all where the disk takes no entry', async () => {
    const on = desk('simulated');
    bench.agent.tolerated = [];
    bench.limitDisk('none');
    const refused = await start(on, 'alice', 'brute-force', 'a long reason '.repeat(4_000));
    bench.limitDisk('plenty');
    expect(refused.ok).toBe(false);
    expect(on.running).toBeNull();
    expect(bench.accounts.all().filter(({ id }) => id.startsWith('chaos-'))).toEqual([]);
  });
});

describe('on real hardware', () => {
  it('takes two administrators who ask for exactly the same', async () => {
    const on = desk('real');
    const first = must(await start(on, 'alice'));
    expect(first).toMatchObject({ done: false, exercise: null });
    expect(must(await start(on, 'alice'))).toMatchObject({ done: false, exercise: null });
    expect(must(await start(on, 'bob', 'brute-force', 'another'))).toMatchObject({ done: false });
    expect(on.running).toBeNull();
    const second = must(await start(on, 'bob'));
    expect(second.exercise).toMatchObject({ startedBy: 'bob' });
    expect(bench.entries('CHAOS_STARTED')[0]?.details).toMatchObject({ proposedBy: 'alice' });
  });

  it('refuses what needs a simulator, whoever asks', async () => {
    const on = desk('real');
    for (const name of ['alice', 'bob'] as const) {
      const refused = await start(on, name, 'hardware-tampering');
      expect(refused).toMatchObject({ ok: false, fault: { code: 'CHAOS_REFUSED' } });
    }
    expect(bench.entries('CHANGE_PROPOSED')).toEqual([]);
  });
});
