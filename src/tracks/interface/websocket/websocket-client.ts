// One WebSocket connection: sign-in, subscriptions, requests, and a bounded way out.
// Invariants: nothing but AUTHENTICATE is answered before sign-in; a client that does not read is cut off when
// `UNSENT_BYTES_MAX` wait for it; an emergency stop is sent whatever is subscribed, again until acknowledged.

import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import { jsonText, sessionToJson } from '#contract/json-answer';
import { deviceIdFromJson } from '#contract/json-request';
import { acknowledgmentToJson } from '#contract/json-state';
import type { Cancel } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { linearIdOf } from '#model/device';
import { type AgentEvent, EventType } from '#model/event';
import type { Session } from '#model/orchestrator-port';
import type { Connection } from '../connection.ts';
import { type Delivery, devicesOfEvent, maySeeEvent } from '../event-hub.ts';
import type { Caller, InterfaceService } from '../service.ts';
import type { SessionChange } from '../session-watches.ts';
import { closeTextOf } from './close-text.ts';
import {
  type ClientMessage,
  errorText,
  isOfTypes,
  isStopId,
  priorityOf,
  priorityRank,
  rowOfMessage,
  type SubscriptionJson,
  stopIdOf,
} from './messages.ts';
import { answerRequest } from './requests.ts';

export interface WebSocketClientParts {
  readonly service: InterfaceService;
  readonly socket: WebSocket;
  /** Below the WebSocket: corked so that a burst of messages leaves in few packets. */
  readonly stream: Duplex;
  readonly connection: Connection;
  readonly read: (text: string) => Outcome<ClientMessage>;
  /** The event's text, made once for all clients. */
  readonly textOf: (event: AgentEvent) => string;
  readonly onClose: () => void;
}

type Filter = (event: AgentEvent) => boolean;

const UNSENT_BYTES_MAX = 1024 * 1024;
const SUBSCRIPTIONS_MAX = 16;
const MISTAKES_MAX = 32;
const OPEN_REQUESTS_MAX = 32;
const SIGN_IN_MS = 10_000;
const HEARTBEAT_MS = 15_000;
const REPEAT_STOP_MS = 5_000;
const REPEATS_MAX = 12;
const POLICY_VIOLATION = 1008;

export class WebSocketClient {
  readonly id = randomUUID();
  readonly #parts: WebSocketClientParts;
  readonly #subscriptions = new Map<string, Filter>();
  readonly #unacknowledged = new Map<string, { text: string; cancel: Cancel }>();
  #connection: Connection;
  #session: Session | null = null;
  #mistakes = 0;
  #open = 0;
  #answered = true;
  #corked = false;
  #closed = false;
  #locked = false;
  #cancelTimer: Cancel = () => undefined;
  #stopListening: () => void = () => undefined;

  constructor(parts: WebSocketClientParts) {
    this.#parts = parts;
    this.#connection = parts.connection;
    const { socket, service } = parts;
    socket.on('message', (data, isBinary) => this.#onMessage(data, isBinary ? 'binary' : 'text'));
    socket.on('pong', () => {
      this.#answered = true;
    });
    socket.on('close', () => this.#onClose());
    // The library closes with the right code (1009 for a message too long); its words stay here.
    socket.on('error', (error) => service.log(`websocket ${this.id}: ${error.message}`));
    if (parts.connection.credential !== null) void this.#signIn();
    this.#cancelTimer = service.clock.after(SIGN_IN_MS, () => {
      if (this.#session === null) socket.close(POLICY_VIOLATION, 'Authentication required');
      else this.#beat();
    });
  }

  get unacknowledged(): number {
    return this.#unacknowledged.size;
  }

  close(code: number, reason: string): void {
    this.#parts.socket.close(code, reason);
  }

  terminate(): void {
    this.#parts.socket.terminate();
  }

  // --- Sign-in -----------------------------------------------------------------------------------

  async #signIn(): Promise<void> {
    const { service, socket } = this.#parts;
    const deadline = service.deadline();
    // Whoever is signed in may stop from here; events need the right to them when they are subscribed to.
    const admitted = await service.call('me', this.#connection, deadline, (caller) =>
      succeed(caller),
    );
    if (this.#closed || this.#session !== null) return;
    if (!admitted.ok || admitted.value.session === null) {
      if (!admitted.ok) this.#send(errorText(admitted.fault));
      socket.close(POLICY_VIOLATION, 'Authentication required');
      return;
    }
    const { session } = admitted.value;
    this.#session = session;
    const { id, clearance, compartments, devices } = sessionToJson(session);
    this.#send(
      jsonText({
        type: 'CONNECTION_ESTABLISHED',
        data: {
          connectionId: this.id,
          userContext: {
            userId: id,
            clearanceLevel: clearance,
            permissions: { compartments, devices },
          },
          serverTime: new Date(service.clock.wallMs()).toISOString(),
          lastSequence: service.events.lastSequence,
        },
      }),
    );
    const stopEvents = service.events.listen((event) => this.#onEvent(event, session));
    const stopWatching = service.watchSession(this.#connection, (change) =>
      this.#onSessionChange(change),
    );
    this.#stopListening = () => {
      stopEvents();
      stopWatching();
    };
  }

  /** Over: closed at once. Locked: nothing is sent any more but stops, which may still be asked for here too. */
  #onSessionChange(change: SessionChange): void {
    this.#subscriptions.clear();
    if (change.kind === 'locked') {
      this.#locked = true;
      return;
    }
    this.#stopListening();
    const { reason } = change;
    this.#send(errorText(fault('NOT_AUTHENTICATED', { place: 'session', finding: reason })));
    this.#parts.socket.close(POLICY_VIOLATION, closeTextOf(reason));
  }

  // --- Incoming ----------------------------------------------------------------------------------

  #onMessage(data: RawData, kind: 'text' | 'binary'): void {
    if (kind === 'binary') {
      this.#mistake('message', 'is binary; messages here are JSON text');
      return;
    }
    const message = this.#parts.read(data.toString());
    if (!message.ok) {
      this.#mistake(message.fault.place, message.fault.finding);
      return;
    }
    if (this.#session === null) {
      const mayNotYet =
        message.value.type !== 'AUTHENTICATE' || this.#connection.credential !== null;
      if (mayNotYet) {
        this.#mistake('message', 'comes before the sign-in is done');
        return;
      }
      const credential = { kind: 'token', token: message.value.token } as const;
      this.#connection = { ...this.#connection, credential };
      void this.#signIn();
      return;
    }
    if (this.#open >= OPEN_REQUESTS_MAX && rowOfMessage(message.value) !== 'stop') {
      const finding = `${OPEN_REQUESTS_MAX} requests are open`;
      const id = 'id' in message.value ? message.value.id : undefined;
      this.#send(errorText(fault('BUSY', { place: 'connection', finding }), id));
      return;
    }
    void this.#handle(message.value);
  }

  async #handle(message: ClientMessage): Promise<void> {
    const { service } = this.#parts;
    const key = rowOfMessage(message);
    if (key === undefined) {
      this.#mistake('message', 'has no type that is known here');
      return;
    }
    const id = 'id' in message ? message.id : undefined;
    const deadline = service.deadline();
    this.#open += 1;
    const answer = await service.call(key, this.#connection, deadline, (caller) =>
      this.#perform(message, caller, deadline),
    );
    this.#open -= 1;
    if (!answer.ok) this.#send(errorText(answer.fault, id));
    else if (answer.value !== null) this.#send(jsonText(answer.value));
  }

  /** What is sent back, or null when everything was sent on the way. */
  async #perform(
    message: ClientMessage,
    caller: Caller,
    deadline: Deadline,
  ): Promise<Outcome<object | null>> {
    const { service } = this.#parts;
    switch (message.type) {
      case 'AUTHENTICATE':
        return refuse(
          fault('REQUEST_MALFORMED', { place: 'message', finding: 'signs in a second time' }),
        );
      case 'SUBSCRIBE':
        return this.#subscribe(message.subscription, message.lastSequence);
      case 'UNSUBSCRIBE':
        this.#subscriptions.delete(message.subscription.id);
        return succeed({ type: 'UNSUBSCRIBED', subscription: message.subscription });
      case 'ACKNOWLEDGE':
        return this.#acknowledge(message.id, caller, deadline);
      default:
        return answerRequest(service, message, caller, deadline);
    }
  }

  /** A stop is repeated until its acknowledgment is on record, not only until somebody has sent one. */
  async #acknowledge(id: string, caller: Caller, deadline: Deadline): Promise<Outcome<object>> {
    if (!isStopId(id)) return succeed({ type: 'ACKNOWLEDGED', id });
    const given = await this.#parts.service.stops.acknowledge(caller, deadline);
    // A stop that was reset meanwhile needs nobody's word any more.
    const over = !given.ok && given.fault.code === 'STOP_NOT_ENGAGED';
    if (!given.ok && !over) return given;
    this.#unacknowledged.get(id)?.cancel();
    this.#unacknowledged.delete(id);
    const acknowledgments = given.ok ? given.value.map(acknowledgmentToJson) : [];
    return succeed({ type: 'ACKNOWLEDGED', id, acknowledgments });
  }

  #subscribe(asked: SubscriptionJson, lastSequence: number | undefined): Outcome<object | null> {
    const { service, textOf } = this.#parts;
    const id = asked.id ?? randomUUID();
    if (!this.#subscriptions.has(id) && this.#subscriptions.size >= SUBSCRIPTIONS_MAX) {
      const finding = `has ${SUBSCRIPTIONS_MAX} subscriptions already`;
      return refuse(fault('BUSY', { place: 'connection', finding }));
    }
    const filter = filterOf(asked);
    if (!filter.ok) return filter;
    this.#subscriptions.set(id, filter.value);
    const replay =
      lastSequence === undefined ? undefined : service.events.replayAfter(lastSequence);
    const subscription = { ...asked, id };
    const resumed =
      replay === undefined ? {} : { resumed: replay.complete ? 'complete' : 'incomplete' };
    // The confirmation goes first, so that a client knows whose the repeated events are.
    this.#send(
      jsonText({
        type: 'SUBSCRIBED',
        subscription,
        lastSequence: service.events.lastSequence,
        ...resumed,
      }),
    );
    const principal = this.#session?.principal;
    for (const event of replay?.events ?? []) {
      if (principal !== undefined && maySeeEvent(principal, event) && filter.value(event)) {
        this.#send(textOf(event));
      }
    }
    return succeed(null);
  }

  #mistake(place: string, finding: string): void {
    this.#mistakes += 1;
    this.#send(errorText(fault('REQUEST_MALFORMED', { place, finding })));
    if (this.#mistakes >= MISTAKES_MAX) {
      this.#parts.socket.close(POLICY_VIOLATION, 'Too many malformed messages');
    }
  }

  // --- Outgoing ----------------------------------------------------------------------------------

  #onEvent(event: AgentEvent, session: Session): Delivery {
    // Its close frame came, and its connection may stay half open for a while: it is no panel any more.
    const { socket } = this.#parts;
    if (socket.readyState !== socket.OPEN) return 'gone';
    const text = this.#parts.textOf;
    if (event.type === EventType.EMERGENCY_STOP) {
      this.#remember(stopIdOf(event), text(event));
      return this.#send(text(event));
    }
    if (this.#locked || !maySeeEvent(session.principal, event)) return 'taken';
    for (const filter of this.#subscriptions.values()) {
      if (filter(event)) return this.#send(text(event));
    }
    return 'taken';
  }

  /** Sends the stop again until it is acknowledged, at most twelve times. */
  #remember(id: string, text: string): void {
    let repeats = 0;
    const again = (): void => {
      const waiting = this.#unacknowledged.get(id);
      if (waiting === undefined || this.#closed) return;
      repeats += 1;
      if (repeats > REPEATS_MAX) {
        this.#unacknowledged.delete(id);
        return;
      }
      this.#send(text);
      waiting.cancel = this.#parts.service.clock.after(REPEAT_STOP_MS, again);
    };
    if (this.#unacknowledged.size >= SUBSCRIPTIONS_MAX) return;
    const cancel = this.#parts.service.clock.after(REPEAT_STOP_MS, again);
    this.#unacknowledged.set(id, { text, cancel });
  }

  /** `missed` when it was cut off because it does not read. */
  #send(text: string): Delivery {
    const { socket, stream, service } = this.#parts;
    if (socket.readyState !== socket.OPEN) return 'gone';
    if (socket.bufferedAmount > UNSENT_BYTES_MAX) {
      service.log(`websocket ${this.id}: cut off with ${socket.bufferedAmount} bytes unread`);
      service.metrics.slowClient();
      socket.terminate();
      return 'missed';
    }
    if (!this.#corked) {
      this.#corked = true;
      stream.cork();
      setImmediate(() => {
        this.#corked = false;
        stream.uncork();
      });
    }
    socket.send(text);
    return 'taken';
  }

  #beat(): void {
    const { socket, service } = this.#parts;
    if (!this.#answered) {
      socket.terminate();
      return;
    }
    this.#answered = false;
    socket.ping();
    this.#cancelTimer = service.clock.after(HEARTBEAT_MS, () => this.#beat());
  }

  #onClose(): void {
    this.#closed = true;
    this.#cancelTimer();
    this.#stopListening();
    for (const { cancel } of this.#unacknowledged.values()) cancel();
    this.#unacknowledged.clear();
    this.#parts.onClose();
  }
}

function filterOf(asked: SubscriptionJson): Outcome<Filter> {
  const devices = new Set<number>();
  for (const given of asked.devices ?? []) {
    const deviceId = deviceIdFromJson(given);
    const id = linearIdOf(deviceId);
    if (id === undefined) return refuse(unknownDevice(deviceId));
    devices.add(id);
  }
  const types = new Set<string>(asked.types ?? []);
  const rank = priorityRank(asked.minimumPriority ?? 'LOW');
  return succeed(
    (event) =>
      (types.size === 0 || isOfTypes(event, types)) &&
      priorityRank(priorityOf(event.severity)) >= rank &&
      (devices.size === 0 || devicesOfEvent(event).some((id) => devices.has(id))),
  );
}

function unknownDevice(deviceId: number): Fault {
  const finding = 'is neither a linear id 0 to 83 nor a device token';
  return fault('DEVICE_ID_INVALID', { place: `device ${deviceId}`, finding });
}
