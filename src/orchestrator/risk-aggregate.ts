// One risk from the tracks that were asked; never lower than caution allows, never truncated downwards.

import { type RiskAssessment, RiskLevel, riskName, worseRisk } from '#model/risk';
import { type AggregationRule, DEFAULT_POLICY } from '#model/safety-policy';

export type { AggregationMethod, AggregationRule } from '#model/safety-policy';
export const CONSERVATIVE_RULE: AggregationRule = DEFAULT_POLICY.risk;

export interface AggregatedRisk {
  readonly level: RiskLevel;
  readonly reasons: readonly string[];
}

/** `assessments` holds one entry for each involved track; one that did not answer is UNKNOWN. */
export function aggregateRisk(
  assessments: readonly RiskAssessment[],
  rule: AggregationRule,
): AggregatedRisk {
  const reasons = assessments.flatMap((assessment) => [
    `${assessment.track}: ${riskName(assessment.level)}`,
    ...assessment.reasons.map((reason) => `${assessment.track}: ${reason}`),
  ]);
  const unknown = assessments.some((assessment) => assessment.level === RiskLevel.UNKNOWN);
  if (unknown || assessments.length === 0) return { level: RiskLevel.UNKNOWN, reasons };
  const level = combine(assessments, rule);
  const raised = Math.min(
    level + Math.ceil(rule.uncertaintyFactor * level),
    RiskLevel.QUARANTINED,
  ) as RiskLevel;
  if (raised !== level)
    reasons.push(`uncertainty ${rule.uncertaintyFactor}: raised to ${riskName(raised)}`);
  return { level: raised, reasons };
}

function combine(assessments: readonly RiskAssessment[], rule: AggregationRule): RiskLevel {
  const highest = assessments
    .map((assessment) => assessment.level)
    .reduce(worseRisk, RiskLevel.SAFE);
  // Quarantine is not a matter of opinion: no weight and no majority lowers it.
  if (highest === RiskLevel.QUARANTINED) return highest;
  switch (rule.method) {
    case 'CONSERVATIVE':
    case 'CONSENSUS':
      // A unanimous level is also the highest one; without unanimity the highest counts.
      return highest;
    case 'WEIGHTED': {
      let sum = 0;
      let total = 0;
      for (const { track, level } of assessments) {
        sum += level * rule.weights[track];
        total += rule.weights[track];
      }
      return total > 0 ? (Math.ceil(sum / total - 1e-9) as RiskLevel) : highest;
    }
  }
}
