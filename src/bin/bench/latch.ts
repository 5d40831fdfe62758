// The stop latch as memory that outlives every simulated process: the semantics of the shared one (link/stop-latch.ts).
// Invariants: engaged until kernel has taken in every request and released; kernel alone latches and releases; a ring wakes
// kernel, and what rang while kernel was dead is found by the next one.

import type { Clock } from '#foundation/clock';
import type { StopLatch } from '#model/stop';
import { TRACKS, type TrackName } from '#model/track-name';
import type { Life } from './life.ts';

/** From a ring of the bell until the event loop of kernel hears it, milliseconds. */
const WAKE_MS = 0.05;

export interface LatchWatch {
  engaged(by: TrackName): void;
  latched(): void;
  released(): void;
}

/** What a ring makes kernel do: `stopByLatch` and `bellTested` of its track. */
export interface BellListener {
  engaged(): void;
  tested(): void;
}

export class LatchMemory {
  readonly #world: Clock;
  readonly #watch: LatchWatch;
  readonly #requests = new Map<TrackName, number>(TRACKS.map((track) => [track, 0]));
  readonly #acknowledged = new Map<TrackName, number>(TRACKS.map((track) => [track, 0]));
  #latched = false;
  #bell: BellListener | null = null;
  /** Rings before this count were taken in by `latch` and are not heard again. */
  #drained = 0;
  #rings = 0;

  constructor(world: Clock, watch: LatchWatch) {
    this.#world = world;
    this.#watch = watch;
  }

  get engaged(): boolean {
    return (
      this.#latched ||
      TRACKS.some((track) => this.#requests.get(track) !== this.#acknowledged.get(track))
    );
  }

  /** As a track, or a technician's command in its name, would. */
  engage(by: TrackName): void {
    this.#requests.set(by, (this.#requests.get(by) ?? 0) + 1);
    this.#watch.engaged(by);
    this.#ring('request');
  }

  /** This process's view; `onRing` is for kernel. */
  viewOf(track: TrackName, life: Life): StopLatch {
    const kernelAlone = () => {
      if (track !== 'kernel') throw new Error('only the kernel track may write the stop latch');
      return life.alive;
    };
    return {
      engage: () => {
        if (life.alive) this.engage(track);
      },
      engaged: () => this.engaged,
      latch: () => {
        if (!kernelAlone()) return false;
        const before = this.#latched;
        this.#latched = true;
        this.#drained = this.#rings;
        for (const name of TRACKS) this.#acknowledged.set(name, this.#requests.get(name) ?? 0);
        if (!before) this.#watch.latched();
        return !before;
      },
      release: () => {
        if (!kernelAlone()) return;
        this.#latched = false;
        if (!this.engaged) this.#watch.released();
      },
      test: () => {
        if (life.alive) this.#ring('test');
      },
      finding: () => '',
    };
  }

  /** Kernel of this life listens to the bell from now on. */
  onRing(life: Life, listener: BellListener): void {
    this.#bell = {
      engaged: () => {
        if (life.alive) listener.engaged();
      },
      tested: () => {
        if (life.alive) listener.tested();
      },
    };
  }

  /** The bell is broken: nobody hears it until kernel starts again. */
  deafen(): void {
    this.#bell = null;
  }

  #ring(kind: 'request' | 'test'): void {
    this.#rings += 1;
    const ring = this.#rings;
    this.#world.after(WAKE_MS, () => {
      if (kind === 'test') this.#bell?.tested();
      else if (ring > this.#drained) this.#bell?.engaged();
    });
  }
}
