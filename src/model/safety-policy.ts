// What a site decides about safety: how risk is combined, how conflicts are settled, how often the stop is tested.

import type { LinearId } from './device.ts';
import type { TrackName } from './track-name.ts';
import type { ConflictRule, ResolutionMethodName } from './unified-state.ts';

export type AggregationMethod = 'CONSERVATIVE' | 'WEIGHTED' | 'CONSENSUS';

export interface AggregationRule {
  readonly method: AggregationMethod;
  /** Weights for WEIGHTED; a track with weight 0 does not count. */
  readonly weights: Readonly<Record<TrackName, number>>;
  /** Adds ceil(factor * level), 0..1. */
  readonly uncertaintyFactor: number;
}

/** How one rule's conflicts are settled, on the named devices or on all. */
export interface ConflictPolicy {
  readonly rule: ConflictRule;
  readonly method: ResolutionMethodName;
  /** Null for every device; an entry that names devices goes before one that does not. */
  readonly devices: readonly LinearId[] | null;
  /** USER_MEDIATED: how long people have. */
  readonly deadlineSeconds: number;
  /** AUTHORITY: whose word counts, first to last. */
  readonly authority: readonly TrackName[];
}

export interface SafetyPolicy {
  readonly risk: AggregationRule;
  readonly sync: {
    /** Between two full synchronizations, milliseconds. */
    readonly periodMs: number;
    /** A device that kernel has not reached for longer is stale, milliseconds. */
    readonly staleAfterMs: number;
  };
  readonly conflicts: readonly ConflictPolicy[];
  readonly stop: {
    /** Between two tests of the stop path, milliseconds. */
    readonly selfTestPeriodMs: number;
  };
  readonly selection: {
    /** Longest time a selection may hold a device, seconds. */
    readonly secondsMax: number;
  };
}

export const DEFAULT_POLICY: SafetyPolicy = {
  risk: {
    method: 'CONSERVATIVE',
    weights: { kernel: 1, security: 1, interface: 1 },
    uncertaintyFactor: 0,
  },
  sync: { periodMs: 5_000, staleAfterMs: 15_000 },
  conflicts: [],
  stop: { selfTestPeriodMs: 10_000 },
  selection: { secondsMax: 300 },
};
