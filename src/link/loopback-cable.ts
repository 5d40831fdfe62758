// A line between two tracks of one process whose ends come and go as processes do: for bench and seeded simulation.
// Invariants: messages of one direction keep their order whatever their latency; an end that was cut sends, answers and
// hears nothing any more, and whatever it had asked for never ends.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse } from '#foundation/outcome';
import type { TrackName } from '#model/track-name';
import { type Link, MESSAGE_BYTES_MAX, type MessageType } from './link.ts';
import type { LinkCore } from './link-core.ts';
import { LinkEnd } from './link-end.ts';
import { bytesOf, type Message } from './message.ts';
import type { SendResult } from './request-server.ts';

export interface CableOptions {
  /** Of the world between the processes: messages under way outlive their sender. */
  readonly clock: Clock;
  /** Time the next message takes, milliseconds. */
  readonly latencyMs: () => number;
  readonly onError: (error: unknown, where: string) => void;
  /** Sees every message as it leaves; may cut an end. */
  readonly onSent: (from: TrackName, message: Message) => void;
  /** Sees every message before its receiver does; may cut an end. */
  readonly onReceived: (to: TrackName, message: Message) => void;
}

/** Messages under way in one direction before a sender is told that the ring is full. */
const CAPACITY = 256;
/** From the start of a process until its peer sees it, milliseconds. */
const CONNECT_MS = 0.2;

class CableEnd extends LinkEnd {
  readonly #cable: LoopbackCable;
  underWay = 0;
  lastArrivalMs = 0;
  alive = true;

  constructor(self: TrackName, peer: TrackName, clock: Clock, cable: LoopbackCable) {
    super({ self, peer, clock, onError: cable.options.onError });
    this.#cable = cable;
  }

  /** For the cable, which carries what this end sends. */
  get line(): LinkCore {
    return this.core;
  }

  override request(
    type: MessageType,
    method: string,
    body: unknown,
    deadline: Deadline,
  ): Promise<Outcome<unknown>> {
    return this.#whileAlive(() => super.request(type, method, body, deadline));
  }

  override notify(type: MessageType, method: string, body: unknown): Outcome<void> {
    if (this.alive) return super.notify(type, method, body);
    return refuse(
      fault('TRACK_UNAVAILABLE', { place: this.peer, finding: 'this process is dead' }),
    );
  }

  /** Whoever asked and died hears nothing, not even that its time was over. */
  async #whileAlive<T>(ask: () => Promise<T>): Promise<T> {
    const answer = this.alive ? await ask() : undefined;
    return this.alive && answer !== undefined ? answer : new Promise(() => undefined);
  }

  close(): void {
    this.#cable.cut(this.self);
  }

  protected send(message: Message): SendResult {
    return this.#cable.send(this, message);
  }
}

export class LoopbackCable {
  readonly options: CableOptions;
  readonly #names: readonly [TrackName, TrackName];
  readonly #ends = new Map<TrackName, CableEnd>();
  #parted = false;

  constructor(left: TrackName, right: TrackName, options: CableOptions) {
    this.#names = [left, right];
    this.options = options;
  }

  /** A new process takes this end; `clock` is its own and stops with it. */
  attach(name: TrackName, clock: Clock): Link {
    if (this.#ends.has(name)) throw new Error(`${name} is attached already`);
    const end = new CableEnd(name, this.#otherName(name), clock, this);
    this.#ends.set(name, end);
    this.options.clock.after(CONNECT_MS, () => this.#connect(end));
    return end;
  }

  /** The process died: what it had under way is gone, its peer is told at once. */
  cut(name: TrackName): void {
    const end = this.#ends.get(name);
    if (end === undefined) return;
    this.#ends.delete(name);
    end.alive = false;
    this.#ends.get(this.#otherName(name))?.line.setPeer('lost');
  }

  /** Both live and cannot reach each other. */
  part(): void {
    this.#parted = true;
    for (const end of this.#ends.values()) end.line.setPeer('lost');
  }

  mend(): void {
    this.#parted = false;
    for (const end of this.#ends.values()) this.#connect(end);
  }

  get parted(): boolean {
    return this.#parted;
  }

  send(from: CableEnd, message: Message): SendResult {
    const to = this.#ends.get(from.peer);
    if (!from.alive || this.#parted || to === undefined) return 'broken';
    if (bytesOf(message) > MESSAGE_BYTES_MAX) return 'too-large';
    if (from.underWay >= CAPACITY) return 'full';
    const { clock, latencyMs, onSent } = this.options;
    from.underWay += 1;
    from.line.counts.framesSent += 1;
    from.lastArrivalMs = Math.max(from.lastArrivalMs, clock.nowMs() + latencyMs());
    clock.after(from.lastArrivalMs - clock.nowMs(), () => this.#deliver(from, to, message));
    onSent(from.self, message);
    return 'sent';
  }

  #deliver(from: CableEnd, to: CableEnd, message: Message): void {
    from.underWay -= 1;
    if (!from.alive || !to.alive || this.#parted) return;
    this.options.onReceived(to.self, message);
    // Whoever watches may have killed the sender too; what it had sent is read all the same, as from a ring.
    if (!to.alive) return;
    to.line.counts.framesReceived += 1;
    to.line.receive(message);
    if (from.alive) from.line.flush();
  }

  #connect(end: CableEnd): void {
    const other = this.#ends.get(end.peer);
    if (this.#parted || !end.alive || other === undefined) return;
    // What the survivor had asked the process before this one is over.
    other.line.peerReplaced();
    for (const each of [other, end]) each.line.setPeer('up');
  }

  #otherName(name: TrackName): TrackName {
    const [left, right] = this.#names;
    return name === left ? right : left;
  }
}
