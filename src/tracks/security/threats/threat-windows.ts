// The windows of everybody and everything that threat detection watches.
// Invariants: bounded for each kind; the least recently active gives way.

import { DEVICE_COUNT_MAX } from '#model/device';
import type { ThreatSubject, ThreatSubjectKind } from '#model/incident';
import { PERSONS_MAX } from './baseline-book.ts';
import { ThreatWindow } from './threat-window.ts';

export const SUBJECTS_MAX: Readonly<Record<ThreatSubjectKind, number>> = {
  person: PERSONS_MAX,
  device: DEVICE_COUNT_MAX,
  source: 4_096,
};

export class ThreatWindows {
  /** The least recently active first. */
  readonly #windows: Readonly<Record<ThreatSubjectKind, Map<string, ThreatWindow>>> = {
    person: new Map(),
    device: new Map(),
    source: new Map(),
  };

  size(kind: ThreatSubjectKind): number {
    return this.#windows[kind].size;
  }

  find({ kind, id }: ThreatSubject): ThreatWindow | undefined {
    return this.#windows[kind].get(id);
  }

  /** The window of a subject that is active now. */
  of({ kind, id }: ThreatSubject): ThreatWindow {
    const windows = this.#windows[kind];
    const known = windows.get(id);
    if (known === undefined) {
      const oldest = windows.keys().next();
      if (windows.size >= SUBJECTS_MAX[kind] && oldest.done !== true) windows.delete(oldest.value);
    } else {
      windows.delete(id);
    }
    const window = known ?? new ThreatWindow();
    windows.set(id, window);
    return window;
  }

  forget({ kind, id }: ThreatSubject): void {
    this.#windows[kind].delete(id);
  }

  /** Lets go of those in which nothing is left. */
  sweep(bucket: number): void {
    for (const windows of Object.values(this.#windows)) {
      for (const [id, window] of windows) {
        window.expire(bucket);
        if (window.empty) windows.delete(id);
      }
    }
  }
}
