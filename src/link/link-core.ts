// What every link does above its carrier: open requests, notices, peer state and counters.
// Invariants: a request ends exactly once, by answer, deadline, loss of the peer or close; open requests are bounded,
// with a few places kept for emergency stops.

import type { Cancel, Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { type Fault, type FaultDetails, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { TrackName } from '#model/track-name';
import { decodeBody } from './codec.ts';
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
import {
  encodeChecked,
  type LinkCounts,
  noCounts,
  placesForStops,
  RequestServer,
  type SendResult,
} from './request-server.ts';
import { faultFromPeer } from './wire-fault.ts';

/** The notice by which a peer learns that a frame of its own was thrown away. */
const FRAME_LOST = 'link.frame-lost';

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

export class LinkCore {
  readonly self: TrackName;
  readonly peer: TrackName;
  readonly #clock: Clock;
  readonly #send: (message: Message) => SendResult;
  readonly #onError: (error: unknown, where: string) => void;
  readonly #open = new Map<number, OpenRequest>();
  readonly #server: RequestServer;
  readonly #noticeListeners = new Map<string, ((body: unknown) => void)[]>();
  readonly #peerListeners = new Set<(state: PeerState) => void>();
  #correlation = 0;
  #peerState: PeerState = 'absent';
  readonly counts: LinkCounts = noCounts();

  constructor(options: LinkCoreOptions) {
    this.self = options.self;
    this.peer = options.peer;
    this.#clock = options.clock;
    this.#send = options.send;
    this.#onError = options.onError;
    this.#server = new RequestServer({ ...options, counts: this.counts });
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
    const waitMs = Math.min(deadline.remainingMs(), DEADLINE_MS_MAX);
    const sent = this.#send({
      type,
      kind: 'request',
      correlation,
      deadlineMs: Math.min(deadline.atMs, this.#clock.nowMs() + DEADLINE_MS_MAX),
      method,
      text: encoded.value,
    });
    if (sent !== 'sent') return Promise.resolve(refuse(this.#unsent(sent, method)));
    this.counts.messagesSent += 1;
    return new Promise((settle) => {
      const cancelTimer = this.#clock.after(waitMs, () => {
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
    this.#server.serve(method, handler);
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
    this.#server.forgetCallers();
    this.#failAll('restarted');
  }

  /**
   * A frame of the peer did not pass its check and was thrown away. It may have held the answer to any open request, and
   * as well a request of the peer, who is told so: nobody waits for a whole deadline for what can no longer come.
   */
  frameLost(): void {
    this.#failLost();
    if (this.#peerState === 'up') this.notify(MessageType.HEALTH, FRAME_LOST, undefined);
  }

  setPeer(state: PeerState): void {
    if (state === this.#peerState) return;
    const before = this.#peerState;
    this.#peerState = state;
    if (state === 'lost' || state === 'absent') {
      if (before === 'up' || before === 'silent') this.counts.peerLosses += 1;
      this.#server.forgetCallers();
      this.#failAll(state === 'lost' ? 'died' : 'closed the link');
    }
    for (const listener of [...this.#peerListeners])
      this.#guarded(() => listener(state), `peer state ${state}`);
  }

  /** Ends everything: nothing is sent or delivered afterwards. */
  close(): void {
    this.setPeer('absent');
    this.#server.forgetCallers();
  }

  /** Sends answers that found the ring full. */
  flush(): void {
    this.#server.flush();
  }

  receive(message: Message): void {
    this.counts.messagesReceived += 1;
    switch (message.kind) {
      case 'request':
        this.#server.receive(message);
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

  #answered(message: Message): void {
    const open = this.#open.get(message.correlation);
    if (open === undefined) {
      this.counts.strayAnswers += 1;
      return;
    }
    const body = decodeBody(message.text);
    let outcome = body;
    if (!body.ok) {
      this.counts.protocolErrors += 1;
      outcome = refuse({ ...body.fault, place: `${this.peer} track`, metal: 'unknown' });
    } else if (message.kind === 'fault') {
      outcome = refuse(faultFromPeer(body.value, this.peer));
    }
    this.#finish(message.correlation, outcome);
  }

  #failLost(): void {
    for (const [correlation, open] of [...this.#open]) {
      const finding = `a frame was thrown away while ${open.method} was open`;
      const consequence = 'nobody knows whether it was done';
      const lost = this.#fault('LINK_CORRUPT', { finding, consequence, metal: 'unknown' });
      this.#finish(correlation, refuse(lost));
    }
  }

  #noticed(message: Message): void {
    if (message.method === FRAME_LOST) {
      this.#failLost();
      return;
    }
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
    return encodeChecked(body, method, this.self, this.#onError);
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
    code:
      | 'LINK_OVERRUN'
      | 'LINK_CORRUPT'
      | 'REQUEST_TOO_LARGE'
      | 'TRACK_UNAVAILABLE'
      | 'DEADLINE_EXCEEDED',
    details: Omit<FaultDetails, 'place'>,
  ): Fault {
    return fault(code, { place: `${this.peer} track`, ...details });
  }
}
