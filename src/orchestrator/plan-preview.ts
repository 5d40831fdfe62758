// A dry run for people: what every written register holds before and after its write, and how each write would be undone.
// Invariants: in the order of the plan, each write following those before it; undoing goes from the last entry to the first.

import type { DeviceDescriptor, LinearId } from '#model/device';
import { registerOf } from '#model/device';
import { OperationType, type WritePreview } from '#model/operation';
import { type RegisterPlan, type WriteStep, writesOf } from '#model/plan';
import { formatWord, type RegisterSpec, type Word } from '#model/register';
import { contentAfter, needsPrior, obstacleToUndo, wordToWrite } from '#model/written-word';

/** From the readings that kernel sent with the plan (`RegisterPlan.preview`). */
export function previewWrites(
  plan: RegisterPlan,
  devices: ReadonlyMap<LinearId, DeviceDescriptor>,
): readonly WritePreview[] {
  const held = new Map<string, Word | undefined>(
    (plan.preview ?? []).map(({ device, register, value }) => [`${device}.${register}`, value]),
  );
  return writesOf(plan).map((step): WritePreview => {
    const { device: id, register } = step;
    const key = `${id}.${register}`;
    const device = devices.get(id);
    const spec = device === undefined ? undefined : registerOf(device, register)?.spec;
    const place = `${device?.slug ?? `device ${id}`}.${register}`;
    if (spec === undefined) {
      return { device: id, register, rollback: `cannot be told: ${place} is unknown here` };
    }
    const before = held.get(key);
    const after = holdsAfter(plan.type, spec, step, before);
    held.set(key, after);
    return {
      device: id,
      register,
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after }),
      rollback: rollbackOf(plan.type, spec, step, { place, before }),
    };
  });
}

/** The stop writes whole words whatever the register holds. */
function holdsAfter(
  type: OperationType,
  spec: RegisterSpec,
  step: WriteStep,
  before: Word | undefined,
): Word | undefined {
  if (type === OperationType.EMERGENCY_STOP) return contentAfter(spec, step.value, before);
  if (before === undefined && needsPrior(spec, step)) return undefined;
  return contentAfter(spec, wordToWrite(spec, step, before), before);
}

function rollbackOf(
  type: OperationType,
  spec: RegisterSpec,
  step: WriteStep,
  known: { readonly place: string; readonly before: Word | undefined },
): string {
  if (type === OperationType.EMERGENCY_STOP) {
    return 'not undone: a stop is reset by two people and the device activated again';
  }
  const obstacle = obstacleToUndo(spec, step);
  if (obstacle !== null) return `cannot be undone: ${obstacle}`;
  if (known.before === undefined) return 'cannot be told: what the register holds was not read';
  const back = known.before & ~spec.selfClearingMask;
  return `write ${known.place} ${formatWord(back, spec.widthBits)}`;
}
