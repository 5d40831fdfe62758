// What people have to do with each device: who looks at it, what it is shown as, what still waits to be seen.
// Invariants: what is reported here is what panels are shown; what is remembered of sessions is bounded.

import type { Clock } from '#foundation/clock';
import type { LinearId } from '#model/device';
import { type AgentEvent, EventType } from '#model/event';
import {
  AttentionLevel,
  DisplayState,
  type InterfaceDeviceState,
  type KernelDeviceState,
  OverallStatus,
} from '#model/snapshot';

/** A client that asked for devices is taken to show them for so long. */
const WATCHED_MS = 30_000;
/** A session works on a device until so long after its last request about it. */
const SESSION_MS = 300_000;
const SESSIONS_PER_DEVICE_MAX = 64;

/** The part of a picture's entry that decides how it is shown. */
export interface ShownDevice {
  readonly device: { readonly id: LinearId };
  readonly state: Pick<KernelDeviceState, 'lastFault' | 'holds' | 'unexplained'>;
  readonly status: OverallStatus;
  readonly stopped: boolean;
  readonly display: DisplayState;
}

export interface DeviceAttentionParts {
  readonly clock: Clock;
  readonly entries: () => readonly ShownDevice[];
  readonly entry: (device: LinearId) => ShownDevice | undefined;
  /** Clients that are told of events. */
  readonly listeners: () => number;
}

interface Touched {
  /** Monotonic milliseconds of the last request of each session. */
  readonly sessions: Map<string, number>;
  lastWallMs: number;
  /** A fault stands and nobody has asked about the device since. */
  faultUnseen: boolean;
  faulty: boolean;
  state: InterfaceDeviceState | null;
}

/** How a device is shown, before any conflict says otherwise; a status that is not known is shown as such. */
export function displayOfStatus(
  status: OverallStatus,
  state: Pick<KernelDeviceState, 'lastFault' | 'holds' | 'unexplained'>,
): DisplayState {
  if (status === OverallStatus.QUARANTINED) return DisplayState.LOCKED_OUT;
  if (status === OverallStatus.EMERGENCY_STOPPED || status === OverallStatus.FAULT) {
    return DisplayState.CRITICAL;
  }
  if (state.lastFault !== '' || state.holds.includes('in-doubt')) return DisplayState.CRITICAL;
  if (status === OverallStatus.UNKNOWN) return DisplayState.UNKNOWN;
  const limited = state.holds.length > 0 || state.unexplained !== '';
  if (status === OverallStatus.DEGRADED || limited) return DisplayState.WARNING;
  return status === OverallStatus.MAINTENANCE ? DisplayState.HIGHLIGHTED : DisplayState.NORMAL;
}

export class DeviceAttention {
  readonly #parts: DeviceAttentionParts;
  readonly #touched = new Map<LinearId, Touched>();
  #watchedUntilMs = Number.NEGATIVE_INFINITY;
  #stopUnseen = false;

  constructor(parts: DeviceAttentionParts) {
    this.#parts = parts;
  }

  /** A client fetched the devices. */
  watched(): void {
    this.#watchedUntilMs = this.#parts.clock.nowMs() + WATCHED_MS;
  }

  /** A request of this session, or of a connection without one, named these devices. */
  touched(session: string, devices: readonly LinearId[]): void {
    const { clock } = this.#parts;
    for (const device of devices) {
      const touched = this.#of(device);
      touched.sessions.delete(session);
      touched.sessions.set(session, clock.nowMs());
      const oldest = touched.sessions.keys().next();
      if (touched.sessions.size > SESSIONS_PER_DEVICE_MAX && oldest.done !== true) {
        touched.sessions.delete(oldest.value);
      }
      touched.lastWallMs = clock.wallMs();
      touched.faultUnseen = false;
    }
  }

  /** Stops and their acknowledgments, as every client hears of them. */
  takeEvent(event: AgentEvent): void {
    if (event.type === EventType.EMERGENCY_STOP) this.#stopUnseen = true;
    if (event.type !== EventType.AUDIT_ENTRY_CREATED) return;
    const { event: name } = event.data;
    if (name === 'STOP_ACKNOWLEDGED' || name === 'EMERGENCY_RESET') this.#stopUnseen = false;
  }

  /** Of these devices, or of all; each version moves only when something else about its device has. */
  states(devices?: readonly LinearId[]): readonly InterfaceDeviceState[] {
    const { clock, entries, entry, listeners } = this.#parts;
    const shown = devices === undefined ? entries() : devices.flatMap((id) => entry(id) ?? []);
    const nowMs = clock.nowMs();
    const monitored = listeners() > 0 || nowMs < this.#watchedUntilMs;
    return shown.map((one) => this.#stateOf(one, monitored, nowMs));
  }

  #stateOf(shown: ShownDevice, monitored: boolean, nowMs: number): InterfaceDeviceState {
    const device = shown.device.id;
    const touched = this.#of(device);
    const faulty = shown.status === OverallStatus.FAULT || shown.state.lastFault !== '';
    if (faulty && !touched.faulty) touched.faultUnseen = true;
    touched.faulty = faulty;
    for (const [session, atMs] of touched.sessions) {
      if (nowMs - atMs > SESSION_MS) touched.sessions.delete(session);
    }
    const stopUnseen = this.#stopUnseen && shown.stopped;
    const before = touched.state;
    const state: InterfaceDeviceState = {
      device,
      version: before?.version ?? 0,
      monitored,
      display: shown.display,
      activeSessions: touched.sessions.size,
      lastInteractionWallMs: touched.lastWallMs,
      notificationsPending: stopUnseen || (faulty && touched.faultUnseen),
      attention: attentionOf(shown, stopUnseen, faulty ? touched.faultUnseen : null),
    };
    if (before !== null && !differ(before, state)) return before;
    touched.state = { ...state, version: state.version + 1 };
    return touched.state;
  }

  #of(device: LinearId): Touched {
    let touched = this.#touched.get(device);
    if (touched === undefined) {
      const sessions = new Map<string, number>();
      touched = { sessions, lastWallMs: 0, faultUnseen: false, faulty: false, state: null };
      this.#touched.set(device, touched);
    }
    return touched;
  }
}

/** `faultUnseen` is null where there is no fault. */
function attentionOf(
  shown: ShownDevice,
  stopUnseen: boolean,
  faultUnseen: boolean | null,
): AttentionLevel {
  if (stopUnseen) return AttentionLevel.EMERGENCY;
  if (faultUnseen === true || shown.state.holds.includes('in-doubt')) {
    return AttentionLevel.CRITICAL;
  }
  if (faultUnseen === false || shown.display === DisplayState.CRITICAL) {
    return AttentionLevel.WARNING;
  }
  switch (shown.display) {
    case DisplayState.WARNING:
    case DisplayState.STALE:
    case DisplayState.UNKNOWN:
      return AttentionLevel.ADVISORY;
    case DisplayState.HIGHLIGHTED:
    case DisplayState.LOCKED_OUT:
      return AttentionLevel.INFO;
    default:
      return AttentionLevel.NONE;
  }
}

function differ(left: InterfaceDeviceState, right: InterfaceDeviceState): boolean {
  return (
    left.monitored !== right.monitored ||
    left.display !== right.display ||
    left.activeSessions !== right.activeSessions ||
    left.lastInteractionWallMs !== right.lastInteractionWallMs ||
    left.notificationsPending !== right.notificationsPending ||
    left.attention !== right.attention
  );
}
