// The emergency stop from every door: receipts of all tracks, safe values on the metal, no write until two people reset it.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EventNotification } from '#contract/generated/dsmil/communication/v1/communication';
import type { StopReportJson } from '#contract/json-answer';
import { EventType } from '#model/event';
import { NODE, REPOSITORY } from '../support/agent.ts';
import { GrpcPerson, grpcRefusal } from './support/grpc-person.ts';
import { Prober } from './support/prober.ts';
import {
  activateAgain,
  JUSTIFICATION,
  operateAtAnyRisk,
  RestPerson,
} from './support/rest-person.ts';
import { type DeviceWithRegisters, eventually, pause, Scene } from './support/scene.ts';

let scene: Scene;
let grpc: GrpcPerson;
let events: readonly EventNotification[];
let devices: readonly DeviceWithRegisters[];

beforeAll(async () => {
  scene = await Scene.open();
  grpc = GrpcPerson.byCertificate(scene.agent.ready, 0);
  events = await grpc.subscribe();
  devices = (await scene.devices()).filter(({ quarantined }) => !quarantined);
});

afterAll(async () => {
  grpc?.close();
  await scene?.close();
});

interface SafeValue {
  readonly slug: string;
  readonly name: string;
  readonly safe: bigint;
}

function safeValues(): readonly SafeValue[] {
  return devices.flatMap(({ slug, registers }) =>
    registers.flatMap(({ name, safeValue }) =>
      safeValue === null ? [] : [{ slug, name, safe: BigInt(safeValue) }],
    ),
  );
}

/** Registers that are not at their safe values on the metal right now. */
async function unsafeNow(): Promise<readonly string[]> {
  const found: string[] = [];
  for (const { slug, name, safe } of safeValues()) {
    const value = BigInt((await scene.metal.get(slug, name)).hex);
    if (value !== safe) found.push(`${slug}.${name} holds ${value}, safe is ${safe}`);
  }
  return found;
}

/** The same, once the simulator has had time to look at its memory and its files. */
async function unsafe(): Promise<readonly string[]> {
  const untilMs = performance.now() + 10_000;
  for (;;) {
    const found = await unsafeNow();
    if (found.length === 0 || performance.now() > untilMs) return found;
    await pause(20);
  }
}

/** One device of each bus, on two of them two. */
const DISTURBED = ['0x8059', '0x8061', '0x8065', '0x8051', '0x8000'] as const;

/** Puts at least one device of each bus away from its safe values. */
async function disturb(): Promise<void> {
  await activateAgain(scene.first, scene.second, DISTURBED);
  const writes = [
    { device: '0x8059', registers: [{ name: 'duty', value: 100 }] },
    { device: '0x8061', registers: [{ name: 'setpoint', value: 300 }] },
    { device: '0x8065', registers: [{ name: 'setpoint', value: 300 }] },
    { device: '0x8051', registers: [{ name: 'CONTROL', value: 1 }] },
    { device: '0x8000', registers: [{ name: 'CONTROL', value: 1 }] },
  ];
  const done = await operateAtAnyRisk(scene.first, scene.second, {
    operation: 'WRITE',
    targets: writes,
  });
  expect([done.problem?.detail, done.receipt?.effect]).toEqual([undefined, 'committed']);
  // The simulator looks at its memory and its files a moment later.
  await eventually('devices away from their safe values', async () =>
    (await unsafeNow()).length >= DISTURBED.length ? true : undefined,
  );
}

async function expectStopped(): Promise<void> {
  expect(await unsafe()).toEqual([]);
  await scene.metal.forget();
  for (const { token } of devices.filter((_, index) => index % 7 === 0)) {
    const read = await scene.first.read(token);
    expect([token, read.code]).toEqual([token, '']);
  }
  for (const device of ['0x8000', '0x8059', '0x8051', '0x8061', '0x8065']) {
    const write = await scene.first.operate({
      operation: 'WRITE',
      device,
      registers: [{ name: 'CONFIG', value: 1 }],
      justification: JUSTIFICATION,
      confirmedRisk: 'CRITICAL',
    });
    expect([device, write.status, write.code]).toEqual([device, 503, 'EMERGENCY_STOPPED']);
    expect(write.receipt?.state).toBe('EMERGENCY_STOPPED');
  }
  expect(await scene.writes()).toBe(0);
  const status = await scene.second.get('system/status');
  expect(status).toMatchObject({ state: 'EMERGENCY_STOPPED', stopEngaged: true });
}

async function reset(): Promise<void> {
  const reason = 'the cause was looked at and is gone';
  const one = await scene.first.call('POST', 'emergency-stop/reset', { reason });
  expect([one.status, one.json.released]).toEqual([200, false]);
  const same = await scene.first.call('POST', 'emergency-stop/reset', { reason });
  expect([same.status, same.json.released]).toEqual([200, false]);
  expect((await scene.first.get('system/status')).stopEngaged).toBe(true);
  await scene.metal.forget();
  const two = await scene.second.call('POST', 'emergency-stop/reset', { reason });
  expect([two.status, two.json.released]).toEqual([200, true]);
  await eventually('the stop to be released', async () =>
    (await scene.first.get('system/status')).stopEngaged === false ? true : undefined,
  );
  // Nothing restarts by itself.
  await pause(300);
  expect(await scene.writes()).toBe(0);
  expect(await unsafe()).toEqual([]);
}

function expectReport(report: StopReportJson): void {
  expect(report).toMatchObject({ success: true, scope: 'whole system' });
  expect(report.tracks.map(({ track, ok }) => [track, ok])).toEqual([
    ['kernel', true],
    ['security', true],
    ['interface', true],
  ]);
  expect(report.tracks[0]?.safe).toHaveLength(79);
  expect(report.tracks[0]?.unsafe).toEqual([]);
}

function dsmil(
  ...words: readonly string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const environment = { ...process.env, DSMIL_SOCKET: scene.agent.ready.socket };
    const script = join(REPOSITORY, 'src/bin/dsmil.ts');
    execFile(NODE, [script, ...words], { env: environment }, (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    );
  });
}

describe('a stop of the whole system', () => {
  beforeEach(disturb);

  it('through REST has a receipt of each track, makes every device safe, and is undone by two people', async () => {
    const since = await scene.auditSequence();
    const answer = await scene.first.call('POST', 'emergency-stop', {
      reason: 'smoke in the rack',
    });
    expect(answer.status).toBe(200);
    expectReport(answer.json);
    await expectStopped();
    const [cause] = (await scene.first.get('system/status')).stopCauses;
    expect(cause).toMatchObject({ reason: 'smoke in the rack', triggeredBy: 'demo-operator' });
    const entry = (await scene.auditSince(since)).find(({ event }) => event === 'EMERGENCY_STOP');
    expect(entry).toMatchObject({ actor: 'demo-operator', reason: 'smoke in the rack' });
    await eventually('the event of the stop', () =>
      events.find(
        ({ eventType, eventData }) =>
          eventType === EventType.EMERGENCY_STOP && eventData.reason === 'smoke in the rack',
      ),
    );
    await reset();
    const resets = (await scene.auditSince(since)).filter(
      ({ event }) => event === 'EMERGENCY_RESET',
    );
    expect(resets.map(({ actor }) => actor)).toEqual([
      'demo-operator',
      'demo-operator',
      'demo-supervisor',
    ]);
  });

  it('through gRPC does the same', async () => {
    const answer = await grpc.stop({ reason: 'a panel asked', priority: 4 });
    expect(answer).toMatchObject({ success: true, scope: 'whole system', unsafeDevices: [] });
    expect(answer.trackResults.map(({ track, success }) => [track, success])).toEqual([
      [1, true],
      [2, true],
      [3, true],
    ]);
    expect(answer.safeDevices).toHaveLength(79);
    await expectStopped();
    await reset();
  });

  it('through `dsmil stop` does the same', async () => {
    const { code, stdout, stderr } = await dsmil(
      '-o',
      'json',
      'stop',
      '--reason',
      'at the console',
    );
    expect([code, stderr]).toEqual([0, expect.stringContaining('whole system')]);
    expectReport(JSON.parse(stdout) as StopReportJson);
    await expectStopped();
    const [cause] = (await scene.first.get('system/status')).stopCauses;
    expect(cause).toMatchObject({ reason: 'at the console', triggeredBy: 'technician' });
    await reset();
  });

  it('is asked for by a session that was locked for touching quarantine', async () => {
    const prober = await Prober.open(scene.agent.ready);
    const locked = prober.rest();
    expect((await locked.read('0x8009')).code).toBe('DEVICE_QUARANTINED');
    await prober.locked();
    expect((await locked.read('0x8000')).code).toBe('ACCOUNT_LOCKED');
    const answer = await locked.call('POST', 'emergency-stop', { reason: 'locked, but it burns' });
    locked.close();
    prober.close();
    expect(answer.status).toBe(200);
    expectReport(answer.json);
    await expectStopped();
    await reset();
  });
});

it('a stop without an identity is refused at the network doors', async () => {
  const nobody = new RestPerson(scene.agent.ready, 'nobody');
  const { status, json } = await nobody.call('POST', 'emergency-stop', { reason: 'nobody' });
  nobody.close();
  expect([status, json.code]).toEqual([401, 'NOT_AUTHENTICATED']);
  const stranger = new GrpcPerson(scene.agent.ready, { by: 'nothing' });
  expect(await grpcRefusal(stranger.stop({ reason: 'nobody' }))).toMatchObject({ status: 16 });
  stranger.close();
  expect((await scene.first.get('system/status')).stopEngaged).toBe(false);
});

it('a reset without a stop and a reset by the technician are refused', async () => {
  const reason = 'nothing was stopped at all';
  const idle = await scene.first.call('POST', 'emergency-stop/reset', { reason });
  expect([idle.status, idle.json.code]).toEqual([409, 'RESET_REFUSED']);
  const technician = new RestPerson(scene.agent.ready, 'technician');
  const low = await technician.call('POST', 'emergency-stop/reset', { reason });
  technician.close();
  expect([low.status, low.json.code]).toEqual([403, 'CLEARANCE_TOO_LOW']);
});

it('a stop of one device leaves its neighbours working', async () => {
  await activateAgain(scene.first, scene.second, ['0x8061', '0x8063', '0x8065']);
  const stopped = await scene.first.call('POST', 'emergency-stop', {
    reason: 'only this unit',
    devices: ['0x8061'],
  });
  expect([stopped.status, stopped.json.success]).toEqual([200, true]);
  const write = (device: string) =>
    operateAtAnyRisk(scene.first, scene.second, {
      operation: 'WRITE',
      device,
      registers: [{ name: 'setpoint', value: 111 }],
    });
  const held = await write('0x8061');
  expect([held.status, held.code]).toEqual([503, 'EMERGENCY_STOPPED']);
  expect((await write('0x8063')).receipt?.effect).toBe('committed');
  expect((await write('0x8065')).receipt?.effect).toBe('committed');
  const reason = 'the one unit was looked at';
  await scene.first.call('POST', 'emergency-stop/reset', { reason });
  const released = await scene.second.call('POST', 'emergency-stop/reset', { reason });
  expect([released.status, released.json.released]).toEqual([200, true]);
  const early = await write('0x8061');
  expect(early.code).toBe('DEVICE_DEACTIVATED');
  await activateAgain(scene.first, scene.second, ['0x8061']);
  expect((await write('0x8061')).receipt?.effect).toBe('committed');
});

it('a stop of a group makes its devices safe, leaves quarantine alone and everything else working', async () => {
  await activateAgain(scene.first, scene.second, ['0x8000', '0x8003', '0x8059']);
  for (const device of ['0x8000', '0x8003']) {
    const registers = [{ name: 'CONTROL', value: 1 }];
    const on = await operateAtAnyRisk(scene.first, scene.second, {
      operation: 'WRITE',
      device,
      registers,
    });
    expect([device, on.receipt?.effect]).toEqual([device, 'committed']);
  }
  await scene.metal.forget();
  const stopped = await scene.first.call('POST', 'emergency-stop', {
    reason: 'only the first group',
    groups: [0],
  });
  expect([stopped.status, stopped.json.success]).toEqual([200, true]);
  expect(stopped.json.scope).toMatch(
    /^group 0 \(.+\): 9 devices; 3 quarantined devices are never driven$/,
  );
  expect(stopped.json.tracks[0]?.safe).toHaveLength(9);
  expect(await scene.held('0x8000', 'CONTROL', 0n)).toBe(0n);
  expect(await scene.held('0x8003', 'CONTROL', 0n)).toBe(0n);
  expect((await scene.metal.canaries()).touched).toEqual([]);
  const status = await scene.first.get('system/status');
  expect(status.stopEngaged).toBe(false);
  const write = (device: string, name: string) =>
    operateAtAnyRisk(scene.first, scene.second, {
      operation: 'WRITE',
      device,
      registers: [{ name, value: 5 }],
    });
  expect((await write('0x8003', 'DATA')).code).toBe('EMERGENCY_STOPPED');
  expect((await write('0x8059', 'duty')).receipt?.effect).toBe('committed');
  const reason = 'the group was looked at';
  await scene.first.call('POST', 'emergency-stop/reset', { reason });
  const released = await scene.second.call('POST', 'emergency-stop/reset', { reason });
  expect([released.status, released.json.released]).toEqual([200, true]);
});

it('a reset is refused while a device does not take its safe value, names it, and goes on once it does', async () => {
  await activateAgain(scene.first, scene.second, ['0x8061']);
  const on = await operateAtAnyRisk(scene.first, scene.second, {
    operation: 'WRITE',
    device: '0x8061',
    registers: [{ name: 'setpoint', value: 222 }],
  });
  expect(on.receipt?.effect).toBe('committed');
  await scene.metal.fault({ device: '0x8061', kind: 'silent' });
  const stopped = await scene.first.call('POST', 'emergency-stop', { reason: 'one is deaf' });
  expect([stopped.status, stopped.json.success]).toEqual([200, false]);
  const unsafeDevices = stopped.json.tracks[0]?.unsafe as readonly { readonly finding: string }[];
  expect(unsafeDevices).toHaveLength(1);
  expect(unsafeDevices[0]?.finding).toMatch(/^simulation-engine\./);
  const reason = 'everybody else is safe';
  await scene.first.call('POST', 'emergency-stop/reset', { reason });
  const refused = await scene.second.call('POST', 'emergency-stop/reset', { reason });
  expect([refused.status, refused.json.code]).toEqual([409, 'RESET_REFUSED']);
  expect(refused.json.detail).toContain('not at their safe values: simulation-engine.');
  expect((await scene.first.get('system/status')).stopEngaged).toBe(true);
  await scene.metal.clear();
  const released = await scene.second.call('POST', 'emergency-stop/reset', { reason });
  expect([released.status, released.json.released]).toEqual([200, true]);
  expect(await unsafe()).toEqual([]);
});

it('a stop in the middle of a slow write on a serial line ends it: after the safe values nothing more is written', async () => {
  const names = ['CONFIG', 'DATA', 'DEBUG', 'response_delay', 'setpoint'];
  await activateAgain(scene.first, scene.second, ['0x8061']);
  const slow = new RestPerson(scene.agent.ready, 1);
  await scene.metal.fault({ bus: 'serial-0', kind: 'late', ms: 80 });
  await scene.metal.forget();
  const running = slow.operate({
    operation: 'WRITE',
    device: '0x8061',
    registers: names.map((name, index) => ({ name, value: 7 + index })),
    justification: JUSTIFICATION,
    confirmedRisk: 'CRITICAL',
    operationId: 'slow-write',
  });
  await eventually('the first of the five writes', async () =>
    (await scene.metal.log('simulation-engine')).length > 0 ? true : undefined,
  );
  const stopped = await scene.first.call('POST', 'emergency-stop', { reason: 'in the middle' });
  const ended = await running;
  slow.close();
  expect(ended.code).toBe('STOPPED_MIDWAY');
  expect(ended.receipt).toMatchObject({ state: 'EMERGENCY_STOPPED', effect: 'stopped' });
  expect(ended.receipt?.tracks.find(({ track }) => track === 'kernel')).toBeDefined();
  expect(stopped.json.tracks).toHaveLength(3);
  await scene.metal.clear();
  await pause(500);
  const log = await scene.metal.log('simulation-engine', 1000);
  const made = names.filter((name, index) => log[index]?.register === name);
  expect(made.length).toBeGreaterThanOrEqual(1);
  expect(made.length).toBeLessThan(names.length);
  // What follows the writes before the stop are safe values and nothing else.
  const safe = safeValues().filter(({ slug }) => slug === 'simulation-engine');
  const after = log.slice(made.length).map(({ register, value }) => [register, BigInt(value)]);
  const allowed = safe.map(({ name, safe: value }) => [name, value]);
  expect(after.length).toBeGreaterThanOrEqual(allowed.length);
  for (const write of after) expect(allowed).toContainEqual(write);
  expect(await unsafe()).toEqual([]);
  const entries = await scene.auditSince(0);
  const entry = entries.find(({ operationId }) => operationId === 'slow-write');
  expect(entry?.result).toContain('stopped: ');
  await reset();
});

it('after all stops no process was restarted and the chain is whole', async () => {
  expect(scene.undisturbed).toBe(true);
  expect((await scene.first.get('audit/verify')).intact).toBe(true);
  expect((await scene.metal.canaries()).touched).toEqual([]);
});
