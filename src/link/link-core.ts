// What every link does above its carrier: open requests, handlers, notices, peer state and counters.
// Invariants: a request ends exactly once, by answer, deadline, loss of the peer or close; requests and handlers are
// bounded, with a few places kept for emergency stops; an answer goes only to the incarnation that asked.

import type { Cancel, Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeError, type Fault, type FaultDetails, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { TrackName } from '#model/track-name';
import { decodeBody, encodeBody } from './codec.ts';
import {
  DEADLINE_MS_MAX,
  type LinkCounters,
  MESSAGE_BYTES_MAX,
  MessageType,
  OUTSTANDING_MAX,
  type PeerState,
  type RequestHandler,
} from './link.ts';
import type { Message } from './message.ts';
import { faultForPeer, faultFromPeer } from './wire-fault.ts';

export type SendResult = 'sent' | 'full' | 'too-large' | 'broken';

export interface LinkCoreOptions {
  readonly self: TrackName;
  readonly peer: TrackName;
  readonly clock: Clock;
  readonly send: (message: Message) => SendResult;
  /** Errors thrown by handlers and listeners: mistakes in this process. */
  readonly onError: (error: unknown, where: string) => void;
}

interface OpenRequest {
  readonly method: string;
  readonly settle: (outcome: Outcome<unknown>) => void;
  readonly cancelTimer: Cancel;
}

const PLACES_FOR_STOPS = 16;
const METHOD_PATTERN = /^[a-z][a-zA-Z0-9.-]{0,63}$/;

export class LinkCore {
  readonly self: TrackName;
  readonly peer: TrackName;
  readonly #clock: Clock;
  readonly #send: (message: Message) => SendResult;
  readonly #onError: (error: unknown, where: string) => void;
  readonly #open = new Map<number, OpenRequest>();
  readonly #handlers = new Map<string, RequestHandler>();
  readonly #noticeListeners = new Map<string, ((body: unknown) => void)[]>();
  readonly #peerListeners = new Set<(state: PeerState) => void>();
  /** Answers that found the ring full; sent as soon as there is room. */
  #outbox: Message[] = [];
  #correlation = 0;
  #serving = 0;
  #incarnation = 0;
  #peerState: PeerState = 'absent';
  readonly counts = {
    messagesSent: 0,
    messagesReceived: 0,
    framesSent: 0,
    framesReceived: 0,
    overruns: 0,
    corruptFrames: 0,
    staleFrames: 0,
    protocolErrors: 0,
    strayAnswers: 0,
    timeouts: 0,
    peerLosses: 0,
  };

  constructor(options: LinkCoreOptions) {
    this.self = options.self;
    this.peer = options.peer;
    this.#clock = options.clock;
    this.#send = options.send;
    this.#onError = options.onError;
  }

  get peerState(): PeerState {
    return this.#peerState;
  }

  counters(): LinkCounters {
    return { ...this.counts };
  }

  request(
    type: MessageType,
    method: string,
    body: unknown,
    deadline: Deadline,
  ): Promise<Outcome<unknown>> {
    const refusal = this.#refusal(type, method, deadline);
    if (refusal !== null) return Promise.resolve(refuse(refusal));
    const encoded = this.#encode(body, method);
    if (!encoded.ok) return Promise.resolve(encoded);
    const correlation = this.#nextCorrelation();
    const sent = this.#send({
      type,
      kind: 'request',
      correlation,
      deadlineMs: deadline.atMs,
      method,
      text: encoded.value,
    });
    if (sent !== 'sent') return Promise.resolve(refuse(this.#unsent(sent, method)));
    this.counts.messagesSent += 1;
    return new Promise((settle) => {
      const cancelTimer = this.#clock.after(Math.max(0, deadline.remainingMs()), () => {
        this.counts.timeouts += 1;
        this.#finish(correlation, refuse(this.#overdue(method)));
      });
      this.#open.set(correlation, { method, settle, cancelTimer });
    });
  }

  notify(type: MessageType, method: string, body: unknown): Outcome<void> {
    if (this.#peerState !== 'up')
      return refuse(this.#unavailable(`notice ${method} was not sent: it is ${this.#peerState}`));
    const encoded = this.#encode(body, method);
    if (!encoded.ok) return encoded;
    const sent = this.#send({
      type,
      kind: 'notice',
      correlation: 0,
      deadlineMs: 0,
      method,
      text: encoded.value,
    });
    if (sent !== 'sent') return refuse(this.#unsent(sent, method));
    this.counts.messagesSent += 1;
    return succeed(undefined);
  }

  serve(method: string, handler: RequestHandler): void {
    if (!METHOD_PATTERN.test(method)) throw new RangeError(`${method} is no method name`);
    if (this.#handlers.has(method)) throw new Error(`${method} already has a handler`);
    this.#handlers.set(method, handler);
  }

  onNotice(method: string, listener: (body: unknown) => void): void {
    const listeners = this.#noticeListeners.get(method);
    if (listeners === undefined) this.#noticeListeners.set(method, [listener]);
    else listeners.push(listener);
  }

  onPeer(listener: (state: PeerState) => void): () => void {
    this.#peerListeners.add(listener);
    return () => this.#peerListeners.delete(listener);
  }

  /** The peer is a new process: whatever was asked of the old one is over. */
  peerReplaced(): void {
    this.#incarnation += 1;
    this.#outbox = [];
    this.#failAll('restarted');
  }

  setPeer(state: PeerState): void {
    if (state === this.#peerState) return;
    const before = this.#peerState;
    this.#peerState = state;
    if (state === 'lost' || state === 'absent') {
      if (before === 'up' || before === 'silent') this.counts.peerLosses += 1;
      this.#outbox = [];
      this.#failAll(state === 'lost' ? 'died' : 'closed the link');
    }
    for (const listener of [...this.#peerListeners])
      this.#guarded(() => listener(state), `peer state ${state}`);
  }

  /** Ends everything: nothing is sent or delivered afterwards. */
  close(): void {
    this.setPeer('absent');
    this.#incarnation += 1;
  }

  /** Sends answers that found the ring full. */
  flush(): void {
    for (let next = this.#outbox[0]; next !== undefined; next = this.#outbox[0]) {
      const sent = this.#send(next);
      if (sent === 'full') return;
      this.#outbox.shift();
      if (sent === 'sent') this.counts.messagesSent += 1;
    }
  }

  receive(message: Message): void {
    this.counts.messagesReceived += 1;
    switch (message.kind) {
      case 'request':
        this.#serve(message);
        break;
      case 'answer':
      case 'fault':
        this.#answered(message);
        break;
      case 'notice':
        this.#noticed(message);
        break;
    }
  }

  #refusal(type: MessageType, method: string, deadline: Deadline): Fault | null {
    if (this.#peerState !== 'up')
      return this.#unavailable(`${method} was not sent: it is ${this.#peerState}`);
    if (deadline.expired())
      return this.#fault('DEADLINE_EXCEEDED', {
        finding: `${method} was not sent: its time was over`,
      });
    if (this.#open.size < OUTSTANDING_MAX + placesForStops(type)) return null;
    this.counts.overruns += 1;
    return this.#fault('LINK_OVERRUN', {
      finding: `${method} was not sent: ${this.#open.size} requests wait for answers`,
    });
  }

  #nextCorrelation(): number {
    do {
      this.#correlation = this.#correlation === 0xffff_ffff ? 1 : this.#correlation + 1;
    } while (this.#open.has(this.#correlation));
    return this.#correlation;
  }

  #finish(correlation: number, outcome: Outcome<unknown>): void {
    const open = this.#open.get(correlation);
    if (open === undefined) return;
    this.#open.delete(correlation);
    open.cancelTimer();
    open.settle(outcome);
  }

  #failAll(what: string): void {
    for (const [correlation, open] of [...this.#open]) {
      const finding = `${what} while ${open.method} was open`;
      this.#finish(correlation, refuse(this.#unavailable(finding, 'unknown')));
    }
  }

  #serve(message: Message): void {
    const refusal = this.#inadmissible(message);
    const body = refusal === null ? decodeBody(message.text) : refuse(refusal);
    const handler = this.#handlers.get(message.method);
    if (!body.ok || handler === undefined) {
      if (!body.ok && body.fault.code === 'LINK_PROTOCOL') this.counts.protocolErrors += 1;
      if (!body.ok) this.#answer(message, body);
      return;
    }
    const atMs = Math.min(message.deadlineMs, this.#clock.nowMs() + DEADLINE_MS_MAX);
    void this.#run(message, handler, body.value, new Deadline(this.#clock, atMs));
  }

  #inadmissible(message: Message): Fault | null {
    const place = `${this.self} track`;
    if (!this.#handlers.has(message.method)) {
      return fault('LINK_PROTOCOL', {
        place,
        finding: `has no method ${printable(message.method)}`,
      });
    }
    if (!Number.isFinite(message.deadlineMs)) {
      return fault('LINK_PROTOCOL', { place, finding: 'was given no deadline' });
    }
    if (message.deadlineMs <= this.#clock.nowMs()) {
      const finding = `${message.method} came after its deadline`;
      return fault('DEADLINE_EXCEEDED', { place, finding, consequence: 'nothing was done' });
    }
    if (this.#serving < OUTSTANDING_MAX + placesForStops(message.type)) return null;
    this.counts.overruns += 1;
    return fault('LINK_OVERRUN', { place, finding: `serves ${this.#serving} requests already` });
  }

  async #run(
    message: Message,
    handler: RequestHandler,
    body: unknown,
    deadline: Deadline,
  ): Promise<void> {
    const incarnation = this.#incarnation;
    this.#serving += 1;
    let outcome: Outcome<unknown>;
    try {
      outcome = await handler(body, deadline);
    } catch (error) {
      this.#onError(error, message.method);
      outcome = refuse(
        fault('INTERNAL', {
          place: `${this.self} track`,
          finding: `${message.method} failed by a mistake in this program`,
          metal: 'unknown',
          internal: describeError(error),
        }),
      );
    }
    this.#serving -= 1;
    if (incarnation === this.#incarnation) this.#answer(message, outcome);
  }

  #answer(request: Message, outcome: Outcome<unknown>): void {
    const value = outcome.ok ? outcome.value : faultForPeer(outcome.fault, this.peer);
    const encoded = this.#encode(value, request.method);
    // A fault holds only text, so it always encodes.
    if (!encoded.ok) {
      this.#answer(request, encoded);
      return;
    }
    const type =
      request.type === MessageType.OPERATION_REQUEST
        ? MessageType.OPERATION_RESPONSE
        : request.type;
    const kind = outcome.ok ? 'answer' : 'fault';
    const message: Message = {
      type,
      kind,
      correlation: request.correlation,
      deadlineMs: 0,
      method: '',
      text: encoded.value,
    };
    const sent = this.#outbox.length === 0 ? this.#send(message) : 'full';
    if (sent === 'sent') {
      this.counts.messagesSent += 1;
    } else if (sent === 'full') {
      if (this.#outbox.length < OUTSTANDING_MAX) this.#outbox.push(message);
      else this.counts.overruns += 1;
    } else if (sent === 'too-large' && outcome.ok) {
      this.#answer(request, refuse(this.#unsent(sent, request.method)));
    }
  }

  #answered(message: Message): void {
    const open = this.#open.get(message.correlation);
    if (open === undefined) {
      this.counts.strayAnswers += 1;
      return;
    }
    const body = decodeBody(message.text);
    if (!body.ok) this.counts.protocolErrors += 1;
    const outcome =
      body.ok && message.kind === 'fault' ? refuse(faultFromPeer(body.value, this.peer)) : body;
    this.#finish(message.correlation, outcome);
  }

  #noticed(message: Message): void {
    const listeners = this.#noticeListeners.get(message.method);
    const body = decodeBody(message.text);
    if (listeners === undefined || !body.ok) {
      this.counts.protocolErrors += 1;
      return;
    }
    for (const listener of listeners) this.#guarded(() => listener(body.value), message.method);
  }

  #guarded(call: () => void, where: string): void {
    try {
      call();
    } catch (error) {
      this.#onError(error, where);
    }
  }

  #encode(body: unknown, method: string): Outcome<string> {
    try {
      return succeed(encodeBody(body));
    } catch (error) {
      this.#onError(error, method);
      const internal = describeError(error);
      return refuse(
        fault('INTERNAL', {
          place: `${this.self} track`,
          finding: `${method} holds what cannot be sent`,
          internal,
        }),
      );
    }
  }

  #unsent(result: Exclude<SendResult, 'sent'>, method: string): Fault {
    switch (result) {
      case 'full':
        this.counts.overruns += 1;
        return this.#fault('LINK_OVERRUN', { finding: `${method} was not sent: the ring is full` });
      case 'too-large':
        return this.#fault('REQUEST_TOO_LARGE', {
          finding: `${method} is larger than ${MESSAGE_BYTES_MAX} bytes`,
        });
      case 'broken':
        return this.#unavailable(`${method} was not sent: the shared memory cannot be used`);
    }
  }

  #overdue(method: string): Fault {
    return this.#fault('DEADLINE_EXCEEDED', {
      finding: `did not answer ${method} in time`,
      metal: 'unknown',
    });
  }

  #unavailable(finding: string, metal: 'untouched' | 'unknown' = 'untouched'): Fault {
    return this.#fault('TRACK_UNAVAILABLE', {
      finding,
      metal,
      ...(metal === 'unknown' ? { consequence: 'nobody knows whether it was done' } : {}),
    });
  }

  #fault(
    code: 'LINK_OVERRUN' | 'REQUEST_TOO_LARGE' | 'TRACK_UNAVAILABLE' | 'DEADLINE_EXCEEDED',
    details: Omit<FaultDetails, 'place'>,
  ): Fault {
    return fault(code, { place: `${this.peer} track`, ...details });
  }
}

function placesForStops(type: MessageType): number {
  return type === MessageType.EMERGENCY_STOP ? PLACES_FOR_STOPS : 0;
}

function printable(method: string): string {
  return JSON.stringify(method.slice(0, 64));
}
