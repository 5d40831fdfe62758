// The life of one operation as a pure, total table: (phase, input) gives the next phase and what to do, or a refusal.
// Invariants: terminal phases accept nothing; a stop is accepted in every phase that is not terminal;
// COMMITTING is reached only through a durable decision or by a plan without effects; a selection never leads there.

import type { OperationState } from '#model/operation';

export const PHASES = [
  'INITIALIZING',
  'SAFETY_CHECKING',
  'AUTHORIZING',
  'SELECTING',
  'PREPARING',
  'PREPARED',
  'COMMITTING',
  'COMPLETED',
  'FAILED',
  'EMERGENCY_STOPPED',
] as const;
export type Phase = (typeof PHASES)[number];

export const INPUTS = [
  /** Kernel made a plan. */
  'PLANNED',
  /** Every involved track gave its risk, or counts as UNKNOWN. */
  'ASSESSED',
  /** The access table and the approvals permit a plan with writes. */
  'PERMITTED',
  /** The same for a plan that only reads: nothing to prepare, nothing to decide. */
  'PERMITTED_TO_READ',
  /** The access table permits a plan that is to be held for a later operation; a second person may still be missing. */
  'PERMITTED_TO_SELECT',
  /** A dry run has shown everything it can show. */
  'SHOWN',
  /** Kernel holds the devices for the operation that is to follow. */
  'SELECTED',
  /** All participants promised. */
  'PREPARED',
  /** Intent, votes, priors and decision are on disk. */
  'DECIDED',
  /** All writes stand and were read back, or all reads were made. */
  'COMMITTED',
  /** A rule, a vote, a fault, a deadline or a lost track ended it. */
  'REFUSED',
  /** The emergency stop ended it. */
  'STOPPED',
] as const;
export type Input = (typeof INPUTS)[number];

export type Effect =
  | 'plan'
  | 'assess'
  | 'authorize'
  | 'select'
  | 'prepare'
  | 'decide'
  | 'commit'
  | 'abort'
  | 'record';

export interface Transition {
  readonly phase: Phase;
  readonly effects: readonly Effect[];
}

type Row = Partial<Record<Input, Transition>>;

function to(phase: Phase, ...effects: Effect[]): Transition {
  return { phase, effects };
}

const failed = to('FAILED', 'record');
const stopped = to('EMERGENCY_STOPPED', 'record');
const withdrawn = to('FAILED', 'abort', 'record');
const stoppedPrepared = to('EMERGENCY_STOPPED', 'abort', 'record');

const TABLE: Readonly<Record<Phase, Row>> = {
  INITIALIZING: { PLANNED: to('SAFETY_CHECKING', 'assess'), REFUSED: failed, STOPPED: stopped },
  SAFETY_CHECKING: { ASSESSED: to('AUTHORIZING', 'authorize'), REFUSED: failed, STOPPED: stopped },
  AUTHORIZING: {
    PERMITTED: to('PREPARING', 'prepare'),
    PERMITTED_TO_READ: to('COMMITTING', 'commit'),
    PERMITTED_TO_SELECT: to('SELECTING', 'select'),
    SHOWN: to('COMPLETED'),
    REFUSED: failed,
    STOPPED: stopped,
  },
  // An answer that was lost may have left the devices held: hence the abort.
  SELECTING: {
    SELECTED: to('COMPLETED', 'record'),
    REFUSED: withdrawn,
    STOPPED: stoppedPrepared,
  },
  PREPARING: { PREPARED: to('PREPARED', 'decide'), REFUSED: withdrawn, STOPPED: stoppedPrepared },
  PREPARED: { DECIDED: to('COMMITTING', 'commit'), REFUSED: withdrawn, STOPPED: stoppedPrepared },
  COMMITTING: { COMMITTED: to('COMPLETED', 'record'), REFUSED: failed, STOPPED: stopped },
  COMPLETED: {},
  FAILED: {},
  EMERGENCY_STOPPED: {},
};

export const INITIAL: Transition = to('INITIALIZING', 'plan');

/** The next phase, or `undefined` where the input has no meaning in this phase. */
export function transition(phase: Phase, input: Input): Transition | undefined {
  return TABLE[phase][input];
}

export function isTerminal(phase: Phase): boolean {
  return Object.keys(TABLE[phase]).length === 0;
}

/** The specification's coordination_state for a phase. */
export function stateOf(phase: Phase): OperationState {
  switch (phase) {
    case 'SELECTING':
      return 'AUTHORIZING';
    case 'PREPARING':
    case 'PREPARED':
    case 'COMMITTING':
      return 'EXECUTING';
    default:
      return phase;
  }
}
