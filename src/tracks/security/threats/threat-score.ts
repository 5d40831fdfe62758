// How suspicious a subject is: points for each indicator with its numbers, their sum, and the level that sum reaches.
// Invariants: pure; what is taken out of a window never raises a score; a probe of a quarantined device and a broken audit
// chain are CRITICAL under any policy; failed sign-ins, which anybody can cause, never lift a person above MEDIUM.

import type { ThreatIndicator, ThreatLevel, ThreatSubjectKind } from '#model/incident';
import type { IndicatorRule, IndicatorRuleName, ThreatPolicy } from '#model/safety-policy';
import type { Sign } from './threat-window.ts';

/** What is needed of a window. */
export interface ThreatTally {
  count(sign: Sign): number;
  /** People who were refused here. */
  readonly people: number;
}

export interface ThreatQuestion {
  readonly kind: ThreatSubjectKind;
  readonly tally: ThreatTally;
  /** Operations in one window that are usual for the person; null where too little was learned. */
  readonly usualOperations: number | null;
  readonly policy: ThreatPolicy;
}

export interface ThreatScore {
  readonly score: number;
  readonly level: ThreatLevel;
}

interface Indicator {
  readonly name: string;
  readonly rule: IndicatorRuleName | 'certain';
  readonly signs: readonly Sign[];
  readonly amount: (question: ThreatQuestion) => number;
  readonly told: (amount: number, question: ThreatQuestion) => string;
  /** `aggravates`: counts only beside something else. `others`: may be somebody else's doing. */
  readonly sort?: 'aggravates' | 'others';
}

/** Points of what needs no second look; not for any policy to change. */
const CERTAIN: IndicatorRule = { after: 0, each: 90, most: 90 };

const times = (count: number) => (count === 1 ? 'once' : `${count} times`);
const counted = (sign: Sign) => (question: ThreatQuestion) => question.tally.count(sign);
const seen = (sign: Sign) => (question: ThreatQuestion) => Math.min(1, question.tally.count(sign));

const PROBE: Indicator = {
  name: 'quarantine-probe',
  rule: 'certain',
  signs: ['probe'],
  amount: counted('probe'),
  told: (count) => `tried a quarantined device ${times(count)}`,
};

const INDICATORS: Readonly<Record<ThreatSubjectKind, readonly Indicator[]>> = {
  person: [
    PROBE,
    {
      name: 'rate',
      rule: 'rate',
      signs: ['done'],
      amount: ({ tally, usualOperations, policy }) => {
        const { rateFactor, rateMin } = policy.baseline;
        if (usualOperations === null) return 0;
        return tally.count('done') > Math.max(rateMin, rateFactor * usualOperations) ? 1 : 0;
      },
      told: (_, { tally, usualOperations }) =>
        `${tally.count('done')} operations in one window, ${Math.round(usualOperations ?? 0)} are usual`,
    },
    {
      name: 'unusual-device',
      rule: 'unusualDevice',
      signs: ['unusualDevice'],
      amount: seen('unusualDevice'),
      told: (_, { tally }) =>
        `${tally.count('unusualDevice')} changes of devices never changed before today`,
    },
    {
      name: 'unusual-hour',
      rule: 'unusualHour',
      signs: ['unusualHour'],
      amount: seen('unusualHour'),
      told: (_, { tally }) =>
        `${tally.count('unusualHour')} changes at an hour (UTC) that is not usual`,
    },
    {
      name: 'beyond-rights',
      rule: 'beyondRights',
      signs: ['beyondRights'],
      amount: counted('beyondRights'),
      told: (count) => `asked ${times(count)} for what it may not do`,
    },
    {
      name: 'refused-series',
      rule: 'refusals',
      signs: ['refused'],
      amount: counted('refused'),
      told: (count) => `was refused ${times(count)} for requests that could not be meant`,
    },
    {
      name: 'refused-approvals',
      rule: 'refusedApprovals',
      signs: ['approvalRefused'],
      amount: counted('approvalRefused'),
      told: (count) => `tried ${times(count)} to approve what it may not approve`,
    },
    {
      name: 'critical-group',
      rule: 'criticalGroup',
      signs: ['criticalDone', 'beyondRightsCritical'],
      amount: ({ tally }) =>
        Math.min(1, tally.count('criticalDone') + tally.count('beyondRightsCritical')),
      told: (_, { tally }) =>
        `${tally.count('criticalDone')} operations of HIGH risk and ${tally.count('beyondRightsCritical')} refused ones in critical groups`,
      sort: 'aggravates',
    },
    {
      name: 'failed-authentication',
      rule: 'failedAuthentication',
      signs: ['signInFailed'],
      amount: counted('signInFailed'),
      told: (count) => `${count} failed sign-ins under this name, by whomever`,
      sort: 'others',
    },
  ],
  source: [
    PROBE,
    {
      name: 'audit-tampered',
      rule: 'certain',
      signs: ['tampered'],
      amount: counted('tampered'),
      told: () => 'the audit chain does not hold together',
    },
    {
      name: 'failed-authentication',
      rule: 'failedSignIns',
      signs: ['signInFailed'],
      amount: counted('signInFailed'),
      told: (count) => `${count} failed sign-ins from here`,
    },
    {
      name: 'anonymous-refusals',
      rule: 'anonymousRefusals',
      signs: ['anonymous'],
      amount: counted('anonymous'),
      told: (count) => `${count} refused requests from here without an identity`,
    },
    {
      name: 'throttled',
      rule: 'throttling',
      signs: ['throttled'],
      amount: counted('throttled'),
      told: (count) => `reached the rate limit ${times(count)}`,
    },
    {
      name: 'log-flooding',
      rule: 'flooding',
      signs: ['refused'],
      amount: counted('refused'),
      told: (count) => `${count} refusals from here fill the audit chain`,
    },
  ],
  device: [
    PROBE,
    {
      name: 'refused-by-many',
      rule: 'refusedByMany',
      signs: ['beyondRights'],
      amount: ({ tally }) => tally.people,
      told: (count) => `${count} people asked for what they may not do with it`,
    },
    {
      name: 'changed-by-hand',
      rule: 'handChanges',
      signs: ['handChange'],
      amount: counted('handChange'),
      told: (count) => `changed ${times(count)} without an operation`,
    },
  ],
};

export function scoreOf(question: ThreatQuestion): ThreatScore {
  const { policy, kind } = question;
  let own = 0;
  let others = 0;
  let aggravation = 0;
  let certain = false;
  for (const indicator of INDICATORS[kind]) {
    const points = pointsOf(indicator, question);
    if (points === 0) continue;
    if (indicator.rule === 'certain') certain = true;
    if (indicator.sort === 'aggravates') aggravation += points;
    else if (indicator.sort === 'others') others += points;
    else own += points;
  }
  if (own > 0) own += aggravation;
  const score = own + others;
  if (score === 0) return NOTHING;
  if (certain) return { score, level: 'CRITICAL' };
  const level = levelOf(score, policy);
  const locks = level === 'HIGH' || level === 'CRITICAL';
  if (locks && own < policy.levels.high) return { score, level: 'MEDIUM' };
  return { score, level: locks ? levelOf(own, policy) : level };
}

const NOTHING: ThreatScore = { score: 0, level: 'NONE' };

/** An indicator that counts, and the signs it rests on. */
export interface CountingIndicator extends Omit<ThreatIndicator, 'entries'> {
  readonly signs: readonly Sign[];
}

/** Those that make up the score, the weightiest first. */
export function indicatorsOf(question: ThreatQuestion): readonly CountingIndicator[] {
  const counting: CountingIndicator[] = [];
  let own = 0;
  for (const indicator of INDICATORS[question.kind]) {
    const points = pointsOf(indicator, question);
    if (indicator.sort === undefined) own += points;
    if (points === 0 || (indicator.sort === 'aggravates' && own === 0)) continue;
    const finding = indicator.told(indicator.amount(question), question);
    counting.push({ name: indicator.name, points, finding, signs: indicator.signs });
  }
  return counting.sort((left, right) => right.points - left.points);
}

export function levelOf(score: number, { levels }: ThreatPolicy): ThreatLevel {
  if (score >= levels.critical) return 'CRITICAL';
  if (score >= levels.high) return 'HIGH';
  if (score >= levels.medium) return 'MEDIUM';
  return score >= levels.low ? 'LOW' : 'NONE';
}

function pointsOf(indicator: Indicator, question: ThreatQuestion): number {
  const amount = indicator.amount(question);
  if (amount === 0) return 0;
  const { rule } = indicator;
  const { after, each, most } = rule === 'certain' ? CERTAIN : question.policy.indicators[rule];
  return amount > after ? Math.min(most, each * (amount - after)) : 0;
}
