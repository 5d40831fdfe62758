// A plan in words: one line for each register transaction and each guard, for dry runs and for whoever approves.

import type { DeviceDescriptor, LinearId } from '#model/device';
import type { RegisterPlan, RegisterStep } from '#model/plan';
import { formatWord, widthMask } from '#model/register';

export function describePlan(
  plan: RegisterPlan,
  devices: ReadonlyMap<LinearId, DeviceDescriptor>,
): readonly string[] {
  const slugOf = (id: LinearId) => devices.get(id)?.slug ?? `device ${id}`;
  const steps = plan.steps.map((step) => describeStep(step, slugOf(step.device)));
  return [...steps, ...describeGuards(plan, slugOf)];
}

/** Also what the writes are conditional on: it is part of what is approved. */
function describeGuards(plan: RegisterPlan, slugOf: (id: LinearId) => string): readonly string[] {
  const { thermal, unchanged } = plan.guards;
  const kept = new Map<LinearId, string[]>();
  for (const { device, register } of unchanged) {
    kept.set(device, [...(kept.get(device) ?? []), register]);
  }
  return [
    ...thermal.map(
      ({ device, register, maximum }) =>
        `watch ${slugOf(device)}.${register} at most ${maximum} before every step`,
    ),
    ...[...kept].map(
      ([device, registers]) => `watch ${slugOf(device)} for changes of ${registers.join(', ')}`,
    ),
  ];
}

function describeStep(step: RegisterStep, slug: string): string {
  const place = `${slug}.${step.register}`;
  if (step.kind === 'read') return `read ${place}`;
  const value = formatWord(step.value, step.widthBits);
  const whole = step.mask === widthMask(step.widthBits);
  return whole
    ? `write ${place} ${value}`
    : `write ${place} ${value} under mask ${formatWord(step.mask, step.widthBits)}`;
}
