// The one interface all three tracks serve, in process or over a link; nobody knows which.

import type { Deadline } from '#foundation/deadline';
import type { Fault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import type { Authorization, AuthorizationKeys } from './authorization.ts';
import type { LinearId } from './device.ts';
import type { DeviceHold, HoldKind } from './hold.ts';
import type { EffectOutcome, Intent, RegisterReading } from './operation.ts';
import type { RegisterPlan } from './plan.ts';
import type { Principal } from './principal.ts';
import type { RiskAssessment } from './risk.ts';
import type { KernelSnapshot, TrackSnapshot } from './snapshot.ts';
import type { StopOrder, StopReceipt } from './stop.ts';
import type { TrackName } from './track-name.ts';
import type { RecoveryRequest } from './transaction.ts';

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
  /** What the track knows without looking again, of these devices; absent means all. */
  snapshot(deadline: Deadline, devices?: readonly LinearId[]): Promise<Outcome<TrackSnapshot>>;
}

/** Holds the devices of a plan for one operation that is to follow; needs no authorization, for it writes nothing. */
export interface SelectRequest {
  readonly operationId: string;
  readonly planDigest: string;
  /** Monotonic milliseconds after which the devices are free again. */
  readonly untilMs: number;
}

/** Security takes charge of kernel: after every start of either, and whenever the holds on record change. */
export interface SupervisionOrder {
  /** Every hold on record; kernel adds those it does not have. */
  readonly holds: readonly DeviceHold[];
  /** `hold` while security still settles transactions. */
  readonly writes: 'hold' | 'allow';
  /** Changes without an operation that somebody has accounted for, up to this count of the device's changes. */
  readonly accounted: readonly { readonly device: LinearId; readonly changeCount: number }[];
}

export interface LiftRequest {
  readonly device: LinearId;
  readonly kind: HoldKind;
  /** Signed for `releaseHoldAct(device, kind)`. */
  readonly authorization: Authorization;
}

/** The kernel track also turns intents into plans, keeps holds, settles transactions and clears the latch. */
export interface KernelTrack extends Track {
  readonly name: 'kernel';
  plan(intent: Intent, deadline: Deadline): Promise<Outcome<RegisterPlan>>;
  /** From now on authorizations count under these keys of security and no others. */
  trust(keys: AuthorizationKeys, deadline: Deadline): Promise<Outcome<void>>;
  /** Leases the devices until `untilMs`, or `abort`, or the commit of the same operation. */
  select(request: SelectRequest, deadline: Deadline): Promise<Outcome<void>>;
  /** All holds that kernel enforces now, among them those that security did not know. */
  supervise(order: SupervisionOrder, deadline: Deadline): Promise<Outcome<readonly DeviceHold[]>>;
  lift(request: LiftRequest, deadline: Deadline): Promise<Outcome<void>>;
  /** What became of a decided transaction whose receipt is missing; undoes what stands only in part. */
  recover(request: RecoveryRequest, deadline: Deadline): Promise<Outcome<CommitReceipt>>;
  /** Reads the watched registers of these devices from the metal now; empty means all. */
  observe(devices: readonly LinearId[], deadline: Deadline): Promise<Outcome<KernelSnapshot>>;
  /**
   * Answers once a test of the stop bell was heard that answers no earlier question; see `StopTest`. The value says what
   * would keep single devices from being reached, a sentence, empty for nothing; STOP_TEST_FAILED when the path is broken.
   * `periodMs`: time until the next test, by which kernel knows when one is overdue.
   */
  testStop(deadline: Deadline, periodMs?: number): Promise<Outcome<string>>;
  /**
   * Lets every stop go, of the system and of devices. Refused while a stop input is open or cannot be read, while devices
   * are driven to their safe values, and while one that was not safe still is not; nothing restarts by it.
   */
  releaseStop(authorization: Authorization, deadline: Deadline): Promise<Outcome<void>>;
}
