// A track in another process, as an object: the caller cannot tell it from one in its own.
// Invariants: every answer is checked before it is believed; a fault of the link says `unknown` of the metal only for
// methods that write.

import type { Deadline } from '#foundation/deadline';
import type { Fault } from '#foundation/fault';
import { type Outcome, refuse } from '#foundation/outcome';
import type { Authorization, AuthorizationKeys } from '#model/authorization';
import type { LinearId } from '#model/device';
import type { DeviceHold } from '#model/hold';
import type { Intent } from '#model/operation';
import type { RegisterPlan } from '#model/plan';
import type { RiskAssessment } from '#model/risk';
import type { KernelSnapshot, TrackSnapshot } from '#model/snapshot';
import type { StopOrder, StopReceipt } from '#model/stop';
import type {
  AssessRequest,
  CommitReceipt,
  CommitRequest,
  KernelTrack,
  LiftRequest,
  PrepareRequest,
  PrepareVote,
  SelectRequest,
  SupervisionOrder,
  Track,
} from '#model/track';
import type { TrackName } from '#model/track-name';
import type { RecoveryRequest } from '#model/transaction';
import { type Link, MessageType } from './link.ts';
import {
  commitReceiptShape,
  holdsShape,
  kernelSnapshotShape,
  planShape,
  prepareVoteShape,
  riskAssessmentShape,
  snapshotShapes,
  stopFindingShape,
  stopReceiptShape,
} from './message-schema.ts';
import { conform, nothing, type Shape } from './shape.ts';

/** Asks and checks the answer. `effect`: whether the method may have written when the link fails midway. */
export async function askChecked<T>(
  link: Link,
  call: {
    readonly type: MessageType;
    readonly method: string;
    readonly body: unknown;
    readonly shape: Shape<T>;
    readonly effect: 'writes' | 'none';
  },
  deadline: Deadline,
): Promise<Outcome<T>> {
  const outcome = await link.request(call.type, call.method, call.body, deadline);
  if (outcome.ok) {
    const checked = conform(call.shape, outcome.value, call.method);
    if (checked.ok || call.effect === 'none') return checked;
    return refuse({ ...checked.fault, metal: 'unknown' });
  }
  return refuse(call.effect === 'none' ? withoutEffect(outcome.fault) : outcome.fault);
}

function withoutEffect(value: Fault): Fault {
  return value.metal === 'unknown' ? { ...value, metal: 'untouched' } : value;
}

class TrackClient implements Track {
  readonly name: TrackName;
  protected readonly link: Link;

  constructor(link: Link) {
    this.link = link;
    this.name = link.peer;
  }

  assess(request: AssessRequest, deadline: Deadline): Promise<Outcome<RiskAssessment>> {
    const call = {
      type: MessageType.OPERATION_REQUEST,
      method: 'track.assess',
      body: request,
    } as const;
    return askChecked(this.link, { ...call, shape: riskAssessmentShape, effect: 'none' }, deadline);
  }

  prepare(request: PrepareRequest, deadline: Deadline): Promise<Outcome<PrepareVote>> {
    const call = { type: MessageType.TRANSACTION, method: 'track.prepare', body: request } as const;
    return askChecked(this.link, { ...call, shape: prepareVoteShape, effect: 'none' }, deadline);
  }

  commit(request: CommitRequest, deadline: Deadline): Promise<Outcome<CommitReceipt>> {
    const call = { type: MessageType.TRANSACTION, method: 'track.commit', body: request } as const;
    return askChecked(
      this.link,
      { ...call, shape: commitReceiptShape, effect: 'writes' },
      deadline,
    );
  }

  abort(operationId: string, deadline: Deadline): Promise<Outcome<void>> {
    const call = {
      type: MessageType.TRANSACTION,
      method: 'track.abort',
      body: operationId,
    } as const;
    return askChecked(this.link, { ...call, shape: nothing, effect: 'writes' }, deadline);
  }

  stop(order: StopOrder, deadline: Deadline): Promise<Outcome<StopReceipt>> {
    const call = { type: MessageType.EMERGENCY_STOP, method: 'track.stop', body: order } as const;
    return askChecked(this.link, { ...call, shape: stopReceiptShape, effect: 'writes' }, deadline);
  }

  snapshot(deadline: Deadline, devices?: readonly LinearId[]): Promise<Outcome<TrackSnapshot>> {
    const call = {
      type: MessageType.STATE_SYNC,
      method: 'track.snapshot',
      body: devices,
    } as const;
    return askChecked(
      this.link,
      { ...call, shape: snapshotShapes[this.name], effect: 'none' },
      deadline,
    );
  }
}

class KernelTrackClient extends TrackClient implements KernelTrack {
  declare readonly name: 'kernel';

  plan(intent: Intent, deadline: Deadline): Promise<Outcome<RegisterPlan>> {
    const call = {
      type: MessageType.OPERATION_REQUEST,
      method: 'track.plan',
      body: intent,
    } as const;
    return askChecked(this.link, { ...call, shape: planShape, effect: 'none' }, deadline);
  }

  trust(keys: AuthorizationKeys, deadline: Deadline): Promise<Outcome<void>> {
    const call = { type: MessageType.HEALTH, method: 'track.trust', body: keys } as const;
    return askChecked(this.link, { ...call, shape: nothing, effect: 'none' }, deadline);
  }

  select(request: SelectRequest, deadline: Deadline): Promise<Outcome<void>> {
    const call = { type: MessageType.TRANSACTION, method: 'track.select', body: request } as const;
    return askChecked(this.link, { ...call, shape: nothing, effect: 'none' }, deadline);
  }

  supervise(order: SupervisionOrder, deadline: Deadline): Promise<Outcome<readonly DeviceHold[]>> {
    const call = { type: MessageType.HEALTH, method: 'track.supervise', body: order } as const;
    return askChecked(this.link, { ...call, shape: holdsShape, effect: 'none' }, deadline);
  }

  lift(request: LiftRequest, deadline: Deadline): Promise<Outcome<void>> {
    const call = { type: MessageType.TRANSACTION, method: 'track.lift', body: request } as const;
    return askChecked(this.link, { ...call, shape: nothing, effect: 'none' }, deadline);
  }

  recover(request: RecoveryRequest, deadline: Deadline): Promise<Outcome<CommitReceipt>> {
    const call = { type: MessageType.TRANSACTION, method: 'track.recover', body: request } as const;
    return askChecked(
      this.link,
      { ...call, shape: commitReceiptShape, effect: 'writes' },
      deadline,
    );
  }

  observe(devices: readonly LinearId[], deadline: Deadline): Promise<Outcome<KernelSnapshot>> {
    const call = { type: MessageType.STATE_SYNC, method: 'track.observe', body: devices } as const;
    return askChecked(this.link, { ...call, shape: kernelSnapshotShape, effect: 'none' }, deadline);
  }

  testStop(deadline: Deadline, periodMs?: number): Promise<Outcome<string>> {
    const call = {
      type: MessageType.EMERGENCY_STOP,
      method: 'track.test-stop',
      body: periodMs,
    } as const;
    return askChecked(this.link, { ...call, shape: stopFindingShape, effect: 'none' }, deadline);
  }

  releaseStop(authorization: Authorization, deadline: Deadline): Promise<Outcome<void>> {
    const call = {
      type: MessageType.EMERGENCY_STOP,
      method: 'track.release-stop',
      body: authorization,
    } as const;
    return askChecked(this.link, { ...call, shape: nothing, effect: 'writes' }, deadline);
  }
}

/** The track served at the other end of `link`. */
export function trackClient(link: Link): Track {
  return new TrackClient(link);
}

/** The kernel track served at the other end of `link`; throws when the peer is another track. */
export function kernelTrackClient(link: Link): KernelTrack {
  if (link.peer !== 'kernel') throw new Error(`${link.peer} is not the kernel track`);
  return new KernelTrackClient(link);
}
