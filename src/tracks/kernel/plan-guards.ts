// The safety requirements that are kept on metal: temperature, registers that must not change, and a way back.
// Invariants: a requirement that cannot be kept refuses the plan; what cannot be read is judged as the worst.
// Faults: REQUIREMENT_UNMET when planning; THERMAL_LIMIT and MEMORY_PROTECTION on what was read.

import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { type DeviceDescriptor, type LinearId, registerOf } from '#model/device';
import type { RegisterReading, SafetyRequirements } from '#model/operation';
import type {
  PlanGuards,
  RegisterReference,
  RegisterStep,
  ThermalGuard,
  WriteStep,
} from '#model/plan';
import { formatWord, type RegisterSpec, signedValue, type Word, widthMask } from '#model/register';
import { obstacleToUndo } from '#model/written-word';
import type { DeviceAccess } from './device-access.ts';
import { type FoundWords, keyOf } from './register-reader.ts';

type Devices = ReadonlyMap<LinearId, DeviceDescriptor>;

/** Registers compared around one plan; more would hold the bus for longer than a plan may take. */
const UNCHANGED_MAX = 4_096;

/** What the executor has to watch for these steps under these requirements. */
export function guardsFor(
  requirements: SafetyRequirements,
  steps: readonly RegisterStep[],
  devices: Devices,
): Outcome<PlanGuards> {
  const thermal = requirements.thermalMonitoringRequired
    ? thermalGuards(steps, devices)
    : succeed<readonly ThermalGuard[]>([]);
  if (!thermal.ok) return thermal;
  const unchanged = requirements.memoryProtectionRequired
    ? unchangedRegisters(steps, devices)
    : succeed<readonly RegisterReference[]>([]);
  if (!unchanged.ok) return unchanged;
  return succeed({ thermal: thermal.value, unchanged: unchanged.value });
}

function thermalGuards(
  steps: readonly RegisterStep[],
  devices: Devices,
): Outcome<readonly ThermalGuard[]> {
  const guards: ThermalGuard[] = [];
  const without: string[] = [];
  for (const id of new Set(steps.map((step) => step.device))) {
    const device = devices.get(id);
    const limit = device?.behaviour.thermal;
    const spec = device === undefined ? undefined : specNamed(device, limit?.register);
    if (limit === undefined || spec === undefined) {
      without.push(device?.slug ?? `device ${id}`);
      continue;
    }
    const { widthBits } = spec;
    guards.push({ device: id, register: spec.name, widthBits, maximum: limit.maximum });
  }
  if (without.length === 0) return succeed(guards);
  const finding = 'thermal_monitoring_required, and the profile names no thermometer';
  return refuse(fault('REQUIREMENT_UNMET', { place: without.join(', '), finding }));
}

/**
 * All rw registers of the written devices that only a write of ours should change and that can be read without an effect.
 * Every kind of bus is compared in this way; wo and precious registers cannot be, and are not part of the promise. A
 * device that has nothing else than what is written has nothing to protect.
 */
function unchangedRegisters(
  steps: readonly RegisterStep[],
  devices: Devices,
): Outcome<readonly RegisterReference[]> {
  const writes = steps.filter((step) => step.kind === 'write');
  const written = new Set(writes.map(keyOf));
  const registers: RegisterReference[] = [];
  const involved = [...new Set(writes.map((step) => step.device))];
  for (const device of involved) {
    for (const { spec } of devices.get(device)?.registers ?? []) {
      if (spec.access !== 'rw' || spec.volatile || spec.precious) continue;
      if (written.has(keyOf({ device, register: spec.name }))) continue;
      registers.push({ device, register: spec.name, widthBits: spec.widthBits });
    }
  }
  if (registers.length <= UNCHANGED_MAX) return succeed(registers);
  const place = involved.map((id) => devices.get(id)?.slug ?? `device ${id}`).join(', ');
  const finding = `memory_protection_required would compare ${registers.length} registers, at most ${UNCHANGED_MAX} are compared around one plan`;
  return refuse(fault('REQUIREMENT_UNMET', { place, finding }));
}

/** `rollback_capability_required`: every write has a way back. */
export function checkRollback(steps: readonly RegisterStep[], devices: Devices): Outcome<void> {
  for (const [index, step] of steps.entries()) {
    if (step.kind === 'read') continue;
    const device = devices.get(step.device);
    const spec = device === undefined ? undefined : specNamed(device, step.register);
    const obstacle = spec === undefined ? 'the register is unknown' : obstacleToUndo(spec, step);
    if (obstacle !== null) return refuse(noWayBack(step, [index, steps.length], device, obstacle));
  }
  return succeed(undefined);
}

/** `at` is the step's index and the number of steps. */
export function noWayBack(
  step: WriteStep,
  at: readonly [number, number],
  device: DeviceDescriptor | undefined,
  obstacle: string,
): Fault {
  const place = `${device?.slug ?? `device ${step.device}`}.${step.register}`;
  const what = `write ${formatWord(step.value, step.widthBits)}`;
  const finding = `rollback_capability_required, and step ${at[0] + 1} of ${at[1]} (${what}) cannot be undone: ${obstacle}`;
  return fault('REQUIREMENT_UNMET', { place, finding });
}

/** The first thermometer that is above its limit or could not be read. */
export function judgeTemperatures(
  access: DeviceAccess,
  guards: readonly ThermalGuard[],
  found: FoundWords,
): Fault | undefined {
  for (const guard of guards) {
    const place = access.placeOf(guard);
    const word = found.get(keyOf(guard));
    const spec = access.point(guard.device, guard.register)?.spec;
    if (word === undefined || spec === undefined) {
      return fault('THERMAL_LIMIT', { place, finding: 'the temperature was not read' });
    }
    if (!word.ok) {
      // The plan ran out of its time; that says nothing about the thermometer.
      if (word.fault.code === 'DEADLINE_EXCEEDED') return word.fault;
      const finding = `the temperature cannot be read: ${word.fault.finding}`;
      return fault('THERMAL_LIMIT', { place, finding });
    }
    const reading = signedValue(spec, word.value);
    if (reading <= BigInt(guard.maximum)) continue;
    const limit = shown(spec, BigInt(guard.maximum));
    const finding = `${shown(spec, reading)} is above the limit of ${limit}`;
    return fault('THERMAL_LIMIT', { place, finding });
  }
  return undefined;
}

/** The first register that does not hold what it held in prepare. */
export function judgeUnchanged(
  access: DeviceAccess,
  registers: readonly RegisterReference[],
  before: readonly RegisterReading[],
  found: FoundWords,
): Fault | undefined {
  const priors = new Map(before.map((reading) => [keyOf(reading), reading.value]));
  for (const register of registers) {
    const place = access.placeOf(register);
    const prior = priors.get(keyOf(register));
    const word = found.get(keyOf(register));
    const spec = access.point(register.device, register.register)?.spec;
    if (prior === undefined || word === undefined || spec === undefined) {
      const finding = 'nobody knows whether it changed, for it was not read';
      return fault('MEMORY_PROTECTION', { place, finding });
    }
    if (!word.ok) {
      const finding = `it cannot be read after the last write: ${word.fault.finding}`;
      return fault('MEMORY_PROTECTION', { place, finding });
    }
    const mask = comparedMask(spec);
    if ((prior & mask) === (word.value & mask)) continue;
    const was = formatWord(prior, spec.widthBits);
    const is = formatWord(word.value, spec.widthBits);
    const finding = `the plan does not write it, but it was ${was} and is ${is}`;
    return fault('MEMORY_PROTECTION', { place, finding });
  }
  return undefined;
}

/** A bit that the device clears by itself is no change. */
function comparedMask(spec: RegisterSpec): Word {
  return widthMask(spec.widthBits) & ~spec.selfClearingMask;
}

function specNamed(device: DeviceDescriptor, name: string | undefined): RegisterSpec | undefined {
  return name === undefined ? undefined : registerOf(device, name)?.spec;
}

/** Scaled and with its unit, without the noise of binary fractions. */
function shown(spec: RegisterSpec, raw: bigint): string {
  const scaled = Number((Number(raw) * spec.scale).toPrecision(9));
  return spec.unit === '' ? `${scaled}` : `${scaled} ${spec.unit}`;
}
