// The disk of the audit chain runs full under the running agent: nothing is done that could not be recorded, except the stop.

import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent } from '../support/agent.ts';
import {
  activateDevice,
  alive,
  entryAfter,
  heldBy,
  readRegister,
  resetStop,
  verdict,
  withSimulator,
  worksAgain,
  writeRegister,
} from './watch.ts';

const mayMount =
  process.getuid?.() === 0 &&
  spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;
const DISK_BYTES = 4 * 1024 * 1024;

let agent: Agent;
let fillers = 0;

/** The disk as the agent's processes see it: theirs is a mount namespace of its own (proc_pid_root(5)). */
function onDisk(name: string): string {
  const { pids, stateDirectory } = agent.ready;
  return join(`/proc/${pids.security}/root`, stateDirectory, 'security', name);
}

/** Takes every byte that is left. */
function fill(): void {
  for (let size = 65_536; size >= 1; size = Math.floor(size / 2)) {
    try {
      for (;;) {
        writeFileSync(onDisk(`filler-${fillers}`), Buffer.alloc(size, 1));
        fillers += 1;
      }
    } catch {
      // Full for this size; the name of the last one is used again.
    }
  }
}

function free(): void {
  for (let number = 0; number <= fillers; number++) {
    rmSync(onDisk(`filler-${number}`), { force: true });
  }
  fillers = 0;
}

/**
 * Until journal and audit chain have used up what their file had left. Which of them finds the disk full first is
 * chance; that the answer says the truth about the metal is not.
 */
async function refusals(): Promise<void> {
  let value = 0x100;
  await agent.waitUntil('AUDIT_UNAVAILABLE', async () => {
    fill();
    const before = await heldBy(agent, '0x8004', 'CONFIG');
    value += 1;
    const { body } = await writeRegister(agent, '0x8004', 'CONFIG', `0x${value.toString(16)}`);
    if (body.code !== 'AUDIT_UNAVAILABLE') return false;
    const after = await heldBy(agent, '0x8004', 'CONFIG');
    if (body.metal === 'untouched') expect(after).toBe(before);
    else expect(after).toBe(`0x${value.toString(16).toUpperCase().padStart(8, '0')}`);
    return true;
  });
}

describe.skipIf(!mayMount)(
  'a full disk (skipped where no tmpfs can be mounted: needs root)',
  () => {
    beforeAll(async () => {
      // The mount is seen by the agent alone and goes with it.
      agent = await Agent.start([], {
        prefix: [
          ...['unshare', '-m', 'sh', '-ec'],
          `for word; do test "$before" = --state-dir && state=$word; before=$word; done
         mkdir -p "$state/security"
         mount -t tmpfs -o size=${DISK_BYTES},mode=700 tmpfs "$state/security"
         exec "$@"`,
          'sh',
        ],
      });
      agent.keepConnections();
      await worksAgain(agent);
    });
    afterAll(() => agent?.stop());

    it('has operations refused before the metal is touched, reads as well', async () => {
      expect(verdict(await writeRegister(agent, '0x8000', 'CONFIG', '0x1'))).toBe('ok');
      await refusals();
      await withSimulator(agent, (control) => control.forget());
      for (const value of ['0x2', '0x3', '0x4']) {
        const answer = await writeRegister(agent, '0x8000', 'CONFIG', value);
        expect(verdict(answer)).toMatch(/AUDIT_UNAVAILABLE$/);
        expect(answer.body).toMatchObject({ metal: 'untouched' });
      }
      expect(verdict(await readRegister(agent, '0x8000', 'CONFIG'))).toMatch(/AUDIT_UNAVAILABLE$/);
      expect(await withSimulator(agent, (control) => control.log('0x8000'))).toEqual([]);
      expect(await heldBy(agent, '0x8000', 'CONFIG')).toBe('0x00000001');
      expect((await agent.rest(0, 'GET', 'system/status')).body.state).toBe('DEGRADED');
    });

    it('does not keep the stop from working', async () => {
      const before = agent.ready.pids;
      const answer = await agent.rest(0, 'POST', 'emergency-stop', { reason: 'the disk is full' });
      expect(answer.status).toBe(200);
      // Every device is safe; that nothing of it is on record is said by security's receipt.
      expect(answer.body.tracks).toMatchObject([
        { track: 'kernel', ok: true, unsafe: [] },
        { track: 'security', ok: false, message: expect.stringContaining('audit') },
        { track: 'interface', ok: true },
      ]);
      expect(await heldBy(agent, '0x8000', 'CONTROL')).toBe('0x00000000');
      expect((await agent.rest(0, 'GET', 'system/status')).body).toMatchObject({
        state: 'EMERGENCY_STOPPED',
        stopEngaged: true,
      });
      expect(agent.ready.pids).toEqual(before);
    });

    it('is over without a restart when there is room again, and the chain is whole', async () => {
      const before = agent.ready.pids;
      free();
      const late = await entryAfter(agent, 0, ({ event }) => event === 'EMERGENCY_STOP');
      expect(late).toMatchObject({ actor: 'demo-operator', reason: 'the disk is full' });
      const answers = await resetStop(agent);
      expect(answers.map(({ body }) => body.released)).toEqual([false, true]);
      for (const device of ['0x8000', '0x8003']) await activateDevice(agent, device);
      await worksAgain(agent);
      expect(verdict(await writeRegister(agent, '0x8000', 'CONFIG', '0x5'))).toBe('ok');
      expect(await heldBy(agent, '0x8000', 'CONFIG')).toBe('0x00000005');
      expect((await agent.rest(0, 'GET', 'audit/verify')).body.intact).toBe(true);
      expect((await agent.rest(0, 'GET', 'system/status')).body.state).toBe('READY');
      expect(agent.ready.pids).toEqual(before);
      for (const pid of Object.values(before)) expect(alive(pid)).toBe(true);
    });
  },
);
