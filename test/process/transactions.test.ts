// A process killed in the middle of a transaction on a slow bus: nothing half-done stands, and what nobody knows is said.

import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent, type RestAnswer } from '../support/agent.ts';
import {
  actPromptly,
  auditOf,
  entryAfter,
  heldBy,
  lastSequence,
  logLines,
  withSimulator,
  worksAgain,
} from './watch.ts';

/** On a serial line; every answer takes nearly as long as the bus allows, so that a transaction takes seconds. */
const DEVICE = '0x8063';
const LATE_MS = 200;

let agent: Agent;

beforeAll(async () => {
  agent = await Agent.start();
  agent.keepConnections();
  await worksAgain(agent);
  actPromptly();
});
afterAll(() => agent?.stop());

/** Writes DATA, then CONFIG; resolves with the answer to come once DATA is on the metal and CONFIG is not. */
async function midway(
  operationId: string,
  value: string,
): Promise<{ readonly answer: Promise<RestAnswer> }> {
  await withSimulator(agent, async (control) => {
    await control.forget();
    await control.fault({ device: DEVICE, kind: 'late', ms: LATE_MS });
  });
  const answer = agent.rest(0, 'POST', 'operations', {
    operationId,
    operation: 'WRITE',
    device: DEVICE,
    registers: [
      { name: 'DATA', value },
      { name: 'CONFIG', value },
    ],
    justification: 'a transaction that is interrupted',
    confirmedRisk: 'CRITICAL',
  });
  const refused = answer.then((early) =>
    Promise.reject(new Error(`answered early: ${early.text}`)),
  );
  const written = withSimulator(agent, (control) =>
    agent.waitUntil('the first write', async () => (await control.log(DEVICE)).length > 0),
  );
  await Promise.race([written, refused]);
  refused.catch(() => undefined);
  return { answer };
}

// The link file's first page, then 256 slots of 4160 bytes that the earlier track writes; its ring's head is the first
// word at 320 in the page.
const PAGE_BYTES = 4096;
const SLOT_BYTES = 4160;
const SLOTS = 256;
const HEAD_OF_EARLIER_TRACK = 320;
const FRAME_HEADER_BYTES = 40;

/** Spoils the next frame that kernel sends to security, while security stands still; not so long that it counts as silent. */
async function spoilNextFrame(): Promise<void> {
  const { security } = agent.ready.pids;
  const file = openSync(
    join(agent.ready.runDirectory, 'links/kernel-security/kernel-security.link'),
    'r+',
  );
  const head = () => {
    const word = Buffer.alloc(4);
    readSync(file, word, 0, 4, HEAD_OF_EARLIER_TRACK);
    return word.readUInt32LE();
  };
  try {
    const before = head();
    process.kill(security, 'SIGSTOP');
    await agent.waitUntil('a frame in flight', () => head() !== before, 2_000);
    const at = PAGE_BYTES + SLOT_BYTES * (before % SLOTS) + FRAME_HEADER_BYTES + 10;
    const bytes = Buffer.alloc(8);
    readSync(file, bytes, 0, 8, at);
    writeSync(
      file,
      bytes.map((byte) => byte ^ 0xff),
      0,
      8,
      at,
    );
  } finally {
    process.kill(security, 'SIGCONT');
    closeSync(file);
  }
}

async function calm(): Promise<void> {
  await withSimulator(agent, (control) => control.clear());
}

describe('a frame from kernel that was tampered with while a transaction is under way', () => {
  it('stops nothing: it is on record, and recovery finds out what became of the transaction', async () => {
    const before = agent.ready.pids;
    const sequence = await lastSequence(agent);
    const { answer } = await midway('spoilt-answer', '0x3333');
    const startedMs = performance.now();
    await spoilNextFrame();
    const done = await answer;
    // Not a whole deadline, which is five seconds and begins with the request.
    expect(performance.now() - startedMs).toBeLessThan(4_500);
    await calm();
    const fault = await entryAfter(agent, sequence, ({ event }) => event === 'LINK_FAULT');
    expect(fault.actor).toBe('kernel');
    const recovered = await entryAfter(agent, sequence, ({ event }) => {
      return event === 'TRANSACTION_RECOVERED';
    });
    expect(recovered).toMatchObject({ operationId: 'spoilt-answer' });
    const held = [await heldBy(agent, DEVICE, 'DATA'), await heldBy(agent, DEVICE, 'CONFIG')];
    // Security stood still for a moment: kernel may have undone it for that, and says which.
    const stands = recovered.result.startsWith('committed');
    expect(held).toEqual(stands ? ['0x00003333', '0x00003333'] : ['0x00000000', '0x00000000']);
    expect(done.status === 200).toBe(stands);
    expect((await agent.rest(0, 'GET', 'system/status')).body.stopEngaged).toBe(false);
    expect(agent.ready.pids).toEqual(before);
    // As it was for those that follow.
    for (const name of ['CONFIG', 'DATA']) {
      await agent.waitUntil(`${name} to be written back`, async () => {
        const back = await agent.rest(0, 'POST', 'operations', {
          operation: 'WRITE',
          device: DEVICE,
          registers: [{ name, value: '0x0' }],
          justification: 'back to what it was',
          confirmedRisk: 'CRITICAL',
        });
        return back.status === 200;
      });
    }
  });
});

describe('a transaction in the middle of which a process is killed', () => {
  it('is undone by kernel when security is gone, and told as recovered when it is back', async () => {
    const before = agent.ready.pids;
    const sequence = await lastSequence(agent);
    const running = await midway('killed-security', '0x1111');
    process.kill(before.security, 'SIGKILL');
    const answer = await running.answer;
    expect(answer.body).toMatchObject({ code: 'TRACK_UNAVAILABLE', metal: 'unknown' });
    await calm();
    await agent.waitUntil('security', () => agent.ready.pids.security !== before.security);
    await worksAgain(agent);
    const recovered = await entryAfter(agent, sequence, ({ event }) => {
      return event === 'TRANSACTION_RECOVERED';
    });
    expect(recovered).toMatchObject({ operationId: 'killed-security' });
    await agent.waitUntil('the write to be undone', async () => {
      return (await heldBy(agent, DEVICE, 'DATA')) === '0x00000000';
    });
    expect(await heldBy(agent, DEVICE, 'CONFIG')).toBe('0x00000000');
    expect(logLines(agent, 'kernel').some(({ msg }) => msg === 'writes are on hold')).toBe(true);
  });

  it('is in doubt when kernel is gone, and says so', async () => {
    const before = agent.ready.pids;
    const sequence = await lastSequence(agent);
    const running = await midway('killed-kernel', '0x2222');
    process.kill(before.kernel, 'SIGKILL');
    const answer = await running.answer;
    expect(answer.body).toMatchObject({ code: 'IN_DOUBT', metal: 'unknown' });
    expect(answer.body.operation).toMatchObject({ effect: 'in-doubt' });
    await calm();
    await agent.waitUntil('kernel', () => agent.ready.pids.kernel !== before.kernel);
    await worksAgain(agent);
    const entries = await auditOf(agent, sequence + 1);
    expect(entries).toContainEqual(
      expect.objectContaining({
        operationId: 'killed-kernel',
        result: expect.stringContaining('in-doubt'),
      }),
    );
    // DATA changes by itself, so that what it holds proves nothing: nobody writes the device until a person releases it.
    const { holds } = (await agent.rest(0, 'GET', 'system/status')).body;
    expect(holds).toMatchObject([{ kind: 'in-doubt' }]);
    const refused = await agent.rest(0, 'POST', 'operations', {
      operation: 'WRITE',
      device: DEVICE,
      registers: [{ name: 'CONFIG', value: '0x1' }],
      justification: 'a device that is in doubt',
      confirmedRisk: 'CRITICAL',
    });
    expect(refused.body).toMatchObject({ code: 'DEVICE_INHIBITED', metal: 'untouched' });
  });
});
