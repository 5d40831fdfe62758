// What security says about itself: the audit chain's end and who is quarantined.

import type { LinearId } from '#model/device';
import type { SecuritySnapshot } from '#model/snapshot';

export class SecurityState {
  #version = 0;
  #shown = '';

  /** The version moves only when what is shown has changed. */
  snapshot(
    auditSequence: number,
    auditWritable: boolean,
    quarantined: readonly LinearId[],
  ): SecuritySnapshot {
    const shown = `${auditWritable}|${quarantined.join(',')}`;
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#version += 1;
    }
    return {
      track: 'security',
      version: this.#version,
      devices: [],
      auditSequence,
      auditWritable,
      quarantined,
    };
  }
}
