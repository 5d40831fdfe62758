// Security or kernel stopped: kernel goes to the safe state and can still be read at its own console, marked and recorded;
// panels keep the last picture; each process comes back without a restart of the others.

import { lstatSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openKernelConsole } from '../../src/bin/console/client.ts';
import { Agent } from '../support/agent.ts';
import { dsmil } from './console.ts';
import {
  alive,
  auditOf,
  entryAfter,
  heldBy,
  lastSequence,
  logLines,
  readRegister,
  resetStop,
  verdict,
  worksAgain,
  writeRegister,
} from './watch.ts';

/** Kernel trips after 2 s without security; the rest is the time to drive 79 devices on a busy machine. */
const SAFE_MS_MAX = 2_000 + 3_000;

let agent: Agent;

beforeAll(async () => {
  agent = await Agent.start();
  await worksAgain(agent);
});
afterAll(() => agent?.stop());

function tripped(lines: number): boolean {
  return logLines(agent, 'kernel')
    .slice(lines)
    .some(({ msg }) => msg === 'devices driven to their safe values');
}

async function withStopped<T>(
  names: readonly ('kernel' | 'security' | 'interface')[],
  act: () => Promise<T>,
): Promise<T> {
  const pids = names.map((name) => agent.ready.pids[name]);
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  try {
    return await act();
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
  }
}

describe('the consoles', () => {
  it('are open to those they are for alone', () => {
    const { runDirectory } = agent.ready;
    expect(lstatSync(join(runDirectory, 'kernel/kernel.sock')).mode & 0o777).toBe(0o600);
    expect(lstatSync(join(runDirectory, 'security/security.sock')).mode & 0o777).toBe(0o660);
  });

  it('show kernel, and let no read pass by security while it answers', async () => {
    const kernel = await openKernelConsole(agent.ready.runDirectory, (error) => {
      throw error;
    });
    if (!kernel.ok) throw new Error(kernel.fault.finding);
    const status = await kernel.value.status();
    expect(status.ok && status.value.unsupervised).toBe(false);
    const read = await kernel.value.read(3, ['DATA']);
    expect(read.ok ? null : read.fault).toMatchObject({
      code: 'UNSUPERVISED',
      finding: 'security answers and supervises; ask it instead',
    });
    kernel.value.close();
  });

  it('cut off whoever speaks no frames, and take no more than eight at a time', async () => {
    const path = join(agent.ready.runDirectory, 'security/security.sock');
    const ended = (text: string) =>
      new Promise<void>((resolve) => {
        const socket = connect(path, () => socket.write(text));
        socket.on('error', () => undefined);
        socket.on('close', () => resolve());
      });
    await ended('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const open = Array.from({ length: 8 }, () => connect(path));
    await Promise.all(open.map((one) => new Promise((ready) => one.once('connect', ready))));
    await ended('');
    for (const one of open) one.destroy();
    await worksAgain(agent);
  });
});

describe('with security stopped', () => {
  it('has every device safe in time, reads on marked unsupervised, and refuses the rest', async () => {
    const before = agent.ready.pids;
    const sequence = await lastSequence(agent);
    const lines = logLines(agent, 'kernel').length;
    expect(verdict(await writeRegister(agent, '0x8003', 'DATA', '0x55'))).toBe('ok');
    await withStopped(['security'], async () => {
      await agent.waitUntil('the safe state', () => tripped(lines), SAFE_MS_MAX);
      expect(await heldBy(agent, '0x8000', 'CONTROL')).toBe('0x00000000');

      const read = await dsmil(agent, ['device', 'read', 'audit-log-controller', 'DATA']);
      expect(read.code).toBe(0);
      expect(read.stdout).toMatch(/^0x8003 +DATA +0x[0-9A-F]{8} +unsupervised$/m);
      expect(read.stderr).toMatch(/^unsupervised: security does not answer/);
      const json = await dsmil(agent, ['-o', 'json', 'device', 'read', '3', 'DATA']);
      expect(JSON.parse(json.stdout)).toMatchObject({ unsupervised: true, token: '0x8003' });

      const status = await dsmil(agent, ['status']);
      expect(status.stdout).toMatch(/^supervision +unsupervised/m);
      expect(status.stdout).toMatch(/^emergency stop +ENGAGED$/m);
      expect(status.stdout).toMatch(/^writes +on hold: security is silent$/m);
      expect(JSON.parse((await dsmil(agent, ['-o', 'json', 'status'])).stdout)).toMatchObject({
        unsupervised: true,
        stopEngaged: true,
      });
    });
    const access = await entryAfter(
      agent,
      sequence,
      ({ event }) => event === 'UNSUPERVISED_ACCESS',
    );
    expect(access.actor).toMatch(/^uid \d+ pid \d+$/);
    const kept = (await auditOf(agent, sequence + 1)).filter(
      ({ event }) => event === 'UNSUPERVISED_ACCESS',
    );
    expect(kept.map(({ result }) => result)).toContain(
      "read at kernel's console once while security was away",
    );
    expect(kept.map(({ reason }) => reason)).toContain('DATA');
    expect(agent.ready.pids).toEqual(before);
    await agent.waitUntil('security to be in charge again', async () => {
      const { body } = await agent.rest(0, 'GET', 'system/status');
      return body.state === 'EMERGENCY_STOPPED';
    });
    await reset();
    await worksAgain(agent);
  });

  it.each([
    ['a write', ['device', 'write', '0x8003', 'DATA=1', '--reason', 'a test of mine']],
    ['a list of approvals', ['approvals']],
    ['a reset', ['reset', '--reason', 'all is well again']],
    ['a read with an effect', ['device', 'read', '0x8003', 'ERROR']],
  ])('refuses %s as unavailable, saying why', async (_what, args) => {
    await withStopped(['security'], async () => {
      // Before the link calls it silent its answers are only late.
      await agent.waitUntil('security to be silent', async () => {
        const answer = await readRegister(agent, '0x8003', 'DATA');
        return answer.text.includes('silent');
      });
      const ran = await dsmil(agent, args);
      expect([ran.code, ran.stdout]).toEqual([7, '']);
      expect(ran.stderr).toMatch(/security|nobody supervises/);
    });
    await agent.waitUntil('security to answer', async () => {
      return (await agent.rest(0, 'GET', 'system/status')).body.state !== 'DEGRADED';
    });
  });

  it('refuses a quarantined device as ever', async () => {
    await withStopped(['security', 'interface'], async () => {
      const ran = await dsmil(agent, ['device', 'read', '0x8009']);
      expect([ran.code, ran.stderr]).toEqual([3, expect.stringContaining('DEVICE_QUARANTINED')]);
      const named = await dsmil(agent, ['device', 'read', 'data-destruction']);
      expect(named.code).toBe(3);
    });
  });
});

describe('with security and interface stopped', () => {
  it('stops at kernel itself, with its receipt, and everything is on record afterwards', async () => {
    await reset();
    const sequence = await lastSequence(agent);
    await withStopped(['security', 'interface'], async () => {
      const stopped = await dsmil(agent, ['-o', 'json', 'stop', '--reason', 'smoke in the room']);
      expect(stopped.code).toBe(0);
      expect(JSON.parse(stopped.stdout)).toMatchObject({
        unsupervised: true,
        success: true,
        tracks: [{ track: 'kernel', ok: true }],
      });
    });
    const entry = await entryAfter(
      agent,
      sequence,
      ({ event, reason }) => event === 'UNSUPERVISED_ACCESS' && reason === 'smoke in the room',
    );
    expect(entry.result).toMatch(/^stop at kernel's console/);
    await reset();
  });
});

describe('with kernel stopped', () => {
  it('still shows the last state, marked stale, and refuses operations with the reason', async () => {
    const before = agent.ready.pids;
    await withStopped(['kernel'], async () => {
      await agent.waitUntil('the picture to be stale', async () => {
        return (await agent.rest(0, 'GET', 'devices')).body.stale === true;
      });
      const listed = await dsmil(agent, ['device', 'list']);
      expect([listed.code, listed.stderr]).toEqual([0, expect.stringContaining('stale')]);
      const refused = await writeRegister(agent, '0x8003', 'DATA', '0x1');
      expect(verdict(refused)).toBe('503 TRACK_UNAVAILABLE');
      expect(String(refused.body.place)).toContain('kernel');
      const read = await dsmil(agent, ['device', 'read', '0x8003', 'DATA']);
      expect([read.code, read.stdout]).toEqual([7, '']);
      expect(read.stderr).toMatch(/^TRACK_UNAVAILABLE: kernel track/);
      const direct = await withStopped(['interface'], () => dsmil(agent, ['device', 'list']));
      expect(direct.stderr).toContain('stale');
    });
    expect(agent.ready.pids).toEqual(before);
    for (const pid of Object.values(before)) expect(alive(pid)).toBe(true);
    await agent.waitUntil('a fresh picture', async () => {
      return (await agent.rest(0, 'GET', 'devices')).body.stale === false;
    });
  });
});

/** Two people, and every device that a test writes activated again. */
async function reset(): Promise<void> {
  await agent.waitUntil('the reset', async () => {
    const { body } = await agent.rest(0, 'GET', 'system/status');
    if (body.stopEngaged === false) return true;
    await resetStop(agent);
    return false;
  });
  for (const device of ['0x8003']) {
    await agent.rest(0, 'POST', 'operations', {
      operation: 'ACTIVATE',
      device,
      justification: 'a test of whole processes',
      confirmedRisk: 'MODERATE',
    });
  }
}
