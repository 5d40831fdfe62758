// Kernel ends without a word, and the program that systemd runs then: the simulated metal of the whole agent is safe without it,
// and what was quarantined at run time stays as it was.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Agent } from '../support/agent.ts';
import { safeDrive } from '../support/safe-drive.ts';
import { heldBy, verdict, withSimulator, worksAgain, writeRegister } from './watch.ts';

const DRIVEN = ['0x8000', '0x8003', '0x8004', '0x8005'] as const;
/** Quarantined by a person while it runs. */
const LEFT = '0x8005';
const ON = '0x00000001';
const OFF = '0x00000000';

let agent: Agent;

beforeAll(async () => {
  agent = await Agent.start();
  agent.keepConnections();
  await worksAgain(agent);
});
afterAll(async () => {
  process.kill(agent.ready.pids.supervisor, 'SIGCONT');
  await agent?.stop();
});

const plan = () => join(agent.ready.runDirectory, 'kernel/safe-drive.plan');
const held = () => Promise.all(DRIVEN.map((device) => heldBy(agent, device, 'CONTROL')));

it('drives every device of a kernel that was killed, and none that was quarantined', async () => {
  for (const device of DRIVEN) {
    expect(verdict(await writeRegister(agent, device, 'CONTROL', '0x1'))).toBe('ok');
  }
  expect(readFileSync(plan(), 'utf8')).toContain(' 8005 ');
  // Two people agree; quarantine drives the device safe once, after which it is written by nobody.
  for (const person of [0, 1] as const)
    await agent.rest(person, 'POST', `devices/${LEFT}/quarantine`, {
      reason: 'a test of the safe drive',
    });
  await agent.waitUntil(
    'the plan without it',
    () => !readFileSync(plan(), 'utf8').includes(' 8005 '),
  );
  const { kernel, supervisor } = agent.ready.pids;
  // Nobody starts it again meanwhile.
  process.kill(supervisor, 'SIGSTOP');
  process.kill(kernel, 'SIGKILL');
  expect(await held()).toEqual([ON, ON, ON, OFF]);
  await withSimulator(agent, (control) => control.forget());
  const drove = await safeDrive([plan()]);
  expect([drove.status, drove.signal]).toEqual([0, null]);
  expect(drove.stderr).not.toContain('NOT KNOWN');
  expect(drove.stderr).not.toContain(LEFT);
  expect(await held()).toEqual([OFF, OFF, OFF, OFF]);
  const seen = await withSimulator(agent, (control) => control.log());
  const slugs = new Set(seen.map(({ device }) => device));
  expect(slugs.size).toBeGreaterThan(3);
  expect((await withSimulator(agent, (control) => control.canaries())).touched).toEqual([]);
  expect(seen.filter(({ device }) => device === 'performance-monitor')).toEqual([]);
  // What comes back finds its plan and takes the agent up again.
  process.kill(supervisor, 'SIGCONT');
  await agent.waitUntil('a new kernel', () => agent.ready.pids.kernel !== kernel);
  expect(existsSync(plan())).toBe(true);
  expect(readFileSync(plan(), 'utf8')).not.toContain(' 8005 ');
  await worksAgain(agent);
});

it('names the devices of a bus that has vanished, and drives the others', async () => {
  expect(verdict(await writeRegister(agent, '0x8000', 'CONTROL', '0x1'))).toBe('ok');
  const { kernel, supervisor } = agent.ready.pids;
  process.kill(supervisor, 'SIGSTOP');
  process.kill(kernel, 'SIGKILL');
  await withSimulator(agent, (control) => control.fault({ bus: 'serial-0', kind: 'silent' }));
  const drove = await safeDrive([plan()]);
  await withSimulator(agent, (control) => control.clear());
  process.kill(supervisor, 'SIGCONT');
  const lost = drove.stderr.match(/^0x[0-9A-F]{4} NOT KNOWN TO BE SAFE: .*$/gm) ?? [];
  expect(lost.length).toBeGreaterThan(0);
  expect(drove.status).toBe(lost.length);
  for (const line of lost) expect(line).toContain('no answer');
  expect(await heldBy(agent, '0x8000', 'CONTROL')).toBe(OFF);
});
