import {
  closeSync,
  constants,
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

/** As much as fits: rings the bell from outside until the FIFO takes no more, and leaves it full. */
function fillBell(byte: number): number {
  const flags = constants.O_RDWR | constants.O_NONBLOCK;
  const descriptor = openSync(join(directory, 'stop.bell'), flags);
  const rings = Buffer.alloc(1, byte);
  let count = 0;
  try {
    for (;;) count += writeSync(descriptor, rings);
  } catch (error) {
    expect(error).toMatchObject({ code: 'EAGAIN' });
  }
  closeSync(descriptor);
  return count;
}

function ringBy(byte: number): void {
  const descriptor = openSync(join(directory, 'stop.bell'), constants.O_RDWR);
  writeSync(descriptor, Buffer.from([byte]));
  closeSync(descriptor);
}

interface Heard {
  stops: number;
  tests: number;
}

function listen(kernel: SharedStopLatch): Heard {
  const heard: Heard = { stops: 0, tests: 0 };
  kernel.onEngaged(() => {
    heard.stops += 1;
    kernel.latch();
  });
  kernel.onTested(() => {
    heard.tests += 1;
  });
  return heard;
}

const TEST_BYTE = 0x54;

async function until(holds: () => boolean): Promise<void> {
  const untilMs = performance.now() + 5_000;
  while (!holds() && performance.now() < untilMs) await new Promise((done) => setTimeout(done, 1));
  expect(holds()).toBe(true);
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

describe('a test of the bell', () => {
  it('is heard by kernel as a test, and engages nothing', async () => {
    const { kernel, security } = released();
    const heard = listen(kernel);
    security.test();
    await until(() => heard.tests > 0);
    expect(heard).toEqual({ stops: 0, tests: 1 });
    expect([kernel.engaged(), security.engaged()]).toEqual([false, false]);
  });

  it('does not cover a stop that rings beside it, in whatever order', async () => {
    const { kernel, security } = released();
    const heard = listen(kernel);
    security.test();
    security.engage();
    security.test();
    await until(() => heard.stops > 0);
    expect([heard.stops, kernel.engaged(), security.engaged()]).toEqual([1, true, true]);
  });

  it('is a stop when the ring is none that anybody sends', async () => {
    const { kernel } = released();
    const heard = listen(kernel);
    ringBy(TEST_BYTE + 1);
    await until(() => heard.stops > 0);
    expect([heard.tests, kernel.engaged()]).toEqual([0, true]);
  });

  it('fills no bell so far that a stop could not get through it', async () => {
    const { kernel, security } = released();
    expect(fillBell(TEST_BYTE)).toBeGreaterThan(4_096);
    // Its own ring is refused: the bell is full. Its word is not.
    security.engage();
    const heard = listen(kernel);
    await until(() => heard.stops > 0);
    expect(heard.stops).toBe(1);
    expect([kernel.engaged(), security.engaged()]).toEqual([true, true]);
  });

  it('finds a stop whose ring was lost altogether', async () => {
    const { kernel, security } = released();
    // The word of interface, as if its process had died between word and bell.
    spoil('stop-request', 64 + 2 * 64, 1);
    const heard = listen(kernel);
    security.test();
    await until(() => heard.stops > 0);
    expect(kernel.engaged()).toBe(true);
  });

  it('is no new stop while one stands', async () => {
    const { kernel, security } = released();
    const heard = listen(kernel);
    security.engage();
    await until(() => heard.stops === 1);
    security.test();
    await until(() => heard.tests === 1);
    expect(heard.stops).toBe(1);
  });

  it('can be heard by kernel alone', () => {
    const { security } = released();
    expect(() => security.onTested(() => undefined)).toThrow();
  });
});

describe('the words of the latch', () => {
  it('are sound while released, asked for and latched', () => {
    const { kernel, security } = released();
    expect([kernel.finding(), security.finding()]).toEqual(['', '']);
    security.engage();
    expect(kernel.finding()).toBe('');
    kernel.latch();
    expect([kernel.finding(), security.finding()]).toEqual(['', '']);
  });

  it.each([
    ['stop-request', 0, 'the request words are unsound'],
    ['stop-latch', 0, 'the latched word is unsound'],
    ['stop-latch', 8, 'the latched word holds a value that kernel never writes'],
  ])('are not when %s is spoiled at %i', (file, offset, finding) => {
    const { kernel } = released();
    spoil(file, offset, 0x5a5a5a5a);
    expect(kernel.finding()).toBe(finding);
  });

  it.each([
    ['stop-request', 'the request words are unsound'],
    ['stop-latch', 'the latched word is unsound'],
  ])('are not when %s was cut short', (file, finding) => {
    const { kernel } = released();
    truncateSync(join(directory, file), 0);
    expect(kernel.finding()).toContain(finding);
  });
});
