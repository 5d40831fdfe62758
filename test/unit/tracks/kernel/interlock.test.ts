// What keeps writes on hold, and who may let them go on.

import { describe, expect, it } from 'vitest';
import type { StopLatch } from '#model/stop';
import { Interlock } from '#tracks/kernel/interlock';

const released: StopLatch = {
  engage: () => undefined,
  engaged: () => false,
  latch: () => false,
  release: () => undefined,
  test: () => undefined,
  finding: () => '',
};

describe('writes on hold', () => {
  it('go on when somebody resumes them', () => {
    const interlock = new Interlock(released);
    interlock.hold('security has not taken charge yet');
    interlock.resume();
    expect(interlock.holdReason).toBeNull();
  });

  it('stay on hold when they were held again after the order to resume began', () => {
    const interlock = new Interlock(released);
    interlock.hold('security has not taken charge yet');
    const known = interlock.holdCount;
    interlock.hold('security is lost');
    interlock.resume(known);
    expect(interlock.holdReason).toBe('security is lost');
    interlock.resume(interlock.holdCount);
    expect(interlock.holdReason).toBeNull();
  });
});
