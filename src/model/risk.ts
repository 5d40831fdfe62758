// Risk levels with the specification's numbers, ranked so that UNKNOWN is the worst.

import type { TrackName } from './track-name.ts';

export const RiskLevel = {
  UNKNOWN: 0,
  SAFE: 1,
  LOW: 2,
  MODERATE: 3,
  HIGH: 4,
  CRITICAL: 5,
  QUARANTINED: 6,
} as const;
export type RiskLevel = (typeof RiskLevel)[keyof typeof RiskLevel];
export type RiskName = keyof typeof RiskLevel;

const NAMES = ['UNKNOWN', 'SAFE', 'LOW', 'MODERATE', 'HIGH', 'CRITICAL', 'QUARANTINED'] as const;

export function riskName(level: RiskLevel): RiskName {
  return NAMES[level];
}

/** Order of danger: UNKNOWN ranks above QUARANTINED. */
export function riskRank(level: RiskLevel): number {
  return level === RiskLevel.UNKNOWN ? RiskLevel.QUARANTINED + 1 : level;
}

export function worseRisk(left: RiskLevel, right: RiskLevel): RiskLevel {
  return riskRank(left) >= riskRank(right) ? left : right;
}

/** Raises a known level by whole steps, never above QUARANTINED; UNKNOWN stays UNKNOWN. */
export function raiseRisk(level: RiskLevel, steps: number): RiskLevel {
  if (level === RiskLevel.UNKNOWN) return level;
  return Math.min(level + steps, RiskLevel.QUARANTINED) as RiskLevel;
}

export interface RiskAssessment {
  readonly track: TrackName;
  readonly level: RiskLevel;
  /** Why, in the order applied, for people. */
  readonly reasons: readonly string[];
}
