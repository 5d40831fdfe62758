// What the interface track says about itself: who is signed in and how old its picture is.

import type { InterfaceSnapshot } from '#model/snapshot';

/** Reported for a picture that was never taken: longer than any machine is up, and still a number. */
const NEVER_MS = 1e12;

export class InterfaceState {
  #version = 0;
  #sessions = -1;

  /** The version moves only when the number of sessions does; age alone is not a change. */
  snapshot(sessions: number, pictureAgeMs: number): InterfaceSnapshot {
    if (sessions !== this.#sessions) {
      this.#sessions = sessions;
      this.#version += 1;
    }
    return {
      track: 'interface',
      version: this.#version,
      sessions,
      pictureAgeMs: Math.min(pictureAgeMs, NEVER_MS),
    };
  }
}
