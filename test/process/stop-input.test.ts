// A stop input on real processes: kernel stops by itself when the circuit opens, lets no reset pass while it is open, and
// the stop path is tested all the while.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent, REPOSITORY } from '../support/agent.ts';
import { entryAfter, lastSequence, resetStop, withSimulator, worksAgain } from './watch.ts';

const DEFAULT_BOARD = join(REPOSITORY, 'drivers/profiles/boards/default.yaml');
/** Healthy while bit 30 of DEBUG is clear: a simulated device takes what is written there and changes nothing. */
const INPUT = `
stopInputs:
  - { name: door of the rack, device: 0x8004, register: DEBUG, healthy: { bits: 30, value: 0 }, periodMs: 50 }
`;

let agent: Agent;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-input-'));
  const board = join(directory, 'board.yaml');
  writeFileSync(board, `${readFileSync(DEFAULT_BOARD, 'utf8')}${INPUT}`);
  agent = await Agent.start(['--board', board]);
  agent.keepConnections();
  await worksAgain(agent);
});
afterAll(async () => {
  await agent?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function status() {
  const { body } = await agent.rest(0, 'GET', 'system/status');
  return body as {
    readonly state: string;
    readonly findings: readonly string[];
    readonly stopEngaged: boolean;
    readonly stopCauses: readonly { readonly source: string; readonly reason: string }[];
    readonly stopTest: { readonly ok: boolean; readonly finding: string } | null;
  };
}

/** The circuit itself, behind everybody's back. */
function circuit(word: string): Promise<unknown> {
  return withSimulator(agent, (control) => control.set('0x8004', 'DEBUG', word));
}

describe('a stop input', () => {
  it('lets the system run while it is closed, and the stop path is tested meanwhile', async () => {
    await agent.waitUntil(
      'a test of the stop path',
      async () => (await status()).stopTest !== null,
      60_000,
    );
    expect(await status()).toMatchObject({
      stopEngaged: false,
      stopTest: { ok: true, finding: 'kernel answered' },
    });
  });

  it('stops the system when it opens, and says which it was and what it reads', async () => {
    const sequence = await lastSequence(agent);
    await circuit('0x40000000');
    await agent.waitUntil('the stop', async () => (await status()).stopCauses.length > 0);
    const { state, stopCauses } = await status();
    expect(state).toBe('EMERGENCY_STOPPED');
    expect(stopCauses[0]).toMatchObject({
      source: 'kernel',
      reason: expect.stringMatching(
        /^stop input door of the rack \(.+\.DEBUG\) is open: it reads 0x40000000$/,
      ),
    });
    const entry = await entryAfter(agent, sequence, ({ event }) => event === 'EMERGENCY_STOP');
    expect(entry).toMatchObject({ actor: 'kernel', reason: stopCauses[0]?.reason });
  });

  it('lets no reset pass while it is open, and one that follows its closing', async () => {
    const [, refused] = await resetStop(agent);
    expect([refused?.status, refused?.body.code]).toEqual([409, 'STOP_INPUT_OPEN']);
    expect(refused?.body.detail).toContain('door of the rack');
    expect((await status()).stopEngaged).toBe(true);
    await circuit('0x0');
    const answers = await resetStop(agent);
    expect(answers.at(-1)?.body.released).toBe(true);
    expect(await status()).toMatchObject({ stopEngaged: false, stopCauses: [] });
  });
});
