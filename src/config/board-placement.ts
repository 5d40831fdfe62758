// A profile's registers placed on a bus by a device's `at`: windows, directories, chips and units.

import { nearestName } from '#foundation/nearest';
import type { BusDescription } from '#model/board';
import type { BusKind, Location } from '#model/bus';
import type { PlacedRegister } from '#model/device';
import type { I2cAt, MemoryAt, ModbusAt, SysfsAt } from './board-file.ts';
import { atI2c, atMemory, atModbus, atSysfs } from './generated/validators.js';
import type { DocumentPath, Problem } from './problem.ts';
import type { Profile } from './profile.ts';
import type { BusFamily } from './profile-file.ts';
import { extentOf, type ProfileRegister } from './profile-registers.ts';
import { checkSchema, type SchemaValidator } from './schema-check.ts';
import { hexadecimal } from './words.ts';
import type { YamlDocument } from './yaml-document.ts';

export const FAMILY_OF_KIND: Readonly<Record<BusKind, BusFamily>> = {
  memory: 'memory',
  pci: 'memory',
  uio: 'memory',
  sysfs: 'sysfs',
  i2c: 'i2c',
  serial: 'modbus',
  'modbus-tcp': 'modbus',
};

const AT_VALIDATOR: Readonly<Record<BusFamily, SchemaValidator>> = {
  memory: atMemory,
  sysfs: atSysfs,
  i2c: atI2c,
  modbus: atModbus,
};

const MODBUS_ADDRESSES = 0x1_0000;

export interface PlacedDevice {
  readonly registers: readonly PlacedRegister[];
  readonly window?: { readonly address: number; readonly length: number };
}

export interface PlacementContext {
  readonly document: YamlDocument;
  /** Of the device's `at`. */
  readonly path: DocumentPath;
  readonly bus: BusDescription;
}

/** Checks `at` for the profile's family and places every register; undefined when something is wrong. */
export function placeDevice(
  context: PlacementContext,
  at: unknown,
  profile: Profile,
  report: (problem: Problem) => void,
): PlacedDevice | undefined {
  const { document, path } = context;
  const problems = checkSchema(AT_VALIDATOR[profile.family], document, at, path);
  if (problems.length > 0) {
    for (const problem of problems) report(problem);
    return undefined;
  }
  const wrong = (member: DocumentPath, finding: string): undefined => {
    report(document.problem([...path, ...member], finding));
  };
  switch (profile.family) {
    case 'memory':
      return placeInWindow(context.bus, at as MemoryAt, profile, wrong);
    case 'sysfs':
      return placeInDirectory(at as SysfsAt, profile, wrong);
    case 'i2c':
      return { registers: placed(profile, (register) => i2cLocation(at as I2cAt, register)) };
    case 'modbus':
      return placeInUnit(at as ModbusAt, profile, wrong);
  }
}

type Wrong = (member: DocumentPath, finding: string) => undefined;

function placed(
  profile: Profile,
  locate: (register: ProfileRegister) => Location,
): readonly PlacedRegister[] {
  return profile.registers.map((register) => ({
    spec: register.spec,
    location: locate(register),
  }));
}

function placeInWindow(
  bus: BusDescription,
  at: MemoryAt,
  profile: Profile,
  wrong: Wrong,
): PlacedDevice | undefined {
  const shown = hexadecimal(BigInt(at.window));
  if (bus.kind === 'memory' && at.window < bus.origin) {
    return wrong(
      ['window'],
      `${shown} is before the bus origin ${hexadecimal(BigInt(bus.origin))}`,
    );
  }
  for (const register of profile.registers) {
    const { start, length } = extentOf(register);
    const { name } = register.spec;
    if ((at.window + start) % length !== 0) {
      return wrong(
        ['window'],
        `${shown} is not aligned to the ${length} bytes of register ${name}`,
      );
    }
    if (start + length > at.length) {
      const place = `${length} bytes at ${hexadecimal(BigInt(start))}`;
      return wrong(
        ['window'],
        `register ${name} (${place}) is beyond the window of ${hexadecimal(BigInt(at.length))} bytes`,
      );
    }
  }
  return {
    registers: placed(profile, (register) => ({
      kind: 'memory',
      address: at.window + extentOf(register).start,
    })),
    window: { address: at.window, length: at.length },
  };
}

function placeInDirectory(at: SysfsAt, profile: Profile, wrong: Wrong): PlacedDevice | undefined {
  const names = profile.registers.map(({ spec }) => spec.name);
  let sound = true;
  for (const name of Object.keys(at.registers)) {
    if (names.includes(name)) continue;
    const near = nearestName(name, names);
    const hint = near === undefined ? '' : `, did you mean ${near}?`;
    wrong(['registers', name], `profile ${profile.id} has no register ${name}${hint}`);
    sound = false;
  }
  if (!sound) return undefined;
  const locate = ({ spec, placement }: ProfileRegister): Location => {
    const elsewhere = Object.hasOwn(at.registers, spec.name) ? at.registers[spec.name] : undefined;
    const attribute = placement.kind === 'sysfs' ? placement.attribute : spec.name;
    return {
      kind: 'sysfs',
      directory: elsewhere?.directory ?? at.directory,
      attribute: elsewhere?.attribute ?? attribute,
    };
  };
  return { registers: placed(profile, locate) };
}

function i2cLocation(at: I2cAt, { placement }: ProfileRegister): Location {
  const { command, protocol } =
    placement.kind === 'i2c' ? placement : ({ command: 0, protocol: 'raw' } as const);
  return { kind: 'i2c', chip: at.chip, command, protocol };
}

function placeInUnit(at: ModbusAt, profile: Profile, wrong: Wrong): PlacedDevice | undefined {
  for (const register of profile.registers) {
    const { start, length } = extentOf(register);
    if (at.base + start + length > MODBUS_ADDRESSES) {
      const last = at.base + start + length - 1;
      return wrong(['base'], `register ${register.spec.name} would be at ${last}, beyond 65535`);
    }
  }
  const locate = (register: ProfileRegister): Location => {
    const table = register.placement.kind === 'modbus' ? register.placement.table : 'holding';
    return { kind: 'modbus', unit: at.unit, table, address: at.base + extentOf(register).start };
  };
  return { registers: placed(profile, locate) };
}
