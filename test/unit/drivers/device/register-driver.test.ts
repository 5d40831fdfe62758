import { join } from 'node:path';
import {
  array,
  assert,
  bigInt,
  constantFrom,
  integer,
  oneof,
  option,
  property,
  record,
  string,
} from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadBoard } from '#config/board';
import { ProfileStore } from '#config/profile';
import { createRegisterDriver } from '#drivers/device/register-driver';
import { isFaultCode } from '#foundation/fault-catalogue';
import type { DeviceDescriptor } from '#model/device';
import type { Driver } from '#model/driver';
import { OperationType, type RegisterAccessRequest } from '#model/operation';
import type { RegisterStep, WriteStep } from '#model/plan';
import { readable, type Word, widthMask, writable } from '#model/register';
import { OverallStatus, PowerState } from '#model/snapshot';

const ROOT = join(import.meta.dirname, '../../../..');
const FIXTURES = join(ROOT, 'test/fixtures/boards');
const PROFILES = join(ROOT, 'drivers/profiles');

/** A device of the profile with one register of each kind of access. */
function descriptor(): DeviceDescriptor {
  const profile = new ProfileStore([join(FIXTURES, 'profiles')]).find('everything')?.profile;
  if (profile === undefined) throw new Error('the profile has problems');
  return {
    id: 3,
    token: 0x8003,
    name: 'Test Device',
    slug: 'test-device',
    group: 0,
    index: 3,
    groupName: 'Group 0',
    busKind: 'memory',
    busId: 'memory',
    profile: profile.id,
    baseRisk: 1,
    quarantined: false,
    clearanceMinimum: 0,
    compartments: [],
    registers: profile.registers.map(({ spec, placement }) => ({
      spec,
      location: { kind: 'memory', address: placement.kind === 'memory' ? placement.offset : 0 },
    })),
    window: { address: 0, length: 0x1000 },
    behaviour: profile.behaviour,
  };
}

const driver = createRegisterDriver(descriptor());

function plan(type: OperationType, ...registers: RegisterAccessRequest[]) {
  return driver.plan(type, { device: 3, registers });
}

function stepsOf(
  type: OperationType,
  ...registers: RegisterAccessRequest[]
): readonly RegisterStep[] {
  const outcome = plan(type, ...registers);
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.fault));
  return outcome.value.steps;
}

function writeOf(register: string, value: Word): WriteStep {
  const [step] = stepsOf(OperationType.WRITE, { register, value });
  if (step?.kind !== 'write') throw new Error('no write step');
  return step;
}

function faultOf(type: OperationType, ...registers: RegisterAccessRequest[]) {
  const outcome = plan(type, ...registers);
  if (outcome.ok) throw new Error('a plan was made');
  const { code, place, finding } = outcome.fault;
  return { code, place, finding };
}

describe('READ', () => {
  test('without names takes every readable register that is not precious, in profile order', () => {
    expect(stepsOf(OperationType.READ).map(({ register }) => register)).toEqual([
      'control',
      'status',
      'level',
      'pending',
      'wide',
      'lossy',
    ]);
  });

  test('takes a precious register only by name', () => {
    expect(stepsOf(OperationType.READ, { register: 'causes' })).toEqual([
      { kind: 'read', device: 3, register: 'causes', widthBits: 32 },
    ]);
  });

  test('of a write-only register is refused', () => {
    expect(faultOf(OperationType.READ, { register: 'trigger' })).toEqual({
      code: 'REGISTER_WRITE_ONLY',
      place: 'test-device.trigger',
      finding: 'the register is wo and cannot be read',
    });
  });

  test('of an unknown register names the nearest', () => {
    expect(faultOf(OperationType.READ, { register: 'sttaus' })).toEqual({
      code: 'REGISTER_UNKNOWN',
      place: 'test-device.sttaus',
      finding: 'there is no register "sttaus", the nearest is status',
    });
  });

  test('shows no control characters of a stranger and keeps them out of the place', () => {
    const { place, finding } = faultOf(OperationType.READ, { register: 'a\n\u001b[31mb' });
    expect(place).toBe('test-device');
    expect(finding).toMatch(/^[\x20-\x7e]*$/);
  });

  test('with a value, or of one register twice, is refused', () => {
    expect(faultOf(OperationType.READ, { register: 'status', value: 1n }).code).toBe(
      'REQUEST_MALFORMED',
    );
    const twice = [{ register: 'status' }, { register: 'status' }];
    expect(faultOf(OperationType.READ, ...twice)).toMatchObject({
      code: 'REQUEST_MALFORMED',
      place: 'test-device.status',
    });
  });
});

describe('WRITE', () => {
  test('of a register with reserved bits leaves those out and expects the rest back', () => {
    expect(writeOf('control', 0x41n)).toEqual({
      kind: 'write',
      device: 3,
      register: 'control',
      widthBits: 32,
      mask: 0xffn,
      value: 0x41n,
      settleUs: 50,
      expect: { mask: 0xffn, value: 0x41n },
      irreversible: false,
    });
  });

  test('of a self-clearing bit expects it to be 0 again and cannot be undone', () => {
    expect(writeOf('control', 0x3n)).toMatchObject({
      expect: { mask: 0xffn, value: 0x1n },
      irreversible: true,
    });
  });

  test('of a write-1-clears register is written whole and expects the ones to be 0', () => {
    expect(writeOf('pending', 0x05n)).toMatchObject({
      mask: 0xffn,
      value: 0x05n,
      expect: { mask: 0x05n, value: 0n },
      irreversible: true,
    });
    expect(writeOf('pending', 0n).expect).toBeNull();
  });

  test('of a write-only register expects nothing and cannot be undone', () => {
    expect(writeOf('trigger', 2n)).toMatchObject({ mask: 0xffn, expect: null, irreversible: true });
  });

  test('compares only the bits that the profile says come back', () => {
    expect(writeOf('lossy', 0x1234n).expect).toEqual({ mask: 0xff00n, value: 0x1200n });
    expect(writeOf('fifo', 7n).expect).toBeNull();
  });

  test.each([
    ['status', 1n, 'REGISTER_READ_ONLY', 'the register is ro and cannot be written'],
    ['causes', 1n, 'REGISTER_READ_ONLY', 'the register is rc and cannot be written'],
    ['level', 0x10000n, 'VALUE_TOO_WIDE', "0x10000 does not fit the register's 16 bits"],
    ['level', -1n, 'VALUE_TOO_WIDE', "-0x1 does not fit the register's 16 bits"],
    [
      'level',
      0x8000n,
      'VALUE_OUT_OF_LIMITS',
      '-32768 milli-degC is outside the limits -30000 .. 25000 milli-degC',
    ],
    [
      'level',
      25002n,
      'VALUE_OUT_OF_LIMITS',
      '25002 milli-degC is outside the limits -30000 .. 25000 milli-degC',
    ],
    ['trigger', 4n, 'VALUE_OUT_OF_LIMITS', '4 is outside the limits 1 .. 3'],
    ['trigger', 0n, 'VALUE_OUT_OF_LIMITS', '0 is outside the limits 1 .. 3'],
    ['level', 3n, 'RESERVED_BITS', '0x0003 sets the reserved bits 0x0001'],
    [
      'wide',
      0xffff_ffff_ffff_ffffn,
      'VALUE_OUT_OF_LIMITS',
      '18446744073709551615 is outside the limits 16 .. 18446744073709551600',
    ],
    ['pending', 0x80n, 'RESERVED_BITS', '0x80 sets the reserved bits 0x80'],
  ])('to %s of %s is %s', (register, value, code, finding) => {
    expect(faultOf(OperationType.WRITE, { register, value })).toEqual({
      code,
      place: `test-device.${register}`,
      finding,
    });
  });

  test('takes the edges of the limits', () => {
    expect(writeOf('level', 25000n).value).toBe(25000n);
    expect(writeOf('level', BigInt.asUintN(16, -30000n)).value).toBe(BigInt.asUintN(16, -30000n));
    expect(writeOf('wide', 0xffff_ffff_ffff_fff0n).value).toBe(0xffff_ffff_ffff_fff0n);
  });

  test('without a value or without a register is refused', () => {
    expect(faultOf(OperationType.WRITE, { register: 'level' })).toMatchObject({
      code: 'VALUE_MISSING',
      place: 'test-device.level',
    });
    expect(faultOf(OperationType.WRITE).code).toBe('VALUE_MISSING');
  });

  test('of several registers is refused whole when one of them is wrong', () => {
    const requests = [
      { register: 'control', value: 1n },
      { register: 'level', value: 26000n },
    ];
    expect(faultOf(OperationType.WRITE, ...requests).code).toBe('VALUE_OUT_OF_LIMITS');
  });
});

describe('operations of the profile', () => {
  test('ACTIVATE, DEACTIVATE and RESET are the writes that the profile says', () => {
    const short = (type: OperationType) =>
      stepsOf(type).map((step) =>
        step.kind === 'write' ? [step.register, step.mask, step.value, step.irreversible] : [],
      );
    expect(short(OperationType.ACTIVATE)).toEqual([
      ['trigger', 0xffn, 2n, true],
      ['control', 0x1n, 0x1n, false],
    ]);
    expect(short(OperationType.DEACTIVATE)).toEqual([
      ['control', 0x1n, 0n, false],
      ['level', 0xfffen, BigInt.asUintN(16, -30000n), false],
    ]);
    expect(short(OperationType.RESET)).toEqual([['control', 0x2n, 0x2n, true]]);
    expect(stepsOf(OperationType.RESET)[0]).toMatchObject({ expect: { mask: 0x2n, value: 0n } });
  });

  test('CONFIG writes only configuration registers', () => {
    expect(stepsOf(OperationType.CONFIG, { register: 'level', value: 2n })).toHaveLength(1);
    expect(faultOf(OperationType.CONFIG, { register: 'control', value: 1n })).toEqual({
      code: 'OPERATION_UNSUPPORTED',
      place: 'test-device.control',
      finding: 'CONFIG writes only level, wide; write it with WRITE',
    });
  });

  test('takes no registers for ACTIVATE and refuses what the profile lacks', () => {
    const given = { register: 'control', value: 1n };
    expect(faultOf(OperationType.ACTIVATE, given).code).toBe('REQUEST_MALFORMED');
    expect(faultOf(OperationType.EMERGENCY_STOP).code).toBe('OPERATION_UNSUPPORTED');
    const sensor = new ProfileStore([PROFILES]).find('lm75-hwmon')?.profile;
    if (sensor === undefined) throw new Error('no lm75-hwmon');
    const bare = createRegisterDriver({
      ...descriptor(),
      profile: sensor.id,
      behaviour: sensor.behaviour,
    });
    expect(bare.plan(OperationType.ACTIVATE, { device: 3, registers: [] })).toMatchObject({
      ok: false,
      fault: { code: 'OPERATION_UNSUPPORTED', finding: 'profile lm75-hwmon has no ACTIVATE' },
    });
  });

  test('refuses a request for another device', () => {
    const outcome = driver.plan(OperationType.READ, { device: 4, registers: [] });
    expect(outcome).toMatchObject({ ok: false, fault: { code: 'DEVICE_UNKNOWN' } });
  });
});

describe('identify and observe', () => {
  const values = (entries: Record<string, bigint>) => new Map(Object.entries(entries));

  test('recognises the part when all of its conditions hold', () => {
    expect(driver.identifyRegisters).toEqual(['wide', 'status']);
    expect(driver.identify(values({ wide: 0x12edn, status: 0x3fn }))).toBe(true);
    expect(driver.identify(values({ wide: 0x12een, status: 0x3fn }))).toBe(false);
    expect(driver.identify(values({ wide: 0x12edn, status: 0x4fn }))).toBe(false);
    expect(driver.identify(values({ wide: 0x12edn }))).toBe(false);
  });

  test('takes the first rule that holds, comparing signed registers as signed', () => {
    expect(driver.observe(values({ status: 0x8000_0002n, level: 0xfff0n }))).toEqual({
      power: PowerState.FAULT,
      status: OverallStatus.OPERATIONAL,
    });
    expect(driver.observe(values({ status: 2n, level: 20001n }))).toEqual({
      power: PowerState.ON,
      status: OverallStatus.DEGRADED,
    });
    expect(driver.observe(values({ status: 0n, level: 0n })).power).toBe(PowerState.STANDBY);
  });

  test('is UNKNOWN where a register was not read or no rule holds', () => {
    expect(driver.observe(values({ level: 0n }))).toEqual({
      power: PowerState.UNKNOWN,
      status: OverallStatus.OPERATIONAL,
    });
    expect(driver.observe(values({ status: 2n, level: 0x8001n })).status).toBe(
      OverallStatus.UNKNOWN,
    );
  });
});

describe('every device of the default board', () => {
  const board = loadBoard(join(PROFILES, 'boards/default.yaml'), {
    variables: { SIMULATOR: '/run/sim' },
    profileDirectories: [PROFILES],
  });
  const drivers: readonly Driver[] = board.ok
    ? [driver, ...board.value.devices.map(createRegisterDriver)]
    : [];

  test('is operational when ready, and in fault with its error bit set', () => {
    expect(drivers).toHaveLength(85);
    for (const one of drivers.slice(1)) {
      const seen = (status: bigint) =>
        new Map(one.observeRegisters.map((name) => [name, name === 'STATUS' ? status : 30n]));
      const plain = one.observe(seen(0x8000_0001n));
      expect(plain, one.descriptor.slug).toEqual({
        power: PowerState.FAULT,
        status: OverallStatus.FAULT,
      });
      expect(one.observe(new Map()).status).toBe(OverallStatus.UNKNOWN);
    }
  });

  test('polls nothing precious and nothing unreadable', () => {
    for (const one of drivers) {
      for (const name of [...one.observeRegisters, ...one.identifyRegisters]) {
        const spec = one.descriptor.registers.find((register) => register.spec.name === name)?.spec;
        expect(spec && readable(spec) && !spec.precious, `${one.descriptor.slug}.${name}`).toBe(
          true,
        );
      }
    }
  });

  test('answers any request with a plan or a catalogued fault, and plans no write that it may not make', () => {
    const names = [
      ...new Set(drivers.flatMap((one) => one.descriptor.registers.map(({ spec }) => spec.name))),
    ];
    const value = oneof(
      bigInt({ min: -10n, max: 300n }),
      bigInt({ min: 0n, max: widthMask(32) }),
      bigInt({ min: 0n, max: 1n << 70n }),
      integer({ min: 0, max: 64 }).map((bit) => 1n << BigInt(bit)),
    );
    const request = record(
      {
        register: oneof({ weight: 9, arbitrary: constantFrom(...names) }, string()),
        value: option(value, { nil: undefined }),
      },
      { requiredKeys: ['register'] },
    ).map((drawn): RegisterAccessRequest => {
      const given = drawn.value;
      return given === undefined
        ? { register: drawn.register }
        : { register: drawn.register, value: given };
    });
    const types = constantFrom(...Object.values(OperationType));
    let planned = 0;
    assert(
      property(
        constantFrom(...drivers),
        types,
        array(request, { maxLength: 3 }),
        (one, type, registers) => {
          const { id } = one.descriptor;
          const outcome = one.plan(type, { device: id, registers });
          if (!outcome.ok) {
            expect(isFaultCode(outcome.fault.code)).toBe(true);
            expect(outcome.fault.metal).toBe('untouched');
            expect(outcome.fault.place.split('.')[0]).toBe(one.descriptor.slug);
            return;
          }
          planned += 1;
          for (const step of outcome.value.steps) checkStep(one.descriptor, step);
        },
      ),
      { numRuns: 3000 },
    );
    // Most random requests are wrong; the property is worth nothing when none is right.
    expect(planned).toBeGreaterThan(100);
  });
});

/** Written without the driver's own helpers: what a step may be, from the register's specification. */
function checkStep(device: DeviceDescriptor, step: RegisterStep): void {
  const spec = device.registers.find((register) => register.spec.name === step.register)?.spec;
  if (spec === undefined) throw new Error(`step on unknown register ${step.register}`);
  expect(step.device).toBe(device.id);
  expect(step.widthBits).toBe(spec.widthBits);
  if (step.kind === 'read') {
    expect(spec.access).not.toBe('wo');
    return;
  }
  const all = 2n ** BigInt(spec.widthBits) - 1n;
  expect(writable(spec)).toBe(true);
  expect(step.value & ~step.mask).toBe(0n);
  expect(step.mask >= 0n && step.mask <= all).toBe(true);
  expect(step.value & spec.reservedMask).toBe(0n);
  if (spec.access !== 'rw') expect(step.mask).toBe(all);
  else expect(step.mask & spec.reservedMask).toBe(0n);
  if (spec.limits !== null) {
    const meant = spec.signed && step.value > all / 2n ? step.value - all - 1n : step.value;
    expect(meant >= spec.limits.minimum && meant <= spec.limits.maximum).toBe(true);
    expect(step.mask | spec.reservedMask).toBe(all);
  }
  if (step.expect !== null) {
    expect(spec.access).not.toBe('wo');
    expect(step.expect.value & ~step.expect.mask).toBe(0n);
    expect(step.expect.mask & ~step.mask).toBe(0n);
  }
}
