// The `dsmil` command as a person runs it: a real process on a real local socket, its output and its exit codes.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { peerCredentials } from '#drivers/native/host';
import { systemClock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { SharedStopLatch } from '#link/stop-latch';
import { LocalServer } from '#tracks/interface/local/local-server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { InterfaceService } from '#tracks/interface/service';
import { ScriptedOrchestrator } from '../../support/scripted-orchestrator.ts';
import { smallBoard } from '../../support/small-board.ts';

const SCRIPT = new URL('../../../src/bin/dsmil.ts', import.meta.url).pathname;

let directory: string;
let orchestrator: ScriptedOrchestrator;
let service: InterfaceService;
let app: RestApp;
let server: LocalServer;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-cli-'));
  orchestrator = new ScriptedOrchestrator();
  service = new InterfaceService({ orchestrator, board: smallBoard(), clock: systemClock });
  app = await RestApp.start(service);
  server = new LocalServer(app, join(directory, 'agent.sock'), peerCredentials);
  const listening = await server.listen();
  if (!listening.ok) throw new Error(listening.fault.finding);
});

afterEach(async () => {
  await server.close();
  await app.close();
  service.close();
  rmSync(directory, { recursive: true });
});

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function dsmil(...args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const env = { ...process.env, DSMIL_SOCKET: join(directory, 'agent.sock') };
    const child = spawn(process.execPath, [SCRIPT, ...args], { env });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (part: Buffer) => {
      stdout += part;
    });
    child.stderr.on('data', (part: Buffer) => {
      stderr += part;
    });
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

it('writes a register of a device named by its name and prints the receipt', async () => {
  const ran = await dsmil(
    'device',
    'write',
    'boot-security',
    'DATA=0xFFFFFFFFFFFFFFFE',
    '--reason',
    'routine calibration',
  );
  expect(ran.code).toBe(0);
  expect(ran.stdout).toMatch(
    /^device +register +value +before +fault\n0x8001 +DATA +0xFFFFFFFFFFFFFFFE +0x0\n$/,
  );
  expect(ran.stderr).toContain('effect committed');
  expect(orchestrator.intents[0]).toMatchObject({ justification: 'routine calibration' });
  const read = await dsmil('-o', 'json', 'device', 'read', '0x8001', 'DATA');
  expect(JSON.parse(read.stdout).readings[0].value).toBe('0xFFFFFFFFFFFFFFFE');
});

it('shows what a dry run would change, its transactions and risks, and passes on the confirmed risk', async () => {
  const ran = await dsmil('device', 'write', '0', 'CONTROL=1', '--dry-run', '--confirm', 'LOW');
  expect(ran.stdout.split('\n')).toEqual([
    'device  register  now  then  way back',
    '0x8000  CONTROL   0x0  0x1   write CONTROL 0x00000000',
    '',
    'register transaction',
    'write tpm-control.CONTROL 0x00000001',
    '',
    'risk  says      because',
    'LOW   kernel    base risk SAFE',
    '                WRITE +2',
    'SAFE  security',
    'LOW   together',
    '',
  ]);
  expect(ran.stderr).toContain('takes at most 13 ms\nnothing was written');
  expect(orchestrator.intents[0]).toMatchObject({ dryRun: true, confirmedRisk: 2 });
});

it('lists devices and status, approvals, and checks the chain', async () => {
  const list = await dsmil('device', 'list');
  expect(list.stdout).toMatch(/0x8009 +9 +emergency-wipe +memory +LOW +UNKNOWN +QUARANTINED/);
  expect(list.stderr).toContain('stale');
  expect((await dsmil('status')).stdout).toMatch(/^state +READY$/m);
  const approvals = (await dsmil('approvals')).stdout;
  expect(approvals).toContain('ab'.repeat(32));
  expect(approvals).toMatch(/^risk +HIGH$/m);
  expect(approvals).toMatch(/^reason +routine calibration$/m);
  expect((await dsmil('approve', 'AB'.repeat(32))).code).toBe(0);
  expect((await dsmil('audit', 'verify')).stdout).toContain('intact');
  expect((await dsmil('reset', '--reason', 'the leak is closed')).code).toBe(5);
});

it.each([
  ['by token', '0x8009'],
  ['by linear id', '9'],
  ['by name', 'emergency-wipe'],
])('refuses a quarantined device %s by itself and sends no operation', async (_how, device) => {
  const ran = await dsmil('device', 'read', device);
  expect(ran.code).toBe(3);
  expect(ran.stderr).toContain('the command line sent nothing');
  expect(orchestrator.intents).toEqual([]);
  expect(orchestrator.refusals).toEqual([]);
});

it.each([
  ['a gap token', ['device', 'read', '0x800C'], 2, 'DEVICE_ID_INVALID'],
  ['an id out of range', ['device', 'read', '84'], 2, 'DEVICE_ID_INVALID'],
  ['a name with a slip', ['device', 'read', 'boot-securty'], 1, 'did you mean boot-security?'],
  ['an unknown register', ['device', 'read', '0', 'NOPE'], 1, 'REGISTER_UNKNOWN'],
  ['a value that is none', ['device', 'write', '0', 'DATA=five'], 2, 'REGISTER=VALUE'],
  ['a write of nothing', ['device', 'write', '0'], 2, 'missing required argument'],
  ['a stop without a reason', ['stop'], 2, '--reason'],
  ['an unknown verb', ['format'], 2, 'unknown command'],
  [
    'another person without rights',
    ['--token', 'token-bob', 'audit', 'list'],
    3,
    'CLEARANCE_TOO_LOW',
  ],
  ['a token nobody has', ['--token', 'wrong', 'status'], 3, 'NOT_AUTHENTICATED'],
])('ends with the exit code for %s', async (_what, args, code, text) => {
  const ran = await dsmil(...args);
  expect(ran.stderr).toContain(text);
  expect(ran.code).toBe(code);
  expect(ran.stdout).toBe('');
});

it('says that the agent cannot be reached, with its own exit code', async () => {
  const ran = await dsmil('--socket', join(directory, 'nothing.sock'), 'status');
  expect(ran.code).toBe(7);
  expect(ran.stderr).toContain('ENOENT');
});

it('selects, operates and releases, and says how to go on', async () => {
  const reason = ['--reason', 'routine calibration'];
  const ran = await dsmil('device', 'select', '0', 'write', 'DATA=5', '--seconds', '60', ...reason);
  expect(ran.code).toBe(0);
  const { operationId: id = '' } = orchestrator.intents[0] ?? {};
  expect(orchestrator.intents[0]).toMatchObject({ selectForSeconds: 60, type: 2 });
  expect(ran.stderr).toContain(`dsmil operation operate ${id}`);
  const done = await dsmil('operation', 'operate', id, '--confirm', 'LOW');
  expect(done.stdout).toMatch(/0x8000 +DATA +0x5/);
  const again = await dsmil('operation', 'release', id);
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('SELECTION_UNKNOWN')]);
});

it('looks up what became of operations, and stops a device by its name', async () => {
  const wrote = await dsmil(
    'device',
    'write',
    'boot-security',
    'DATA=1',
    '--reason',
    'to look it up',
  );
  const id = /operation ([0-9a-f-]{36}):/.exec(wrote.stderr)?.[1] ?? '';
  const list = await dsmil('operation', 'list');
  expect(list.stdout).toMatch(new RegExp(`^${id} +WRITE +COMPLETED`, 'm'));
  const shown = await dsmil('operation', 'show', id);
  expect([shown.code, shown.stderr]).toEqual([0, expect.stringContaining(id)]);
  const near = await dsmil('stop', '--device', 'boot-securty', '--reason', 'a test');
  expect([near.code, near.stderr]).toEqual([
    1,
    expect.stringContaining('did you mean boot-security?'),
  ]);
  expect(near.stderr).toContain('nothing was stopped');
  expect(orchestrator.stops).toEqual([]);
  expect((await dsmil('stop', '--device', 'boot-security', '--reason', 'a test')).code).toBe(0);
  expect(orchestrator.stops).toMatchObject([{ devices: [1], groups: [] }]);
});

it('shows the past of a device, holds it, releases it and compares the tracks', async () => {
  const past = await dsmil('device', 'history', '0', '--limit', '2');
  expect(past.stdout.split('\n')).toHaveLength(4);
  expect(past.stdout).toMatch(/power +OFF +ON$/m);
  const reason = ['--reason', 'strange readings'];
  const held = await dsmil('device', 'quarantine', '1', ...reason);
  expect(held.stdout).toMatch(/0x8001 +quarantined +2023-11-14 22:13:20Z +strange readings/);
  const status = await dsmil('status');
  expect(status.stdout).toMatch(/^held quarantined +0x8001: strange readings$/m);
  expect((await dsmil('device', 'release', 'boot-security', ...reason)).stdout).toContain('yes');
  expect((await dsmil('sync', '0')).stdout).toMatch(/^0x8000 +tpm-control /m);
  expect(orchestrator.synchronized).toEqual([[0]]);
});

it('shows conflicts and settles one, taking no answer that it does not know', async () => {
  const listed = await dsmil('conflicts');
  expect(listed.stdout).toMatch(/^7 .*OPEN/m);
  const wrong = await dsmil('conflict', 'resolve', '7', 'ignore', '--reason', 'known work');
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('QUARANTINE, STOP')]);
  const settled = await dsmil('conflict', 'resolve', '7', 'accept', '--reason', 'known work');
  expect(settled.stdout).toMatch(/^7 .*ACCEPT/m);
  expect((await dsmil('acknowledge')).stdout).toMatch(/^3 +/m);
});

it('stops groups and devices, and never the whole system for them', async () => {
  const ran = await dsmil('stop', '--group', '1', '--device', '0', '--reason', 'smoke');
  expect(ran.code).toBe(0);
  expect(orchestrator.stops[0]).toMatchObject({ groups: [1], devices: [0] });
  const none = await dsmil('stop', '--group', '7', '--reason', 'smoke');
  expect(none.code).toBe(2);
});

it('stops through the agent, and without it engages the latch that kernel reads', async () => {
  const stopped = await dsmil('stop', '--reason', 'smoke');
  expect(stopped.code).toBe(0);
  expect(orchestrator.stops[0]?.reason).toBe('smoke');

  mkdirSync(join(directory, 'stop'));
  const kernel = new SharedStopLatch({ directory: join(directory, 'stop'), self: 'kernel' });
  kernel.latch();
  kernel.release();
  expect(kernel.engaged()).toBe(false);
  await server.close();
  const alone = await dsmil('stop', '--reason', 'smoke');
  expect(alone.stderr).toContain('the stop latch is engaged');
  expect(alone.code).toBe(6);
  expect(kernel.engaged()).toBe(true);
  kernel.close();
});

it('engages the latch as well when the agent answers but cannot stop', async () => {
  orchestrator.broken = fault('TRACK_UNAVAILABLE', {
    place: 'security',
    finding: 'does not answer',
  });
  mkdirSync(join(directory, 'stop'));
  const kernel = new SharedStopLatch({ directory: join(directory, 'stop'), self: 'kernel' });
  kernel.latch();
  kernel.release();
  const ran = await dsmil('stop', '--reason', 'smoke');
  expect(ran.code).toBe(6);
  expect(kernel.engaged()).toBe(true);
  kernel.close();
});

it('explains a fault code and suggests the near one', async () => {
  const ran = await dsmil('explain', 'device_quarantined');
  expect(ran.stdout).toMatch(/^HTTP status +403$/m);
  const near = await dsmil('explain', 'DEVICE_QUARANTINE');
  expect([near.code, near.stderr]).toEqual([
    2,
    expect.stringContaining('did you mean DEVICE_QUARANTINED?'),
  ]);
});

it('checks a board file and names each problem with its line and column', async () => {
  const file = join(directory, 'board.yaml');
  writeFileSync(file, 'name: x\nbuses:\n  - {id: [}\n');
  const bad = await dsmil('board', 'check', file);
  expect(bad.code).toBe(1);
  expect(bad.stderr).toMatch(/board\.yaml:3:\d+: /);
  const fixtures = new URL('../../fixtures/boards/', import.meta.url).pathname;
  const good = await dsmil(
    'board',
    'check',
    `${fixtures}good.yaml`,
    '--variable',
    'ROOT=/tmp',
    '--profiles',
    `${fixtures}profiles`,
  );
  expect(good.stderr).toContain('no problems');
  expect(good.code).toBe(0);
});
