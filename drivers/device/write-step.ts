// One register write as a plan step: which bits, what they read back as, whether it can be undone.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import type { WriteStep } from '#model/plan';
import { formatWord, type RegisterSpec, signedValue, type Word, widthMask } from '#model/register';

/** The value when it fits width, limits and reserved bits. */
export function checkValue(place: string, spec: RegisterSpec, value: Word): Outcome<Word> {
  const all = widthMask(spec.widthBits);
  if (value < 0n || value > all) {
    const finding = `${shownValue(value)} does not fit the register's ${spec.widthBits} bits`;
    return refuse(fault('VALUE_TOO_WIDE', { place, finding }));
  }
  const reserved = value & spec.reservedMask;
  if (reserved !== 0n) {
    const finding = `${formatWord(value, spec.widthBits)} sets the reserved bits ${formatWord(reserved, spec.widthBits)}`;
    return refuse(fault('RESERVED_BITS', { place, finding }));
  }
  const meant = signedValue(spec, value);
  const { limits } = spec;
  if (limits !== null && (meant < limits.minimum || meant > limits.maximum)) {
    const unit = spec.scale === 1 && spec.unit !== '' ? ` ${spec.unit}` : '';
    const finding = `${meant}${unit} is outside the limits ${limits.minimum} .. ${limits.maximum}${unit}`;
    return refuse(fault('VALUE_OUT_OF_LIMITS', { place, finding }));
  }
  return succeed(value);
}

/** Hexadecimal, shortened: a request can hold a number of any length. */
function shownValue(value: bigint): string {
  const text = value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
  return text.length > 24
    ? `${text.slice(0, 24)}...`
    : text.replace(/[a-f]/g, (d) => d.toUpperCase());
}

/**
 * The step that writes `value` within `mask` (all unreserved bits, when absent). Only rw registers are
 * merged with what they hold: merging would read a wo register and clear bits of a w1c one.
 */
export function writeStep(
  device: LinearId,
  spec: RegisterSpec,
  value: Word,
  mask: Word = widthMask(spec.widthBits) & ~spec.reservedMask,
): WriteStep {
  const written = spec.access === 'rw' ? mask & ~spec.reservedMask : widthMask(spec.widthBits);
  const irreversible = spec.access !== 'rw' || (value & written & spec.selfClearingMask) !== 0n;
  return {
    kind: 'write',
    device,
    register: spec.name,
    widthBits: spec.widthBits,
    mask: written,
    value: value & written,
    settleUs: spec.settleUs,
    expect: expectation(spec, value & written, written),
    irreversible,
  };
}

function expectation(spec: RegisterSpec, value: Word, written: Word): WriteStep['expect'] {
  if (spec.readBackMask === 0n || spec.access === 'wo') return null;
  if (spec.access === 'w1c') {
    // A written one clears its bit; bits written as zero may be anything.
    const mask = value & spec.readBackMask;
    return mask === 0n ? null : { mask, value: 0n };
  }
  const mask = written & (spec.readBackMask | spec.selfClearingMask);
  return mask === 0n ? null : { mask, value: value & mask & ~spec.selfClearingMask };
}
