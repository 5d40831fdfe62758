// Misbehaving hardware: each fault is named with its place, its neighbours keep working, and the device comes back.

import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { FaultRequest } from '#drivers/bus/simulated/control-protocol';
import type { FaultCode } from '#foundation/fault-catalogue';
import { type OperationAnswer, operateAtAnyRisk } from './support/rest-person.ts';
import { eventually, Scene } from './support/scene.ts';

let scene: Scene;

beforeAll(async () => {
  scene = await Scene.open();
});

afterAll(async () => {
  await scene?.close();
});

afterEach(async () => {
  await scene.metal.clear();
  expect(scene.undisturbed).toBe(true);
});

interface Target {
  readonly token: string;
  readonly slug: string;
  readonly register: string;
}

const MEMORY: Target = { token: '0x8000', slug: 'tpm-control', register: 'CONFIG' };
const SYSFS: Target = { token: '0x8059', slug: 'fan-controller', register: 'CONFIG' };
const I2C: Target = { token: '0x8051', slug: 'display-controller', register: 'CONFIG' };
const SERIAL_0: Target = { token: '0x8061', slug: 'simulation-engine', register: 'CONFIG' };
const SERIAL_1: Target = { token: '0x8065', slug: 'exercise-controller', register: 'CONFIG' };
const NEIGHBOURS: Readonly<Record<string, Target>> = {
  sysfs: { token: '0x805A', slug: 'led-controller', register: 'CONFIG' },
  'i2c-0': { token: '0x8052', slug: 'audio-subsystem', register: 'CONFIG' },
  'serial-0': { token: '0x8063', slug: 'data-recorder', register: 'CONFIG' },
  'serial-1': { token: '0x8066', slug: 'replay-engine', register: 'CONFIG' },
};
const ONE_OF_EACH_BUS = {
  memory: MEMORY,
  sysfs: SYSFS,
  'i2c-0': I2C,
  'serial-0': SERIAL_0,
  'serial-1': SERIAL_1,
};

let counter = 0x100;
/** Writes another value than ever before and sees the metal take it. */
async function works({ token, slug, register }: Target): Promise<void> {
  const value = counter++;
  const { code, problem, receipt } = await operateAtAnyRisk(scene.first, scene.second, {
    operation: 'WRITE',
    device: token,
    registers: [{ name: register, value }],
  });
  expect([slug, code, problem?.detail]).toEqual([slug, '', undefined]);
  expect(receipt?.effect).toBe('committed');
  expect([slug, await scene.held(slug, register, BigInt(value))]).toEqual([slug, BigInt(value)]);
}

async function othersWork(busAtFault: string): Promise<void> {
  for (const [bus, target] of Object.entries(ONE_OF_EACH_BUS))
    if (bus !== busAtFault) await works(target);
}

/** The device answers a read and takes a write again, within the cool-down of its circuit breaker. */
async function comesBack(target: Target): Promise<void> {
  await eventually(`${target.slug} to come back`, async () => {
    const { code } = await scene.first.read(target.token, target.register);
    return code === '' ? true : undefined;
  });
  await works(target);
}

/** A read's fault: of the whole operation when nothing could be read. */
function expectFault(answer: OperationAnswer, code: FaultCode, slug: string): void {
  expect([answer.code, answer.problem?.detail]).toEqual([code, expect.stringContaining(slug)]);
  expect(answer.receipt?.effect).toBe('none');
}

type DeviceFault = Omit<FaultRequest, 'do' | 'device' | 'bus'>;

it.each<[string, string, Target, DeviceFault, FaultCode]>([
  ['a late answer', 'serial-0', SERIAL_0, { kind: 'late', ms: 900 }, 'BUS_TIMEOUT'],
  ['a bad CRC', 'serial-0', SERIAL_0, { kind: 'bad-crc' }, 'BUS_CORRUPT'],
  ['a silent unit', 'serial-1', SERIAL_1, { kind: 'silent' }, 'BUS_TIMEOUT'],
  // A frame of another unit is thrown away and the wait goes on (Modbus over serial line, section 2.4.1).
  ['an answer of another unit', 'serial-1', SERIAL_1, { kind: 'wrong-unit' }, 'BUS_TIMEOUT'],
  ['an exception', 'serial-0', SERIAL_0, { kind: 'exception', code: 4 }, 'BUS_EXCEPTION'],
  ['no acknowledgment', 'i2c-0', I2C, { kind: 'nack' }, 'BUS_NO_ANSWER'],
  ['lost arbitration', 'i2c-0', I2C, { kind: 'arbitration' }, 'BUS_IO'],
  ['a held clock', 'i2c-0', I2C, { kind: 'stuck' }, 'BUS_TIMEOUT'],
  ['EIO of every attribute', 'sysfs', SYSFS, { kind: 'eio' }, 'BUS_IO'],
  ['attributes that are gone', 'sysfs', SYSFS, { kind: 'absent' }, 'BUS_ABSENT'],
  ['attributes that hold no number', 'sysfs', SYSFS, { kind: 'garbage' }, 'BUS_CORRUPT'],
])('%s on %s is named, disturbs nobody else and passes', async (_what, bus, target, kind, code) => {
  await scene.metal.fault({ ...kind, device: target.slug });
  // The kernel observes the device too, and may have opened its circuit before this read.
  const answer = await eventually(`${code} of ${target.slug}`, async () => {
    const read = await scene.first.read(target.token, target.register);
    expect(read.code).not.toBe('');
    return read.code === 'BUS_CIRCUIT_OPEN' ? undefined : read;
  });
  expectFault(answer, code, target.slug);
  expect(answer.problem?.place).toContain(`${target.slug}.${target.register}`);
  const neighbour = NEIGHBOURS[bus];
  if (neighbour !== undefined) await works(neighbour);
  await othersWork(bus);
  await scene.metal.clear();
  await comesBack(target);
});

it('a device that keeps failing is left alone for a while, and says so', async () => {
  await scene.metal.fault({ device: I2C.slug, kind: 'nack' });
  const open = await eventually('an open circuit', async () => {
    const read = await scene.first.read(I2C.token, I2C.register);
    return read.code === 'BUS_CIRCUIT_OPEN' ? read : undefined;
  });
  expect(open.problem?.detail).toMatch(
    /display-controller.*failed on bus i2c-0, next try in \d+ ms/,
  );
  await works(NEIGHBOURS['i2c-0'] ?? I2C);
  await scene.metal.clear();
  await comesBack(I2C);
});

it('a write that is lost on the wire is undone or reported in doubt, never called done', async () => {
  const before = BigInt((await scene.metal.get(SERIAL_1.slug, 'setpoint')).value);
  await scene.metal.fault({ device: SERIAL_1.slug, kind: 'exception', code: 4, count: 1 });
  const { code, receipt } = await operateAtAnyRisk(scene.first, scene.second, {
    operation: 'WRITE',
    device: SERIAL_1.token,
    registers: [{ name: 'setpoint', value: 123 }],
  });
  if (code === '') expect(await scene.held(SERIAL_1.slug, 'setpoint', 123n)).toBe(123n);
  else {
    expect(receipt?.effect).toMatch(/^(none|rolled-back)$/);
    expect(await scene.held(SERIAL_1.slug, 'setpoint', before)).toBe(before);
  }
  await scene.metal.clear();
  await comesBack(SERIAL_1);
});

it('a terminal that vanishes takes its line with it, and the line works when it is back', async () => {
  await scene.metal.fault({ bus: 'serial-0', kind: 'vanish' });
  const answer = await eventually('a fault of the line', async () => {
    const read = await scene.first.read(SERIAL_0.token, SERIAL_0.register);
    expect(read.code).not.toBe('');
    return read.code === 'BUS_CIRCUIT_OPEN' ? undefined : read;
  });
  expect(['BUS_ABSENT', 'BUS_STALE', 'BUS_IO']).toContain(answer.code);
  expect(answer.problem?.detail).not.toMatch(/\/dev|\/tmp|ENOENT|EIO/);
  await othersWork('serial-0');
  await scene.metal.fault({ bus: 'serial-0', kind: 'return' });
  await comesBack(SERIAL_0);
  await comesBack(NEIGHBOURS['serial-0'] ?? SERIAL_0);
});

it('a memory window that is cut off under the mapping is a fault, not a dead process', async () => {
  await scene.metal.fault({ bus: 'memory', kind: 'truncate', sizeBytes: 0 });
  const answer = await eventually('a fault of the window', async () => {
    const read = await scene.first.read(MEMORY.token, MEMORY.register);
    return read.code === '' || read.code === 'BUS_CIRCUIT_OPEN' ? undefined : read;
  });
  expectFault(answer, 'BUS_ERROR_SIGNAL', MEMORY.slug);
  await othersWork('memory');
  await scene.metal.fault({ bus: 'memory', kind: 'restore' });
  await comesBack(MEMORY);
  await comesBack({ token: '0x806B', slug: 'training-status', register: 'CONFIG' });
});

it.each([
  // The simulator sees mapped memory a moment later; CONTROL is the register that is given this moment to settle.
  { token: '0x8004', slug: 'event-logger', register: 'CONTROL' },
  { token: '0x805B', slug: 'fingerprint-scanner', register: 'CONFIG' },
  { token: '0x8069', slug: 'recovery-controller', register: 'CONFIG' },
])(
  '$register bits of $slug that do not take a write are noticed, and the whole transaction is undone',
  async (stuck) => {
    await works(SYSFS);
    const sysfsBefore = BigInt((await scene.metal.get(SYSFS.slug, 'CONFIG')).hex);
    const before = BigInt((await scene.metal.get(stuck.slug, stuck.register)).hex);
    await scene.metal.fault({
      device: stuck.slug,
      register: stuck.register,
      kind: 'stuck-bits',
      mask: '0x1',
      value: `0x${(before & 1n).toString(16)}`,
    });
    const { status, code, problem, receipt } = await operateAtAnyRisk(scene.first, scene.second, {
      operation: 'WRITE',
      targets: [
        { device: SYSFS.token, registers: [{ name: 'CONFIG', value: 0x7777 }] },
        {
          device: stuck.token,
          registers: [{ name: stuck.register, value: `0x${(before ^ 1n).toString(16)}` }],
        },
      ],
    });
    expect([status, code]).toEqual([502, 'READ_BACK_MISMATCH']);
    expect(problem?.detail).toMatch(
      /: wrote 0x[0-9A-F]+, read back 0x[0-9A-F]+ three times; 2 of 2 writes rolled back$/,
    );
    expect(problem?.place).toBe(`${stuck.slug}.${stuck.register}`);
    expect([receipt?.effect, problem?.metal]).toEqual(['rolled-back', 'touched']);
    expect(await scene.held(SYSFS.slug, 'CONFIG', sysfsBefore)).toBe(sysfsBefore);
    expect(await scene.held(stuck.slug, stuck.register, before)).toBe(before);
    await othersWork('');
    await scene.metal.clear();
    await comesBack({ ...stuck, register: 'CONFIG' });
  },
);

it('an interrupt that is never acknowledged leaves the device in doubt: it is inhibited, and says who has to look', async () => {
  const stuck = { token: '0x8055', slug: 'camera-controller', register: 'INTERRUPT' } as const;
  await works({ ...stuck, register: 'CONFIG' });
  await scene.metal.fault({
    device: stuck.slug,
    register: stuck.register,
    kind: 'stuck-bits',
    mask: '0x1',
    value: '0x1',
  });
  const write = (name: string) =>
    operateAtAnyRisk(scene.first, scene.second, {
      operation: 'WRITE',
      device: stuck.token,
      registers: [{ name, value: 1 }],
    });
  const failed = await write('INTERRUPT');
  expect([failed.code, failed.receipt?.effect]).toEqual(['READ_BACK_MISMATCH', 'in-doubt']);
  expect(failed.problem?.detail).toMatch(/inhibited until a person releases it/);
  await scene.metal.clear();
  const inhibited = await write('CONFIG');
  expect([inhibited.status, inhibited.code]).toEqual([423, 'DEVICE_INHIBITED']);
  expect((await scene.first.read(stuck.token)).status).toBe(200);
  await eventually('the device list to say so', async () =>
    (await scene.first.get(`devices/${stuck.token}`)).inhibited === true ? true : undefined,
  );
  expect(await scene.held(stuck.slug, 'CONTROL', 0n)).toBe(0n);
  await works(I2C);
});

it('every fault is in the audit chain, which is whole', async () => {
  const failed = (await scene.auditSince(0)).filter(({ event }) => event === 'OPERATION_FAILED');
  const codes = new Set(failed.map(({ details }) => details.code));
  for (const code of [
    'BUS_TIMEOUT',
    'BUS_CORRUPT',
    'BUS_NO_ANSWER',
    'BUS_ERROR_SIGNAL',
    'READ_BACK_MISMATCH',
  ])
    expect(codes).toContain(code);
  expect((await scene.first.get('audit/verify')).intact).toBe(true);
  expect((await scene.metal.canaries()).touched).toEqual([]);
});
