// The coordinated stop: latch first, then all three tracks at once, each with its receipt; and the way back.
// Invariants: never waits for audit, database or login, nor longer than its limit for any track; a reset needs two
// different people who both ask after the last stop, and restarts nothing.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { type Authorization, RELEASE_STOP_ACT } from '#model/authorization';
import { DEVICES_PER_GROUP, formatToken, type LinearId } from '#model/device';
import type { ResetProgress, StopReport, StopRequest } from '#model/orchestrator-port';
import { ClearanceLevel, clearanceName, type Principal } from '#model/principal';
import type { StopAcknowledgment, StopCause, StopLatch, StopOrder, StopReceipt } from '#model/stop';
import type { KernelTrack, Track } from '#model/track';
import type { EventSource, TrackName } from '#model/track-name';
import { TRACKS } from '#model/track-name';

const RECEIPT_LIMIT_MS = 5_000;
const RESET_WINDOW_MS = 300_000;
/** Causes kept at once; the oldest gives way. */
const CAUSES_MAX = 32;

export interface StopCoordinatorParts {
  readonly clock: Clock;
  readonly latch: StopLatch;
  readonly kernel: KernelTrack;
  readonly security: Track;
  readonly interface: Track;
  readonly trackUp: (track: TrackName) => boolean;
  readonly grant: (operationId: string, act: string, grantedTo: readonly string[]) => Authorization;
  readonly newId: () => string;
  /** Causes kept over restarts; failing to keep them must not keep the stop from happening. */
  readonly keepCauses: (causes: readonly StopCause[]) => void;
}

export class StopCoordinator {
  readonly #parts: StopCoordinatorParts;
  #causes: readonly StopCause[] = [];
  #acknowledgments: readonly StopAcknowledgment[] = [];
  #reset: { readonly by: Principal; readonly untilMs: number } | null = null;

  constructor(parts: StopCoordinatorParts, causes: readonly StopCause[]) {
    this.#parts = parts;
    this.#causes = causes;
    // The latch has to survive a restart or a reboot for as long as its causes are on record.
    if (this.wholeSystem) parts.latch.engage();
  }

  get causes(): readonly StopCause[] {
    return this.#causes;
  }

  get acknowledgments(): readonly StopAcknowledgment[] {
    return this.#acknowledgments;
  }

  /** True while one of the causes covers the whole system. */
  get wholeSystem(): boolean {
    return this.#causes.some((cause) => cause.devices.length === 0);
  }

  scopeText(devices: readonly LinearId[]): string {
    return devices.length === 0 ? 'whole system' : `devices ${devices.map(formatToken).join(', ')}`;
  }

  async acknowledge(by: string): Promise<Outcome<readonly StopAcknowledgment[]>> {
    const wallMs = this.#parts.clock.wallMs();
    const fresh = this.#causes.map(({ id }) => ({ stopId: id, by, wallMs }));
    this.#acknowledgments = [...this.#acknowledgments, ...fresh];
    return succeed(this.#acknowledgments);
  }

  /** Kernel tripped by itself, or somebody engaged the latch directly. */
  note(cause: StopCause): void {
    this.#causes = [...this.#causes, cause].slice(-CAUSES_MAX);
    // Who asked for the reset before this cause has not seen it.
    this.#reset = null;
    this.#parts.keepCauses(this.#causes);
  }

  async stop(request: StopRequest, source: EventSource, triggeredBy: string): Promise<StopReport> {
    const { clock, latch } = this.#parts;
    const startMs = clock.nowMs();
    const whole = request.devices.length === 0 && request.groups.length === 0;
    if (whole) latch.engage();
    const grouped = request.groups.flatMap((group) =>
      Array.from({ length: DEVICES_PER_GROUP }, (_, index) => group * DEVICES_PER_GROUP + index),
    );
    const devices = [...new Set([...grouped, ...request.devices])];
    const cause: StopCause = {
      id: 0,
      devices,
      source,
      reason: request.reason,
      priority: request.priority,
      triggeredBy,
      wallMs: clock.wallMs(),
    };
    const order = { cause };
    const pending = TRACKS.map((name) => this.#receipt(name, order));
    this.note(cause);
    const receipts = await Promise.all(pending);
    return {
      success: receipts.every((receipt) => receipt.ok),
      scope: this.scopeText(devices),
      devices,
      receipts,
      durationMs: clock.nowMs() - startMs,
    };
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

  /** The first person opens the reset, a second one completes it within five minutes. */
  async requestReset(principal: Principal): Promise<Outcome<ResetProgress>> {
    const { clock } = this.#parts;
    const no = (finding: string) =>
      refuse(fault('RESET_REFUSED', { place: 'emergency stop', finding }));
    if (principal.clearance < ClearanceLevel.SECRET) {
      const finding = `resetting needs ${clearanceName(ClearanceLevel.SECRET)}, ${principal.id} has ${clearanceName(principal.clearance)}`;
      return refuse(fault('CLEARANCE_TOO_LOW', { place: 'emergency stop', finding }));
    }
    if (principal.kind !== 'person') return no('only people can reset a stop');
    if (this.#causes.length === 0 && !this.#parts.latch.engaged()) return no('no stop is engaged');
    const down = TRACKS.filter((track) => !this.#parts.trackUp(track));
    if (down.length > 0) return no(`the ${down.join(' and ')} track is down`);
    const first = this.#reset;
    if (first === null || first.untilMs <= clock.nowMs() || first.by.id === principal.id) {
      this.#reset = { by: principal, untilMs: clock.nowMs() + RESET_WINDOW_MS };
      const message = `${principal.id} asked for the reset; a second person has to ask within ${RESET_WINDOW_MS / 1000} s`;
      return succeed({ released: false, message });
    }
    const causes = this.#causes;
    const authorization = this.#parts.grant(this.#parts.newId(), RELEASE_STOP_ACT, [
      first.by.id,
      principal.id,
    ]);
    const released = await this.#parts.kernel.releaseStop(
      authorization,
      Deadline.after(clock, RECEIPT_LIMIT_MS),
    );
    if (!released.ok) return released;
    if (this.#causes !== causes) {
      this.#parts.latch.engage();
      return no('a new stop came during the reset');
    }
    this.#reset = null;
    this.#causes = [];
    this.#parts.keepCauses([]);
    return succeed({
      released: true,
      message:
        'the stop is released; every device keeps its safe values until it is activated again',
    });
  }
}
