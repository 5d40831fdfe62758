// The disk of journal and audit chain fails under the running agent: writes and flushes with EIO, writes cut short.
// What clients were told is done is there afterwards; what was refused touched nothing; and kernel stops if security stays away.

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Agent, REPOSITORY, type RestAnswer } from '../support/agent.ts';
import {
  activateDevice,
  auditOf,
  heldBy,
  logLines,
  resetStop,
  verdict,
  worksAgain,
  writeRegister,
} from './watch.ts';

type DiskFault = 'eio-write' | 'eio-flush' | 'short-write';

const compiles = spawnSync('cc', ['--version']).status === 0;
const directory = mkdtempSync(join(tmpdir(), 'dsmil-disk-'));
const shim = join(directory, 'disk-fault.so');
const DEVICE = '0x8000';

let agent: Agent;
let faults: string;
let value = 0x10;
/** What clients were told is done and on record. */
let acknowledged: { readonly operationId: string; readonly auditSequence: number }[];

function set(fault: DiskFault): void {
  writeFileSync(join(faults, fault), '');
}

function clear(): void {
  for (const fault of ['eio-write', 'eio-flush', 'short-write']) {
    rmSync(join(faults, fault), { force: true });
  }
}

/** One write; notes it when it was acknowledged. Null where the answer was lost. */
async function write(): Promise<RestAnswer | null> {
  value += 1;
  const answer = await writeRegister(agent, DEVICE, 'CONFIG', `0x${value.toString(16)}`).catch(
    () => null,
  );
  const { operationId, auditSequence } = answer?.body ?? {};
  if (answer?.status === 200 && Number(auditSequence) > 0) {
    acknowledged.push({
      operationId: String(operationId),
      auditSequence: Number(auditSequence),
    });
  }
  return answer;
}

function nothingIsLost(): void {
  expect(acknowledged.length).toBeGreaterThan(0);
  const kept = mkdtempSync(join(directory, 'kept-'));
  const database = join(agent.ready.stateDirectory, 'security', 'agent.db');
  for (const end of ['', '-wal']) {
    if (existsSync(database + end)) copyFileSync(database + end, join(kept, `agent.db${end}`));
  }
  const copy = new DatabaseSync(join(kept, 'agent.db'));
  const entry = copy.prepare('SELECT body FROM audit WHERE sequence = ?');
  for (const { operationId, auditSequence } of acknowledged) {
    expect(String(entry.get(auditSequence)?.body)).toContain(`"operationId":"${operationId}"`);
  }
  copy.close();
}

async function chainIsWhole(): Promise<void> {
  expect((await agent.rest(0, 'GET', 'audit/verify')).body).toMatchObject({ intact: true });
  const { findings } = (await agent.rest(0, 'GET', 'system/status')).body;
  expect(JSON.stringify(findings)).not.toMatch(/audit/);
}

/** After a stop: reset by two, and the devices of this test activated. */
async function goOn(): Promise<void> {
  await agent.waitUntil(
    'the reset',
    async () => (await resetStop(agent)).some(({ body }) => body.released === true),
    60_000,
  );
  for (const device of [DEVICE, '0x8003']) await activateDevice(agent, device);
  await worksAgain(agent);
}

describe.skipIf(!compiles)('a failing disk (skipped where there is no C compiler)', () => {
  beforeAll(() => {
    const source = join(REPOSITORY, 'test/process/disk-fault.c');
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', shim, source, '-ldl']);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  beforeEach(async () => {
    acknowledged = [];
    faults = mkdtempSync(join(directory, 'faults-'));
    mkdirSync(faults, { recursive: true });
    agent = await Agent.start([], {
      environment: { LD_PRELOAD: shim, DISK_FAULT_DIRECTORY: faults },
    });
    await worksAgain(agent);
    for (let count = 0; count < 3; count++) expect((await write())?.status).toBe(200);
  });
  afterEach(() => {
    clear();
    return agent?.stop();
  });

  it('that cuts writes short is a full one: refused, the stop works and is on record later', async () => {
    const { pids } = agent.ready;
    const before = await heldBy(agent, DEVICE, 'CONFIG');
    set('short-write');
    const refused = await write();
    expect(verdict(refused ?? { status: 0, body: {}, text: '' })).toBe('503 AUDIT_UNAVAILABLE');
    expect(refused?.body).toMatchObject({ metal: 'untouched' });
    expect(await heldBy(agent, DEVICE, 'CONFIG')).toBe(before);
    const stop = await agent.rest(0, 'POST', 'emergency-stop', { reason: 'short writes' });
    expect(stop.status).toBe(200);
    expect(stop.body.tracks).toMatchObject([{ ok: true }, { ok: false }, { ok: true }]);
    expect(await heldBy(agent, DEVICE, 'CONTROL')).toBe('0x00000000');
    clear();
    await agent.waitUntil('the entry of the stop', async () =>
      (await auditOf(agent)).some((entry) => entry.reason === 'short writes'),
    );
    await goOn();
    await chainIsWhole();
    nothingIsLost();
    expect(agent.ready.pids).toEqual(pids);
  });

  it.each(['eio-write', 'eio-flush'] as const)(
    'with %s ends security, which reads the disk anew; what was acknowledged is there',
    async (fault) => {
      const { pids } = agent.ready;
      set(fault);
      // The answer is lost with the process that cannot say what became of it.
      expect((await write())?.status).not.toBe(200);
      clear();
      await agent.waitUntil(
        'another security process',
        () => agent.ready.pids.security !== pids.security,
      );
      const reason = /disk of journal and audit chain failed/;
      expect(logLines(agent, 'security').some(({ msg }) => reason.test(msg))).toBe(true);
      await worksAgain(agent, 30_000).catch(goOn);
      await write();
      await chainIsWhole();
      nothingIsLost();
      expect(agent.ready.pids.kernel).toBe(pids.kernel);
    },
  );

  it('that stays away keeps security away, and kernel stops by itself', async () => {
    expect(await heldBy(agent, DEVICE, 'CONTROL')).not.toBe('0x00000000');
    set('eio-flush');
    await write();
    await agent.waitUntil(
      'kernel to stop',
      async () => (await heldBy(agent, DEVICE, 'CONTROL')) === '0x00000000',
      60_000,
    );
    clear();
    await goOn();
    const stops = (await auditOf(agent)).filter(({ event }) => event === 'EMERGENCY_STOP');
    expect(stops.length).toBeGreaterThan(0);
    await chainIsWhole();
    nothingIsLost();
  });
});
