import {
  closeSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SharedStopLatch } from '#link/stop-latch';
import type { TrackName } from '#model/track-name';

let directory: string;
let opened: SharedStopLatch[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'latch-'));
  opened = [];
});

afterEach(() => {
  for (const latch of opened) latch.close();
  rmSync(directory, { recursive: true });
});

function open(self: TrackName): SharedStopLatch {
  const latch = new SharedStopLatch({ directory, self });
  opened.push(latch);
  return latch;
}

function spoil(file: string, offset: number, word: number): void {
  const descriptor = openSync(join(directory, file), 'r+');
  writeSync(descriptor, Buffer.from(Uint32Array.of(word).buffer), 0, 4, offset);
  closeSync(descriptor);
}

/** Kernel and security, the stop released. */
function released(): { readonly kernel: SharedStopLatch; readonly security: SharedStopLatch } {
  const kernel = open('kernel');
  kernel.release();
  return { kernel, security: open('security') };
}

describe('SharedStopLatch', () => {
  it('is engaged and fresh until kernel has released it for the first time', () => {
    const kernel = open('kernel');
    const security = open('security');
    expect([kernel.fresh, kernel.engaged(), security.engaged()]).toEqual([true, true, true]);
    kernel.release();
    expect([kernel.fresh, kernel.engaged(), security.engaged()]).toEqual([false, false, false]);
  });

  it('is engaged for other tracks while kernel has never run, and follows it once it does', () => {
    const security = open('security');
    expect(security.engaged()).toBe(true);
    open('kernel').release();
    expect(security.engaged()).toBe(false);
  });

  it('is engaged for all from the request on, through the latch, until kernel releases', () => {
    const { kernel, security } = released();
    const third = open('interface');
    security.engage();
    expect([kernel.engaged(), third.engaged()]).toEqual([true, true]);
    expect(kernel.latch()).toBe(true);
    expect(kernel.latch()).toBe(false);
    expect(third.engaged()).toBe(true);
    kernel.release();
    expect([kernel.engaged(), security.engaged(), third.engaged()]).toEqual([false, false, false]);
  });

  it('keeps a request that came after the latch was taken', () => {
    const { kernel, security } = released();
    kernel.latch();
    security.engage();
    kernel.release();
    expect(kernel.engaged()).toBe(true);
  });

  it('stays latched over a restart of kernel', () => {
    const { kernel, security } = released();
    kernel.latch();
    kernel.close();
    const next = open('kernel');
    expect([next.fresh, next.engaged(), security.engaged()]).toEqual([false, true, true]);
  });

  it('lets only kernel latch, release and listen', () => {
    const { security } = released();
    expect(() => security.release()).toThrow(expect.objectContaining({ code: 'EPERM' }));
    expect(() => security.latch()).toThrow(expect.objectContaining({ code: 'EPERM' }));
    expect(() => security.onEngaged(() => undefined)).toThrow();
  });

  it.each([
    ['the latched word', 'stop-latch', 8],
    ['the latch file magic', 'stop-latch', 0],
    ['an acknowledged word', 'stop-latch', 12],
    ['the request file magic', 'stop-request', 0],
    ['a request word', 'stop-request', 64],
  ])('counts garbage in %s as engaged', (_what, file, offset) => {
    const { kernel, security } = released();
    spoil(file, offset, 0x5a5a5a5a);
    expect([kernel.engaged(), security.engaged()]).toEqual([true, true]);
  });

  it.each(['stop-latch', 'stop-request'])('counts a %s that was cut short as engaged', (file) => {
    const { kernel, security } = released();
    truncateSync(join(directory, file), 0);
    expect([kernel.engaged(), security.engaged()]).toEqual([true, true]);
  });

  it('refuses a request file of another size', () => {
    writeFileSync(join(directory, 'stop-request'), 'x');
    expect(() => open('kernel')).toThrow(expect.objectContaining({ code: 'EMEDIUMTYPE' }));
  });

  it('calls kernel when another track engages, even if that track takes its word back', async () => {
    const { kernel, security } = released();
    const called = new Promise<void>((resolve) => kernel.onEngaged(resolve));
    security.engage();
    spoil('stop-request', 64 + 64, 0);
    await called;
    expect(kernel.engaged()).toBe(true);
    expect(kernel.latch()).toBe(true);
  });
});
