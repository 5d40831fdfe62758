// Kernel stops by itself: when security falls silent, when the latch is engaged behind everyone's back, and when a frame
// in shared memory was tampered with; and two people bring the system back.

import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SharedStopLatch } from '#link/stop-latch';
import { Agent, type RestAnswer } from '../support/agent.ts';
import {
  activateDevice,
  actPromptly,
  alive,
  entryAfter,
  heldBy,
  lastSequence,
  logLines,
  pause,
  resetStop,
  verdict,
  withSimulator,
  worksAgain,
  writeRegister,
} from './watch.ts';

/** Devices of LOW risk in memory windows, which anyone of the two people may write. */
const MEMORY_DEVICES = ['0x8000', '0x8003', '0x8004', '0x8005'] as const;
/** Kernel stops the system when security was silent for half a second and two more. */
const SILENCE_MS = 2_500;

let agent: Agent;

beforeAll(async () => {
  agent = await Agent.start();
  agent.keepConnections();
  await worksAgain(agent);
  actPromptly();
});
afterAll(() => agent?.stop());

async function activate(): Promise<void> {
  for (const device of MEMORY_DEVICES) {
    expect(verdict(await writeRegister(agent, device, 'CONTROL', '0x1'))).toBe('ok');
  }
  expect(await controls()).toEqual(MEMORY_DEVICES.map(() => '0x00000001'));
}

/** What the metal holds, asked of the simulator. */
function controls(): Promise<readonly string[]> {
  return withSimulator(agent, async (control) => {
    const words: string[] = [];
    for (const device of MEMORY_DEVICES) words.push((await control.get(device, 'CONTROL')).hex);
    return words;
  });
}

async function untilSafe(limitMs: number): Promise<void> {
  await agent.waitUntil(
    'safe values in all memory devices',
    async () => (await controls()).every((word) => word === '0x00000000'),
    limitMs,
  );
}

async function status() {
  const { body } = await agent.rest(0, 'GET', 'system/status');
  return body as {
    readonly state: string;
    readonly stopEngaged: boolean;
    readonly stopCauses: readonly { readonly source: string; readonly reason: string }[];
  };
}

/** Two people reset, nothing moves by itself, and operations work. */
async function resetAndNothingMoved(): Promise<void> {
  const answers = await resetStop(agent);
  expect(answers.map(({ body }) => body.released)).toEqual([false, true]);
  await pause(1_200);
  expect(await controls()).toEqual(MEMORY_DEVICES.map(() => '0x00000000'));
  expect((await status()).stopCauses).toEqual([]);
  expect(verdict(await writeRegister(agent, '0x8000', 'CONTROL', '0x1'))).toBe(
    '423 DEVICE_DEACTIVATED',
  );
  for (const device of MEMORY_DEVICES) await activateDevice(agent, device);
  await worksAgain(agent);
}

describe('security that falls silent', () => {
  it('has kernel stop by itself, and the cause is told and on record once it can be', async () => {
    await activate();
    const sequence = await lastSequence(agent);
    const { security, kernel } = agent.ready.pids;
    process.kill(security, 'SIGSTOP');
    try {
      await untilSafe(SILENCE_MS + 5_000);
      const answer = await agent.rest(null, 'GET', 'health');
      expect(answer.body).toMatchObject({ healthy: false, stopEngaged: true });
    } finally {
      process.kill(security, 'SIGCONT');
    }
    await agent.waitUntil('the cause to be told', async () => {
      const { state, stopCauses } = await status();
      return state === 'EMERGENCY_STOPPED' && stopCauses.length > 0;
    });
    const { stopCauses } = await status();
    expect(stopCauses).toHaveLength(1);
    expect(stopCauses[0]).toMatchObject({ source: 'kernel', triggeredBy: 'kernel' });
    expect(stopCauses[0]?.reason).toMatch(/^security was silent for \d+ ms$/);
    const entry = await entryAfter(agent, sequence, ({ event }) => event === 'EMERGENCY_STOP');
    expect(entry).toMatchObject({ actor: 'kernel', reason: stopCauses[0]?.reason });
    expect(agent.ready.pids).toMatchObject({ security, kernel });
    expect(verdict(await writeRegister(agent, '0x8000', 'CONTROL', '0x1'))).toBe(
      '503 EMERGENCY_STOPPED',
    );
    await resetAndNothingMoved();
  });
});

describe('the stop latch', () => {
  it('engaged by another process drives memory to safe values while security stands still', async () => {
    await activate();
    const logged = logLines(agent, 'kernel').length;
    const { security } = agent.ready.pids;
    // In this process, and opened before: starting another one may take longer than kernel waits for security.
    const latch = new SharedStopLatch({
      directory: join(agent.ready.runDirectory, 'stop'),
      self: 'interface',
    });
    process.kill(security, 'SIGSTOP');
    try {
      latch.engage();
      latch.close();
      // Well before kernel would have stopped because of the silence.
      await untilSafe(SILENCE_MS);
      // The line follows when the slow buses are safe as well.
      await agent.waitUntil('the report in the log', () =>
        logLines(agent, 'kernel')
          .slice(logged)
          .some(({ msg, cause }) => {
            return msg === 'devices driven to their safe values' && cause === null;
          }),
      );
    } finally {
      process.kill(security, 'SIGCONT');
    }
    await agent.waitUntil(
      'the stop to be told',
      async () => (await status()).stopCauses.length > 0,
    );
    const { stopCauses } = await status();
    expect(stopCauses[0]).toMatchObject({ reason: 'the stop latch was engaged' });
    await resetAndNothingMoved();
  });
});

// The link file's first page, then 256 slots of 4160 bytes that the earlier track writes, then as many of the later one;
// words of the page: side blocks of 128 bytes at 64, ring blocks of 128 bytes at 320, head first.
const PAGE_BYTES = 4096;
const SLOT_BYTES = 4160;
const SLOTS = 256;
const HEAD_OF_LATER_TRACK = 320 + 128;
const FRAME_HEADER_BYTES = 40;

/**
 * Has the later track of a link send while the earlier one stands still, spoils eight bytes of the frame in flight, and
 * gives what became of the request.
 */
async function spoilFrame(
  link: string,
  receiver: number,
  send: () => Promise<RestAnswer>,
): Promise<RestAnswer> {
  const file = openSync(join(agent.ready.runDirectory, 'links', link, `${link}.link`), 'r+');
  const head = () => {
    const word = Buffer.alloc(4);
    readSync(file, word, 0, 4, HEAD_OF_LATER_TRACK);
    return word.readUInt32LE();
  };
  try {
    const before = head();
    // Not for so long that the receiver would be called silent.
    process.kill(receiver, 'SIGSTOP');
    const answer = send();
    await agent.waitUntil('a frame in flight', () => head() !== before, 400);
    const slot = PAGE_BYTES + SLOT_BYTES * (SLOTS + (before % SLOTS));
    const at = slot + FRAME_HEADER_BYTES + 30;
    const bytes = Buffer.alloc(8);
    readSync(file, bytes, 0, 8, at);
    writeSync(
      file,
      bytes.map((byte) => byte ^ 0xff),
      0,
      8,
      at,
    );
    process.kill(receiver, 'SIGCONT');
    return await answer;
  } finally {
    process.kill(receiver, 'SIGCONT');
    closeSync(file);
  }
}

describe('a frame that was tampered with in shared memory', () => {
  it('on its way to kernel is a reason to stop, and nobody dies of it', async () => {
    await activate();
    const sequence = await lastSequence(agent);
    const before = agent.ready.pids;
    const answer = await spoilFrame('kernel-security', before.kernel, () =>
      writeRegister(agent, '0x8000', 'CONFIG', '0xBEEF'),
    );
    expect(answer.status).not.toBe(200);
    await untilSafe(5_000);
    await agent.waitUntil('the cause to be told', async () => {
      return (await status()).stopCauses.length > 0;
    });
    const { state, stopCauses } = await status();
    expect(state).toBe('EMERGENCY_STOPPED');
    expect(stopCauses[0]?.reason).toMatch(/^frame from security corrupt: /);
    await entryAfter(agent, sequence, ({ event, reason }) => {
      return event === 'EMERGENCY_STOP' && reason.startsWith('frame from security corrupt');
    });
    expect(await heldBy(agent, '0x8000', 'CONFIG')).not.toBe('0x0000BEEF');
    expect(agent.ready.pids).toEqual(before);
    for (const pid of Object.values(before)) expect(alive(pid)).toBe(true);
    await resetAndNothingMoved();
  });

  it('on its way to security is on record, stops nothing, and nobody dies of it', async () => {
    const sequence = await lastSequence(agent);
    const before = agent.ready.pids;
    const answer = await spoilFrame('security-interface', before.security, () =>
      writeRegister(agent, '0x8000', 'CONFIG', '0xBEEF'),
    );
    expect(answer.status).not.toBe(200);
    const entry = await entryAfter(agent, sequence, ({ event }) => event === 'LINK_FAULT');
    expect(entry.actor).toBe('interface');
    expect((await status()).stopEngaged).toBe(false);
    await worksAgain(agent);
    expect(agent.ready.pids).toEqual(before);
  });
});
