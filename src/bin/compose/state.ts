// Builds the unified state: conflicts with their desk and record, the history of devices, and the synchronizer.

import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import { describeError } from '#foundation/fault';
import type { DeviceDescriptor, LinearId } from '#model/device';
import type { DeviceHold } from '#model/hold';
import type { SafetyPolicy } from '#model/safety-policy';
import { EmergencyPriority } from '#model/stop';
import type { KernelTrack, Track } from '#model/track';
import type { TrackName } from '#model/track-name';
import { SyncTrigger } from '#model/unified-state';
import type { Announcer } from '#orchestrator/announcer';
import type { ConflictActions } from '#orchestrator/conflict-actions';
import { ConflictDesk } from '#orchestrator/conflict-desk';
import { ConflictRecord } from '#orchestrator/conflict-record';
import { DeviceHistory } from '#orchestrator/device-history';
import { followEvents } from '#orchestrator/event-follower';
import type { EventHub } from '#orchestrator/event-hub';
import type { HoldBook } from '#orchestrator/hold-book';
import { StateSynchronizer } from '#orchestrator/state-sync';
import type { StopCoordinator } from '#orchestrator/stop';
import type { Supervision } from '#orchestrator/supervision';
import type { SecurityTrack } from '#tracks/security/track';

export interface StateParts {
  readonly clock: Clock;
  readonly store: DurableStore;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly policy: SafetyPolicy;
  readonly kernel: KernelTrack;
  readonly interface: Track;
  readonly track: SecurityTrack;
  readonly holds: HoldBook;
  readonly stops: StopCoordinator;
  readonly stopEngaged: () => boolean;
  readonly supervision: Supervision;
  readonly announcer: Announcer;
  readonly events: EventHub;
  readonly trackUp: (track: TrackName) => boolean;
  /** Gives the panels the whole picture again. */
  readonly resendPicture: () => Promise<boolean>;
  readonly onError: (error: unknown, where: string) => void;
}

export interface ComposedState {
  readonly sync: StateSynchronizer;
  readonly desk: ConflictDesk;
  readonly history: DeviceHistory;
}

export function composeState(parts: StateParts): ComposedState {
  const { clock, store, devices, policy, announcer, events, supervision, holds, onError } = parts;
  const history = new DeviceHistory(store, clock, onError);
  const desk = new ConflictDesk({
    clock,
    devices,
    record: new ConflictRecord(store),
    policy,
    announcer,
    events,
    history,
    actions: conflictActions(parts),
    onError,
  });
  const sync = new StateSynchronizer({
    clock,
    devices,
    policy,
    kernel: parts.kernel,
    interface: parts.interface,
    security: (wanted) => parts.track.deviceStates(wanted),
    trackUp: parts.trackUp,
    holds: () => holds.all(),
    stopped: () => parts.stopEngaged() || parts.stops.wholeSystem,
    inCharge: () => supervision.inCharge,
    desk,
    history,
    onError,
  });
  followEvents(events, sync, history);
  return { sync, desk, history };

  function conflictActions(from: StateParts): ConflictActions {
    return {
      quarantine: (device, reason) => hold(from, { device, kind: 'quarantined', reason }),
      inhibit: (device, reason) => hold(from, { device, kind: 'in-doubt', reason }),
      stop: async (device, reason) => {
        const request = { reason, priority: EmergencyPriority.HIGH, devices: [device], groups: [] };
        const report = await from.stops.stop(request, 'orchestrator', 'orchestrator');
        announcer.stopped('orchestrator', null, reason, report);
        return report.receipts.some(({ track, ok }) => track === 'kernel' && ok);
      },
      agreeOnHolds: () => supervision.refresh(),
      account: async (device, changeCount) => {
        const told = await supervision.refresh([{ device, changeCount }]);
        sync.note(SyncTrigger.CONFLICT_RETRY, [device]);
        return told;
      },
      sendPicture: from.resendPicture,
    };
  }
}

/** On record, told to people, and enforced by kernel; true when kernel has taken it. */
async function hold(parts: StateParts, asked: Omit<DeviceHold, 'sinceWallMs'>): Promise<boolean> {
  const { clock, devices, holds, announcer, supervision, onError } = parts;
  const { device, kind, reason } = asked;
  // What the board has in permanent quarantine needs no hold, and kernel no order.
  const permanent = devices.get(device)?.quarantined === true;
  if (!permanent && !holds.has(device, kind)) {
    const sinceWallMs = clock.wallMs();
    const event = kind === 'quarantined' ? 'DEVICE_QUARANTINED' : 'DEVICE_HELD';
    const told = { actor: 'orchestrator', origin: null, devices: [device], result: kind } as const;
    // It counts from now on, whether the disk takes it or not.
    const wanted = [{ device, kind, reason, sinceWallMs }];
    const put = (beside: () => void) => announcer.insist({ event, ...told, reason, beside });
    await holds.add(wanted, put).catch((error: unknown) => {
      onError(new Error(`hold not on record: ${describeError(error)}`), 'conflict');
    });
  }
  return supervision.refresh();
}
