import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { type AgentEvent, EventType, Severity } from '#model/event';
import { AttentionLevel, DisplayState, OverallStatus } from '#model/snapshot';
import {
  DeviceAttention,
  displayOfStatus,
  type ShownDevice,
} from '#tracks/interface/device-attention';
import { InterfaceState } from '#tracks/interface/snapshot';

const QUIET = { lastFault: '', holds: [], unexplained: '' } as const;

let clock: VirtualClock;
let shown: Map<number, ShownDevice>;
let listeners: number;
let attention: DeviceAttention;

function put(id: number, status: OverallStatus, changes: Partial<ShownDevice> = {}): void {
  const state = changes.state ?? QUIET;
  const display = displayOfStatus(status, state);
  shown.set(id, { device: { id }, state, status, stopped: false, display, ...changes });
}

beforeEach(() => {
  clock = new VirtualClock();
  shown = new Map();
  listeners = 0;
  put(1, OverallStatus.OPERATIONAL);
  put(2, OverallStatus.OPERATIONAL);
  attention = new DeviceAttention({
    clock,
    entries: () => [...shown.values()],
    entry: (device) => shown.get(device),
    listeners: () => listeners,
  });
});

const of = (device: number) => {
  const [state] = attention.states([device]);
  if (state === undefined) throw new Error(`device ${device}`);
  return state;
};
const event = (type: EventType, data: AgentEvent['data'] = {}): AgentEvent => {
  return { sequence: 1, type, severity: Severity.INFO, source: 'kernel', wallMs: 1, data };
};

describe('the interface state of a device', () => {
  it('has a version that moves only with what else is said of this device', () => {
    expect(attention.states().map(({ version }) => version)).toEqual([1, 1]);
    expect(attention.states().map(({ version }) => version)).toEqual([1, 1]);
    put(1, OverallStatus.DEGRADED);
    expect(attention.states().map(({ version }) => version)).toEqual([2, 1]);
  });

  it('is monitored while a client is told of events, or has fetched devices lately', async () => {
    expect(of(1).monitored).toBe(false);
    listeners = 1;
    expect(of(1).monitored).toBe(true);
    listeners = 0;
    attention.watched();
    expect(of(1).monitored).toBe(true);
    await clock.advance(30_000);
    expect(of(1).monitored).toBe(false);
  });

  it('counts the sessions that asked about it, each once, and forgets them in time', async () => {
    attention.touched('a', [1]);
    attention.touched('b', [1, 2]);
    attention.touched('a', [1]);
    expect(of(1)).toMatchObject({ activeSessions: 2, lastInteractionWallMs: clock.wallMs() });
    expect(of(2).activeSessions).toBe(1);
    await clock.advance(300_001);
    expect(of(1).activeSessions).toBe(0);
    for (let session = 0; session < 500; session++) attention.touched(`s${session}`, [1]);
    expect(of(1).activeSessions).toBe(64);
  });

  it('asks for attention to a fault until somebody has asked about the device', () => {
    put(1, OverallStatus.FAULT);
    expect(of(1)).toMatchObject({
      display: DisplayState.CRITICAL,
      notificationsPending: true,
      attention: AttentionLevel.CRITICAL,
    });
    attention.touched('a', [1]);
    expect(of(1)).toMatchObject({
      notificationsPending: false,
      attention: AttentionLevel.WARNING,
    });
    put(1, OverallStatus.OPERATIONAL);
    expect(of(1).attention).toBe(AttentionLevel.NONE);
    put(1, OverallStatus.FAULT);
    expect(of(1).notificationsPending).toBe(true);
  });

  it.each(['STOP_ACKNOWLEDGED', 'EMERGENCY_RESET'])(
    'asks for attention to a stop until %s',
    (name) => {
      attention.takeEvent(event(EventType.EMERGENCY_STOP));
      put(1, OverallStatus.EMERGENCY_STOPPED, { stopped: true });
      expect(of(1)).toMatchObject({
        notificationsPending: true,
        attention: AttentionLevel.EMERGENCY,
      });
      expect(of(2).attention).toBe(AttentionLevel.NONE);
      attention.takeEvent(event(EventType.AUDIT_ENTRY_CREATED, { event: name }));
      expect(of(1).notificationsPending).toBe(false);
    },
  );

  it('says what is shown, also where a conflict decided that', () => {
    put(1, OverallStatus.OPERATIONAL, { display: DisplayState.STALE });
    expect(of(1)).toMatchObject({
      display: DisplayState.STALE,
      attention: AttentionLevel.ADVISORY,
    });
  });
});

it.each([
  [OverallStatus.QUARANTINED, QUIET, DisplayState.LOCKED_OUT],
  [OverallStatus.EMERGENCY_STOPPED, QUIET, DisplayState.CRITICAL],
  [OverallStatus.FAULT, QUIET, DisplayState.CRITICAL],
  [OverallStatus.OPERATIONAL, { ...QUIET, lastFault: 'no answer' }, DisplayState.CRITICAL],
  [OverallStatus.OPERATIONAL, { ...QUIET, holds: ['in-doubt'] as const }, DisplayState.CRITICAL],
  [OverallStatus.OPERATIONAL, { ...QUIET, holds: ['deactivated'] as const }, DisplayState.WARNING],
  [OverallStatus.OPERATIONAL, { ...QUIET, unexplained: 'DATA' }, DisplayState.WARNING],
  [OverallStatus.DEGRADED, QUIET, DisplayState.WARNING],
  [OverallStatus.MAINTENANCE, QUIET, DisplayState.HIGHLIGHTED],
  [OverallStatus.OPERATIONAL, QUIET, DisplayState.NORMAL],
  [OverallStatus.UNKNOWN, QUIET, DisplayState.UNKNOWN],
])('shows status %i with %j as %i', (status, state, display) => {
  expect(displayOfStatus(status, state)).toBe(display);
});

it('moves the version of the track with the number of sessions, not with the age of its picture', () => {
  const state = new InterfaceState();
  expect(state.snapshot(1, 5, []).version).toBe(1);
  expect(state.snapshot(1, 9, []).version).toBe(1);
  expect(state.snapshot(2, 9, []).version).toBe(2);
  expect(state.snapshot(2, Number.POSITIVE_INFINITY, []).pictureAgeMs).toBe(1e12);
});
