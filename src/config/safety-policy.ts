// Loads the safety policy of a site, or says everything that is wrong with it, each with its place.
// Invariants: a policy is used whole or not at all; what the file leaves out is as cautious as DEFAULT_POLICY.
// Faults: CONFIG_INVALID naming the first problem; all of them stay in `internal`.

import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { type LinearId, linearIdOf } from '#model/device';
import {
  type AggregationRule,
  type AuditPolicy,
  type ConflictPolicy,
  DEFAULT_THREATS,
  INDICATOR_RULES,
  type SafetyPolicy,
  type ThreatPolicy,
} from '#model/safety-policy';
import type { TrackName } from '#model/track-name';
import type { ConflictRule, ResolutionMethodName } from '#model/unified-state';
import { safety as validate } from './generated/validators.js';
import { type Problem, ProblemList, problemsFault } from './problem.ts';
import { checkSchema } from './schema-check.ts';
import { hexadecimal } from './words.ts';
import { readYaml, type YamlDocument } from './yaml-document.ts';

/** The file after its schema has been checked and its defaults filled in. */
interface SafetyText {
  readonly risk: AggregationRule;
  readonly sync: SafetyPolicy['sync'];
  readonly conflicts: readonly ConflictText[];
  readonly stop: SafetyPolicy['stop'];
  readonly selection: SafetyPolicy['selection'];
  readonly identity: SafetyPolicy['identity'];
  readonly audit: Omit<AuditPolicy, 'witnessFile'> & { readonly witnessFile?: string };
  readonly threats: Omit<ThreatPolicy, 'indicators'> & {
    readonly indicators: Partial<ThreatPolicy['indicators']>;
  };
}

interface ConflictText {
  readonly rule: ConflictRule;
  readonly method: ResolutionMethodName;
  readonly devices?: readonly number[];
  readonly deadlineSeconds: number;
  readonly authority?: readonly TrackName[];
}

export interface CheckedSafetyPolicy {
  /** Present exactly when there are no problems. */
  readonly policy?: SafetyPolicy;
  readonly problems: readonly Problem[];
}

const DEFAULT_AUTHORITY: readonly TrackName[] = ['security', 'kernel', 'interface'];

export function loadSafetyPolicy(file: string): Outcome<SafetyPolicy> {
  const { policy, problems } = checkSafetyPolicy(file);
  return policy === undefined ? refuse(problemsFault(problems)) : succeed(policy);
}

export function checkSafetyPolicy(file: string): CheckedSafetyPolicy {
  const document = readYaml(file, null);
  const problems = new ProblemList();
  problems.add(...document.problems);
  if (problems.count > 0) return { problems: problems.sorted() };
  problems.add(...checkSchema(validate, document, document.value));
  if (problems.count > 0) return { problems: problems.sorted() };
  const text = document.value as unknown as SafetyText;
  problems.add(...oddities(document, text));
  const conflicts = text.conflicts.map((entry, index) => {
    return conflictOf(document, entry, index, (problem) => problems.add(problem));
  });
  problems.add(...doubles(document, conflicts));
  if (problems.count > 0) return { problems: problems.sorted() };
  const { risk, sync, stop, selection, audit, identity, threats } = text;
  return {
    policy: {
      risk: { ...risk, weights: { ...risk.weights } },
      sync: { ...sync },
      conflicts,
      stop: { ...stop },
      selection: { ...selection },
      audit: {
        ...audit,
        retention: { ...audit.retention },
        witnessFile: audit.witnessFile ?? null,
      },
      identity: { ...identity },
      threats: threatsOf(threats),
    },
    problems: [],
  };
}

/** What is well formed and still cannot be meant. */
function oddities(document: YamlDocument, text: SafetyText): readonly Problem[] {
  const problems: Problem[] = [];
  const { weights, method } = text.risk;
  if (method === 'WEIGHTED' && weights.kernel + weights.security + weights.interface === 0) {
    problems.push(document.problem(['risk', 'weights'], 'no track has any weight'));
  }
  const { periodMs, staleAfterMs } = text.sync;
  if (staleAfterMs < 2 * periodMs) {
    const finding = `${staleAfterMs} ms is less than two periods of ${periodMs} ms: every device would be stale`;
    problems.push(document.problem(['sync', 'staleAfterMs'], finding));
  }
  const { low, medium, high, critical } = text.threats.levels;
  if (!(low < medium && medium < high && high < critical)) {
    const finding = `${low}, ${medium}, ${high}, ${critical}: each level needs a higher score than the one before it`;
    problems.push(document.problem(['threats', 'levels'], finding));
  }
  const { idleMinutes, hoursMax } = text.identity;
  if (idleMinutes > hoursMax * 60) {
    const finding = `${idleMinutes} minutes are more than the ${hoursMax} hours of a whole session`;
    problems.push(document.problem(['identity', 'idleMinutes'], finding));
  }
  const { entriesMax, segmentEntries } = text.audit.retention;
  if (entriesMax < segmentEntries) {
    const finding = `${entriesMax} entries are less than one segment of ${segmentEntries}`;
    problems.push(document.problem(['audit', 'retention'], finding));
  }
  return problems;
}

/** A copy that shares nothing with the document; an indicator that it does not name counts as ever. */
function threatsOf(threats: SafetyText['threats']): ThreatPolicy {
  const indicators = { ...DEFAULT_THREATS.indicators };
  for (const name of INDICATOR_RULES) {
    indicators[name] = { ...(threats.indicators[name] ?? DEFAULT_THREATS.indicators[name]) };
  }
  return {
    windowSeconds: threats.windowSeconds,
    levels: { ...threats.levels },
    quietMinutes: threats.quietMinutes,
    criticalGroups: [...threats.criticalGroups],
    baseline: { ...threats.baseline },
    indicators,
  };
}

function conflictOf(
  document: YamlDocument,
  entry: ConflictText,
  index: number,
  report: (problem: Problem) => void,
): ConflictPolicy {
  const path = ['conflicts', index] as const;
  if (entry.method === 'AUTHORITY' && entry.authority === undefined) {
    report(document.problem(path, 'AUTHORITY needs the member authority', 'key'));
  }
  if (entry.method !== 'AUTHORITY' && entry.authority !== undefined) {
    report(document.problem([...path, 'authority'], `has no meaning for ${entry.method}`, 'key'));
  }
  const devices: LinearId[] = [];
  for (const [at, given] of (entry.devices ?? []).entries()) {
    const device = linearIdOf(given);
    const place = [...path, 'devices', at];
    if (device === undefined) {
      report(document.problem(place, `${hexadecimal(BigInt(given))} is no token and no linear id`));
    } else if (devices.includes(device)) {
      report(document.problem(place, 'names a device that stands in the list already'));
    } else {
      devices.push(device);
    }
  }
  return {
    rule: entry.rule,
    method: entry.method,
    devices: entry.devices === undefined ? null : devices,
    deadlineSeconds: entry.deadlineSeconds,
    authority: entry.authority ?? DEFAULT_AUTHORITY,
  };
}

/** Two entries for one rule and one device: nobody could say which counts. */
function doubles(document: YamlDocument, conflicts: readonly ConflictPolicy[]): readonly Problem[] {
  const problems: Problem[] = [];
  const seen = new Map<string, number>();
  for (const [index, { rule, devices }] of conflicts.entries()) {
    for (const device of devices ?? [null]) {
      const key = `${rule} ${device}`;
      const before = seen.get(key);
      if (before === undefined) {
        seen.set(key, index);
        continue;
      }
      const whom = device === null ? 'every device' : `device ${device}`;
      const finding = `settles ${rule} for ${whom} as conflicts[${before}] does already`;
      problems.push(document.problem(['conflicts', index], finding));
      break;
    }
  }
  return problems;
}
