// One row of the journal as text and back: whole, or with a finding that says why it cannot be believed.
// Invariants: a row is believed only when its digest covers it and the plan in it has the digest it was decided under.

import { type Canonical, canonicalDigest, canonicalText } from '#foundation/canonical';
import type { LinearId } from '#model/device';
import {
  type Intent,
  OPERATION_NAMES,
  OperationType,
  operationName,
  type RegisterReading,
} from '#model/operation';
import {
  devicesOf,
  type PlanGuards,
  planDigest,
  type RegisterPlan,
  type RegisterReference,
  type RegisterStep,
} from '#model/plan';
import type { WidthBits } from '#model/register';
import type { Votes } from '#model/transaction';

/** What is decided: everything needed to settle it when nobody who took part is alive any more. */
export interface Decision {
  readonly intent: Intent;
  readonly plan: RegisterPlan;
  /** Register contents before the writes, from prepare. */
  readonly priors: readonly RegisterReading[];
  readonly votes: Votes;
  /** Principal id. */
  readonly requestedBy: string;
  readonly decidedWallMs: number;
}

/** A decided transaction whose outcome is not on disk. */
export interface OpenTransaction {
  readonly kind: 'open';
  readonly operationId: string;
  readonly plan: RegisterPlan;
  readonly devices: readonly LinearId[];
  readonly priors: readonly RegisterReading[];
  readonly votes: Votes;
  readonly requestedBy: string;
  readonly justification: string;
  readonly decidedWallMs: number;
  /** A person has been told that it is in doubt. */
  readonly told: boolean;
}

/** A row that cannot be believed: somebody has to look at these devices. */
export interface DamagedTransaction {
  readonly kind: 'damaged';
  readonly operationId: string;
  readonly planDigest: string;
  /** Null when not even they can be read. */
  readonly devices: readonly LinearId[] | null;
  readonly finding: string;
}

export type UnsettledTransaction = OpenTransaction | DamagedTransaction;

/** The columns as they lie on disk. */
export interface StoredRow {
  readonly operation_id: string;
  readonly plan_digest: string;
  readonly devices: string;
  readonly decision: string;
  readonly row_digest: string;
}

export function storedRow(decision: Decision): StoredRow {
  const { intent, plan, priors, votes, requestedBy, decidedWallMs } = decision;
  const columns = {
    operation_id: intent.operationId,
    plan_digest: plan.digest,
    devices: JSON.stringify(devicesOf(plan)),
    decision: text({
      intent: {
        operation: operationName(intent.type),
        targets: intent.targets,
        requirements: intent.requirements,
        justification: intent.justification,
      },
      plan: {
        type: operationName(plan.type),
        steps: plan.steps,
        guards: plan.guards,
        worstCaseMs: plan.worstCaseMs,
        basis: plan.basis,
      },
      priors: priors.map(({ device, register, value }) => ({ device, register, value })),
      votes,
      requestedBy,
      decidedWallMs,
    }),
  };
  return { ...columns, row_digest: canonicalDigest(columns) };
}

export function readRow(row: Readonly<Record<string, unknown>>): UnsettledTransaction {
  const columns = {
    operation_id: String(row.operation_id),
    plan_digest: String(row.plan_digest),
    devices: String(row.devices),
    decision: String(row.decision),
  };
  const damaged = (finding: string): DamagedTransaction => ({
    kind: 'damaged',
    operationId: columns.operation_id,
    planDigest: columns.plan_digest,
    devices: devicesFrom(columns.devices),
    finding,
  });
  if (canonicalDigest(columns) !== row.row_digest) return damaged('its digest does not cover it');
  try {
    const open = openFrom(columns, row.told !== null);
    const { type, steps, guards, digest } = open.plan;
    if (planDigest(type, steps, guards) === digest) return open;
    return damaged('its plan is not the one that was decided');
  } catch (error) {
    return damaged(`it cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function openFrom(columns: Omit<StoredRow, 'row_digest'>, told: boolean): OpenTransaction {
  const decision = record(JSON.parse(columns.decision));
  const plan = record(decision.plan);
  const guards = record(plan.guards);
  const type = typeFrom(plan.type);
  const steps = list(plan.steps).map(stepFrom);
  const read: RegisterPlan = {
    type,
    steps,
    guards: guardsFrom(guards),
    worstCaseMs: number(plan.worstCaseMs),
    basis: string(plan.basis),
    digest: columns.plan_digest,
  };
  return {
    kind: 'open',
    operationId: columns.operation_id,
    plan: read,
    devices: devicesOf(read),
    priors: list(decision.priors).map(priorFrom),
    votes: votesFrom(decision.votes),
    requestedBy: string(decision.requestedBy),
    justification: string(record(decision.intent).justification),
    decidedWallMs: number(decision.decidedWallMs),
    told,
  };
}

function guardsFrom(guards: Record<string, unknown>): PlanGuards {
  return {
    thermal: list(guards.thermal).map((one) => ({
      ...referenceFrom(one),
      maximum: number(record(one).maximum),
    })),
    unchanged: list(guards.unchanged).map(referenceFrom),
  };
}

function stepFrom(value: unknown): RegisterStep {
  const step = record(value);
  const reference = referenceFrom(step);
  if (step.kind === 'read') return { kind: 'read', ...reference };
  if (step.kind !== 'write') throw new Error(`a step of kind ${String(step.kind)}`);
  const expect = step.expect === null ? null : record(step.expect);
  return {
    kind: 'write',
    ...reference,
    mask: word(step.mask),
    value: word(step.value),
    settleUs: number(step.settleUs),
    expect: expect === null ? null : { mask: word(expect.mask), value: word(expect.value) },
    irreversible: step.irreversible === true,
  };
}

function referenceFrom(value: unknown): RegisterReference {
  const { device, register, widthBits } = record(value);
  return {
    device: number(device),
    register: string(register),
    widthBits: number(widthBits) as WidthBits,
  };
}

function priorFrom(value: unknown): RegisterReading {
  const { device, register, value: held } = record(value);
  const place = { device: number(device), register: string(register) };
  return held === undefined ? place : { ...place, value: word(held) };
}

function votesFrom(value: unknown): Votes {
  const votes = record(value);
  const vote = (name: 'kernel' | 'security' | 'interface') =>
    votes[name] === 'yes' ? 'yes' : votes[name] === 'no' ? 'no' : 'notAsked';
  return { kernel: vote('kernel'), security: vote('security'), interface: vote('interface') };
}

function typeFrom(value: unknown): OperationType {
  const name = OPERATION_NAMES.find((known) => known === value);
  if (name === undefined) throw new Error(`an operation ${String(value)}`);
  return OperationType[name];
}

function devicesFrom(stored: string): readonly LinearId[] | null {
  try {
    const devices = list(JSON.parse(stored)).map(number);
    return devices.length > 0 && devices.every(Number.isInteger) ? devices : null;
  } catch {
    return null;
  }
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new Error('a value that is no object');
}

function list(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new Error('a value that is no list');
}

function number(value: unknown): number {
  if (typeof value === 'number') return value;
  throw new Error('a value that is no number');
}

function string(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new Error('a value that is no text');
}

/** A big integer's canonical text reads back as the string of its hexadecimal digits. */
function word(value: unknown): bigint {
  const digits = string(value);
  if (/^0x[0-9a-f]{1,16}$/.test(digits)) return BigInt(digits);
  throw new Error('a value that is no word');
}

function text(value: unknown): string {
  return canonicalText(value as Canonical);
}
