// Every chaos exercise against the real agent, by `dsmil chaos run` as a real process: what it noticed, held back and kept.

import { execFile, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ExerciseReport } from '#model/exercise';
import { SCENARIO_IDS, type ScenarioId } from '#tracks/security/chaos/scenarios';
import { Agent, NODE, REPOSITORY, type ReadyFile } from '../support/agent.ts';
import { RestPerson } from './support/rest-person.ts';
import { Scene } from './support/scene.ts';

/** The stop path is tested often, so that a flood of two seconds meets a test. */
const POLICY = 'stop: { selfTestPeriodMs: 1000 }\n';
const RUN_MS = 55_000;
const REASON = 'a drill of the whole team';
const CLI = join(REPOSITORY, 'build/bin/dsmil.js');

/** What has to be said by those whose containment is a matter of milliseconds. */
const MEASURED: Partial<Record<ScenarioId, readonly RegExp[]>> = {
  'side-channel': [/medians \d+\.\d+ and \d+\.\d+ ms of \d+/],
  'denial-of-service': [
    /status calls .* P95 \d+\.\d+, .*\(0 not answered\)/,
    /test of the stop path was answered after/,
  ],
};

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function dsmil(ready: ReadyFile, person: 0 | 1, ...words: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const env = {
      ...process.env,
      DSMIL_SOCKET: ready.socket,
      DSMIL_TOKEN: ready.people[person]?.token,
    };
    const command = [CLI, '--output', 'json', ...words];
    execFile(NODE, command, { env, timeout: RUN_MS }, (error, stdout, stderr) => {
      resolve({
        code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1,
        stdout,
        stderr,
      });
    });
  });
}

const run = (ready: ReadyFile, person: 0 | 1, scenario: ScenarioId) =>
  dsmil(ready, person, 'chaos', 'run', scenario, '--reason', REASON);

describe('on a simulated board', () => {
  let scene: Scene;
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'dsmil-chaos-'));
    writeFileSync(join(directory, 'safety.yaml'), POLICY);
    scene = await Scene.open(['--safety', join(directory, 'safety.yaml')]);
    // The first look at a register is no change of it.
    await scene.first.call('POST', 'devices/synchronize');
  });
  afterAll(async () => {
    await scene?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('lists ten attacks with what they never exceed', async () => {
    const { code, stdout } = await dsmil(scene.agent.ready, 0, 'chaos', 'list');
    const { simulated, scenarios } = JSON.parse(stdout);
    expect([code, simulated]).toEqual([0, true]);
    expect(scenarios.map(({ id }: { id: string }) => id)).toEqual([...SCENARIO_IDS]);
    for (const { limits, durationSecondsMax } of scenarios) {
      expect(limits.length).toBeGreaterThanOrEqual(4);
      expect(durationSecondsMax).toBeLessThanOrEqual(600);
    }
  });

  it.each(SCENARIO_IDS)(
    '%s is noticed, held back and kept within its limits',
    async (scenario) => {
      const since = await scene.auditSequence();
      const ran = await run(scene.agent.ready, 0, scenario);
      expect(ran.stdout, ran.stderr).not.toBe('');
      const report = JSON.parse(ran.stdout) as ExerciseReport;
      expect(report.scenario).toBe(scenario);
      expect(report.limitsKept, ran.stdout).toBe(true);
      expect(report.limits.length).toBeGreaterThanOrEqual(4);
      expect(report.evidence.length).toBeGreaterThan(0);
      expect(report, ran.stderr).toMatchObject({ detected: true });
      expect(report.responseMs).toBeGreaterThanOrEqual(0);
      // What a busy machine takes for its answers is told, and says nothing about the agent.
      const measures = MEASURED[scenario];
      if (measures !== undefined) {
        for (const told of measures)
          expect([...report.evidence, report.containment].join('\n')).toMatch(told);
      } else {
        expect(report.contained, ran.stdout).toBe(true);
        expect(ran.code).toBe(0);
      }
      // Beginning and end are on record, and nothing of the exercise is good any more.
      const entries = await scene.auditSince(since);
      const started = entries.find(({ event }) => event === 'CHAOS_STARTED');
      const ended = entries.find(({ event }) => event === 'CHAOS_ENDED');
      expect(started).toMatchObject({ actor: 'demo-operator', reason: REASON });
      expect(ended?.details.report).toMatchObject({ scenario, limitsKept: true });
      const account = String(ended?.details.exercise);
      const { accounts } = await scene.first.get('accounts');
      const kept = accounts.find(({ id }: { id: string }) => id === account);
      expect(kept).toMatchObject({
        kind: 'machine',
        enabled: false,
        tokens: 0,
        clearance: 'RESTRICTED',
      });
    },
    RUN_MS,
  );

  it('leaves the chain whole, quarantined devices alone, and the agent at work for other people', async () => {
    expect((await scene.first.get('audit/verify')).intact).toBe(true);
    expect((await scene.metal.canaries()).touched).toEqual([]);
    expect((await scene.second.read('0x8010')).status).toBe(200);
    const { stopEngaged, stopTest } = await scene.second.get('system/status');
    expect([stopEngaged, stopTest.ok]).toEqual([false, true]);
    // Register turned by the exercise is as it was.
    expect((await scene.metal.get('tpm-control', 'CONFIG')).hex).toMatch(/^0x0+$/);
    expect(scene.undisturbed).toBe(true);
  });

  it('that is broken off half way puts back what it changed, and leaves its end on record', async () => {
    const since = await scene.auditSequence();
    const { ready } = scene.agent;
    const env = { ...process.env, DSMIL_SOCKET: ready.socket, DSMIL_TOKEN: ready.people[0]?.token };
    const words = ['chaos', 'run', 'hardware-tampering', '--reason', REASON];
    const child = spawn(NODE, [CLI, ...words], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    let said = '';
    child.stderr.on('data', (chunk) => {
      said += String(chunk);
      if (said.includes('turning CONFIG')) child.kill('SIGTERM');
    });
    await ended;
    expect(said).toContain('turning CONFIG');
    expect((await scene.metal.get('tpm-control', 'CONFIG')).hex).toMatch(/^0x0+$/);
    const finished = (await scene.auditSince(since)).find(({ event }) => event === 'CHAOS_ENDED');
    expect(finished?.details.report).toMatchObject({ scenario: 'hardware-tampering' });
    const { accounts } = await scene.first.get('accounts');
    const account = String(finished?.details.exercise);
    const kept = accounts.find(({ id }: { id: string }) => id === account);
    expect(kept).toMatchObject({ enabled: false, tokens: 0 });
  });

  it('writes no token of an exercise into the chain or the logs', async () => {
    const chain = JSON.stringify(await scene.auditSince(0));
    expect(chain).not.toMatch(/"token":"(?!\[redacted\])/);
  });
});

describe('on a board where threat detection sees nothing', () => {
  let agent: Agent;
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'dsmil-chaos-'));
    // No score reaches any of these.
    const levels = '{ low: 997, medium: 998, high: 999, critical: 1000 }';
    writeFileSync(join(directory, 'safety.yaml'), `threats: { levels: ${levels} }\n`);
    agent = await Agent.start(['--safety', join(directory, 'safety.yaml')]);
  });
  afterAll(async () => {
    await agent?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  it.each([
    'brute-force',
    'privilege-escalation',
    'authorization-bypass',
    'network-intrusion',
  ] as const)(
    '%s says that it was not detected, and ends with an error',
    async (scenario) => {
      const ran = await run(agent.ready, 0, scenario);
      const report = JSON.parse(ran.stdout) as ExerciseReport;
      expect(report, ran.stderr).toMatchObject({ detected: false, limitsKept: true });
      expect(report.evidence).toContain('NOT on record: an incident of threat detection');
      expect(ran.code).not.toBe(0);
    },
    RUN_MS,
  );
});

describe('on a board that is not simulated throughout', () => {
  let agent: Agent;
  let directory: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'dsmil-chaos-'));
    // One bus more, of a kind that no simulator stands in for: whatever else is on it, this is a real machine.
    const board = join(directory, 'board.yaml');
    copyFileSync(join(REPOSITORY, 'drivers/profiles/boards/default.yaml'), board);
    const text = readFileSync(board, 'utf8');
    const bus = '  - { id: field, kind: modbus-tcp, host: 127.0.0.1, port: 9 }\n';
    writeFileSync(board, text.replace('buses:\n', `buses:\n${bus}`));
    agent = await Agent.start(['--board', board]);
  });
  afterAll(async () => {
    await agent?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  it('refuses one administrator, whoever asks twice, and what needs a simulator at all', async () => {
    const { ready } = agent;
    const listed = JSON.parse((await dsmil(ready, 0, 'chaos', 'list')).stdout);
    expect(listed.simulated).toBe(false);
    for (const _ of ['asks', 'asks again']) {
      const { stdout, stderr } = await run(ready, 0, 'brute-force');
      expect(`${stdout}${stderr}`).toContain('second administrator');
    }
    const tampering = await run(ready, 0, 'hardware-tampering');
    expect(tampering.code).not.toBe(0);
    expect(tampering.stderr).toContain('real hardware');
    const person = new RestPerson(ready, 0);
    const { entries } = await person.get('audit?from=1&limit=100');
    const { accounts } = await person.get('accounts');
    person.close();
    const events = entries.map(({ event }: { event: string }) => event);
    expect(events).toContain('CHANGE_PROPOSED');
    expect(events).not.toContain('CHAOS_STARTED');
    expect(accounts.filter(({ id }: { id: string }) => id.startsWith('chaos-'))).toEqual([]);
  });

  it('begins when a second one asks for exactly the same', async () => {
    const ran = await run(agent.ready, 1, 'brute-force');
    const report = JSON.parse(ran.stdout) as ExerciseReport;
    expect(report, ran.stderr).toMatchObject({ detected: true, contained: true, limitsKept: true });
  });
});
