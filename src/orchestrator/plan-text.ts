// A plan in words: one line for each register transaction, for dry runs and for whoever approves.

import type { DeviceDescriptor, LinearId } from '#model/device';
import type { RegisterPlan, RegisterStep } from '#model/plan';
import { formatWord, widthMask } from '#model/register';

export function describePlan(
  plan: RegisterPlan,
  devices: ReadonlyMap<LinearId, DeviceDescriptor>,
): readonly string[] {
  return plan.steps.map((step) =>
    describeStep(step, devices.get(step.device)?.slug ?? `device ${step.device}`),
  );
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
