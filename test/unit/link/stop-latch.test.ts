import {
  chmodSync,
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
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
import { SharedStopLatch, type StopRequester } from '#link/stop-latch';

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

function open(self: StopRequester): SharedStopLatch {
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
  const descriptor = openSync(join(directory, 'kernel/bell'), flags);
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
  const descriptor = openSync(join(directory, 'kernel/bell'), constants.O_RDWR);
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
    ['the latched word', 'kernel/latch', 8],
    ['the latch file magic', 'kernel/latch', 0],
    ['an acknowledged word', 'kernel/latch', 12],
    ['the request file magic', 'security/request', 0],
    ['a request word', 'security/request', 64],
  ])('counts garbage in %s as engaged', (_what, file, offset) => {
    const { kernel, security } = released();
    spoil(file, offset, 0x5a5a5a5a);
    expect([kernel.engaged(), security.engaged()]).toEqual([true, true]);
  });

  it.each(['kernel/latch', 'security/request', 'people/request'])(
    'counts a %s that was cut short as engaged',
    (file) => {
      const { kernel, security } = released();
      truncateSync(join(directory, file), 0);
      expect([kernel.engaged(), security.engaged()]).toEqual([true, true]);
    },
  );

  it('refuses a request file of another size', () => {
    mkdirSync(join(directory, 'kernel'));
    writeFileSync(join(directory, 'kernel/request'), 'x');
    expect(() => open('kernel')).toThrow(expect.objectContaining({ code: 'EMEDIUMTYPE' }));
  });

  it('calls kernel when another track engages, even if that track takes its word back', async () => {
    const { kernel, security } = released();
    const called = new Promise<void>((resolve) => kernel.onEngaged(resolve));
    security.engage();
    spoil('security/request', 64, 0);
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
    open('interface');
    spoil('interface/request', 64, 1);
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
    ['security/request', 0, 'the request words are unsound'],
    ['kernel/latch', 0, 'the latched word is unsound'],
    ['kernel/latch', 8, 'the latched word holds a value that kernel never writes'],
  ])('are not when %s is spoiled at %i', (file, offset, finding) => {
    const { kernel } = released();
    spoil(file, offset, 0x5a5a5a5a);
    expect(kernel.finding()).toBe(finding);
  });

  it.each([
    ['security/request', 'the request words are unsound'],
    ['people/request', 'the request words are unsound'],
    ['kernel/latch', 'the latched word is unsound'],
  ])('are not when %s was cut short', (file, finding) => {
    const { kernel } = released();
    truncateSync(join(directory, file), 0);
    expect(kernel.finding()).toContain(finding);
  });
});

describe('the files of the latch', () => {
  it('can each be written by their own requester alone', () => {
    const { kernel } = released();
    open('interface');
    const modes = [
      ...['kernel/latch', 'kernel/request', 'kernel/bell', 'security/request'],
      ...['interface/request', 'people/request', 'people/bell'],
    ].map((file) => [file, (lstatSync(join(directory, file)).mode & 0o777).toString(8)]);
    expect(Object.fromEntries(modes)).toEqual({
      'kernel/latch': '640',
      'kernel/request': '640',
      'kernel/bell': '620',
      'security/request': '640',
      'interface/request': '640',
      'people/request': '664',
      'people/bell': '620',
    });
    expect(kernel.engaged()).toBe(false);
  });

  it.each(['security/request', 'kernel/latch'])(
    'are refused when everybody may write %s',
    (file) => {
      const { kernel, security } = released();
      for (const latch of [kernel, security]) latch.close();
      chmodSync(join(directory, file), 0o666);
      const self = file.startsWith('kernel') ? 'kernel' : 'security';
      expect(() => open(self)).toThrow(expect.objectContaining({ code: 'EPERM' }));
    },
  );

  it('are nothing that people can make: without kernel there is no latch to engage', () => {
    expect(() => open('people')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });

  it('take a stop of people as one of anybody', async () => {
    const { kernel, security } = released();
    const heard = listen(kernel);
    const people = open('people');
    people.engage();
    expect([kernel.engaged(), security.engaged(), people.engaged()]).toEqual([true, true, true]);
    await until(() => heard.stops > 0);
    kernel.release();
    expect([kernel.engaged(), security.engaged(), people.engaged()]).toEqual([false, false, false]);
  });

  it('tell a kernel that starts what was asked for while there was none', async () => {
    const { kernel, security } = released();
    kernel.close();
    security.engage();
    const next = open('kernel');
    const heard = listen(next);
    await until(() => heard.stops > 0);
    expect([heard.stops, security.engaged()]).toEqual([1, true]);
  });

  it('let who rang a kernel that ended ring its successor', async () => {
    const { kernel, security } = released();
    const first = listen(kernel);
    security.test();
    await until(() => first.tests > 0);
    kernel.close();
    security.test();
    const next = open('kernel');
    const heard = listen(next);
    security.test();
    await until(() => heard.tests > 0);
    expect(heard.stops).toBe(0);
  });

  it('show a request that was removed after it had been taken in', () => {
    const { kernel, security } = released();
    security.engage();
    kernel.latch();
    kernel.release();
    for (const latch of [kernel, security]) latch.close();
    rmSync(join(directory, 'security/request'));
    expect(open('kernel').engaged()).toBe(true);
  });
});
