// Numbers and names of the wire's enumerations against the model's; what is not known becomes the worst value.
// Invariants: the specification's numbers are the model's numbers, so only what the model names by words needs tables.

import type { Metal } from '#foundation/fault';
import { EventType, Severity } from '#model/event';
import type { HoldKind } from '#model/hold';
import {
  CoordinationResult,
  type EffectOutcome,
  type OperationState,
  OperationType,
} from '#model/operation';
import { ClearanceLevel } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { EmergencyPriority } from '#model/stop';
import { type EventSource, SOURCE_NUMBER } from '#model/track-name';
import type { ConflictAnswer, ConflictRule } from '#model/unified-state';
import * as appliance from './generated/dsmil/appliance/v1/appliance.ts';
import * as wire from './generated/dsmil/communication/v1/communication.ts';

function oneOf<T extends number>(known: Readonly<Record<string, T>>, otherwise: T) {
  const numbers = new Set<number>(Object.values(known));
  return (value: number): T => (numbers.has(value) ? (value as T) : otherwise);
}

export const operationTypeFromWire = oneOf(OperationType, OperationType.UNKNOWN);
export const riskFromWire = oneOf(RiskLevel, RiskLevel.UNKNOWN);
export const resultFromWire = oneOf(CoordinationResult, CoordinationResult.UNKNOWN);
export const eventTypeFromWire = oneOf(EventType, EventType.UNKNOWN);
export const severityFromWire = oneOf(Severity, Severity.UNKNOWN);
export const priorityFromWire = oneOf(EmergencyPriority, EmergencyPriority.UNKNOWN);
/** An unknown clearance asks for the highest there is. */
export const clearanceFromWire = oneOf(ClearanceLevel, ClearanceLevel.COSMIC);

const EFFECTS: Readonly<Record<EffectOutcome, wire.EffectOutcome>> = {
  none: wire.EffectOutcome.EFFECT_NONE,
  committed: wire.EffectOutcome.EFFECT_COMMITTED,
  'rolled-back': wire.EffectOutcome.EFFECT_ROLLED_BACK,
  'in-doubt': wire.EffectOutcome.EFFECT_IN_DOUBT,
  stopped: wire.EffectOutcome.EFFECT_STOPPED,
};

const STATES: Readonly<Record<OperationState, wire.OperationState>> = {
  INITIALIZING: wire.OperationState.STATE_INITIALIZING,
  SAFETY_CHECKING: wire.OperationState.STATE_SAFETY_CHECKING,
  AUTHORIZING: wire.OperationState.STATE_AUTHORIZING,
  EXECUTING: wire.OperationState.STATE_EXECUTING,
  COMPLETED: wire.OperationState.STATE_COMPLETED,
  FAILED: wire.OperationState.STATE_FAILED,
  EMERGENCY_STOPPED: wire.OperationState.STATE_EMERGENCY_STOPPED,
};

const METALS: Readonly<Record<Metal, wire.MetalState>> = {
  unknown: wire.MetalState.METAL_UNKNOWN,
  untouched: wire.MetalState.METAL_UNTOUCHED,
  touched: wire.MetalState.METAL_TOUCHED,
};

const HOLDS: Readonly<Record<HoldKind, wire.HoldKind>> = {
  'in-doubt': wire.HoldKind.HOLD_IN_DOUBT,
  stopped: wire.HoldKind.HOLD_STOPPED,
  deactivated: wire.HoldKind.HOLD_DEACTIVATED,
  quarantined: wire.HoldKind.HOLD_QUARANTINED,
};

const RULES: Readonly<Record<ConflictRule, appliance.ConflictRule>> = {
  ACTIVE_WHILE_QUARANTINED: appliance.ConflictRule.RULE_ACTIVE_WHILE_QUARANTINED,
  ACTIVE_WHILE_LOCKED: appliance.ConflictRule.RULE_ACTIVE_WHILE_LOCKED,
  RUNNING_WHILE_STOPPED: appliance.ConflictRule.RULE_RUNNING_WHILE_STOPPED,
  NORMAL_WHILE_FAULT: appliance.ConflictRule.RULE_NORMAL_WHILE_FAULT,
  CURRENT_WHILE_STALE: appliance.ConflictRule.RULE_CURRENT_WHILE_STALE,
  HOLD_DISAGREES: appliance.ConflictRule.RULE_HOLD_DISAGREES,
  CHANGED_WITHOUT_OPERATION: appliance.ConflictRule.RULE_CHANGED_WITHOUT_OPERATION,
};

const ANSWERS: Readonly<Record<ConflictAnswer, appliance.ConflictAnswer>> = {
  QUARANTINE: appliance.ConflictAnswer.ANSWER_QUARANTINE,
  STOP: appliance.ConflictAnswer.ANSWER_STOP,
  INHIBIT: appliance.ConflictAnswer.ANSWER_INHIBIT,
  REVIEW: appliance.ConflictAnswer.ANSWER_REVIEW,
  SHOW_FAULT: appliance.ConflictAnswer.ANSWER_SHOW_FAULT,
  SHOW_STALE: appliance.ConflictAnswer.ANSWER_SHOW_STALE,
  ACCEPT: appliance.ConflictAnswer.ANSWER_ACCEPT,
};

function keyOf<K extends string>(
  table: Readonly<Record<K, number>>,
  value: number,
  otherwise: K,
): K {
  for (const key of Object.keys(table) as K[]) if (table[key] === value) return key;
  return otherwise;
}

export const effectToWire = (effect: EffectOutcome): wire.EffectOutcome => EFFECTS[effect];
export const effectFromWire = (value: number): EffectOutcome => keyOf(EFFECTS, value, 'in-doubt');
export const stateToWire = (state: OperationState): wire.OperationState => STATES[state];
export const stateFromWire = (value: number): OperationState => keyOf(STATES, value, 'FAILED');
export const metalToWire = (metal: Metal): wire.MetalState => METALS[metal];
export const metalFromWire = (value: number): Metal => keyOf(METALS, value, 'unknown');

export const holdKindToWire = (kind: HoldKind): wire.HoldKind => HOLDS[kind];
export const conflictRuleToWire = (rule: ConflictRule): appliance.ConflictRule => RULES[rule];
export const conflictAnswerToWire = (answer: ConflictAnswer): appliance.ConflictAnswer =>
  ANSWERS[answer];

/** Undefined for UNKNOWN and for numbers that are not known: an answer is never guessed. */
export function conflictAnswerFromWire(value: number): ConflictAnswer | undefined {
  return (Object.keys(ANSWERS) as ConflictAnswer[]).find((answer) => ANSWERS[answer] === value);
}

export const sourceToWire = (source: EventSource): wire.TrackSource =>
  SOURCE_NUMBER[source] as wire.TrackSource;
export const sourceFromWire = (value: number): EventSource =>
  keyOf(SOURCE_NUMBER, value, 'orchestrator');
