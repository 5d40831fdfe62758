// Incidents and exercises on the command line: what was found and why, and that an exercise is ended whatever becomes of it.

import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Exercise, ExerciseReport } from '#model/exercise';
import type { CliParts, ExerciseContext } from '#tracks/interface/cli/cli-parts';
import { CliBench } from './cli-bench.ts';

let bench: CliBench;

beforeEach(async () => {
  bench = new CliBench();
  await bench.open();
});

afterEach(() => bench.close());

const REASON = ['--reason', 'a drill of the team'];
const indicators = [
  { name: 'rate', points: 25, finding: '40 requests in 60 s, 4 usual', entries: [7, 8] },
  { name: 'quarantine-probe', points: 40, finding: 'asked for emergency-wipe', entries: [9] },
];
const incident = {
  id: 3,
  subject: { kind: 'person', id: 'bob' },
  devices: [9],
  actor: 'bob',
  level: 'HIGH',
  score: 70,
  finding: 'bob probed a quarantined device',
  indicators,
  responses: ['locked bob for 30 minutes', 'asks two people for emergency-wipe'],
  openedWallMs: Date.UTC(2029, 0, 1),
  changedWallMs: Date.UTC(2029, 0, 1),
  closedWallMs: 0,
  closedBy: '',
  closedBecause: '',
} as const;

it('lists, explains and closes incidents', async () => {
  const { answers } = bench.orchestrator;
  answers.set('incidents', { incidents: [incident] });
  const listed = await bench.run(['incident', 'list']);
  expect(listed.stdout.split('\n')[1]).toBe(
    '3         HIGH 70  person bob  OPEN since 2029-01-01 00:00:00Z  bob probed a quarantined device',
  );
  const explained = await bench.run(['incident', 'explain', '3']);
  expect(explained.stdout.split('\n')).toEqual([
    'incident 3',
    'about           person bob',
    'level           HIGH, score 70',
    'state           OPEN since 2029-01-01 00:00:00Z',
    'who             bob',
    'devices         0x8009',
    'finding         bob probed a quarantined device',
    'done by itself  locked bob for 30 minutes',
    '                asks two people for emergency-wipe',
    '',
    'points  because           seen                          audit entries',
    '+25     rate              40 requests in 60 s, 4 usual  7 8',
    '+40     quarantine-probe  asked for emergency-wipe      9',
    '',
  ]);
  const closedWallMs = Date.UTC(2029, 0, 2);
  const closed = { ...incident, closedWallMs, closedBy: 'alice', closedBecause: 'a drill' };
  answers.set('closeIncident', { incident: closed });
  const ran = await bench.run(['incident', 'close', '3', ...REASON]);
  expect(ran.stdout).toContain('closed 2029-01-02 00:00:00Z by alice');
  expect(bench.asked('closeIncident')).toEqual([{ id: 3, reason: 'a drill of the team' }]);
  expect((await bench.run(['incident', 'explain', '4'])).stderr).toContain('INCIDENT_UNKNOWN');
});

it('explains a score of a person, a source, or a device by its name', async () => {
  const report = {
    subject: { kind: 'device', id: '1' },
    score: 65,
    level: 'MEDIUM',
    windowMs: 300_000,
  };
  bench.orchestrator.answers.set('threat', { report: { ...report, indicators } });
  const ran = await bench.run(['incident', 'explain', 'device', 'boot-security']);
  expect(ran.stdout).toMatch(/^about +device 0x8001\nscore +65, MEDIUM\nlooked back +300 s$/m);
  await bench.run(['incident', 'explain', 'source', '127.0.0.1']);
  expect(bench.asked('threat')).toEqual([
    { kind: 'device', id: '1' },
    { kind: 'source', id: '127.0.0.1' },
  ]);
  const neither = await bench.run(['incident', 'explain', 'bob']);
  expect(neither).toMatchObject({ code: 2, stderr: expect.stringContaining('nothing was asked') });
});

const found: ExerciseReport = {
  scenario: 'brute-force',
  detected: true,
  evidence: ['three failed sign-ins on record', 'the account was locked'],
  responseMs: 812.4,
  contained: true,
  containment: 'the account takes no sign-in for 30 minutes',
  limitsKept: true,
  limits: ['at most 10 attempts'],
};

function permitted(): void {
  const exercise = {
    id: 'x-1',
    scenario: 'brute-force',
    startedBy: 'technician',
    endsAtWallMs: Date.now() + 60_000,
    account: 'chaos-1',
    token: 'chaos-token',
  };
  bench.orchestrator.answers.set('startChaos', { done: true, message: '', exercise });
  bench.orchestrator.answers.set('endChaos', { recorded: true });
}

const run = (runExercise: NonNullable<CliParts['runExercise']>) =>
  bench.run(['chaos', 'run', 'brute-force', ...REASON], { parts: { runExercise } });

it('lists scenarios with their limits, and says who can start them', async () => {
  const scenario = { id: 'brute-force', summary: 'guesses passwords', limits: ['10 tries'] };
  const scenarios = [{ ...scenario, durationSecondsMax: 60 }];
  bench.orchestrator.answers.set('chaosScenarios', { simulated: false, scenarios });
  const ran = await bench.run(['chaos', 'list']);
  expect(ran.stdout).toMatch(/^brute-force +guesses passwords +10 tries +60 s$/m);
  expect(ran.stderr).toContain('two administrators');
});

it('runs a scenario as the account of the exercise, shows its steps and report, and puts it on record', async () => {
  permitted();
  const seen: [Exercise, ExerciseContext][] = [];
  const ran = await run(async (exercise, context) => {
    seen.push([exercise, context]);
    context.onProgress('attempt 1 of 3');
    return found;
  });
  expect(ran.code).toBe(0);
  expect(seen[0]?.[0]).toMatchObject({ id: 'x-1', token: 'chaos-token' });
  expect(seen[0]?.[1]).toMatchObject({ socket: bench.socket, runDirectory: bench.directory });
  expect(ran.stderr).toMatch(/^ +\d+\.\d s {2}attempt 1 of 3$/m);
  expect(`${ran.stdout}${ran.stderr}`).not.toContain('chaos-token');
  expect(ran.stdout.split('\n')).toEqual([
    'brute-force',
    'detected     yes',
    'after        812 ms',
    'contained    yes',
    'how          the account takes no sign-in for 30 minutes',
    'seen as      three failed sign-ins on record',
    '             the account was locked',
    'limits kept  yes',
    'limits       at most 10 attempts',
    '',
  ]);
  expect(bench.asked('endChaos')).toEqual([{ id: 'x-1', report: found }]);
});

it.each([
  ['goes unnoticed', async () => ({ ...found, detected: false, responseMs: null }), 'never'],
  ['breaks off', () => Promise.reject(new Error('ECONNRESET')), 'broke off: ECONNRESET'],
])('ends an exercise that %s, and says so with its exit code', async (_what, runExercise, text) => {
  permitted();
  const ran = await run(runExercise);
  expect(ran.code).toBe(1);
  expect(ran.stdout).toContain(text);
  expect(bench.asked('endChaos')).toEqual([
    { id: 'x-1', report: expect.objectContaining({ detected: false }) },
  ]);
});

it('ends an exercise that is broken off at the keyboard', async () => {
  permitted();
  const ran = await run(async (_exercise, { signal }) => {
    setTimeout(() => process.emit('SIGINT'), 20);
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    return { ...found, limitsKept: false };
  });
  expect(ran.code).toBe(1);
  expect(bench.asked('endChaos')).toHaveLength(1);
});

it('attacks nothing before it is permitted, nor without scenarios', async () => {
  const { answers } = bench.orchestrator;
  answers.set('startChaos', { done: false, message: 'one more has to ask', exercise: null });
  let attacked = false;
  const waits = await run(async () => {
    attacked = true;
    return found;
  });
  expect(waits.code).toBe(5);
  expect(waits.stderr).toContain("dsmil chaos run brute-force --reason 'a drill of the team'");
  const none = await bench.run(['chaos', 'run', 'brute-force', ...REASON]);
  expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('no scenarios') });
  expect(attacked).toBe(false);
  expect(bench.asked('startChaos')).toHaveLength(1);
});
