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

/** What becomes of the record when its disk fills, and where copies of its end go. */
export interface AuditPolicy {
  /** With less room on the disk of the audit chain no operation starts but a stop or a DEACTIVATE, bytes. */
  readonly freeBytesMin: number;
  /** Between two signed checkpoints while entries are appended, minutes. */
  readonly checkpointMinutes: number;
  /** Absolute path of a file, best on other media, that takes a copy of each checkpoint; null for none. */
  readonly witnessFile: string | null;
  readonly retention: {
    /** Entries that stay in the database. */
    readonly entriesMax: number;
    /** Entries of one archived segment, a multiple of 1,000. */
    readonly segmentEntries: number;
  };
}

/** How long people stay signed in, and when a name is locked that somebody guesses at. */
export interface IdentityPolicy {
  /** A sign-in with a password that was not used for so long is over, minutes. */
  readonly idleMinutes: number;
  /** Any session is over after so long, hours. */
  readonly hoursMax: number;
  /** So many failed sign-ins of one name within the window lock it. */
  readonly failuresMax: number;
  readonly failureWindowMinutes: number;
  readonly lockMinutes: number;
}

/** DECISIONS section 4. */
export const DEFAULT_IDENTITY: IdentityPolicy = {
  idleMinutes: 30,
  hoursMax: 12,
  failuresMax: 3,
  failureWindowMinutes: 15,
  lockMinutes: 30,
};

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
  readonly audit: AuditPolicy;
  readonly identity: IdentityPolicy;
  readonly threats: ThreatPolicy;
}

/** How one indicator counts: nothing for the first `after`, then `each` points for every one more, up to `most`. */
export interface IndicatorRule {
  readonly after: number;
  readonly each: number;
  readonly most: number;
}

export const INDICATOR_RULES = [
  // Of a person.
  'rate',
  'unusualDevice',
  'unusualHour',
  'criticalGroup',
  'failedAuthentication',
  'beyondRights',
  'refusals',
  'refusedApprovals',
  // Of a source.
  'failedSignIns',
  'anonymousRefusals',
  'throttling',
  'flooding',
  // Of a device.
  'refusedByMany',
  'handChanges',
] as const;
export type IndicatorRuleName = (typeof INDICATOR_RULES)[number];

/** When threat detection takes what it sees for an attack. A probe of a quarantined device is CRITICAL under any policy. */
export interface ThreatPolicy {
  readonly windowSeconds: number;
  /** Least score of each level. */
  readonly levels: {
    readonly low: number;
    readonly medium: number;
    readonly high: number;
    readonly critical: number;
  };
  /** LOW and MEDIUM incidents close by themselves after so long without anything new, minutes. */
  readonly quietMinutes: number;
  /** Groups of devices where an attempt weighs more. */
  readonly criticalGroups: readonly number[];
  readonly baseline: {
    /** What is usual for a person counts only after so many operations on so many days. */
    readonly operationsMin: number;
    readonly daysMin: number;
    /** Over so many times the usual number of operations, and over `rateMin` in one window, the rate is unusual. */
    readonly rateFactor: number;
    readonly rateMin: number;
  };
  readonly indicators: Readonly<Record<IndicatorRuleName, IndicatorRule>>;
}

/** DECISIONS section 7 for rate, device, hour and group; the rest leaves room for ordinary mistakes. */
export const DEFAULT_THREATS: ThreatPolicy = {
  windowSeconds: 600,
  levels: { low: 30, medium: 50, high: 70, critical: 90 },
  quietMinutes: 60,
  criticalGroups: [0, 1, 2],
  baseline: { operationsMin: 200, daysMin: 3, rateFactor: 4, rateMin: 60 },
  indicators: {
    rate: { after: 0, each: 25, most: 25 },
    unusualDevice: { after: 0, each: 30, most: 30 },
    unusualHour: { after: 0, each: 20, most: 20 },
    criticalGroup: { after: 0, each: 40, most: 40 },
    failedAuthentication: { after: 0, each: 10, most: 40 },
    beyondRights: { after: 5, each: 3, most: 51 },
    refusals: { after: 30, each: 1, most: 30 },
    refusedApprovals: { after: 1, each: 10, most: 40 },
    failedSignIns: { after: 0, each: 10, most: 60 },
    anonymousRefusals: { after: 5, each: 5, most: 40 },
    throttling: { after: 0, each: 10, most: 40 },
    flooding: { after: 300, each: 1, most: 40 },
    refusedByMany: { after: 2, each: 20, most: 60 },
    handChanges: { after: 0, each: 15, most: 60 },
  },
};

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
  audit: {
    freeBytesMin: 32 * 1024 * 1024,
    checkpointMinutes: 10,
    witnessFile: null,
    retention: { entriesMax: 2_000_000, segmentEntries: 100_000 },
  },
  identity: DEFAULT_IDENTITY,
  threats: DEFAULT_THREATS,
};
