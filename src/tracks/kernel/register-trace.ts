// What a register may hold after a transaction that was cut short, and which of it stands: pure comparison of words.
// Invariants: a register that changes by itself, that reading would disturb or whose write leaves no trace proves nothing;
// where a register held before what it was to hold afterwards, it counts for both.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import type { RegisterReading } from '#model/operation';
import { type RegisterPlan, type RegisterReference, type WriteStep, writesOf } from '#model/plan';
import { formatWord, type RegisterSpec, type Word, widthMask } from '#model/register';
import { wordToWrite } from '#model/written-word';
import type { DeviceAccess } from './device-access.ts';
import type { MadeWrite } from './plan-executor.ts';
import { checkStep } from './register-policy.ts';

export interface RegisterTrace extends RegisterReference {
  readonly spec: RegisterSpec;
  readonly place: string;
  /** The last write of this register in the plan. */
  readonly step: WriteStep;
  /** What it holds before the first write, after each one, and last of all the target. */
  readonly words: readonly Word[];
  /** Bits that are compared. */
  readonly mask: Word;
}

/** One for each written register in the order of its last write; a fault where one of them could prove nothing. */
export function tracesOf(
  plan: RegisterPlan,
  priors: readonly RegisterReading[],
  access: DeviceAccess,
): Outcome<readonly RegisterTrace[]> {
  const traces = new Map<string, RegisterTrace>();
  for (const step of writesOf(plan)) {
    const place = access.placeOf(step);
    const checked = checkStep(access.devices.get(step.device), step);
    if (!checked.ok) return checked;
    const spec = checked.value;
    const key = `${step.device}.${step.register}`;
    const before = traces.get(key);
    const prior = priors.find(
      ({ device, register }) => device === step.device && register === step.register,
    )?.value;
    const words = before?.words ?? (prior === undefined ? [] : [prior]);
    const mask = spec.readBackMask & ~spec.selfClearingMask & widthMask(spec.widthBits);
    const unprovable = reasonAgainst(step, spec, mask, words);
    if (unprovable !== undefined) {
      return refuse(fault('IN_DOUBT', { place, finding: `${place} ${unprovable}` }));
    }
    const word = wordToWrite(spec, step, words.at(-1));
    traces.delete(key);
    traces.set(key, { ...referenceOf(step), spec, place, step, mask, words: [...words, word] });
  }
  return succeed([...traces.values()]);
}

function reasonAgainst(
  step: WriteStep,
  spec: RegisterSpec,
  mask: Word,
  words: readonly Word[],
): string | undefined {
  if (step.irreversible) return 'was to be written with an effect that leaves no trace';
  if (spec.access !== 'rw' || spec.precious) return 'cannot be read without a side effect';
  if (spec.volatile) return 'changes by itself and proves nothing';
  if (mask === 0n) return 'has no bit that is compared after a write';
  return words.length === 0 ? 'held something before that is not on record' : undefined;
}

export type Standing =
  | { readonly stands: 'target' | 'prior' | 'safe' }
  | { readonly stands: 'part'; readonly finding: string; readonly toUndo: readonly MadeWrite[] }
  | { readonly stands: 'unknown'; readonly finding: string };

/** `seen` in the order of the traces; `undefined` for a register that could not be read. */
export function classify(
  traces: readonly RegisterTrace[],
  seen: readonly (Word | undefined)[],
  stopEngaged: (device: LinearId) => boolean,
): Standing {
  const unreadable = traces.find((_, index) => seen[index] === undefined);
  if (unreadable !== undefined)
    return { stands: 'unknown', finding: `${unreadable.place} cannot be read` };
  const found = traces.map((trace, index) => ({ trace, word: seen[index] ?? 0n }));
  if (found.every(({ trace, word }) => holds(trace, word, trace.words.at(-1))))
    return { stands: 'target' };
  if (found.every(({ trace, word }) => holds(trace, word, trace.words[0])))
    return { stands: 'prior' };
  const stopped = found.some(({ trace }) => stopEngaged(trace.device));
  // Nothing may be written to stopped devices, so what the stop left there has to be good enough by itself.
  const safe = found.every(
    ({ trace, word }) =>
      holds(trace, word, trace.words[0]) ||
      (stopEngaged(trace.device) && holds(trace, word, trace.spec.safeValue ?? undefined)),
  );
  if (stopped && safe) return { stands: 'safe' };
  const strange = found.find(
    ({ trace, word }) => !trace.words.some((known) => holds(trace, word, known)),
  );
  if (strange !== undefined) {
    const { place, spec } = strange.trace;
    const held = formatWord(strange.word, spec.widthBits);
    const finding = `${place} holds ${held}, which is neither the old value nor the new one`;
    return { stands: 'unknown', finding };
  }
  const changed = found.filter(({ trace, word }) => !holds(trace, word, trace.words[0]));
  const places = changed.map(({ trace }) => trace.place).join(', ');
  const finding = `${changed.length} of ${found.length} registers had been written (${places})`;
  if (stopped) return { stands: 'unknown', finding: `${finding}, and the stop forbids undoing it` };
  const toUndo = changed.map(({ trace }) => {
    return { step: trace.step, spec: trace.spec, prior: trace.words[0] };
  });
  return { stands: 'part', finding, toUndo };
}

function holds({ mask }: RegisterTrace, seen: Word, word: Word | undefined): boolean {
  return word !== undefined && (seen & mask) === (word & mask);
}

function referenceOf({ device, register, widthBits }: WriteStep): RegisterReference {
  return { device, register, widthBits };
}
