// What people ask about devices as a whole: their picture, their comparison, their history, their holds and conflicts.
// Invariants: a caller sees and holds only devices that are its own; one that is quarantined for good is never asked of
// the other tracks, and an attempt to release it is a probe.

import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { formatToken, type LinearId } from '#model/device';
import type { DeviceHold } from '#model/hold';
import type { HoldProgress, OrchestratorPort, SystemStatus } from '#model/orchestrator-port';
import { ClearanceLevel } from '#model/principal';
import type { Conflict, ConflictAnswer, HistoryEntry } from '#model/unified-state';
import type { Admission, Caller } from './admission.ts';
import type { DeviceAttention } from './device-attention.ts';
import type { DevicePicture, DevicePictureEntry } from './device-picture.ts';
import { findDevice } from './operation-check.ts';
import { checkedReason } from './stop-desk.ts';

export interface DeviceDeskParts {
  readonly orchestrator: OrchestratorPort;
  readonly picture: DevicePicture;
  readonly admission: Admission;
  readonly attention: DeviceAttention;
}

/** Synchronizations at once: each reads all registers of its devices. */
const SYNCHRONIZATIONS_MAX = 4;
const HISTORY_LENGTH_MAX = 1_000;

export interface Synchronized {
  readonly devices: readonly DevicePictureEntry[];
  /** Why the tracks were not compared and the last picture is shown instead; empty when they were. */
  readonly finding: string;
}

export class DeviceDesk {
  readonly #parts: DeviceDeskParts;
  #synchronizing = 0;

  constructor(parts: DeviceDeskParts) {
    this.#parts = parts;
  }

  /** `running` while somebody's synchronization has not been answered. */
  get synchronization(): 'running' | 'idle' {
    return this.#synchronizing > 0 ? 'running' : 'idle';
  }

  devices(caller: Caller): readonly DevicePictureEntry[] {
    this.#parts.attention.watched();
    const entries = this.#parts.picture.entries();
    return entries.filter(({ device }) => mayOperate(caller, device.id));
  }

  device(caller: Caller, deviceId: number): Outcome<DevicePictureEntry> {
    const id = this.#own(caller, deviceId);
    if (!id.ok) return id;
    const entry = this.#parts.picture.entry(id.value);
    if (entry !== undefined) return succeed(entry);
    return refuse(unknown(id.value, 'is not on this board'));
  }

  /** Has all tracks look again and compare; no device ids means all that the caller may see. */
  async synchronize(
    caller: Caller,
    deviceIds: readonly number[],
    deadline: Deadline,
  ): Promise<Outcome<Synchronized>> {
    const { picture, admission, orchestrator } = this.#parts;
    const asked: LinearId[] = [];
    for (const deviceId of deviceIds) {
      const entry = this.device(caller, deviceId);
      if (!entry.ok) return entry;
      if (!asked.includes(entry.value.device.id)) asked.push(entry.value.device.id);
    }
    if (deviceIds.length === 0) asked.push(...this.devices(caller).map(({ device }) => device.id));
    const touchable = asked.filter((id) => !picture.quarantinedForGood(id));
    const shown = (finding: string): Outcome<Synchronized> =>
      succeed({ devices: asked.flatMap((id) => picture.entry(id) ?? []), finding });
    // An empty list would mean all of them to security.
    if (touchable.length === 0) return shown('');
    if (this.#synchronizing >= SYNCHRONIZATIONS_MAX) {
      const finding = `${SYNCHRONIZATIONS_MAX} are running already`;
      return refuse(fault('BUSY', { place: 'synchronization', finding }));
    }
    this.#synchronizing += 1;
    try {
      const states = await admission.asSession(caller, deadline, (sessionId) =>
        orchestrator.synchronize(sessionId, touchable, deadline),
      );
      if (!states.ok) {
        const away = states.fault.code === 'TRACK_UNAVAILABLE';
        return away ? shown(`${states.fault.place}: ${states.fault.finding}`) : states;
      }
      picture.takeUnified(states.value);
      return shown('');
    } finally {
      this.#synchronizing -= 1;
    }
  }

  /** Newest first, at most `limit`. */
  async history(
    caller: Caller,
    deviceId: number,
    limit: number,
    deadline: Deadline,
  ): Promise<Outcome<readonly HistoryEntry[]>> {
    const id = this.#own(caller, deviceId);
    if (!id.ok) return id;
    const { admission, orchestrator } = this.#parts;
    const bounded = Math.min(Math.max(limit, 1), HISTORY_LENGTH_MAX);
    return admission.asSession(caller, deadline, (sessionId) =>
      orchestrator.history(sessionId, id.value, bounded, deadline),
    );
  }

  // --- Holds -------------------------------------------------------------------------------------

  async release(
    caller: Caller,
    deviceId: number,
    reason: string,
    deadline: Deadline,
  ): Promise<Outcome<HoldProgress>> {
    const id = this.#own(caller, deviceId);
    if (!id.ok) return id;
    const { admission, orchestrator, picture } = this.#parts;
    if (picture.quarantinedForGood(id.value)) {
      const finding = 'its quarantine is permanent and nobody can lift it';
      const found = fault('DEVICE_QUARANTINED', { place: placeOf(id.value), finding });
      admission.report(found, caller.connection, caller.session, [id.value]);
      if (caller.session !== null) admission.lock(caller.session);
      return refuse(found);
    }
    const text = checkedReason(reason, 'reason of the release');
    if (!text.ok) return text;
    const { origin } = caller.connection;
    return admission.asSession(caller, deadline, (sessionId) =>
      orchestrator.releaseDevice(sessionId, id.value, text.value, origin, deadline),
    );
  }

  async quarantine(
    caller: Caller,
    deviceId: number,
    reason: string,
    deadline: Deadline,
  ): Promise<Outcome<DeviceHold>> {
    const id = this.#own(caller, deviceId);
    if (!id.ok) return id;
    const { admission, orchestrator, picture } = this.#parts;
    if (picture.quarantinedForGood(id.value)) {
      // Asking for what already is touches nothing and tries nothing: no probe.
      const finding = 'is in permanent quarantine already';
      const consequence = 'nothing was done';
      const place = placeOf(id.value);
      return refuse(fault('DEVICE_QUARANTINED', { place, finding, consequence }));
    }
    const text = checkedReason(reason, 'reason of the quarantine');
    if (!text.ok) return text;
    const { origin } = caller.connection;
    return admission.asSession(caller, deadline, (sessionId) =>
      orchestrator.quarantineDevice(sessionId, id.value, text.value, origin, deadline),
    );
  }

  // --- Conflicts ---------------------------------------------------------------------------------

  async conflicts(caller: Caller, deadline: Deadline): Promise<Outcome<readonly Conflict[]>> {
    const { admission, orchestrator } = this.#parts;
    const all = await admission.asSession(caller, deadline, (sessionId) =>
      orchestrator.conflicts(sessionId, deadline),
    );
    return all.ok ? succeed(all.value.filter(({ device }) => mayOperate(caller, device))) : all;
  }

  async resolveConflict(
    caller: Caller,
    conflictId: number,
    answer: ConflictAnswer,
    reason: string,
    deadline: Deadline,
  ): Promise<Outcome<Conflict>> {
    const text = checkedReason(reason, 'reason of the answer');
    if (!text.ok) return text;
    if (restricted(caller)) {
      const seen = await this.conflicts(caller, deadline);
      if (!seen.ok) return seen;
      if (!seen.value.some(({ id }) => id === conflictId)) {
        const finding = 'is none of those that this caller may see';
        return refuse(fault('CONFLICT_UNKNOWN', { place: `conflict ${conflictId}`, finding }));
      }
    }
    const { admission, orchestrator } = this.#parts;
    const { origin } = caller.connection;
    return admission.asSession(caller, deadline, (sessionId) =>
      orchestrator.resolveConflict(sessionId, conflictId, answer, text.value, origin, deadline),
    );
  }

  /** The status as this caller may see it: holds and selections only of devices that it may see. */
  statusFor(caller: Caller, status: SystemStatus): SystemStatus {
    const clearance = caller.session?.principal.clearance ?? ClearanceLevel.NONE;
    const sees = clearance >= ClearanceLevel.RESTRICTED;
    const holds = status.holds.filter(({ device }) => sees && mayOperate(caller, device));
    const selections = status.selections.filter(
      ({ devices }) => sees && devices.every((device) => mayOperate(caller, device)),
    );
    return { ...status, holds, selections };
  }

  #own(caller: Caller, deviceId: number): Outcome<LinearId> {
    const id = findDevice(deviceId, this.#parts.picture);
    if (!id.ok) return id;
    if (mayOperate(caller, id.value)) {
      this.#parts.attention.touched(caller.session?.id ?? caller.connection.id, [id.value]);
      return id;
    }
    return refuse(unknown(id.value, 'is not among the devices of this caller'));
  }
}

function mayOperate(caller: Caller, device: LinearId): boolean {
  const allowed = caller.session?.principal.devices ?? null;
  return allowed === null || allowed.includes(device);
}

function restricted(caller: Caller): boolean {
  return (caller.session?.principal.devices ?? null) !== null;
}

function placeOf(device: LinearId): string {
  return `device ${formatToken(device)}`;
}

function unknown(device: LinearId, finding: string): Fault {
  return fault('DEVICE_UNKNOWN', { place: placeOf(device), finding });
}
