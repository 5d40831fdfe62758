// What makes simulated registers look alive: power-on contents, slow drift, and outputs that follow inputs.
// Pure apart from the register file it is given; roles come from register names and units, never from device names.

import type { DeviceDescriptor, PlacedRegister } from '#model/device';
import { type RegisterSpec, signedValue, type Word, widthMask } from '#model/register';
import type { Random } from './random.ts';
import type { RegisterFile } from './register-file.ts';

/** One step of simulated time; registers whose name `held` accepts stay as a person set them. */
export type Behaviour = (
  file: RegisterFile,
  elapsedMs: number,
  held: (name: string) => boolean,
) => void;

/** STATUS bits and CONTROL bits of the standard register block. */
export const STATUS_READY = 0x1n;
export const STATUS_ACTIVE = 0x2n;
export const CONTROL_ENABLE = 0x1n;

interface Range {
  readonly minimum: number;
  readonly maximum: number;
}

/** Believable values by unit of the scaled value. */
const RANGES: Readonly<Record<string, Range>> = {
  'milli-degC': { minimum: 35_000, maximum: 55_000 },
  degC: { minimum: 35, maximum: 55 },
  mW: { minimum: 800, maximum: 6_000 },
  W: { minimum: 1, maximum: 6 },
  uW: { minimum: 800_000, maximum: 6_000_000 },
  mV: { minimum: 11_900, maximum: 12_100 },
  V: { minimum: 11.9, maximum: 12.1 },
  uV: { minimum: 11_900_000, maximum: 12_100_000 },
  mA: { minimum: 150, maximum: 900 },
  A: { minimum: 0.15, maximum: 0.9 },
  uA: { minimum: 150_000, maximum: 900_000 },
  rpm: { minimum: 1_200, maximum: 2_400 },
  '%': { minimum: 60, maximum: 95 },
  percent: { minimum: 60, maximum: 95 },
  'milli-percent': { minimum: 30_000, maximum: 60_000 },
};

/** Plausible values that do not drift, by unit of the scaled value. */
const STILL: Readonly<Record<string, number>> = {
  h: 6_120,
  cycles: 143,
  permille: 420,
  hPa: 1_013,
  lux: 240,
};

/** Values of well-known attributes (Documentation/ABI/testing/sysfs-class-*), raw. */
const ATTRIBUTES: Readonly<Record<string, Word>> = {
  brightness: 128n,
  max_brightness: 255n,
  pwm1_enable: 1n,
  pwm2_enable: 1n,
  online: 1n,
  present: 1n,
  capacity: 87n,
  mode: 1n,
  direction: 1n,
  // Discharging, in the order of enum POWER_SUPPLY_STATUS_* of linux/power_supply.h.
  status: 2n,
};

/** Values of registers by their name in the profile, raw. */
const REGISTERS: Readonly<Record<string, Word>> = { slots: 64n, slots_used: 12n, lid_state: 1n };

const LIMIT_NAME = /(_|^)(max|crit|min|emergency|hyst|limit|threshold|cap|alarm)(_|$)/i;
const LOW_LIMIT_NAME = /(_|^)min(_|$)/i;
const CAPACITY_FALL_MS = 120_000;
const FAN_RPM_STOPPED = 400;
const FAN_RPM_SPAN = 4_200;
const FAN_SETTLE_MS = 1_500;

/** Raw content for a scaled value, two's complement where signed, cut to the register's limits and width. */
export function rawOf(spec: RegisterSpec, scaled: number): Word {
  const raw = BigInt(Math.round(scaled / (spec.scale === 0 ? 1 : spec.scale)));
  const low = spec.signed ? -(1n << BigInt(spec.widthBits - 1)) : 0n;
  const high = spec.signed ? (1n << BigInt(spec.widthBits - 1)) - 1n : widthMask(spec.widthBits);
  return BigInt.asUintN(spec.widthBits, clamp(raw, low, high));
}

/** Contents after power-on, different from device to device under one seed. */
export function powerOnOf(device: DeviceDescriptor, random: Random): ReadonlyMap<string, Word> {
  const values = new Map<string, Word>();
  for (const placed of device.registers) values.set(placed.spec.name, powerOnWord(placed, random));
  identifyAs(device, values);
  return values;
}

/** A simulated part is the part that the profile expects: its identification registers show it. */
function identifyAs(device: DeviceDescriptor, values: Map<string, Word>): void {
  for (const { register, mask, minimum, maximum } of device.behaviour.identify) {
    const word = values.get(register) ?? 0n;
    const seen = word & mask;
    if (seen < minimum || seen > maximum) values.set(register, (word & ~mask) | (minimum & mask));
  }
}

/** The kernel's own name where the register is an attribute, else the profile's. */
function nameOf({ spec, location }: PlacedRegister): string {
  return location.kind === 'sysfs' ? location.attribute : spec.name;
}

function powerOnWord(placed: PlacedRegister, random: Random): Word {
  const { spec } = placed;
  const name = nameOf(placed).toLowerCase();
  const known = placed.location.kind === 'sysfs' ? ATTRIBUTES[name] : REGISTERS[name];
  if (known !== undefined) return known & widthMask(spec.widthBits);
  switch (spec.name.toUpperCase()) {
    case 'CONTROL':
      return CONTROL_ENABLE;
    case 'STATUS':
      return STATUS_READY | STATUS_ACTIVE;
    default:
      return withinLimits(spec, plausible(spec, name, random));
  }
}

function plausible(spec: RegisterSpec, name: string, random: Random): Word {
  const range = RANGES[spec.unit];
  if (name.endsWith('_alarm') || spec.access === 'wo') return 0n;
  if (range === undefined) {
    const still = spec.access === 'ro' ? STILL[spec.unit] : undefined;
    return still === undefined ? (spec.safeValue ?? 0n) : rawOf(spec, still);
  }
  if (LOW_LIMIT_NAME.test(name)) return rawOf(spec, range.minimum * 0.25);
  if (LIMIT_NAME.test(name)) return rawOf(spec, range.maximum * 1.7);
  return rawOf(spec, range.minimum + random.next() * (range.maximum - range.minimum));
}

function withinLimits(spec: RegisterSpec, word: Word): Word {
  if (spec.limits === null) return word;
  const { minimum, maximum } = spec.limits;
  return BigInt.asUintN(spec.widthBits, clamp(signedValue(spec, word), minimum, maximum));
}

function clamp(value: bigint, minimum: bigint, maximum: bigint): bigint {
  if (value < minimum) return minimum;
  return value > maximum ? maximum : value;
}

export function behavioursOf(device: DeviceDescriptor, random: Random): readonly Behaviour[] {
  const behaviours: Behaviour[] = [];
  for (const placed of device.registers) {
    const { spec } = placed;
    const name = nameOf(placed).toLowerCase();
    const alarm = alarmBehaviour(device.registers, placed);
    if (alarm !== undefined) behaviours.push(alarm);
    if (spec.access !== 'ro' || LIMIT_NAME.test(name)) continue;
    const duty = dutyFor(device.registers, placed);
    if (duty !== undefined) behaviours.push(fanBehaviour(spec, duty));
    else if (name === 'capacity') behaviours.push(capacityBehaviour(spec));
    else if (RANGES[spec.unit] !== undefined) behaviours.push(driftBehaviour(spec, random));
  }
  return behaviours;
}

/** The writable duty register that a fan speed register follows: `fan1_input` follows `pwm1`, rpm follows duty. */
function dutyFor(
  registers: readonly PlacedRegister[],
  fan: PlacedRegister,
): RegisterSpec | undefined {
  if (fan.spec.unit !== 'rpm' && !/^fan\d+_input$/i.test(nameOf(fan))) return undefined;
  const number = /\d+/.exec(nameOf(fan))?.[0] ?? '';
  const writable = registers.filter((other) => other.spec.access === 'rw');
  const duty =
    writable.find((other) => nameOf(other).toLowerCase() === `pwm${number}`) ??
    writable.find((other) => /^(pwm\d*|duty.*)$/i.test(nameOf(other)));
  return duty?.spec;
}

function fanBehaviour(spec: RegisterSpec, duty: RegisterSpec): Behaviour {
  const full = duty.limits?.maximum ?? 255n;
  return (file, elapsedMs, held) => {
    if (held(spec.name)) return;
    const fraction = Number(file.peek(duty.name)) / Number(full);
    const target = FAN_RPM_STOPPED + FAN_RPM_SPAN * Math.min(1, fraction);
    const now = Number(file.peek(spec.name)) * spec.scale;
    const step = (target - now) * Math.min(1, elapsedMs / FAN_SETTLE_MS);
    file.poke(spec.name, rawOf(spec, Math.abs(step) < 1 ? target : now + step));
  };
}

/** `temp1_max_alarm` is 1 while a measurement of the unit of `temp1_max` is above it. */
function alarmBehaviour(
  registers: readonly PlacedRegister[],
  alarm: PlacedRegister,
): Behaviour | undefined {
  const threshold = registers.find((other) => `${nameOf(other)}_alarm` === nameOf(alarm))?.spec;
  if (threshold === undefined || alarm.spec.access !== 'ro') return undefined;
  const measured = registers
    .filter((other) => other.spec.access === 'ro' && other.spec.unit === threshold.unit)
    .map((other) => other.spec);
  const scaled = (file: RegisterFile, spec: RegisterSpec): number =>
    Number(signedValue(spec, file.peek(spec.name))) * spec.scale;
  return (file, _elapsedMs, held) => {
    if (held(alarm.spec.name)) return;
    const above = measured.some((spec) => scaled(file, spec) > scaled(file, threshold));
    file.poke(alarm.spec.name, above ? 1n : 0n);
  };
}

function capacityBehaviour(spec: RegisterSpec): Behaviour {
  let fallenMs = 0;
  return (file, elapsedMs, held) => {
    fallenMs += elapsedMs;
    if (fallenMs < CAPACITY_FALL_MS || held(spec.name)) return;
    fallenMs = 0;
    const now = file.peek(spec.name);
    file.poke(spec.name, now > 20n ? now - 1n : 95n);
  };
}

/** A random walk of at most half a percent of the range each second, pulled back when outside it. */
function driftBehaviour(spec: RegisterSpec, random: Random): Behaviour {
  return (file, elapsedMs, held) => {
    const range = RANGES[spec.unit];
    if (range === undefined || held(spec.name)) return;
    const span = range.maximum - range.minimum;
    const now = Number(signedValue(spec, file.peek(spec.name))) * spec.scale;
    const step = (random.next() - 0.5) * span * 0.01 * Math.min(10, elapsedMs / 1_000);
    const next = Math.min(range.maximum, Math.max(range.minimum, now + step));
    file.poke(spec.name, rawOf(spec, next));
  };
}
