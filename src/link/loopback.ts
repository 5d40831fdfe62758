// Two links inside one process, for bench and simulation: same rules, bodies through the same codec.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { TrackName } from '#model/track-name';
import {
  type Link,
  type LinkCounters,
  MESSAGE_BYTES_MAX,
  type MessageType,
  type PeerState,
  type RequestHandler,
} from './link.ts';
import { LinkCore } from './link-core.ts';
import { bytesOf, type Message } from './message.ts';
import type { SendResult } from './request-server.ts';

export interface LoopbackOptions {
  readonly clock: Clock;
  /** Time a message takes; 0 delivers in a microtask. */
  readonly latencyMs?: number;
  /** Messages under way in one direction. */
  readonly capacity?: number;
  readonly onError: (error: unknown, where: string) => void;
}

const CAPACITY_DEFAULT = 256;

class LoopbackEnd implements Link {
  readonly self: TrackName;
  readonly peer: TrackName;
  readonly core: LinkCore;
  readonly #options: LoopbackOptions;
  #other: LoopbackEnd | null = null;
  #underWay = 0;

  constructor(self: TrackName, peer: TrackName, options: LoopbackOptions) {
    this.self = self;
    this.peer = peer;
    this.#options = options;
    this.core = new LinkCore({
      self,
      peer,
      clock: options.clock,
      onError: options.onError,
      send: (message) => this.#send(message),
    });
  }

  join(other: LoopbackEnd): void {
    this.#other = other;
    this.core.setPeer('up');
  }

  get peerState(): PeerState {
    return this.core.peerState;
  }

  request(
    type: MessageType,
    method: string,
    body: unknown,
    deadline: Deadline,
  ): Promise<Outcome<unknown>> {
    return this.core.request(type, method, body, deadline);
  }

  notify(type: MessageType, method: string, body: unknown): Outcome<void> {
    return this.core.notify(type, method, body);
  }

  serve(method: string, handler: RequestHandler): void {
    this.core.serve(method, handler);
  }

  onNotice(method: string, listener: (body: unknown) => void): void {
    this.core.onNotice(method, listener);
  }

  onPeer(listener: (state: PeerState) => void): () => void {
    return this.core.onPeer(listener);
  }

  counters(): LinkCounters {
    return this.core.counters();
  }

  close(): void {
    const other = this.#other;
    if (other === null) return;
    this.#other = null;
    this.core.close();
    other.leave();
  }

  leave(): void {
    this.#other = null;
    this.core.setPeer('absent');
  }

  #send(message: Message): SendResult {
    if (this.#other === null) return 'broken';
    if (bytesOf(message) > MESSAGE_BYTES_MAX) return 'too-large';
    if (this.#underWay >= (this.#options.capacity ?? CAPACITY_DEFAULT)) return 'full';
    this.#underWay += 1;
    this.core.counts.framesSent += 1;
    const latencyMs = this.#options.latencyMs ?? 0;
    if (latencyMs === 0) queueMicrotask(() => this.#deliver(message));
    else this.#options.clock.after(latencyMs, () => this.#deliver(message));
    return 'sent';
  }

  #deliver(message: Message): void {
    this.#underWay -= 1;
    const other = this.#other;
    // Neither end hears a message of a pair that was taken apart meanwhile.
    if (other === null) return;
    other.core.counts.framesReceived += 1;
    other.core.receive(message);
    this.core.flush();
  }
}

export interface LoopbackPair {
  readonly left: Link;
  readonly right: Link;
  /** As if both processes had lost each other: open requests fail, the state is `lost`. */
  part(): void;
  /** As if the right process had started again: open requests fail, both are up. */
  restart(): void;
}

export function loopbackPair(
  leftName: TrackName,
  rightName: TrackName,
  options: LoopbackOptions,
): LoopbackPair {
  const left = new LoopbackEnd(leftName, rightName, options);
  const right = new LoopbackEnd(rightName, leftName, options);
  left.join(right);
  right.join(left);
  return {
    left,
    right,
    part: () => {
      for (const end of [left, right]) end.core.setPeer('lost');
    },
    restart: () => {
      for (const end of [left, right]) {
        end.core.peerReplaced();
        end.core.setPeer('up');
      }
    },
  };
}
