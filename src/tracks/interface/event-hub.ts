// Passes the agent's events to every listening client and remembers the last ones for those that come back.
// Invariants: the ring is bounded; a listener that throws is dropped and disturbs nobody; an emergency stop
// reaches every listener once, whether the track was ordered to tell or the event arrived first.

import type { Clock } from '#foundation/clock';
import { linearIdOf } from '#model/device';
import { type AgentEvent, EventType, Severity } from '#model/event';
import { ClearanceLevel, type Principal } from '#model/principal';
import type { StopOrder } from '#model/stop';

/**
 * `taken`: sent, queued for sending, or not for this client. `missed`: it should have had it. `gone`: it has left by
 * itself, so that there was nobody to tell.
 */
export type Delivery = 'taken' | 'missed' | 'gone';
export type EventListener = (event: AgentEvent) => Delivery;

export interface Replay {
  readonly events: readonly AgentEvent[];
  /** False when something after the given sequence is no longer remembered. */
  readonly complete: boolean;
}

/** An order to tell and its event count as one within this time. */
const SAME_STOP_MS = 2_000;
const TOLD_STOPS_MAX = 64;
/** How the orchestrator's event begins to say the scope of a stop of everything. */
const WHOLE_SYSTEM = 'whole system';

interface ToldStop {
  readonly by: 'order' | 'event';
  readonly key: string;
  readonly atMs: number;
}

function stopKey(whole: boolean, reason: string): string {
  return `${whole ? 'all' : 'some'} ${reason}`;
}

export class EventHub {
  readonly #clock: Clock;
  readonly #capacity: number;
  readonly #ring: AgentEvent[] = [];
  readonly #listeners = new Set<EventListener>();
  /** Stops that were told by one of the two ways and may yet come by the other; oldest first. */
  #toldStops: readonly ToldStop[] = [];
  #toldAtMs = Number.NEGATIVE_INFINITY;
  #dropped = 0;

  constructor(clock: Clock, capacity = 1024) {
    this.#clock = clock;
    this.#capacity = capacity;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** Listeners that failed and were dropped. */
  get dropped(): number {
    return this.#dropped;
  }

  get lastSequence(): number {
    return this.#ring.at(-1)?.sequence ?? 0;
  }

  publish(event: AgentEvent): void {
    const last = this.#ring.at(-1);
    // A lower sequence is the first of a restarted security track: the old numbers mean nothing any more.
    if (last !== undefined && event.sequence <= last.sequence) this.#ring.length = 0;
    this.#ring.push(event);
    if (this.#ring.length > this.#capacity) this.#ring.shift();
    if (event.type === EventType.EMERGENCY_STOP) {
      const scope = event.data.scope ?? WHOLE_SYSTEM;
      const key = stopKey(scope.startsWith(WHOLE_SYSTEM), event.data.reason ?? '');
      if (!this.#firstOfStop('event', key)) return;
    }
    this.#send(event);
  }

  /** Tells every client of a stop at once; how many took it and how many could not be told. */
  announceStop(order: StopOrder): { readonly told: number; readonly missed: number } {
    const key = stopKey(order.cause.devices.length === 0, order.cause.reason);
    if (!this.#firstOfStop('order', key)) return { told: this.#listeners.size, missed: 0 };
    return this.#send({
      sequence: 0,
      type: EventType.EMERGENCY_STOP,
      severity: Severity.EMERGENCY,
      source: order.cause.source,
      wallMs: order.cause.wallMs,
      data: {
        reason: order.cause.reason,
        triggered_by: order.cause.triggeredBy,
        requires_acknowledgment: 'true',
        scope:
          order.cause.devices.length === 0
            ? WHOLE_SYSTEM
            : `devices ${order.cause.devices.join(', ')}`,
      },
    });
  }

  /** Everything remembered after `sequence`, oldest first. */
  replayAfter(sequence: number): Replay {
    const first = this.#ring[0];
    if (first === undefined) return { events: [], complete: sequence === 0 };
    const events = this.#ring.filter((event) => event.sequence > sequence);
    const known = sequence <= this.lastSequence && sequence >= first.sequence - 1;
    return known ? { events, complete: true } : { events: [...this.#ring], complete: false };
  }

  listen(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  toldStopRecently(): boolean {
    return this.#clock.nowMs() - this.#toldAtMs <= SAME_STOP_MS;
  }

  /** An order goes with one event, and an event with one order: a second stop for the same reason is told too. */
  #firstOfStop(by: ToldStop['by'], key: string): boolean {
    const nowMs = this.#clock.nowMs();
    this.#toldAtMs = nowMs;
    const recent = this.#toldStops.filter(({ atMs }) => nowMs - atMs <= SAME_STOP_MS);
    const same = recent.find((told) => told.by !== by && told.key === key);
    this.#toldStops =
      same === undefined
        ? [...recent, { by, key, atMs: nowMs }].slice(-TOLD_STOPS_MAX)
        : recent.filter((told) => told !== same);
    return same === undefined;
  }

  #send(event: AgentEvent): { told: number; missed: number } {
    let told = 0;
    let missed = 0;
    for (const listener of [...this.#listeners]) {
      let delivery: Delivery = 'missed';
      try {
        delivery = listener(event);
      } catch {
        this.#listeners.delete(listener);
        this.#dropped += 1;
      }
      if (delivery === 'taken') told += 1;
      else if (delivery === 'missed') missed += 1;
      else this.#listeners.delete(listener);
    }
    return { told, missed };
  }
}

/** The devices an event names in its `devices` or `device_id` member, as linear ids. */
export function devicesOfEvent(event: AgentEvent): readonly number[] {
  const text = event.data.devices ?? event.data.device_id ?? '';
  const ids: number[] = [];
  for (const part of text.split(/[\s,]+/)) {
    const id = part === '' ? undefined : linearIdOf(Number(part));
    if (id !== undefined) ids.push(id);
  }
  return ids;
}

/**
 * Whether a person may see an event: audit and alerts from SECRET up, the rest from RESTRICTED up, and
 * only of devices they may operate. An emergency is for everybody who is connected.
 */
export function maySeeEvent(principal: Principal, event: AgentEvent): boolean {
  if (event.type === EventType.EMERGENCY_STOP || event.severity === Severity.EMERGENCY) return true;
  const sensitive =
    event.type === EventType.SECURITY_ALERT || event.type === EventType.AUDIT_ENTRY_CREATED;
  const needed = sensitive ? ClearanceLevel.SECRET : ClearanceLevel.RESTRICTED;
  if (principal.clearance < needed) return false;
  const allowed = principal.devices;
  return allowed === null || devicesOfEvent(event).every((id) => allowed.includes(id));
}
