// A driver knows one device's metal and decides nothing: it says what a register access would be.

import type { Outcome } from '#foundation/outcome';
import type { DeviceDescriptor } from './device.ts';
import type { OperationType, Target } from './operation.ts';
import type { RegisterStep } from './plan.ts';
import type { Word } from './register.ts';
import type { KernelDeviceState } from './snapshot.ts';

/** Register contents by register name, as last read. */
export type RegisterValues = ReadonlyMap<string, Word>;

export interface DriverPlan {
  readonly steps: readonly RegisterStep[];
}

export interface Driver {
  readonly descriptor: DeviceDescriptor;
  /** Registers read to see whether the expected part is really there. */
  readonly identifyRegisters: readonly string[];
  /** True when the identification registers hold what this part must show. */
  identify(values: RegisterValues): boolean;
  /** Registers worth polling for the device's state; none of them precious. */
  readonly observeRegisters: readonly string[];
  /** Power and overall state from polled values. */
  observe(values: RegisterValues): Pick<KernelDeviceState, 'power' | 'status'>;
  /** The register transactions for an operation on this device; touches nothing. */
  plan(type: OperationType, target: Target): Outcome<DriverPlan>;
}
