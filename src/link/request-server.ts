// The answering half of a link: handlers, their bound, and answers that wait for room.
// Invariants: a request is served at most once and never after its deadline; handlers at work are bounded, with a few
// places kept for emergency stops; an answer goes only to the incarnation of the peer that asked.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeError, type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { TrackName } from '#model/track-name';
import { decodeBody, encodeBody } from './codec.ts';
import {
  DEADLINE_MS_MAX,
  type LinkCounters,
  MESSAGE_BYTES_MAX,
  MessageType,
  OUTSTANDING_MAX,
  type RequestHandler,
} from './link.ts';
import type { Message } from './message.ts';
import { faultForPeer } from './wire-fault.ts';

export type SendResult = 'sent' | 'full' | 'too-large' | 'broken';
export type LinkCounts = { -readonly [K in keyof LinkCounters]: number };

export interface RequestServerOptions {
  readonly self: TrackName;
  readonly peer: TrackName;
  readonly clock: Clock;
  readonly counts: LinkCounts;
  readonly send: (message: Message) => SendResult;
  readonly onError: (error: unknown, where: string) => void;
}

const PLACES_FOR_STOPS = 16;
const METHOD_PATTERN = /^[a-z][a-zA-Z0-9.-]{0,63}$/;

export function noCounts(): LinkCounts {
  return {
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
}

/** Places beyond the bound, for emergency stops only. */
export function placesForStops(type: MessageType): number {
  return type === MessageType.EMERGENCY_STOP ? PLACES_FOR_STOPS : 0;
}

/** The text of a body; a body that is not plain data is a mistake in this process, reported and refused. */
export function encodeChecked(
  body: unknown,
  method: string,
  self: TrackName,
  onError: (error: unknown, where: string) => void,
): Outcome<string> {
  try {
    return succeed(encodeBody(body));
  } catch (error) {
    onError(error, method);
    const finding = `${method} holds what cannot be sent`;
    const internal = describeError(error);
    return refuse(fault('INTERNAL', { place: `${self} track`, finding, internal }));
  }
}

export class RequestServer {
  readonly #self: TrackName;
  readonly #peer: TrackName;
  readonly #clock: Clock;
  readonly #counts: LinkCounts;
  readonly #send: (message: Message) => SendResult;
  readonly #onError: (error: unknown, where: string) => void;
  readonly #handlers = new Map<string, RequestHandler>();
  /** Answers that found the ring full; sent as soon as there is room. */
  #outbox: Message[] = [];
  #serving = 0;
  #incarnation = 0;

  constructor(options: RequestServerOptions) {
    this.#self = options.self;
    this.#peer = options.peer;
    this.#clock = options.clock;
    this.#counts = options.counts;
    this.#send = options.send;
    this.#onError = options.onError;
  }

  serve(method: string, handler: RequestHandler): void {
    if (!METHOD_PATTERN.test(method)) throw new RangeError(`${method} is no method name`);
    if (this.#handlers.has(method)) throw new Error(`${method} already has a handler`);
    this.#handlers.set(method, handler);
  }

  /** The peer is gone or another one: nothing more is answered to whoever asked so far. */
  forgetCallers(): void {
    this.#incarnation += 1;
    this.#outbox = [];
  }

  /** Sends answers that found the ring full. */
  flush(): void {
    for (let next = this.#outbox[0]; next !== undefined; next = this.#outbox[0]) {
      const sent = this.#send(next);
      if (sent === 'full') return;
      this.#outbox.shift();
      if (sent === 'sent') this.#counts.messagesSent += 1;
    }
  }

  receive(message: Message): void {
    const refusal = this.#inadmissible(message);
    const body = refusal === null ? decodeBody(message.text) : refuse(refusal);
    const handler = this.#handlers.get(message.method);
    if (!body.ok || handler === undefined) {
      if (!body.ok && body.fault.code === 'LINK_PROTOCOL') this.#counts.protocolErrors += 1;
      if (!body.ok) this.#answer(message, body);
      return;
    }
    const atMs = Math.min(message.deadlineMs, this.#clock.nowMs() + DEADLINE_MS_MAX);
    void this.#run(message, handler, body.value, new Deadline(this.#clock, atMs));
  }

  #inadmissible(message: Message): Fault | null {
    const place = `${this.#self} track`;
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
    this.#counts.overruns += 1;
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
          place: `${this.#self} track`,
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
    const value = outcome.ok ? outcome.value : faultForPeer(outcome.fault, this.#peer);
    const encoded = encodeChecked(value, request.method, this.#self, this.#onError);
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
      this.#counts.messagesSent += 1;
    } else if (sent === 'full') {
      if (this.#outbox.length < OUTSTANDING_MAX) this.#outbox.push(message);
      else this.#counts.overruns += 1;
    } else if (sent === 'too-large' && outcome.ok) {
      const finding = `the answer to ${request.method} is larger than ${MESSAGE_BYTES_MAX} bytes`;
      const place = `${this.#self} track`;
      this.#answer(
        request,
        refuse(fault('REQUEST_TOO_LARGE', { place, finding, metal: 'unknown' })),
      );
    }
  }
}

function printable(method: string): string {
  return JSON.stringify(method.slice(0, 64));
}
