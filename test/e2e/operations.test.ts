// Coordinated reads and writes from a network client to the metal and back, on each kind of bus, through REST and gRPC.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EventNotification } from '#contract/generated/dsmil/communication/v1/communication';
import { EventType } from '#model/event';
import { CoordinationResult, OperationType } from '#model/operation';
import { RiskLevel } from '#model/risk';
import { GrpcPerson } from './support/grpc-person.ts';
import { JUSTIFICATION, operateAtAnyRisk, RestPerson } from './support/rest-person.ts';
import {
  type DeviceWithRegisters,
  eventually,
  pause,
  type RegisterJson,
  Scene,
} from './support/scene.ts';

interface Sample {
  readonly bus: string;
  readonly device: string;
  readonly slug: string;
  readonly register: string;
  /** Two different values inside the limits. */
  readonly values: readonly [bigint, bigint];
}

const SAMPLES: readonly Sample[] = [
  {
    bus: 'memory',
    device: '0x8000',
    slug: 'tpm-control',
    register: 'CONFIG',
    values: [0xdeadbeefn, 0x5an],
  },
  {
    bus: 'sysfs',
    device: '0x8059',
    slug: 'fan-controller',
    register: 'duty',
    values: [200n, 128n],
  },
  {
    bus: 'i2c-0',
    device: '0x8051',
    slug: 'display-controller',
    register: 'CONFIG',
    values: [0x1234n, 0x4321n],
  },
  {
    bus: 'serial-0',
    device: '0x8061',
    slug: 'simulation-engine',
    register: 'setpoint',
    values: [300n, 250n],
  },
  {
    bus: 'serial-1',
    device: '0x8065',
    slug: 'exercise-controller',
    register: 'setpoint',
    values: [400n, 150n],
  },
];

let scene: Scene;
let grpc: GrpcPerson;
let byCertificate: GrpcPerson;
let events: readonly EventNotification[];
let devices: readonly DeviceWithRegisters[];

beforeAll(async () => {
  scene = await Scene.open();
  const { ready } = scene.agent;
  grpc = GrpcPerson.byToken(ready, 1);
  byCertificate = GrpcPerson.byCertificate(ready, 0);
  events = await grpc.subscribe();
  devices = await scene.devices();
});

afterAll(async () => {
  grpc?.close();
  byCertificate?.close();
  await scene?.close();
});

const hex = (word: bigint): string => `0x${word.toString(16).toUpperCase()}`;

describe.each(SAMPLES)('on bus $bus', ({ bus, device, slug, register, values }) => {
  it('the device is where the board file places it', () => {
    expect(devices.find((one) => one.slug === slug)).toMatchObject({ bus, token: device });
  });

  it('REST reads one register with the content that the metal has', async () => {
    const { value } = await scene.metal.get(slug, register);
    const { status, receipt } = await scene.first.read(device, register);
    expect(status).toBe(200);
    expect(receipt).toMatchObject({ state: 'COMPLETED', result: 'SUCCESS', effect: 'none' });
    expect(receipt?.readings).toMatchObject([
      { token: device, register, value: hex(BigInt(value)) },
    ]);
  });

  it('REST reads every readable register that has no side effect', async () => {
    const own = devices.find((one) => one.slug === slug)?.registers ?? [];
    const expected = own.filter(({ access, precious }) => access !== 'wo' && !precious);
    const receipt = await scene.first.get(`devices/${device}/registers`);
    const named = receipt.readings.map((reading: { register: string }) => reading.register);
    expect(named).toEqual(expected.map(({ name }) => name));
    for (const reading of receipt.readings) expect(reading.fault).toBeUndefined();
  });

  it('REST writes and reads back, and the metal holds the value', async () => {
    const before = BigInt((await scene.metal.get(slug, register)).value);
    const { status, receipt } = await operateAtAnyRisk(scene.first, scene.second, {
      operation: 'WRITE',
      device,
      registers: [{ name: register, value: hex(values[0]) }],
    });
    expect(status).toBe(200);
    expect(receipt).toMatchObject({ effect: 'committed', result: 'SUCCESS', state: 'COMPLETED' });
    expect(receipt?.readings).toMatchObject([
      { register, value: hex(values[0]), before: hex(before) },
    ]);
    expect(receipt?.tracks.map(({ track, ok }) => [track, ok])).toEqual([
      ['kernel', true],
      ['security', true],
      ['interface', true],
    ]);
    expect(await scene.held(slug, register, values[0])).toBe(values[0]);
  });

  it('gRPC with a client certificate reads what REST wrote', async () => {
    const answer = await byCertificate.coordinate({
      deviceId: Number(device),
      operationType: OperationType.READ,
      registers: [{ name: register }],
    });
    expect(answer.result).toBe(CoordinationResult.SUCCESS);
    expect(answer.readings).toMatchObject([{ register, value: values[0] }]);
  });

  it('gRPC with a token writes and reads back, and the metal holds the value', async () => {
    const answer = await grpc.coordinate({
      deviceId: Number(device),
      operationType: OperationType.WRITE,
      registers: [{ name: register, value: values[1] }],
      justification: JUSTIFICATION,
      confirmedRisk: RiskLevel.MODERATE,
    });
    expect(answer.errorMessage).toBe('');
    expect(answer.result).toBe(CoordinationResult.SUCCESS);
    expect(answer.readings).toMatchObject([{ register, value: values[1], before: values[0] }]);
    expect(await scene.held(slug, register, values[1])).toBe(values[1]);
  });

  it('the write is in the audit chain with its plan, who asked, and the register before and after', async () => {
    const since = await scene.auditSequence();
    const { receipt } = await operateAtAnyRisk(scene.second, scene.first, {
      operation: 'WRITE',
      device,
      registers: [{ name: register, value: hex(values[0]) }],
    });
    const entries = await scene.auditSince(since);
    const entry = entries.find(({ operationId }) => operationId === receipt?.operationId);
    expect(entry).toMatchObject({
      sequence: receipt?.auditSequence,
      event: 'OPERATION_COMPLETED',
      actor: 'demo-supervisor',
      origin: { transport: 'rest' },
      operation: 'WRITE',
      planDigest: receipt?.planDigest,
      reason: JUSTIFICATION,
      result: 'committed',
    });
    expect(entry?.details.registers).toMatchObject([
      { register, before: `0x${values[1].toString(16)}`, value: `0x${values[0].toString(16)}` },
    ]);
  });

  it('subscribers hear of the completed write and of its audit entry', async () => {
    const { receipt } = await operateAtAnyRisk(scene.first, scene.second, {
      operation: 'WRITE',
      device,
      registers: [{ name: register, value: hex(values[1]) }],
    });
    await eventually('the event of the operation', () =>
      events.find(
        ({ eventType, eventData }) =>
          eventType === EventType.OPERATION_COMPLETED &&
          eventData.operation_id === receipt?.operationId &&
          eventData.effect === 'committed',
      ),
    );
    await eventually('the event of the audit entry', () =>
      events.find(
        ({ eventType, eventData }) =>
          eventType === EventType.AUDIT_ENTRY_CREATED &&
          eventData.audit_sequence === String(receipt?.auditSequence),
      ),
    );
  });
});

it('events arrive in sequence without a gap', () => {
  const sequences = events.map(({ fullSequence }) => Number(fullSequence));
  expect(sequences.length).toBeGreaterThan(20);
  expect(sequences).toEqual(sequences.map((_, index) => (sequences[0] ?? 0) + index));
});

it('all 79 devices outside quarantine are read from the metal', async () => {
  const open = devices.filter(({ quarantined }) => !quarantined);
  expect(open).toHaveLength(79);
  for (const { token, slug } of open) {
    const { status, receipt } = await scene.first.read(token);
    expect([slug, status]).toEqual([slug, 200]);
    expect(receipt?.readings.length).toBeGreaterThan(7);
    for (const reading of receipt?.readings ?? [])
      expect([slug, reading.register, reading.fault]).toEqual([slug, reading.register, undefined]);
  }
});

it('one read covers devices of every bus at once', async () => {
  const { status, receipt } = await scene.first.operate({
    operation: 'READ',
    targets: SAMPLES.map(({ device, register }) => ({ device, registers: [{ name: register }] })),
  });
  expect(status).toBe(200);
  expect(receipt?.readings.map(({ token }) => token)).toEqual(SAMPLES.map(({ device }) => device));
});

it('one transaction writes devices on every bus, and all of them hold their values', async () => {
  const { status, receipt } = await operateAtAnyRisk(scene.first, scene.second, {
    operation: 'WRITE',
    targets: SAMPLES.map(({ device, register, values }) => ({
      device,
      registers: [{ name: register, value: hex(values[0]) }],
    })),
  });
  expect([status, receipt?.effect]).toEqual([200, 'committed']);
  for (const { slug, register, values } of SAMPLES)
    expect([slug, await scene.held(slug, register, values[0])]).toEqual([slug, values[0]]);
});

it('a person with a client certificate operates through REST without a token', async () => {
  const person = new RestPerson(scene.agent.ready, 1, 'certificate');
  try {
    expect((await person.get('auth/me')).id).toBe('demo-supervisor');
    const { status } = await person.operate({
      operation: 'WRITE',
      device: '0x8000',
      registers: [{ name: 'CONFIG', value: 77 }],
    });
    expect(status).toBe(200);
    expect(await scene.held('tpm-control', 'CONFIG', 77n)).toBe(77n);
  } finally {
    person.close();
  }
});

/** Another value than the present one that every rule of the register allows. */
function otherValue(register: RegisterJson, present: bigint): bigint {
  const all = (1n << BigInt(register.widthBits)) - 1n;
  const usable = all & ~BigInt(register.reservedMask);
  if (register.limits === null) return present ^ (usable & -usable);
  const signed = register.signed ? BigInt.asIntN(register.widthBits, present) : present;
  const { minimum, maximum } = register.limits;
  const next = signed < BigInt(maximum) ? signed + 1n : BigInt(minimum);
  return BigInt.asUintN(register.widthBits, next);
}

it('one device of each profile takes another value in every read-write register, at its own risk', async () => {
  const profiles = new Map<string, DeviceWithRegisters>();
  for (const device of devices)
    if (!device.quarantined && !profiles.has(device.profile)) profiles.set(device.profile, device);
  expect(profiles.size).toBe(16);
  const risks = new Set<string>();
  for (const { token, slug, registers } of profiles.values()) {
    for (const register of registers.filter(({ access }) => access === 'rw')) {
      const { name } = register;
      const read = await scene.first.read(token, name);
      const present = BigInt(read.receipt?.readings[0]?.value ?? 0);
      const value = otherValue(register, present);
      const { code, problem, receipt } = await operateAtAnyRisk(scene.first, scene.second, {
        operation: 'WRITE',
        device: token,
        registers: [{ name, value: hex(value) }],
      });
      expect([slug, name, code, problem?.detail]).toEqual([slug, name, '', undefined]);
      expect([slug, name, receipt?.effect]).toEqual([slug, name, 'committed']);
      expect([slug, name, await scene.held(slug, name, value)]).toEqual([slug, name, value]);
      risks.add(receipt?.risk ?? '');
    }
  }
  expect([...risks].sort()).toEqual(['HIGH', 'LOW', 'MODERATE']);
});

it.each([
  ['memory', 'event-logger'],
  ['i2c', 'audio-subsystem'],
  ['serial', 'replay-engine'],
])(
  'a device on %s that was left alone for a while takes an acknowledgment and a reset',
  async (_bus, slug) => {
    const device = devices.find((one) => one.slug === slug)?.token ?? '';
    await scene.metal.set(slug, 'INTERRUPT', '0x5');
    await pause(600);
    const acknowledged = await operateAtAnyRisk(scene.first, scene.second, {
      operation: 'WRITE',
      device,
      registers: [{ name: 'INTERRUPT', value: 1 }],
    });
    expect([acknowledged.problem?.detail, acknowledged.receipt?.effect]).toEqual([
      undefined,
      'committed',
    ]);
    expect(await scene.held(slug, 'INTERRUPT', 4n)).toBe(4n);
    await pause(600);
    const reset = await operateAtAnyRisk(scene.first, scene.second, { operation: 'RESET', device });
    expect([reset.problem?.detail, reset.receipt?.effect]).toEqual([undefined, 'committed']);
    expect(await scene.held(slug, 'INTERRUPT', 0n)).toBe(0n);
    await scene.metal.clear();
  },
);

it('error causes that a read clears are read only when asked for by name', async () => {
  await scene.metal.set('exercise-controller', 'ERROR', '0x3');
  const all = await scene.first.read('0x8065');
  expect(all.receipt?.readings.map(({ register }) => register)).not.toContain('ERROR');
  expect(await scene.held('exercise-controller', 'ERROR', 3n)).toBe(3n);
  const cause = await scene.first.read('0x8065', 'ERROR');
  expect(cause.receipt?.readings[0]?.value).toBe('0x3');
  expect(await scene.held('exercise-controller', 'ERROR', 0n)).toBe(0n);
  await scene.metal.clear();
});

it('ACTIVATE, DEACTIVATE and RESET follow the profile and need the second person where the rules say so', async () => {
  const activated = await operateAtAnyRisk(scene.first, scene.second, {
    operation: 'ACTIVATE',
    device: '0x8003',
  });
  expect([activated.code, activated.receipt?.effect]).toEqual(['', 'committed']);
  expect(await scene.held('audit-log-controller', 'CONTROL', 1n)).toBe(1n);
  const reset = { operation: 'RESET', device: '0x8003', justification: JUSTIFICATION } as const;
  const alone = await scene.first.operate({ ...reset, confirmedRisk: 'CRITICAL' });
  expect([alone.status, alone.code]).toEqual([428, 'APPROVAL_NEEDED']);
  const together = await operateAtAnyRisk(scene.first, scene.second, reset);
  expect([together.code, together.receipt?.effect]).toEqual(['', 'committed']);
  const deactivated = await operateAtAnyRisk(scene.first, scene.second, {
    operation: 'DEACTIVATE',
    device: '0x8003',
  });
  expect([deactivated.code, deactivated.receipt?.effect]).toEqual(['', 'committed']);
  expect(await scene.held('audit-log-controller', 'CONTROL', 0n)).toBe(0n);
});

it('an approval serves one run of one plan, and only whoever asked for it', async () => {
  const write = {
    operation: 'WRITE',
    device: '0x8017',
    registers: [{ name: 'CONFIG', value: 0x11 }],
    justification: JUSTIFICATION,
    confirmedRisk: 'HIGH',
  } as const;
  const asked = await scene.first.operate(write);
  const digest = asked.receipt?.planDigest ?? '';
  const technician = new RestPerson(scene.agent.ready, 'technician');
  const unentitled = await technician.approve(digest);
  technician.close();
  expect([unentitled.status, unentitled.json.code]).toEqual([403, 'CLEARANCE_TOO_LOW']);
  expect((await scene.second.approve(digest)).json.approvedBy).toBe('demo-supervisor');
  const entries = await scene.auditSince(asked.receipt?.auditSequence ?? 0);
  const granted = entries.find(({ event }) => event === 'APPROVAL_GRANTED');
  expect(granted).toMatchObject({ actor: 'demo-supervisor', planDigest: digest });
  expect((await scene.second.operate(write)).code).toBe('APPROVAL_NEEDED');
  expect((await scene.first.operate(write)).receipt?.effect).toBe('committed');
  expect((await scene.first.operate(write)).code).toBe('APPROVAL_NEEDED');
  expect(await scene.held('remote-access', 'CONFIG', 0x11n)).toBe(0x11n);
});

describe('select before operate', () => {
  const select = () =>
    scene.first.operate({
      operation: 'WRITE',
      device: '0x8003',
      registers: [{ name: 'CONFIG', value: '0x21' }],
      justification: JUSTIFICATION,
      selectForSeconds: 60,
    });
  const other = () =>
    scene.second.operate({
      operation: 'WRITE',
      device: '0x8003',
      registers: [{ name: 'DATA', value: '0x7' }],
      justification: JUSTIFICATION,
    });

  it('holds the device for one person, who operates it once', async () => {
    const sequence = await scene.auditSequence();
    await scene.metal.forget();
    const selected = await select();
    expect([selected.status, selected.receipt?.effect]).toEqual([200, 'none']);
    expect(selected.receipt).toMatchObject({
      selectedUntil: expect.any(String),
      transactions: [expect.stringContaining('audit-log-controller.CONFIG')],
    });
    const id = selected.receipt?.operationId ?? '';
    const busy = await other();
    expect([busy.status, busy.code]).toEqual([409, 'DEVICE_BUSY']);
    expect(busy.problem?.finding).toContain(id);
    expect((await scene.second.read('0x8003', 'CONFIG')).status).toBe(200);
    const stranger = await scene.second.call('POST', `operations/${id}/operate`);
    expect([stranger.status, stranger.json.code]).toEqual([403, 'NOT_PERMITTED']);
    expect(await scene.writes()).toBe(0);
    const done = await scene.first.call('POST', `operations/${id}/operate`);
    expect([done.status, done.json.effect, done.json.operationId]).toEqual([200, 'committed', id]);
    expect(await scene.held('audit-log-controller', 'CONFIG', 0x21n)).toBe(0x21n);
    const twice = await scene.first.call('POST', `operations/${id}/operate`);
    expect([twice.status, twice.json.code]).toEqual([404, 'SELECTION_UNKNOWN']);
    expect((await other()).receipt?.effect).toBe('committed');
    const ends = await eventually('the end of the selection on record', async () => {
      const entries = (await scene.auditSince(sequence)).filter((one) => one.operationId === id);
      return entries.some(({ event }) => event === 'SELECTION_ENDED') ? entries : undefined;
    });
    expect(ends.map(({ event }) => event)).toEqual([
      'SELECTED',
      'OPERATION_COMPLETED',
      'SELECTION_ENDED',
    ]);
  });

  it('is released without a write', async () => {
    await scene.metal.forget();
    const id = (await select()).receipt?.operationId ?? '';
    expect((await scene.first.call('POST', `operations/${id}/release`)).status).toBe(200);
    expect(await scene.writes()).toBe(0);
    expect((await other()).receipt?.effect).toBe('committed');
  });
});

it('an approval is void once somebody changed the device, by hand too', async () => {
  const write = {
    operation: 'WRITE',
    device: '0x8017',
    registers: [{ name: 'CONFIG', value: 0x31 }],
    justification: JUSTIFICATION,
    confirmedRisk: 'HIGH',
  } as const;
  const asked = await scene.first.operate(write);
  expect((await scene.second.approve(asked.receipt?.planDigest ?? '')).status).toBe(200);
  await scene.metal.set('remote-access', 'CONFIG', '0x44');
  const used = await scene.first.operate(write);
  expect([used.status, used.code]).toEqual([412, 'APPROVAL_VOID']);
  expect(used.problem?.finding).toMatch(/the device changed/);
  expect(await scene.held('remote-access', 'CONFIG', 0x44n)).toBe(0x44n);
  expect((await scene.first.operate(write)).code).toBe('APPROVAL_NEEDED');
});

it('a confirmation counts only for a risk that was shown, where the request demands that', async () => {
  const write = {
    operation: 'WRITE',
    device: '0x8003',
    registers: [{ name: 'CONFIG', value: 0x51 }],
    justification: JUSTIFICATION,
    confirmedRisk: 'CRITICAL',
    requirements: { riskDisclosureRequired: true, confirmationTimeoutSeconds: 60 },
  } as const;
  const blind = await scene.first.operate(write);
  expect([blind.status, blind.code]).toEqual([428, 'CONFIRMATION_NEEDED']);
  expect(blind.problem?.finding).toMatch(/was never shown to demo-operator/);
  await scene.first.operate({ ...write, dryRun: true });
  expect((await scene.first.operate(write)).receipt?.effect).toBe('committed');
});

it('a dry run shows the transactions and the risk and touches nothing', async () => {
  await scene.metal.forget();
  const { status, receipt } = await scene.first.operate({
    operation: 'WRITE',
    device: '0x8017',
    registers: [{ name: 'setpoint', value: 77 }],
    justification: JUSTIFICATION,
    dryRun: true,
  });
  expect([status, receipt?.risk, receipt?.effect]).toEqual([200, 'HIGH', 'none']);
  expect(receipt?.transactions?.join()).toContain('remote-access.setpoint');
  expect(receipt?.approvalsNeeded).toHaveLength(1);
  expect(await scene.writes()).toBe(0);
});

it('everything above stands in an unbroken audit chain, and no process was restarted', async () => {
  const verified = await scene.second.get('audit/verify');
  expect(verified).toMatchObject({ intact: true });
  expect(verified.entries).toBeGreaterThan(200);
  const entries = await scene.auditSince(0);
  expect(entries.map(({ sequence }) => sequence)).toEqual(entries.map((_, index) => index + 1));
  const effects = entries.filter(({ result }) => result === 'committed');
  for (const { planDigest, details } of effects) {
    expect(planDigest).toMatch(/^[0-9a-f]{64}$/);
    expect(details.registers).not.toEqual([]);
  }
  expect(scene.undisturbed).toBe(true);
  expect((await scene.metal.canaries()).touched).toEqual([]);
});
