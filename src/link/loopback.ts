// Two links inside one process, for bench and simulation: same rules, bodies through the same codec.

import type { Clock } from '#foundation/clock';
import type { TrackName } from '#model/track-name';
import { type Link, MESSAGE_BYTES_MAX } from './link.ts';
import { LinkEnd } from './link-end.ts';
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

class LoopbackEnd extends LinkEnd {
  readonly #options: LoopbackOptions;
  #other: LoopbackEnd | null = null;
  #underWay = 0;

  constructor(self: TrackName, peer: TrackName, options: LoopbackOptions) {
    super({ self, peer, clock: options.clock, onError: options.onError });
    this.#options = options;
  }

  join(other: LoopbackEnd): void {
    this.#other = other;
    this.core.setPeer('up');
  }

  close(): void {
    const other = this.#other;
    if (other === null) return;
    this.#other = null;
    this.core.close();
    other.leave();
  }

  /** As if the other process had ended. */
  lose(): void {
    this.core.setPeer('lost');
  }

  /** As if the other process had started again. */
  meetAgain(): void {
    this.core.peerReplaced();
    this.core.setPeer('up');
  }

  leave(): void {
    this.#other = null;
    this.core.setPeer('absent');
  }

  protected send(message: Message): SendResult {
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
      for (const end of [left, right]) end.lose();
    },
    restart: () => {
      for (const end of [left, right]) {
        end.meetAgain();
      }
    },
  };
}
