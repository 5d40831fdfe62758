// The five quarantined devices: every operation through every door is refused, recorded and told, and the metal never sees it.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EventNotification } from '#contract/generated/dsmil/communication/v1/communication';
import { EventType, Severity } from '#model/event';
import { CoordinationResult, OperationType } from '#model/operation';
import { NODE, REPOSITORY } from '../support/agent.ts';
import { GrpcPerson, grpcRefusal } from './support/grpc-person.ts';
import { JUSTIFICATION, RestPerson } from './support/rest-person.ts';
import { eventually, Scene } from './support/scene.ts';

const TOKENS = [0x8009, 0x800a, 0x800b, 0x8019, 0x8029] as const;
const LINEAR = [9, 10, 11, 21, 33] as const;
const TYPES = ['READ', 'WRITE', 'CONFIG', 'RESET', 'ACTIVATE', 'DEACTIVATE'] as const;
const ATTEMPTS = TOKENS.flatMap((token) => TYPES.map((type) => [type, token] as const));

let scene: Scene;
let listener: GrpcPerson;
let events: readonly EventNotification[];

beforeAll(async () => {
  scene = await Scene.open();
  listener = GrpcPerson.byCertificate(scene.agent.ready, 1);
  events = await listener.subscribe({ eventTypes: [EventType.SECURITY_ALERT] });
});

afterAll(async () => {
  listener?.close();
  await scene?.close();
});

const registers = (type: string) =>
  type === 'WRITE' || type === 'CONFIG' ? [{ name: 'CONFIG', value: 1 }] : [];

/** What follows every attempt: an audit entry, an alert, and nothing on the metal. */
async function expectRecorded(since: number, alerts: number, transport: string): Promise<void> {
  const probe = await eventually('the audit entry of the attempt', async () =>
    (await scene.auditSince(since)).find(({ event }) => event === 'QUARANTINE_PROBE'),
  );
  expect(probe.origin?.transport).toBe(transport);
  const alert = await eventually('the alert', () => events[alerts]);
  expect(alert).toMatchObject({ severity: Severity.CRITICAL });
  expect((await scene.metal.canaries()).touched).toEqual([]);
}

it.each(ATTEMPTS)('REST refuses %s of %i, and locks the session', async (operation, device) => {
  const since = await scene.auditSequence();
  const before = events.length;
  // An address of its own for each device: limits on signing in are not what is tried here.
  const intruder = new RestPerson(scene.agent.ready, 0, 'token', `127.0.1.${device & 0x3f}`);
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
});

it.each(ATTEMPTS)('gRPC refuses %s of %i, and locks the session', async (operation, token) => {
  const since = await scene.auditSequence();
  const before = events.length;
  const intruder = GrpcPerson.byToken(scene.agent.ready, 0);
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
});

it.each(ATTEMPTS)(
  'the local socket refuses %s of %i, and locks the session',
  async (operation, device) => {
    const since = await scene.auditSequence();
    const before = events.length;
    const intruder = new RestPerson(scene.agent.ready, 'technician');
    const answer = await intruder.operate({ operation, device, registers: registers(operation) });
    expect([answer.status, answer.code]).toEqual([403, 'DEVICE_QUARANTINED']);
    expect((await intruder.read('0x8000')).code).toBe('ACCOUNT_LOCKED');
    intruder.close();
    await expectRecorded(since, before, 'local');
  },
);

it('a transaction in which one of many devices is quarantined touches none of them', async () => {
  await scene.metal.forget();
  const intruder = new RestPerson(scene.agent.ready, 1);
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
});

it('a dry run, a read through the path and a stop of such a device alone are refused too', async () => {
  const attempts: readonly (readonly [string, string, unknown])[] = [
    ['POST', 'operations', { operation: 'READ', device: '0x8009', dryRun: true }],
    ['GET', 'devices/0x800A/registers', undefined],
    ['POST', 'emergency-stop', { reason: 'only this one', devices: ['0x800B'] }],
  ];
  for (const [method, path, body] of attempts) {
    const intruder = new RestPerson(scene.agent.ready, 0, 'token', '127.0.2.1');
    const { status, json } = await intruder.call(method, path, body);
    intruder.close();
    expect([path, status, json.code]).toEqual([path, 403, 'DEVICE_QUARANTINED']);
  }
  expect((await scene.first.get('system/status')).stopEngaged).toBe(false);
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

it('after a hundred attempts the metal is as it was, the chain whole and every process the same', async () => {
  expect((await scene.metal.canaries()).touched).toEqual([]);
  expect((await scene.first.get('audit/verify')).intact).toBe(true);
  expect((await scene.first.read('0x8000')).status).toBe(200);
  expect(scene.undisturbed).toBe(true);
});
