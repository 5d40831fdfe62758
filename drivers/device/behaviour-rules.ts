// Judges register contents by a profile's rules: whether a condition holds and what state a device is in.
// Invariants: a register that was not read makes the answer UNKNOWN, which ranks as the worst.

import type { DeviceBehaviour, RegisterCondition, StateRule } from '#model/device-behaviour';
import type { RegisterValues } from '#model/driver';
import { type RegisterSpec, signedValue, widthMask } from '#model/register';
import { type KernelDeviceState, OverallStatus, PowerState } from '#model/snapshot';

type Specs = ReadonlyMap<string, RegisterSpec>;

/** Undefined when the register's content is not known. */
export function holds(
  condition: RegisterCondition,
  specs: Specs,
  values: RegisterValues,
): boolean | undefined {
  const word = values.get(condition.register);
  const spec = specs.get(condition.register);
  if (word === undefined || spec === undefined) return undefined;
  const whole = condition.mask === widthMask(spec.widthBits);
  const value = whole ? signedValue(spec, word) : word & condition.mask;
  return value >= condition.minimum && value <= condition.maximum;
}

export function deviceState(
  behaviour: DeviceBehaviour,
  specs: Specs,
  values: RegisterValues,
): Pick<KernelDeviceState, 'power' | 'status'> {
  return {
    power: firstState(behaviour.observe.power, specs, values) ?? PowerState.UNKNOWN,
    status: firstState(behaviour.observe.status, specs, values) ?? OverallStatus.UNKNOWN,
  };
}

/** Undefined when no rule holds, or when a rule in front of the first that holds cannot be judged. */
function firstState<State>(
  rules: readonly StateRule<State>[],
  specs: Specs,
  values: RegisterValues,
): State | undefined {
  for (const rule of rules) {
    const judged = rule.when.map((condition) => holds(condition, specs, values));
    if (judged.every((verdict) => verdict === true)) return rule.state;
    if (!judged.includes(false)) return undefined;
  }
  return undefined;
}
