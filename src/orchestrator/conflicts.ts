// The named rules by which tracks are found to disagree about a device: pure, over the three parts of one device.
// Invariants: no wall clock; what propagation alone explains is given its grace before it counts; the answers of a rule
// stand in order of safety, and the last of them is the least that safety permits.

import { HOLD_KINDS, type HoldKind } from '#model/hold';
import {
  DisplayState,
  type InterfaceDeviceState,
  type KernelDeviceState,
  OverallStatus,
  PowerState,
  type SecurityDeviceState,
  SecurityStatus,
} from '#model/snapshot';
import type { ConflictAnswer, ConflictPosition, ConflictRule } from '#model/unified-state';

export interface DeviceParts {
  readonly kernel: KernelDeviceState;
  readonly security: SecurityDeviceState;
  readonly interface: InterfaceDeviceState;
}

export interface ConflictContext {
  /** Monotonic milliseconds. */
  readonly nowMs: number;
  /** The stop covers this device: the whole system, or the device alone. */
  readonly stopCovers: boolean;
  /** Of the record of holds. */
  readonly expectedHolds: readonly HoldKind[];
  /** The device has a state in which it is not powered, and safe values that should bring it there. */
  readonly canRest: boolean;
  readonly staleAfterMs: number;
  readonly kernelUp: boolean;
  /** Monotonic milliseconds of kernel's last word about anything. */
  readonly kernelHeardMs: number;
  /** Kernel has taken the holds: before that it cannot be expected to enforce them. */
  readonly inCharge: boolean;
  readonly interfaceUp: boolean;
}

export interface Disagreement {
  readonly rule: ConflictRule;
  readonly finding: string;
  readonly positions: readonly ConflictPosition[];
  /** What it is about: while an answer other than ACCEPT stands, the same subject is not brought up again. */
  readonly subject: string;
  /** Exactly what was found: after ACCEPT only these facts are settled. */
  readonly facts: string;
}

/** `cause`: what a resolution stands on still holds, although the tracks no longer disagree. */
export type Verdict =
  | { readonly kind: 'none' }
  | { readonly kind: 'cause' }
  | { readonly kind: 'disagreement'; readonly disagreement: Disagreement };

/** Whose knowledge has to be younger than the grace: the device itself, kernel's word, or the panels' picture. */
export type Look = 'metal' | 'kernel' | 'interface';

export interface RuleDefinition {
  /** Safest first; the last is the floor: no method and no person may go below it. */
  readonly answers: readonly [ConflictAnswer, ...ConflictAnswer[]];
  readonly looks: readonly Look[];
  /** A disagreement younger than this is propagation, milliseconds. */
  readonly graceMs: number;
  /** Time without a new conflict of this rule after one was settled, milliseconds. */
  readonly quietMs: number;
  /** Whether an open conflict ends with its cause, or waits for its answer all the same. */
  readonly whenGone: 'ends' | 'waits';
  readonly judge: (parts: DeviceParts, context: ConflictContext) => Verdict;
}

const NONE: Verdict = { kind: 'none' };
const CAUSE: Verdict = { kind: 'cause' };

export const RULES: Readonly<Record<ConflictRule, RuleDefinition>> = {
  ACTIVE_WHILE_QUARANTINED: {
    answers: ['QUARANTINE'],
    looks: ['kernel'],
    graceMs: 3_000,
    quietMs: 0,
    whenGone: 'ends',
    judge: activeWhileQuarantined,
  },
  ACTIVE_WHILE_LOCKED: {
    answers: ['STOP', 'INHIBIT'],
    looks: ['metal'],
    graceMs: 6_000,
    quietMs: 0,
    whenGone: 'ends',
    judge: activeWhileLocked,
  },
  // Kernel has five seconds for driving every device to its safe values.
  RUNNING_WHILE_STOPPED: {
    answers: ['STOP'],
    looks: ['metal'],
    graceMs: 6_000,
    quietMs: 0,
    whenGone: 'ends',
    judge: runningWhileStopped,
  },
  NORMAL_WHILE_FAULT: {
    answers: ['SHOW_FAULT', 'ACCEPT'],
    looks: ['kernel', 'interface'],
    graceMs: 2_000,
    quietMs: 0,
    whenGone: 'ends',
    judge: normalWhileFault,
  },
  // The panels find out by themselves within five seconds.
  CURRENT_WHILE_STALE: {
    answers: ['SHOW_STALE', 'ACCEPT'],
    looks: ['interface'],
    graceMs: 7_000,
    quietMs: 0,
    whenGone: 'ends',
    judge: currentWhileStale,
  },
  HOLD_DISAGREES: {
    answers: ['INHIBIT'],
    looks: ['kernel'],
    graceMs: 3_000,
    quietMs: 0,
    whenGone: 'ends',
    judge: holdDisagrees,
  },
  // A local knob that is turned again and again is one matter, not one for each look at it.
  CHANGED_WITHOUT_OPERATION: {
    answers: ['INHIBIT', 'REVIEW', 'ACCEPT'],
    looks: ['kernel'],
    graceMs: 0,
    quietMs: 10_000,
    whenGone: 'waits',
    judge: changedWithoutOperation,
  },
};

/** The least safe answer that the rule permits. */
export function floorOf(rule: ConflictRule): ConflictAnswer {
  const { answers } = RULES[rule];
  return answers[answers.length - 1] ?? answers[0];
}

/** What the panels show once this answer stands; nothing where the answer is not about showing. */
export function displayOf(answer: ConflictAnswer): DisplayState | undefined {
  if (answer === 'SHOW_FAULT') return DisplayState.CRITICAL;
  return answer === 'SHOW_STALE' ? DisplayState.STALE : undefined;
}

function activeWhileQuarantined(parts: DeviceParts, context: ConflictContext): Verdict {
  const { kernel, security } = parts;
  if (security.status !== SecurityStatus.QUARANTINED || !kernelCounts(context)) return NONE;
  if (kernel.status === OverallStatus.QUARANTINED || kernel.holds.includes('quarantined'))
    return NONE;
  const operational =
    kernel.status === OverallStatus.OPERATIONAL ||
    kernel.status === OverallStatus.DEGRADED ||
    kernel.status === OverallStatus.MAINTENANCE;
  if (!operational && kernel.power !== PowerState.ON) return NONE;
  const value = `power ${powerName(kernel.power)}, status ${statusName(kernel.status)}`;
  return found(
    'ACTIVE_WHILE_QUARANTINED',
    `kernel sees ${value}; security holds it in quarantine`,
    [
      { track: 'kernel', value, answer: 'QUARANTINE' },
      { track: 'security', value: 'QUARANTINED', answer: 'QUARANTINE' },
    ],
  );
}

function activeWhileLocked(parts: DeviceParts, context: ConflictContext): Verdict {
  const { security } = parts;
  if (security.status !== SecurityStatus.LOCKED || !powered(parts.kernel, context)) return NONE;
  return found('ACTIVE_WHILE_LOCKED', 'kernel sees it powered; security has locked it', [
    { track: 'kernel', value: 'power ON', answer: 'INHIBIT' },
    { track: 'security', value: 'LOCKED', answer: 'STOP' },
  ]);
}

function runningWhileStopped(parts: DeviceParts, context: ConflictContext): Verdict {
  const { kernel, security } = parts;
  // A device in quarantine is never driven, not even to a safe value.
  if (!context.stopCovers || security.status === SecurityStatus.QUARANTINED) return NONE;
  if (!powered(kernel, context)) return NONE;
  return found('RUNNING_WHILE_STOPPED', 'the stop covers it and kernel still sees it on', [
    { track: 'kernel', value: 'power ON', answer: 'STOP' },
    { track: 'security', value: 'stopped', answer: 'STOP' },
  ]);
}

function normalWhileFault(parts: DeviceParts, context: ConflictContext): Verdict {
  const { kernel, security } = parts;
  const { display } = parts.interface;
  if (security.status === SecurityStatus.QUARANTINED || !faulty(kernel)) return NONE;
  const normal = display === DisplayState.NORMAL || display === DisplayState.HIGHLIGHTED;
  if (!normal || !context.interfaceUp || !context.kernelUp) return CAUSE;
  const value = kernel.lastFault === '' ? `status ${statusName(kernel.status)}` : kernel.lastFault;
  return found('NORMAL_WHILE_FAULT', 'kernel reports a fault; panels show it as normal', [
    { track: 'kernel', value: value.slice(0, VALUE_LENGTH_MAX), answer: 'SHOW_FAULT' },
    { track: 'interface', value: `shows ${displayName(display)}`, answer: 'ACCEPT' },
  ]);
}

function currentWhileStale(parts: DeviceParts, context: ConflictContext): Verdict {
  const { kernel, security } = parts;
  const { display } = parts.interface;
  if (security.status === SecurityStatus.QUARANTINED) return NONE;
  const why = staleness(kernel, context);
  if (why === undefined) return NONE;
  const current =
    display === DisplayState.NORMAL ||
    display === DisplayState.HIGHLIGHTED ||
    display === DisplayState.WARNING;
  if (!current || !context.interfaceUp) return CAUSE;
  return found('CURRENT_WHILE_STALE', `${why}; panels show it as current`, [
    { track: 'kernel', value: why, answer: 'SHOW_STALE' },
    { track: 'interface', value: `shows ${displayName(display)}`, answer: 'ACCEPT' },
  ]);
}

function holdDisagrees(parts: DeviceParts, context: ConflictContext): Verdict {
  if (!kernelCounts(context)) return NONE;
  const { holds } = parts.kernel;
  const { expectedHolds } = context;
  const differ = HOLD_KINDS.some((kind) => holds.includes(kind) !== expectedHolds.includes(kind));
  if (!differ) return NONE;
  const enforced = listOfHolds(holds);
  const recorded = listOfHolds(expectedHolds);
  return found('HOLD_DISAGREES', `kernel enforces ${enforced}; on record is ${recorded}`, [
    { track: 'kernel', value: enforced, answer: 'INHIBIT' },
    { track: 'security', value: recorded, answer: 'INHIBIT' },
  ]);
}

function changedWithoutOperation(parts: DeviceParts, context: ConflictContext): Verdict {
  const { unexplained } = parts.kernel;
  if (unexplained === '' || !context.kernelUp) return NONE;
  const shown = unexplained.slice(0, VALUE_LENGTH_MAX);
  const registers = unexplained.split('; ').map((change) => change.slice(0, change.indexOf(' ')));
  return {
    kind: 'disagreement',
    disagreement: {
      rule: 'CHANGED_WITHOUT_OPERATION',
      finding: `changed without an operation: ${shown}`,
      positions: [
        { track: 'kernel', value: shown, answer: 'ACCEPT' },
        { track: 'security', value: 'no operation on record', answer: 'REVIEW' },
      ],
      subject: registers.sort().join(','),
      facts: unexplained,
    },
  };
}

const VALUE_LENGTH_MAX = 256;

function found(
  rule: ConflictRule,
  finding: string,
  positions: readonly ConflictPosition[],
): Verdict {
  const facts = positions.map(({ track, value }) => `${track}: ${value}`).join('; ');
  return {
    kind: 'disagreement',
    disagreement: { rule, finding, positions, subject: facts, facts },
  };
}

/** Kernel answers and has been told what to enforce. */
function kernelCounts(context: ConflictContext): boolean {
  return context.kernelUp && context.inCharge;
}

/** Kernel has seen it on, and it need not be. */
function powered(kernel: KernelDeviceState, context: ConflictContext): boolean {
  const on = kernel.power === PowerState.ON && kernel.lastFault === '';
  return on && context.canRest && kernelCounts(context);
}

export function faulty(kernel: KernelDeviceState): boolean {
  return (
    kernel.status === OverallStatus.FAULT ||
    kernel.power === PowerState.FAULT ||
    kernel.lastFault !== ''
  );
}

/** Why kernel's part of a device is old; nothing when it is not. */
export function staleness(
  kernel: KernelDeviceState,
  context: Pick<ConflictContext, 'kernelUp' | 'kernelHeardMs' | 'nowMs' | 'staleAfterMs'>,
): string | undefined {
  const { nowMs, staleAfterMs } = context;
  if (!context.kernelUp) return 'kernel is away';
  if (nowMs - context.kernelHeardMs > staleAfterMs) return 'kernel has said nothing for too long';
  // A device in quarantine is not looked at, on purpose.
  const watched = kernel.lastAccessMs > 0 && !kernel.holds.includes('quarantined');
  if (watched && nowMs - kernel.lastAccessMs > staleAfterMs)
    return 'kernel has not looked at it for too long';
  return undefined;
}

function listOfHolds(holds: readonly HoldKind[]): string {
  return holds.length === 0 ? 'no hold' : [...holds].sort().join(', ');
}

export function powerName(power: PowerState): string {
  return nameIn(PowerState, power);
}

export function statusName(status: OverallStatus): string {
  return nameIn(OverallStatus, status);
}

export function securityStatusName(status: SecurityStatus): string {
  return nameIn(SecurityStatus, status);
}

export function displayName(display: DisplayState): string {
  return nameIn(DisplayState, display);
}

function nameIn(table: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(table).find((name) => table[name] === value) ?? String(value);
}
