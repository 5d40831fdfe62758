// The kernel track's own rules for every step, whoever planned it: the last look before metal.
// Invariants: pure; judges data only; independent of the drivers that made the plan.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  type DeviceDescriptor,
  formatToken,
  permanentlyQuarantined,
  registerOf,
} from '#model/device';
import type { RegisterStep, WriteStep } from '#model/plan';
import {
  formatWord,
  type RegisterSpec,
  readable,
  signedValue,
  type Word,
  widthMask,
  writable,
} from '#model/register';
import { wordToWrite } from '#model/written-word';

/** What can be judged from the step alone. */
export function checkStep(
  device: DeviceDescriptor | undefined,
  step: RegisterStep,
): Outcome<RegisterSpec> {
  if (device === undefined) {
    return refuse(
      fault('DEVICE_UNKNOWN', { place: `device ${step.device}`, finding: 'not on this board' }),
    );
  }
  const place = `${device.slug}.${step.register}`;
  if (device.quarantined || permanentlyQuarantined(device.id)) {
    const finding = `device ${formatToken(device.id)} is quarantined by kernel policy`;
    return refuse(fault('DEVICE_QUARANTINED', { place, finding }));
  }
  const spec = registerOf(device, step.register)?.spec;
  if (spec === undefined) {
    return refuse(
      fault('REGISTER_UNKNOWN', {
        place,
        finding: `profile ${device.profile} has no such register`,
      }),
    );
  }
  if (spec.widthBits !== step.widthBits) {
    const finding = `planned ${step.widthBits} bits wide, the register has ${spec.widthBits}`;
    return refuse(fault('PLAN_CHANGED', { place, finding }));
  }
  if (step.kind === 'read') {
    return readable(spec)
      ? succeed(spec)
      : refuse(fault('REGISTER_WRITE_ONLY', { place, finding: 'the register cannot be read' }));
  }
  if (!writable(spec)) {
    return refuse(
      fault('REGISTER_READ_ONLY', { place, finding: `the register is ${spec.access}` }),
    );
  }
  const all = widthMask(spec.widthBits);
  if (step.value < 0n || step.value > all || step.mask < 0n || step.mask > all) {
    const finding = `value 0x${step.value.toString(16)} does not fit ${spec.widthBits} bits`;
    return refuse(fault('VALUE_TOO_WIDE', { place, finding }));
  }
  // A full-width write may cover reserved bits as long as it leaves them zero: they keep what they hold.
  const reserved = step.value & step.mask & spec.reservedMask;
  if (reserved !== 0n) {
    const finding = `the value sets reserved bits ${formatWord(reserved, spec.widthBits)}`;
    return refuse(fault('RESERVED_BITS', { place, finding }));
  }
  const left = all & ~step.mask & ~spec.reservedMask;
  if (left !== 0n && spec.access !== 'w1c' && (!readable(spec) || spec.precious)) {
    const finding = `the bits ${formatWord(left, spec.widthBits)} cannot be kept because the register is not read before a write`;
    return refuse(
      fault('REGISTER_WRITE_ONLY', { place, finding, consequence: 'nothing was written' }),
    );
  }
  return succeed(spec);
}

/** Limits and largest step, judged on the whole word that would be written. */
export function checkAgainstPrior(
  place: string,
  spec: RegisterSpec,
  step: WriteStep,
  prior: Word | undefined,
): Outcome<Word> {
  const word = wordToWrite(spec, step, prior);
  const value = signedValue(spec, word);
  const { limits, maxStep } = spec;
  if (limits !== null && (value < limits.minimum || value > limits.maximum)) {
    const finding = `${value} is outside ${limits.minimum} .. ${limits.maximum}${unitOf(spec)}`;
    return refuse(fault('VALUE_OUT_OF_LIMITS', { place, finding }));
  }
  if (maxStep !== null && prior === undefined) {
    const finding = `the register is not read before a write, so nobody can tell whether this is within the allowed step ${maxStep}${unitOf(spec)}`;
    return refuse(fault('STEP_TOO_LARGE', { place, finding }));
  }
  if (maxStep !== null && prior !== undefined) {
    const change = value - signedValue(spec, prior);
    const size = change < 0n ? -change : change;
    if (size > maxStep) {
      const finding = `a change of ${change} is larger than the allowed step ${maxStep}${unitOf(spec)}`;
      return refuse(fault('STEP_TOO_LARGE', { place, finding }));
    }
  }
  return succeed(word);
}

function unitOf(spec: RegisterSpec): string {
  return spec.unit === '' ? '' : ` ${spec.unit}`;
}
