// What a planned write puts on the bus and what the register holds afterwards: one rule for preview, promise and metal.
// Invariants: pure; bits outside the mask and reserved bits keep what they hold, but for w1c, whose other bits are zeros.

import type { WriteStep } from './plan.ts';
import { type RegisterSpec, readable, type Word, widthMask } from './register.ts';

/**
 * The word that goes to the bus: planned bits over what the register holds; w1c writes only its ones. A bit that the
 * device is about to clear by itself (a reset under way) is not kept: written again it would start again.
 */
export function wordToWrite(spec: RegisterSpec, step: WriteStep, prior: Word | undefined): Word {
  const planned = step.value & step.mask;
  if (spec.access === 'w1c' || prior === undefined) return planned;
  const keep =
    (~step.mask | spec.reservedMask) & ~spec.selfClearingMask & widthMask(spec.widthBits);
  return (prior & keep) | (planned & ~spec.reservedMask);
}

/** True when the step cannot be written without knowing what the register holds. */
export function needsPrior(spec: RegisterSpec, step: WriteStep): boolean {
  if (!readable(spec) || spec.precious || spec.access === 'w1c') return false;
  const reversible = !step.irreversible;
  const partial = step.mask !== widthMask(spec.widthBits) || spec.reservedMask !== 0n;
  return reversible || partial || spec.maxStep !== null;
}

/** True when a person may be shown what the register holds: reading it has no side effect. */
export function showable(spec: RegisterSpec): boolean {
  return readable(spec) && !spec.precious && spec.access !== 'rc';
}

/** What the register holds once `word` was written and taken; nothing where that depends on an unknown content. */
export function contentAfter(
  spec: RegisterSpec,
  word: Word,
  prior: Word | undefined,
): Word | undefined {
  if (spec.access !== 'w1c') return word & ~spec.selfClearingMask;
  return prior === undefined ? undefined : prior & ~word;
}

/** Why the write can be undone by no later one, or null when writing back what the register held undoes it. */
export function obstacleToUndo(spec: RegisterSpec, step: WriteStep): string | null {
  if (spec.access === 'w1c') return 'a written one clears its bit, and no write sets it again';
  if (spec.access === 'wo') return 'the register cannot be read, so nobody knows what it held';
  if (spec.precious) return 'reading the register has a side effect, so nobody knows what it held';
  if (step.irreversible) return 'the device acts on the written bits at once';
  return null;
}
