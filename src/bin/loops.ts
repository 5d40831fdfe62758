// The critical loops of each process, as its watchdog sees them.

import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import type { Link } from '#link/link';
import type { StopLatch } from '#model/stop';
import type { BusQueue } from '#tracks/kernel/bus-queue';
import type { StopTestState, Watchdog } from './watchdog.ts';

/** An access that takes this many times its longest time has no end. */
export const OVERDUE_MAX = 5;
/** One look at one device, and one round of opening, take at most this; see compose/kernel.ts. */
const ROUND_MS_MAX = 800;
const ROUND_PERIOD_MS = 1_000;
/** Between two rounds in which kernel opens what is closed, milliseconds. */
export const OPEN_LIMIT_MS = OVERDUE_MAX * (ROUND_PERIOD_MS + ROUND_MS_MAX);

/** Between two rounds of looks when every device of the fullest bus lets its whole time pass, milliseconds. */
export function observeLimitMs(devicesOnOneBus: number): number {
  return OVERDUE_MAX * (ROUND_PERIOD_MS + devicesOnOneBus * ROUND_MS_MAX);
}

/** A link whose own heartbeat goes on; what its peer does is not this process's life. */
export function watchLinkTurns(
  watchdog: Watchdog,
  link: Pick<Link, 'peer'> & { readonly turns: number },
): void {
  const turned = watchdog.loop(`the link to ${link.peer}`);
  let before: number | null = null;
  watchdog.probe(() => {
    // At the next look: by then the heartbeat has had its time, which the first question only begins to measure.
    const now = link.turns;
    if (now !== before) turned();
    before = now;
  });
}

/** Every bus queue that has an access under way gets on with it. */
export function watchQueues(watchdog: Watchdog, queues: ReadonlyMap<string, BusQueue>): void {
  for (const queue of queues.values()) {
    const turned = watchdog.loop(`bus ${queue.bus.id}`);
    watchdog.probe(() => {
      if (queue.overdue <= OVERDUE_MAX) turned();
    });
  }
}

/** A group of the store comes to its end, whatever it holds. */
export function watchStore(watchdog: Watchdog, store: DurableStore): void {
  const turned = watchdog.loop('the store');
  // Nothing is written, so a full disk does not count as a dead process; a lock or a disk that never returns does.
  watchdog.probe(() => void store.transact(() => undefined).then(turned, () => undefined));
}

/** Since when both sides have been able to test the stop. */
export class StopTestWatch {
  readonly #clock: Clock;
  readonly #latch: Pick<StopLatch, 'engaged'>;
  readonly #peerUp: () => boolean;
  #possibleSinceMs: number | null = null;

  constructor(clock: Clock, latch: Pick<StopLatch, 'engaged'>, peerUp: () => boolean) {
    this.#clock = clock;
    this.#latch = latch;
    this.#peerUp = peerUp;
  }

  state(last: StopTestState['last'], periodMs: number): StopTestState {
    const possible = this.#peerUp() && !this.#latch.engaged();
    if (!possible) this.#possibleSinceMs = null;
    else this.#possibleSinceMs ??= this.#clock.nowMs();
    return { last, periodMs, possibleSinceMs: this.#possibleSinceMs };
  }
}
