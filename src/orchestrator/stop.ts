// The coordinated stop: latch first, then all three tracks at once, each with its receipt; and the way back.
// Invariants: never waits for audit, database or login, nor longer than its limit for any track; never fails for its scope;
// a reset needs two different people who both ask after the last stop, and restarts nothing.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { type Authorization, RELEASE_STOP_ACT } from '#model/authorization';
import type { DeviceDescriptor, LinearId } from '#model/device';
import type { DeviceHold } from '#model/hold';
import type { ResetProgress, StopReport, StopRequest } from '#model/orchestrator-port';
import { ClearanceLevel, clearanceName, type Principal } from '#model/principal';
import {
  EmergencyPriority,
  STOP_REASON_LENGTH_MAX,
  STOP_TRIGGERED_BY_LENGTH_MAX,
  type StopAcknowledgment,
  type StopCause,
  type StopLatch,
  type StopOrder,
  type StopReceipt,
} from '#model/stop';
import type { KernelTrack, Track } from '#model/track';
import type { EventSource, TrackName } from '#model/track-name';
import { TRACKS } from '#model/track-name';
import { type FirstPerson, lapsedBecause, sameCredential } from './first-person.ts';
import type { HoldBook } from './hold-book.ts';
import { NO_PROOF } from './ports.ts';
import type { RecordChange, StopRecord } from './stop-record.ts';
import { scopeText, stopScope } from './stop-scope.ts';

/** Longer than kernel takes to drive everything that can be reached. */
const RECEIPT_LIMIT_MS = 5_000;
const RESET_WINDOW_MS = 300_000;
const RELEASED =
  'the stop is released; every device keeps its safe values until it is activated again';
/** Between two tries to have kernel hold devices that were stopped while it did not answer. */
const HAND_OVER_AGAIN_MS = 1_000;

export interface StopCoordinatorParts {
  readonly clock: Clock;
  readonly latch: StopLatch;
  readonly kernel: KernelTrack;
  readonly security: Track;
  readonly interface: Track;
  /** Of the board. */
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly isQuarantined: (device: LinearId) => boolean;
  readonly trackUp: (track: TrackName) => boolean;
  readonly grant: (operationId: string, act: string, grantedTo: readonly string[]) => Authorization;
  readonly newId: () => string;
  /** Failing to keep a cause must not keep the stop from happening. */
  readonly record: StopRecord;
  readonly holds: HoldBook;
  /** Has kernel take the holds on record; false when it could not be told. */
  readonly refreshHolds: () => Promise<boolean>;
}

export class StopCoordinator {
  readonly #parts: StopCoordinatorParts;
  #reset: FirstPerson | null = null;
  #handingOver = false;

  constructor(parts: StopCoordinatorParts) {
    this.#parts = parts;
    // The latch has to survive a restart or a reboot for as long as its causes are on record.
    if (this.wholeSystem) parts.latch.engage();
  }

  get causes(): readonly StopCause[] {
    return this.#parts.record.causes();
  }

  get acknowledgments(): readonly StopAcknowledgment[] {
    return this.#parts.record.acknowledgments();
  }

  /** True while one of the causes covers the whole system. */
  get wholeSystem(): boolean {
    return this.causes.some((cause) => cause.devices.length === 0);
  }

  scopeText(devices: readonly LinearId[]): string {
    return scopeText(devices, this.#parts.devices);
  }

  /** The person has seen every cause that stands; resolves once that is on disk, with its entry. */
  async acknowledge(
    by: string,
    put?: RecordChange,
  ): Promise<Outcome<readonly StopAcknowledgment[]>> {
    const { record } = this.#parts;
    const place = 'emergency stop';
    if (this.causes.length === 0) {
      return refuse(fault('STOP_NOT_ENGAGED', { place, finding: 'no stop is on record' }));
    }
    try {
      return succeed(await record.acknowledge(by, put));
    } catch (error) {
      const finding = 'the acknowledgment could not be put on disk';
      const internal = describeError(error);
      return refuse(fault('AUDIT_UNAVAILABLE', { place, finding, internal }));
    }
  }

  /** Kernel tripped by itself, or somebody engaged the latch directly; the cause as it is on record now. */
  note(cause: StopCause): StopCause {
    const numbered = this.#parts.record.number(cause);
    this.#add(numbered);
    return numbered;
  }

  /** What kernel says it stopped for: the cause when it was not on record before, else null. */
  kernelStopped(cause: StopCause | null): StopCause | null {
    if (cause !== null) return this.#parts.record.knows(cause) ? null : this.note(cause);
    // Somebody engaged the latch and said no more; or it is the latch of a stop that is on record.
    return this.wholeSystem ? null : this.note(this.#latchCause('the stop latch was engaged'));
  }

  /** The latch stands without a cause that would keep it over a reboot: the cause that was put on record for it. */
  latchFound(): StopCause | null {
    if (this.wholeSystem) return null;
    return this.note(this.#latchCause('the stop latch was found engaged'));
  }

  async stop(request: StopRequest, source: EventSource, triggeredBy: string): Promise<StopReport> {
    const { clock, latch, record, devices: board, isQuarantined } = this.#parts;
    const startMs = clock.nowMs();
    const { devices, text } = stopScope(request, board, isQuarantined);
    if (devices.length === 0) latch.engage();
    const { reason, priority } = request;
    const wallMs = clock.wallMs();
    const cause = record.number({
      id: 0,
      devices,
      source,
      reason: cut(reason, STOP_REASON_LENGTH_MAX),
      priority,
      triggeredBy: cut(triggeredBy, STOP_TRIGGERED_BY_LENGTH_MAX),
      wallMs,
    });
    const order = { cause };
    const pending = TRACKS.map((name) => this.#receipt(name, order));
    this.#add(cause);
    const receipts = await Promise.all(pending);
    // What kernel did not hear it has to take from the record, before it writes for anybody.
    if (devices.length > 0 && receipts[0]?.ok !== true) void this.#handOver();
    return {
      success: receipts.every((receipt) => receipt.ok),
      scope: text,
      devices,
      receipts,
      durationMs: clock.nowMs() - startMs,
    };
  }

  #add(cause: StopCause): void {
    // Who asked for the reset before this cause has not seen it.
    this.#reset = null;
    this.#parts.record.add(cause);
  }

  #latchCause(reason: string): StopCause {
    return {
      id: 0,
      devices: [],
      source: 'kernel',
      reason,
      priority: EmergencyPriority.IMMEDIATE,
      triggeredBy: 'latch',
      wallMs: this.#parts.clock.wallMs(),
    };
  }

  async #handOver(): Promise<void> {
    const { clock, refreshHolds } = this.#parts;
    if (this.#handingOver) return;
    this.#handingOver = true;
    while (this.causes.length > 0 && !(await refreshHolds())) {
      await clock.sleep(HAND_OVER_AGAIN_MS);
    }
    this.#handingOver = false;
  }

  /** A receipt in any case: from the track, or saying why there is none. */
  #receipt(name: TrackName, order: StopOrder): Promise<StopReceipt> {
    const { clock } = this.#parts;
    const startMs = clock.nowMs();
    const deadline = Deadline.after(clock, RECEIPT_LIMIT_MS);
    const none = (finding: string): StopReceipt => {
      const durationMs = clock.nowMs() - startMs;
      return {
        track: name,
        ok: false,
        message: `no receipt: ${finding}`,
        safe: [],
        unsafe: [],
        durationMs,
      };
    };
    return new Promise((resolve) => {
      const giveUp = clock.after(RECEIPT_LIMIT_MS, () =>
        resolve(none(`no answer within ${RECEIPT_LIMIT_MS} ms`)),
      );
      this.#parts[name]
        .stop(order, deadline)
        .then((receipt) => resolve(receipt.ok ? receipt.value : none(receipt.fault.finding)))
        .catch((error: unknown) => resolve(none(describeError(error))))
        .finally(giveUp);
    });
  }

  /** The first person opens the reset, a second one completes it within five minutes, if the first still could ask then. */
  async requestReset(
    principal: Principal,
    proof = NO_PROOF,
    put?: RecordChange,
  ): Promise<Outcome<ResetProgress>> {
    const { clock } = this.#parts;
    const no = (finding: string) =>
      refuse(fault('RESET_REFUSED', { place: 'emergency stop', finding }));
    const allowed = mayReset(principal);
    if (!allowed.ok) return allowed;
    if (!this.#stands()) return no('no stop is engaged');
    const down = TRACKS.filter((track) => !this.#parts.trackUp(track));
    if (down.length > 0) return no(`the ${down.join(' and ')} track is down`);
    const first = this.#reset;
    const again = first === null || first.untilMs <= clock.nowMs() || first.by.id === principal.id;
    const lapsed = again ? null : lapsedBecause(first, mayReset);
    if (again || lapsed !== null) {
      this.#reset = { by: principal, proof, untilMs: clock.nowMs() + RESET_WINDOW_MS };
      const before =
        lapsed === null ? '' : `${first?.by.id} had asked for the reset and ${lapsed}; `;
      const message = `${before}${principal.id} asked for the reset; a second person has to ask within ${RESET_WINDOW_MS / 1000} s`;
      return succeed({ released: false, message });
    }
    if (sameCredential(first, proof)) {
      return no(
        `${principal.id} signed in with what ${first.by.id} asked with, so that it might be one person`,
      );
    }
    return this.#release([first.by.id, principal.id], put);
  }

  async #release(people: readonly string[], put?: RecordChange): Promise<Outcome<ResetProgress>> {
    const { clock, latch, kernel, record, refreshHolds } = this.#parts;
    const place = 'emergency stop';
    const causes = this.causes;
    const covered = latch.engaged() ? 'whole system' : 'devices';
    const deactivated = this.#deactivatedBy(covered);
    const authorization = this.#parts.grant(this.#parts.newId(), RELEASE_STOP_ACT, people);
    const deadline = Deadline.after(clock, RECEIPT_LIMIT_MS);
    const released = await kernel.releaseStop(authorization, deadline);
    if (!released.ok) {
      // Kernel may have let go before its answer was lost.
      if (released.fault.metal === 'unknown') this.#standAgain(covered);
      return released;
    }
    if (this.causes !== causes) {
      this.#standAgain(covered);
      const finding = 'a new stop came during the reset';
      return refuse(fault('RESET_REFUSED', { place, finding }));
    }
    try {
      await record.clear(deactivated, RELEASED, put);
    } catch (error) {
      this.#standAgain(covered);
      const finding = 'the end of the stop could not be put on disk';
      return refuse(fault('RESET_REFUSED', { place, finding, internal: describeError(error) }));
    }
    this.#reset = null;
    // Kernel holds the same devices by itself; what it adds to them has to be on record as well.
    await refreshHolds();
    return succeed({ released: true, message: RELEASED });
  }

  /** Kernel has let go of what still stands on record. */
  #standAgain(covered: 'whole system' | 'devices'): void {
    if (covered === 'whole system' || this.wholeSystem) this.#parts.latch.engage();
    else void this.#handOver();
  }

  #stands(): boolean {
    const { latch, holds } = this.#parts;
    return (
      this.causes.length > 0 ||
      latch.engaged() ||
      holds.all().some((hold) => hold.kind === 'stopped')
    );
  }

  /** Nothing restarts by a reset: what the stop covered and can be activated waits for that. */
  #deactivatedBy(covered: 'whole system' | 'devices'): readonly DeviceHold[] {
    const { clock, devices, holds } = this.#parts;
    const sinceWallMs = clock.wallMs();
    const reason = 'not activated since the emergency stop';
    return [...devices.values()].flatMap(({ id, behaviour, quarantined }) => {
      const stopped = covered === 'whole system' || holds.has(id, 'stopped');
      if (!stopped || quarantined || behaviour.operations.activate === null) return [];
      return [{ device: id, kind: 'deactivated', reason, sinceWallMs }] as const;
    });
  }
}

/** Kernel would refuse a longer text, and with it the stop. */
function cut(told: string, lengthMax: number): string {
  return told.length <= lengthMax ? told : `${told.slice(0, lengthMax - 1)}…`;
}

function mayReset({ id, kind, clearance }: Principal): Outcome<void> {
  const place = 'emergency stop';
  if (clearance < ClearanceLevel.SECRET) {
    const finding = `resetting needs ${clearanceName(ClearanceLevel.SECRET)}, ${id} has ${clearanceName(clearance)}`;
    return refuse(fault('CLEARANCE_TOO_LOW', { place, finding }));
  }
  if (kind === 'person') return succeed(undefined);
  return refuse(fault('RESET_REFUSED', { place, finding: 'only people can reset a stop' }));
}
