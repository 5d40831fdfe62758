// The one interface all three tracks serve, in process or over a link; nobody knows which.

import type { Deadline } from '#foundation/deadline';
import type { Fault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import type { Authorization } from './authorization.ts';
import type { EffectOutcome, Intent, RegisterReading } from './operation.ts';
import type { RegisterPlan } from './plan.ts';
import type { Principal } from './principal.ts';
import type { RiskAssessment } from './risk.ts';
import type { TrackSnapshot } from './snapshot.ts';
import type { StopOrder, StopReceipt } from './stop.ts';
import type { TrackName } from './track-name.ts';

export interface AssessRequest {
  readonly intent: Intent;
  readonly plan: RegisterPlan;
  readonly principal: Principal;
}

/** Everything a participant needs to promise that it can commit. */
export interface PrepareRequest {
  readonly operationId: string;
  readonly planDigest: string;
  readonly authorization: Authorization;
}

export interface PrepareVote {
  /** Register contents before the writes (kernel); empty from the other tracks. */
  readonly priors: readonly RegisterReading[];
}

export interface CommitRequest extends PrepareRequest {
  /** Monotonic milliseconds after which nothing more is written. */
  readonly deadlineMs: number;
}

export interface CommitReceipt {
  readonly effect: EffectOutcome;
  readonly readings: readonly RegisterReading[];
  readonly durationMs: number;
  /** Why the plan did not commit; absent when it did. */
  readonly fault?: Fault;
}

export interface Track {
  readonly name: TrackName;
  assess(request: AssessRequest, deadline: Deadline): Promise<Outcome<RiskAssessment>>;
  prepare(request: PrepareRequest, deadline: Deadline): Promise<Outcome<PrepareVote>>;
  /** The receipt is a value even when the plan failed: it says what happened to the metal. */
  commit(request: CommitRequest, deadline: Deadline): Promise<Outcome<CommitReceipt>>;
  abort(operationId: string, deadline: Deadline): Promise<Outcome<void>>;
  stop(order: StopOrder, deadline: Deadline): Promise<Outcome<StopReceipt>>;
  snapshot(deadline: Deadline): Promise<Outcome<TrackSnapshot>>;
}

/** The kernel track also turns intents into plans and clears the latch. */
export interface KernelTrack extends Track {
  readonly name: 'kernel';
  plan(intent: Intent, deadline: Deadline): Promise<Outcome<RegisterPlan>>;
  releaseStop(authorization: Authorization, deadline: Deadline): Promise<Outcome<void>>;
}
