// The five quarantined devices: every operation through every door is refused, recorded and told, and the metal never sees it.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import WebSocket from 'ws';
import type { EventNotification } from '#contract/generated/dsmil/communication/v1/communication';
import { EventType, Severity } from '#model/event';
import { CoordinationResult, OperationType } from '#model/operation';
import { NODE, REPOSITORY } from '../support/agent.ts';
import { GrpcPerson, grpcRefusal } from './support/grpc-person.ts';
import { Prober } from './support/prober.ts';
import { JUSTIFICATION, RestPerson } from './support/rest-person.ts';
import { eventually, Scene } from './support/scene.ts';

const TOKENS = [0x8009, 0x800a, 0x800b, 0x8019, 0x8029] as const;
const LINEAR = [9, 10, 11, 21, 33] as const;
const TYPES = ['READ', 'WRITE', 'CONFIG', 'RESET', 'ACTIVATE', 'DEACTIVATE'] as const;
const ATTEMPTS = TOKENS.flatMap((token) => TYPES.map((type) => [type, token] as const));

let scene: Scene;
let prober: Prober;
let listener: GrpcPerson;
let events: readonly EventNotification[];

beforeAll(async () => {
  scene = await Scene.open();
  prober = await Prober.open(scene.agent.ready);
  listener = GrpcPerson.byCertificate(scene.agent.ready, 1);
  events = await listener.subscribe({ eventTypes: [EventType.SECURITY_ALERT] });
});

afterAll(async () => {
  listener?.close();
  prober?.close();
  await scene?.close();
});

const registers = (type: string) =>
  type === 'WRITE' || type === 'CONFIG' ? [{ name: 'CONFIG', value: 1 }] : [];

/** What follows every attempt: an audit entry, an alert, a locked person, and nothing on the metal. */
async function expectRecorded(
  since: number,
  alerts: number,
  transport: string,
  who = prober.id,
): Promise<void> {
  const probe = await eventually('the audit entry of the attempt', async () =>
    (await scene.auditSince(since)).find(({ event }) => event === 'QUARANTINE_PROBE'),
  );
  expect([probe.origin?.transport, probe.actor]).toEqual([transport, who]);
  const alert = await eventually('the alert', () =>
    events.slice(alerts).find(({ eventData }) => eventData.reason === 'quarantine probe'),
  );
  expect(alert).toMatchObject({ severity: Severity.CRITICAL, eventData: { actor: who } });
  expect(await prober.locked(who)).toMatch(
    /^incident \d+ \(CRITICAL\): tried a quarantined device/,
  );
  expect((await scene.metal.canaries()).touched).toEqual([]);
}

it.each(ATTEMPTS)('REST refuses %s of %i, and locks the person', async (operation, device) => {
  const since = await scene.auditSequence();
  const before = events.length;
  const intruder = prober.rest();
  const answer = await intruder.operate({
    operation,
    device,
    registers: registers(operation),
    justification: JUSTIFICATION,
    confirmedRisk: 'QUARANTINED',
  });
  expect([answer.status, answer.code]).toEqual([403, 'DEVICE_QUARANTINED']);
  expect(answer.receipt).toMatchObject({ result: 'DENIED', effect: 'none', readings: [] });
  const locked = await intruder.read('0x8000');
  expect([locked.status, locked.code]).toEqual([423, 'ACCOUNT_LOCKED']);
  intruder.close();
  await expectRecorded(since, before, 'rest');
  const again = prober.rest();
  expect((await again.read('0x8000')).code).toBe('ACCOUNT_LOCKED');
  again.close();
  await prober.unlock();
});

it.each(ATTEMPTS)('gRPC refuses %s of %i, and locks the person', async (operation, token) => {
  const since = await scene.auditSequence();
  const before = events.length;
  const intruder = prober.grpc();
  const answer = await intruder.coordinate({
    deviceId: operation === 'READ' ? (LINEAR[TOKENS.indexOf(token)] ?? 0) : token,
    operationType: OperationType[operation],
    registers: registers(operation).map(({ name, value }) => ({ name, value: BigInt(value) })),
    justification: JUSTIFICATION,
    confirmedRisk: 6,
  });
  expect([answer.result, answer.faultCode]).toEqual([
    CoordinationResult.DENIED,
    'DEVICE_QUARANTINED',
  ]);
  const locked = await grpcRefusal(intruder.coordinate({ deviceId: 0, operationType: 1 }));
  expect(locked).toMatchObject({ status: 7, code: 'ACCOUNT_LOCKED' });
  intruder.close();
  await expectRecorded(since, before, 'grpc');
  const again = prober.grpc();
  const refused = await grpcRefusal(again.coordinate({ deviceId: 0, operationType: 1 }));
  expect(refused).toMatchObject({ status: 7, code: 'ACCOUNT_LOCKED' });
  again.close();
  await prober.unlock();
});

it.each(ATTEMPTS)(
  'the local socket refuses %s of %i, and locks the person',
  async (operation, device) => {
    const since = await scene.auditSequence();
    const before = events.length;
    const intruder = new RestPerson(scene.agent.ready, 'technician');
    const answer = await intruder.operate({ operation, device, registers: registers(operation) });
    expect([answer.status, answer.code]).toEqual([403, 'DEVICE_QUARANTINED']);
    expect((await intruder.read('0x8000')).code).toBe('ACCOUNT_LOCKED');
    intruder.close();
    await expectRecorded(since, before, 'local', 'technician');
    const again = new RestPerson(scene.agent.ready, 'technician');
    expect((await again.read('0x8000')).code).toBe('ACCOUNT_LOCKED');
    again.close();
    await prober.unlock('technician');
  },
);

it('a transaction in which one of many devices is quarantined touches none of them', async () => {
  await scene.metal.forget();
  const intruder = prober.rest();
  const { status, code } = await intruder.operate({
    operation: 'WRITE',
    targets: [
      { device: '0x8000', registers: [{ name: 'CONFIG', value: 1 }] },
      { device: '0x8029', registers: [{ name: 'CONFIG', value: 1 }] },
    ],
    justification: JUSTIFICATION,
    confirmedRisk: 'CRITICAL',
  });
  intruder.close();
  expect([status, code]).toEqual([403, 'DEVICE_QUARANTINED']);
  expect(await scene.writes()).toBe(0);
  await prober.unlock();
});

it.each<[string, string, unknown]>([
  ['POST', 'operations', { operation: 'READ', device: '0x8009', dryRun: true }],
  ['GET', 'devices/0x800A/registers', undefined],
  ['POST', 'emergency-stop', { reason: 'only this one', devices: ['0x800B'] }],
])('%s %s of such a device alone is refused too', async (method, path, body) => {
  const intruder = prober.rest();
  const { status, json } = await intruder.call(method, path, body);
  intruder.close();
  expect([path, status, json.code]).toEqual([path, 403, 'DEVICE_QUARANTINED']);
  expect((await scene.first.get('system/status')).stopEngaged).toBe(false);
  await prober.unlock();
});

it('their state is shown from the registry: quarantined, without a single reading', async () => {
  const { devices } = await scene.first.get('devices');
  const shown = devices.filter((device: { quarantined: boolean }) => device.quarantined);
  expect(shown.map(({ id }: { id: number }) => id)).toEqual([...LINEAR]);
  for (const device of shown) {
    expect(device).toMatchObject({ status: 'QUARANTINED', readings: [] });
  }
});

it.each(['read', 'write'])('`dsmil device %s` refuses by itself', async (verb) => {
  const words = verb === 'read' ? ['0x8009'] : ['0x8009', 'CONFIG=1'];
  const { code, stderr } = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
    const env = { ...process.env, DSMIL_SOCKET: scene.agent.ready.socket };
    const script = join(REPOSITORY, 'src/bin/dsmil.ts');
    execFile(NODE, [script, 'device', verb, ...words], { env }, (error, _stdout, text) =>
      resolve({ code: error?.code, stderr: text }),
    );
  });
  expect(code).toBe(3);
  expect(stderr).toContain('DEVICE_QUARANTINED');
});

/** What a WebSocket says to the prober's token before it hangs up, and the code of the close frame. */
async function welcome(): Promise<{ readonly codes: readonly string[]; readonly closed: number }> {
  const { websocket, ca } = scene.agent.ready;
  const headers = { authorization: `Bearer ${prober.token}` };
  const socket = new WebSocket(websocket, { ca: readFileSync(ca), headers });
  const codes: string[] = [];
  socket.on('message', (data) => {
    const { type, error } = JSON.parse(String(data));
    codes.push(error?.code ?? type);
  });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('close', (closed) => resolve({ codes, closed }));
  });
}

it('a locked person gets in nowhere, is unlocked by no one administrator, and can still stop', async () => {
  const open = prober.rest();
  const channel = prober.grpc();
  expect((await open.read('0x8000')).status).toBe(200);
  expect((await channel.coordinate({ deviceId: 0, operationType: 1 })).faultCode).toBe('');
  const intruder = prober.rest();
  expect((await intruder.read('0x8009')).code).toBe('DEVICE_QUARANTINED');
  intruder.close();
  await prober.locked();

  // What was open before, and what comes anew.
  const late = prober.rest();
  for (const rest of [open, late]) {
    expect((await rest.read('0x8000')).code).toBe('ACCOUNT_LOCKED');
    expect((await rest.call('GET', 'auth/me')).json.code).toBe('ACCOUNT_LOCKED');
  }
  const lateChannel = prober.grpc();
  for (const grpc of [channel, lateChannel]) {
    const refused = await grpcRefusal(grpc.coordinate({ deviceId: 0, operationType: 1 }));
    expect(refused).toMatchObject({ status: 7, code: 'ACCOUNT_LOCKED' });
  }
  expect(await welcome()).toEqual({ codes: ['ACCOUNT_LOCKED'], closed: 1008 });

  const reason = 'one administrator alone wants it open';
  const alone = await scene.first.call('POST', `accounts/${prober.id}/unlock`, { reason });
  expect([alone.status, alone.json.done]).toEqual([200, false]);
  expect((await open.read('0x8000')).code).toBe('ACCOUNT_LOCKED');

  const one = { reason: 'locked, but this one burns', devices: ['0x8061'] };
  const stopped = await open.call('POST', 'emergency-stop', one);
  expect([stopped.status, stopped.json.success]).toEqual([200, true]);
  expect((await channel.stop({ reason: 'locked, but all of it burns' })).success).toBe(true);
  expect((await scene.first.get('system/status')).stopEngaged).toBe(true);
  await resetStop();
  const engaged = await late.call('POST', 'emergency-stop', { reason: 'it burns again' });
  expect(engaged.status).toBe(200);
  await eventually('the stop', async () =>
    (await scene.first.get('system/status')).stopEngaged ? true : undefined,
  );
  await resetStop();
  for (const person of [open, late, channel, lateChannel]) person.close();

  await prober.unlock();
  const welcomeBack = prober.rest();
  expect((await welcomeBack.read('0x8000')).status).toBe(200);
  welcomeBack.close();
});

async function resetStop(): Promise<void> {
  const reason = 'whoever was locked was wrong about it';
  // A stop that came by the latch alone may still be driving devices, and is reset for neither of them.
  await eventually('the reset', async () => {
    await scene.first.call('POST', 'emergency-stop/reset', { reason });
    const { json } = await scene.second.call('POST', 'emergency-stop/reset', { reason });
    return json.released === true ? true : undefined;
  });
}

it('after a hundred attempts the metal is as it was, the chain whole and every process the same', async () => {
  expect((await scene.metal.canaries()).touched).toEqual([]);
  expect((await scene.first.get('audit/verify')).intact).toBe(true);
  expect((await scene.first.read('0x8000')).status).toBe(200);
  expect(scene.undisturbed).toBe(true);
});
