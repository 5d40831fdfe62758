// The disk of the audit chain runs full under the running agent: nothing is done that could not be recorded, except the stop.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent, type RestAnswer } from '../support/agent.ts';
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
const DISK_BYTES = 12 * 1024 * 1024;
const FREE_BYTES_MIN = 2 * 1024 * 1024;
/** Short of room, and enough for the entries of a stop and of some refusals. */
const LITTLE_BYTES = 1024 * 1024;

let agent: Agent;
let fillers = 0;
const directory = mkdtempSync(join(tmpdir(), 'dsmil-policy-'));
/** What clients were told is done and on record: operation and the number of its entry. */
const acknowledged: { readonly operationId: string; readonly auditSequence: number }[] = [];

function note(answer: RestAnswer): RestAnswer {
  const { operationId, auditSequence } = answer.body;
  if (answer.status === 200 && typeof operationId === 'string' && Number(auditSequence) > 0) {
    acknowledged.push({ operationId, auditSequence: Number(auditSequence) });
  }
  return answer;
}

/** The disk as the agent's processes see it: theirs is a mount namespace of its own (proc_pid_root(5)). */
function onDisk(name: string): string {
  const { pids, stateDirectory } = agent.ready;
  return join(`/proc/${pids.security}/root`, stateDirectory, 'security', name);
}

function leave(bytes: number): void {
  const { bavail, bsize } = statfsSync(onDisk('.'));
  writeFileSync(onDisk('filler-0'), Buffer.alloc(bavail * bsize - bytes, 1));
  fillers = 1;
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
    const answer = await writeRegister(agent, '0x8004', 'CONFIG', `0x${value.toString(16)}`);
    const { body } = note(answer);
    if (body.code !== 'AUDIT_UNAVAILABLE') return false;
    const { body: status } = await agent.rest(0, 'GET', 'system/status');
    const written = (status.findings as string[]).every((finding) => !/cannot be/.test(finding));
    if (written) return false;
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
      const policy = join(directory, 'safety.yaml');
      writeFileSync(policy, `audit:\n  freeBytesMin: ${FREE_BYTES_MIN}\n`);
      agent = await Agent.start(['--safety', policy], {
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
    afterAll(async () => {
      await agent?.stop();
      rmSync(directory, { recursive: true, force: true });
    });

    it('stops operations before it is full, saying how much room is left, and lets a stop and a DEACTIVATE through', async () => {
      leave(LITTLE_BYTES);
      const status = async () => (await agent.rest(0, 'GET', 'system/status')).body;
      await agent.waitUntil('DEGRADED', async () => (await status()).state === 'DEGRADED');
      expect((await status()).findings).toEqual([
        expect.stringMatching(
          /^the disk of the audit chain has \d\.\d MiB free, less than .* 2\.0 MiB$/,
        ),
      ]);
      const refused = await writeRegister(agent, '0x8000', 'CONFIG', '0x9');
      expect(verdict(refused)).toBe('503 AUDIT_UNAVAILABLE');
      expect(JSON.stringify(refused.body)).toMatch(
        /\d\.\d MiB free, less than the limit of 2\.0 MiB/,
      );
      expect(refused.body).toMatchObject({ metal: 'untouched' });
      const off = { operation: 'DEACTIVATE', device: '0x8000', confirmedRisk: 'CRITICAL' };
      const justification = 'towards a safe state';
      const done = await agent.rest(0, 'POST', 'operations', { ...off, justification });
      expect(verdict(note(done))).toBe('ok');
      const stopped = await agent.rest(0, 'POST', 'emergency-stop', { reason: 'room is short' });
      expect(stopped.body.tracks).toMatchObject([{ ok: true }, { ok: true }, { ok: true }]);
      const entry = await entryAfter(agent, 0, ({ event }) => event === 'EMERGENCY_STOP');
      expect(entry).toMatchObject({ reason: 'room is short' });
      expect(entry.result).not.toMatch(/late/);
      expect(verdict((await resetStop(agent))[0] ?? done)).toBe('503 AUDIT_UNAVAILABLE');
      free();
      await agent.waitUntil(
        'room',
        async () => ((await status()).findings as string[]).length === 0,
      );
      const answers = await resetStop(agent);
      expect(answers.map(({ body }) => body.released)).toEqual([false, true]);
      for (const device of ['0x8000', '0x8003', '0x8004']) await activateDevice(agent, device);
    });

    it('has operations refused before the metal is touched, reads as well', async () => {
      expect(verdict(note(await writeRegister(agent, '0x8000', 'CONFIG', '0x1')))).toBe('ok');
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
      const late = await entryAfter(
        agent,
        0,
        ({ event, reason }) => event === 'EMERGENCY_STOP' && reason === 'the disk is full',
      );
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

    it('has cost nothing that anybody was told is done', async () => {
      expect(acknowledged.length).toBeGreaterThan(1);
      const kept = mkdtempSync(join(tmpdir(), 'dsmil-kept-'));
      for (const name of ['agent.db', 'agent.db-wal']) copyFileSync(onDisk(name), join(kept, name));
      const database = new DatabaseSync(join(kept, 'agent.db'));
      const entry = database.prepare('SELECT body FROM audit WHERE sequence = ?');
      for (const { operationId, auditSequence } of acknowledged) {
        expect(String(entry.get(auditSequence)?.body)).toContain(`"operationId":"${operationId}"`);
      }
      database.close();
      rmSync(kept, { recursive: true });
    });
  },
);
