// A process killed in the middle of a transaction on a slow bus: nothing half-done stands, and what nobody knows is said.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent, type RestAnswer } from '../support/agent.ts';
import {
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
  const written = agent.waitUntil('the first write', () =>
    withSimulator(agent, async (control) => (await control.log(DEVICE)).length > 0),
  );
  await Promise.race([written, refused]);
  refused.catch(() => undefined);
  return { answer };
}

async function calm(): Promise<void> {
  await withSimulator(agent, (control) => control.clear());
}

describe('a transaction in the middle of which a process is killed', () => {
  it('is undone by kernel when security is gone, and told as recovered when it is back', async () => {
    const before = agent.ready.pids;
    const running = await midway('killed-security', '0x1111');
    process.kill(before.security, 'SIGKILL');
    const answer = await running.answer;
    expect(answer.body).toMatchObject({ code: 'TRACK_UNAVAILABLE', metal: 'unknown' });
    await calm();
    await agent.waitUntil('security', () => agent.ready.pids.security !== before.security);
    await worksAgain(agent);
    const recovered = await entryAfter(agent, 0, ({ event }) => event === 'TRANSACTION_RECOVERED');
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
  });
});
