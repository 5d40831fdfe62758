// The coordinated stop: latch first, then all three tracks at once, each with its receipt; and the way back.
// Invariants: never waits for audit, database or login; a reset needs two different people and restarts nothing.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Authorization } from '#model/authorization';
import { formatToken } from '#model/device';
import type { ResetProgress, StopReport, StopRequest } from '#model/orchestrator-port';
import { ClearanceLevel, clearanceName, type Principal } from '#model/principal';
import type { StopCause, StopLatch, StopReceipt } from '#model/stop';
import type { KernelTrack, Track } from '#model/track';
import type { EventSource, TrackName } from '#model/track-name';
import { TRACKS } from '#model/track-name';

/** The act that an authorization to release the stop is bound to, in place of a plan digest. */
export const RELEASE_STOP_ACT = 'release-emergency-stop';
const RECEIPT_LIMIT_MS = 5_000;
const RESET_WINDOW_MS = 300_000;

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
  #reset: { readonly by: Principal; readonly untilMs: number } | null = null;

  constructor(parts: StopCoordinatorParts, causes: readonly StopCause[]) {
    this.#parts = parts;
    this.#causes = causes;
    // The latch has to survive a restart or a reboot for as long as its causes are on record.
    if (causes.length > 0) parts.latch.engage();
  }

  get causes(): readonly StopCause[] {
    return this.#causes;
  }

  /** Kernel tripped by itself, or somebody engaged the latch directly. */
  note(cause: StopCause): void {
    this.#causes = [...this.#causes, cause].slice(-32);
    this.#parts.keepCauses(this.#causes);
  }

  async stop(request: StopRequest, source: EventSource, triggeredBy: string): Promise<StopReport> {
    const { clock, latch } = this.#parts;
    const startMs = clock.nowMs();
    const whole = request.devices.length === 0;
    if (whole) latch.engage();
    const cause: StopCause = {
      source,
      reason: request.reason,
      priority: request.priority,
      triggeredBy,
      wallMs: clock.wallMs(),
    };
    const order = { cause, devices: request.devices };
    const deadline = Deadline.after(clock, RECEIPT_LIMIT_MS);
    const pending = TRACKS.map(async (name): Promise<StopReceipt> => {
      const receipt = await this.#parts[name].stop(order, deadline);
      if (receipt.ok) return receipt.value;
      const message = `no receipt: ${receipt.fault.finding}`;
      return {
        track: name,
        ok: false,
        message,
        safe: [],
        unsafe: [],
        durationMs: clock.nowMs() - startMs,
      };
    });
    this.note(cause);
    const receipts = await Promise.all(pending);
    return {
      success: receipts.every((receipt) => receipt.ok),
      scope: whole ? 'whole system' : `devices ${request.devices.map(formatToken).join(', ')}`,
      receipts,
      durationMs: clock.nowMs() - startMs,
    };
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
    const authorization = this.#parts.grant(this.#parts.newId(), RELEASE_STOP_ACT, [
      first.by.id,
      principal.id,
    ]);
    const released = await this.#parts.kernel.releaseStop(
      authorization,
      Deadline.after(clock, RECEIPT_LIMIT_MS),
    );
    if (!released.ok) return released;
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
