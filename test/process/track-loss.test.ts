// Each process of the agent killed in turn: the others go on, it comes back by itself, and the loss is on record.

import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent, type RestAnswer } from '../support/agent.ts';
import {
  activateDevice,
  alive,
  auditOf,
  entryAfter,
  heldBy,
  lastSequence,
  logLines,
  type ProcessName,
  pause,
  readRegister,
  resetStop,
  verdict,
  withSimulator,
  worksAgain,
  writeRegister,
} from './watch.ts';

const NOTICE_MS_MAX = 100;
/** Kernel stops the system when security was away for longer. */
const SILENCE_MS_MAX = 2_000;
const KILLS = 3;

let agent: Agent;

beforeAll(async () => {
  agent = await Agent.start();
  agent.keepConnections();
  await worksAgain(agent);
});
afterAll(() => agent?.stop());

/** Ends the process without a word; gives the time of the deed, wall clock. */
function kill(name: ProcessName): number {
  const killedAtMs = Date.now();
  process.kill(agent.ready.pids[name], 'SIGKILL');
  return killedAtMs;
}

/** Waits for a new process of that name that answers; the others must be the ones they were. */
async function comesBackAlone(name: ProcessName, before: Agent['ready']['pids']): Promise<void> {
  await agent.waitUntil(`${name} to come back`, () => agent.ready.pids[name] !== before[name]);
  const now = agent.ready.pids;
  expect({ ...now, [name]: 0 }).toEqual({ ...before, [name]: 0 });
  for (const pid of Object.values(now)) expect(alive(pid)).toBe(true);
}

async function stopEngaged(): Promise<unknown> {
  return (await agent.rest(0, 'GET', 'system/status')).body.stopEngaged;
}

describe('a killed interface process', () => {
  it('comes back within seconds while kernel, security and the devices go on as they were', async () => {
    expect(verdict(await writeRegister(agent, '0x8000', 'CONFIG', '0x1234'))).toBe('ok');
    const noticedMs: number[] = [];
    for (let round = 0; round < KILLS; round++) {
      const before = agent.ready.pids;
      const sequence = await lastSequence(agent);
      const killedAtMs = kill('interface');
      await comesBackAlone('interface', before);
      await worksAgain(agent);
      const lost = await entryAfter(agent, sequence, ({ event }) => event === 'TRACK_LOST');
      const returned = await entryAfter(agent, lost.sequence, (entry) => {
        return entry.event === 'TRACK_RETURNED';
      });
      expect([lost.actor, returned.actor]).toEqual(['interface', 'interface']);
      noticedMs.push(lost.wallMs - killedAtMs);
    }
    expect(Math.min(...noticedMs)).toBeLessThan(NOTICE_MS_MAX);
    expect(await heldBy(agent, '0x8000', 'CONFIG')).toBe('0x00001234');
    expect(await stopEngaged()).toBe(false);
  });

  it('shows the whole picture of the devices as soon as it is back, including what does not change', async () => {
    await agent.waitUntil('a fresh picture', async () => {
      const { body } = await agent.rest(0, 'GET', 'devices');
      const devices = body.devices as readonly { readonly status: string }[];
      return body.stale === false && devices.every(({ status }) => status !== 'UNKNOWN');
    });
  });
});

describe('a killed kernel process', () => {
  it('is told by name to whoever reads meanwhile, and comes back within seconds', async () => {
    const noticedMs: number[] = [];
    for (let round = 0; round < KILLS; round++) {
      const before = agent.ready.pids;
      const sequence = await lastSequence(agent);
      const killedAtMs = kill('kernel');
      const answers: RestAnswer[] = [];
      await agent.waitUntil('reads to be refused', async () => {
        const answer = await readRegister(agent, '0x8000', 'CONFIG');
        if (answer.status !== 200) answers.push(answer);
        return answers.length > 0;
      });
      expect(answers[0]?.body).toMatchObject({ code: 'TRACK_UNAVAILABLE', status: 503 });
      expect(String(answers[0]?.body.place)).toContain('kernel');
      const listed = await agent.rest(0, 'GET', 'devices');
      expect([listed.status, (listed.body.devices as unknown[]).length]).toEqual([200, 84]);
      await comesBackAlone('kernel', before);
      await worksAgain(agent);
      const lost = await entryAfter(agent, sequence, ({ event }) => event === 'TRACK_LOST');
      await entryAfter(agent, lost.sequence, (entry) => {
        return entry.event === 'TRACK_RETURNED' && entry.actor === 'kernel';
      });
      expect(lost.actor).toBe('kernel');
      noticedMs.push(lost.wallMs - killedAtMs);
    }
    expect(Math.min(...noticedMs)).toBeLessThan(NOTICE_MS_MAX);
    expect(await heldBy(agent, '0x8000', 'CONFIG')).toBe('0x00001234');
    expect(await stopEngaged()).toBe(false);
  });

  it('is taken charge of again where it was only late, and did not know that it was missed', async () => {
    const status = async () => (await agent.rest(0, 'GET', 'system/status')).body;
    await worksAgain(agent);
    process.kill(agent.ready.pids.kernel, 'SIGSTOP');
    try {
      await agent.waitUntil('kernel to be missed', async () => {
        const tracks = (await status()).tracks as readonly { track: string; up: boolean }[];
        return tracks.some(({ track, up }) => track === 'kernel' && !up);
      });
    } finally {
      process.kill(agent.ready.pids.kernel, 'SIGCONT');
    }
    await agent.waitUntil('the agent to be ready', async () => (await status()).state === 'READY');
    await worksAgain(agent);
  });

  it('leaves the device list readable and marked stale while it does not answer', async () => {
    const sequence = await lastSequence(agent);
    const { kernel } = agent.ready.pids;
    process.kill(kernel, 'SIGSTOP');
    try {
      await agent.waitUntil('the picture to be stale', async () => {
        const { status, body } = await agent.rest(0, 'GET', 'devices');
        expect(status).toBe(200);
        return body.stale === true;
      });
      const answer = await readRegister(agent, '0x8000', 'CONFIG');
      expect(verdict(answer)).toBe('503 TRACK_UNAVAILABLE');
      expect(answer.text).toContain('silent');
    } finally {
      process.kill(kernel, 'SIGCONT');
    }
    await agent.waitUntil('a fresh picture', async () => {
      return (await agent.rest(0, 'GET', 'devices')).body.stale === false;
    });
    await entryAfter(agent, sequence, ({ event }) => event === 'TRACK_RETURNED');
    await worksAgain(agent);
  });

  it('drives the devices to their safe values when it comes back during a stop', async () => {
    const stopped = await agent.rest(0, 'POST', 'emergency-stop', { reason: 'a test' });
    expect(stopped.body.success).toBe(true);
    const before = agent.ready.pids;
    const lines = logLines(agent, 'kernel').length;
    kill('kernel');
    // As a device that came up again by itself: CONTROL of 0x8000 is the first word of the memory.
    const memory = openSync(join(agent.ready.simulator?.directory ?? '', 'memory'), 'r+');
    writeSync(memory, Uint8Array.of(1, 0, 0, 0), 0, 4, 0);
    closeSync(memory);
    expect(await heldBy(agent, '0x8000', 'CONTROL')).toBe('0x00000001');
    await comesBackAlone('kernel', before);
    await agent.waitUntil('the devices to be driven safe again', () =>
      logLines(agent, 'kernel')
        .slice(lines)
        .some(({ msg }) => msg === 'devices driven to their safe values'),
    );
    expect(await heldBy(agent, '0x8000', 'CONTROL')).toBe('0x00000000');
    expect(verdict(await writeRegister(agent, '0x8000', 'CONFIG', '0x1'))).toBe(
      '503 EMERGENCY_STOPPED',
    );
    await resetStop(agent);
    for (const device of ['0x8000', '0x8003']) await activateDevice(agent, device);
    await worksAgain(agent);
  });
});

describe('a killed security process', () => {
  it('has writes held at once, an error instead of a hang, and no stop when it is back in time', async () => {
    const heldAfterMs: number[] = [];
    for (let round = 0; round < KILLS; round++) {
      const before = agent.ready.pids;
      const seen = logLines(agent, 'kernel').length;
      const killedAtMs = kill('security');
      const startedMs = performance.now();
      const answer = await writeRegister(agent, '0x8000', 'CONFIG', '0x5678');
      expect(performance.now() - startedMs).toBeLessThan(SILENCE_MS_MAX);
      expect(answer.status).toBe(503);
      expect(answer.body).toMatchObject({ code: 'TRACK_UNAVAILABLE' });
      expect(String(answer.body.place)).toContain('security');
      await comesBackAlone('security', before);
      await agent.waitUntil('kernel to hear security', () =>
        logLines(agent, 'kernel')
          .slice(seen)
          .some(({ msg }) => msg.startsWith('security answers')),
      );
      const lines = logLines(agent, 'kernel').slice(seen);
      const held = lines.find(({ msg }) => msg === 'writes are on hold');
      const back = lines.find(({ msg }) => msg.startsWith('security answers'));
      if (held === undefined || back === undefined) throw new Error('kernel noticed nothing');
      expect(held.security).toBe('lost');
      heldAfterMs.push(held.time - killedAtMs);
      // A slow machine may need longer than the limit to start security; then the stop is what was promised.
      const awayMs = back.time - held.time;
      expect(awayMs).toBeLessThan(10_000);
      if (awayMs > SILENCE_MS_MAX + 100) {
        expect(await stopEngaged()).toBe(true);
        return;
      }
      if (awayMs < SILENCE_MS_MAX - 100) {
        await worksAgain(agent);
        expect(await stopEngaged()).toBe(false);
        expect(lines.some(({ msg }) => msg === 'stopping by itself')).toBe(false);
      }
      await pause(50);
    }
    expect(Math.min(...heldAfterMs)).toBeLessThan(NOTICE_MS_MAX);
    expect(await heldBy(agent, '0x8000', 'CONFIG')).toBe('0x00001234');
  });

  it('leaves an audit chain that is whole over all its lives', async () => {
    const verified = await agent.rest(0, 'GET', 'audit/verify');
    expect(verified.body).toMatchObject({ intact: true });
    const starts = (await auditOf(agent)).filter(({ event }) => event === 'AGENT_STARTED');
    expect(starts.length).toBeGreaterThan(1);
  });
});

describe('a device quarantined at run time', () => {
  it('is touched neither by a kernel that starts again nor by its stop', async () => {
    const device = '0x8020';
    const reason = 'its readings make no sense';
    const quarantined = await agent.rest(0, 'POST', `devices/${device}/quarantine`, { reason });
    expect([quarantined.status, quarantined.body.code]).toEqual([200, undefined]);
    const { kernel } = agent.ready.pids;
    // Where a drive to safe values would be seen.
    await withSimulator(agent, (control) => control.set(device, 'CONTROL', '1'));
    process.kill(kernel, 'SIGKILL');
    await agent.waitUntil('kernel', () => agent.ready.pids.kernel !== kernel);
    await worksAgain(agent);
    expect((await agent.rest(0, 'POST', 'emergency-stop', { reason: 'a test' })).status).toBe(200);
    await agent.waitUntil('the drive', async () => {
      return (await heldBy(agent, '0x8000', 'CONTROL')) === '0x00000000';
    });
    expect(await heldBy(agent, device, 'CONTROL')).toBe('0x00000001');
    expect((await readRegister(agent, device, 'CONFIG')).status).toBe(403);
    await resetStop(agent);
  });
});
