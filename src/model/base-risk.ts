// The risk of an operation by the base risk of its device alone, before any plan is known (scores of docs/risk.md).
// Invariants: pure; a device of UNKNOWN base risk and an UNKNOWN operation count as the worst.

import { OperationType } from './operation.ts';
import { RiskLevel } from './risk.ts';

export const OPERATION_WEIGHT: Readonly<Record<OperationType, number>> = {
  [OperationType.UNKNOWN]: 4,
  [OperationType.READ]: 0,
  [OperationType.DEACTIVATE]: 1,
  [OperationType.WRITE]: 2,
  [OperationType.CONFIG]: 3,
  [OperationType.ACTIVATE]: 3,
  [OperationType.RESET]: 4,
  [OperationType.EMERGENCY_STOP]: 0,
};

/** SAFE 0, LOW 1, MODERATE 2, HIGH 3, CRITICAL 4. */
export function baseScore(level: RiskLevel): number {
  return level === RiskLevel.UNKNOWN ? 4 : level - 1;
}

export function levelOfScore(score: number): RiskLevel {
  if (score <= 1) return RiskLevel.SAFE;
  if (score <= 3) return RiskLevel.LOW;
  if (score === 4) return RiskLevel.MODERATE;
  if (score <= 6) return RiskLevel.HIGH;
  return RiskLevel.CRITICAL;
}

/** Of one device among `count` of the same operation. */
export function baseRiskOf(type: OperationType, base: RiskLevel, count: number): RiskLevel {
  const several = count > 1 ? 1 : 0;
  return levelOfScore(baseScore(base) + OPERATION_WEIGHT[type] + several);
}
