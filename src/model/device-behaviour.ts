// What a profile says a device does, as plain data: how it is recognised, what its state is, what operations write.

import type { Word } from './register.ts';
import type { OverallStatus, PowerState } from './snapshot.ts';

/**
 * Holds when `minimum <= (word & mask) <= maximum`, on the raw word in place (not shifted down).
 * With a mask over the whole of a signed register the comparison is of the signed value.
 */
export interface RegisterCondition {
  readonly register: string;
  readonly mask: Word;
  readonly minimum: bigint;
  readonly maximum: bigint;
}

/** The first rule whose conditions all hold gives the state; a rule without conditions always holds. */
export interface StateRule<State> {
  readonly when: readonly RegisterCondition[];
  readonly state: State;
}

/** One register write of a profile operation: `value` within `mask`. */
export interface BehaviourWrite {
  readonly register: string;
  readonly mask: Word;
  readonly value: Word;
}

/** The register that tells the device's temperature, and the highest reading at which it may be operated. */
export interface ThermalLimit {
  readonly register: string;
  /** Raw, signed where the register is. */
  readonly maximum: number;
}

export interface DeviceBehaviour {
  /** Absent where the device has no thermometer: `thermal_monitoring_required` is then refused. */
  readonly thermal?: ThermalLimit;
  /** All must hold for the part to be the expected one; empty when the part cannot be recognised. */
  readonly identify: readonly RegisterCondition[];
  readonly observe: {
    /** Polled for the device's state, at most 16, none precious; all registers of the rules are among them. */
    readonly registers: readonly string[];
    readonly power: readonly StateRule<PowerState>[];
    readonly status: readonly StateRule<OverallStatus>[];
  };
  readonly operations: {
    /** Writes in order; null when the device has no such operation. */
    readonly reset: readonly BehaviourWrite[] | null;
    readonly activate: readonly BehaviourWrite[] | null;
    readonly deactivate: readonly BehaviourWrite[] | null;
    /** Registers that CONFIG may write; null for any writable one. */
    readonly configure: readonly string[] | null;
  };
}
