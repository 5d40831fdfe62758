// One sysfs attribute: opened once for each direction, re-read in place, on the event loop where it is quick.
//
// An attribute is accessed on the loop (1.4 us) once it has shown that it answers quickly, and off the loop (about
// 40 us) until then and for a long while after it was slow once: hwmon chips behind I2C and batteries behind an
// embedded controller take milliseconds, their drivers cache in between, and no class name tells them apart.
// Invariants: one access at a time; an access that outlives its deadline keeps the attribute closed until it
// returns; a file is never closed while a call on it is in the kernel.

import { closeSync, constants, openSync, read, readSync, write, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { BusTally } from './counter.ts';
import { sysfsFault } from './sysfs-fault.ts';
import type { SysfsFinder } from './sysfs-locator.ts';
import { Turnstile } from './turnstile.ts';

/** What all attributes of one bus share. */
export interface SysfsContext {
  readonly clock: Clock;
  readonly finder: SysfsFinder;
  readonly tally: BusTally;
  /** Accesses of the whole bus that hang in the thread pool; bounded so that other files stay readable. */
  readonly hung: { count: number };
}

export interface AttributeText {
  /** Valid until the next access. */
  readonly bytes: Buffer;
  readonly length: number;
}

/** `late`: the call is still in the kernel. `error`: a system error with its errno. */
export type Attempt<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'error'; readonly error: unknown }
  | { readonly kind: 'late' };

type Direction = 'read' | 'write';

interface Handle {
  readonly fd: number;
  /** Accesses that must be quick before the next one may run on the loop. */
  quickNeeded: number;
}

/** An access on the loop slower than this is felt by everything else there. */
const SLOW_MS = 1;
/** Off the loop the wait for a pool thread is measured too, and a busy machine must not count as a slow chip. */
const SLOW_OFF_LOOP_MS = 5;
const QUICK_NEEDED_AFTER_SLOW = 256;
const HUNG_MAX = 2;
/** Far longer than any number; what exceeds it is clipped in the fault anyway. */
const TEXT_BYTES_MAX = 256;

export class SysfsAttribute {
  readonly directory: string;
  readonly name: string;
  readonly turnstile: Turnstile;
  readonly #context: SysfsContext;
  readonly #handles: Record<Direction, Handle | undefined> = { read: undefined, write: undefined };
  readonly #buffer = Buffer.alloc(TEXT_BYTES_MAX);
  #inKernel = false;
  #late = false;

  constructor(context: SysfsContext, directory: string, name: string) {
    this.#context = context;
    this.directory = directory;
    this.name = name;
    this.turnstile = new Turnstile(context.clock);
  }

  /** The text read on the loop right now, or undefined when that cannot be had so simply. */
  readNow(): AttributeText | undefined {
    const handle = this.#handles.read;
    if (handle === undefined || handle.quickNeeded > 0 || this.#inKernel) return undefined;
    const attempt = onLoop(handle, () => readSync(handle.fd, this.#buffer, 0, TEXT_BYTES_MAX, 0));
    return attempt.kind === 'done' ? { bytes: this.#buffer, length: attempt.value } : undefined;
  }

  /** Opens the attribute for one direction if it is not open; `place` is for the fault. */
  ready(direction: Direction, place: string, deadline: Deadline): Outcome<void> {
    if (this.#late)
      return notStarted(place, 'an earlier access has not returned from the kernel driver');
    if (deadline.expired()) return notStarted(place, 'the deadline passed before the access began');
    const handle = this.#handles[direction] ?? this.#open(direction, place);
    if ('ok' in handle) return handle;
    this.#handles[direction] = handle;
    if (handle.quickNeeded > 0 && this.#context.hung.count >= HUNG_MAX) {
      return notStarted(place, `${HUNG_MAX} other accesses hang in their kernel drivers`);
    }
    return succeed(undefined);
  }

  async read(deadline: Deadline): Promise<Attempt<AttributeText>> {
    const handle = this.#opened('read');
    const now = this.readNow();
    if (now !== undefined) return { kind: 'done', value: now };
    const bytes = Buffer.alloc(TEXT_BYTES_MAX);
    const attempt = await this.#offLoop<number>('read', handle, deadline, (done) =>
      read(handle.fd, bytes, 0, TEXT_BYTES_MAX, 0, done),
    );
    return attempt.kind === 'done'
      ? { kind: 'done', value: { bytes, length: attempt.value } }
      : attempt;
  }

  /** One write(2) at position 0; the value is the count of bytes that the kernel took. */
  async write(text: string, deadline: Deadline): Promise<Attempt<number>> {
    const handle = this.#opened('write');
    const bytes = Buffer.from(text, 'latin1');
    if (handle.quickNeeded === 0) {
      return onLoop(handle, () => writeSync(handle.fd, bytes, 0, bytes.length, 0));
    }
    return this.#offLoop<number>('write', handle, deadline, (done) =>
      write(handle.fd, bytes, 0, bytes.length, 0, done),
    );
  }

  /** Closes one direction, so that the next access finds and opens the attribute again. */
  forget(direction: Direction): void {
    const handle = this.#handles[direction];
    this.#handles[direction] = undefined;
    if (handle !== undefined && !this.#inKernel) closeQuietly(handle.fd);
  }

  close(): void {
    this.forget('read');
    this.forget('write');
  }

  #open(direction: Direction, place: string): Handle | Outcome<never> {
    const directory = this.#context.finder.find(this.directory, place);
    if (!directory.ok) return directory;
    try {
      const flags = direction === 'read' ? constants.O_RDONLY : constants.O_WRONLY;
      return { fd: openSync(join(directory.value, this.name), flags), quickNeeded: 1 };
    } catch (error) {
      return refuse(sysfsFault(place, 'open', error));
    }
  }

  #opened(direction: Direction): Handle {
    const handle = this.#handles[direction];
    if (handle === undefined)
      throw new Error(`attribute ${this.name} is not open: call ready() first`);
    return handle;
  }

  #offLoop<T>(
    direction: Direction,
    handle: Handle,
    deadline: Deadline,
    start: (done: (error: Error | null, value: T) => void) => void,
  ): Promise<Attempt<T>> {
    const { clock, hung, tally } = this.#context;
    const startMs = performance.now();
    this.#inKernel = true;
    return new Promise((resolve) => {
      const cancel = clock.after(deadline.remainingMs(), () => {
        this.#late = true;
        hung.count += 1;
        resolve({ kind: 'late' });
      });
      start((error, value) => {
        cancel();
        this.#inKernel = false;
        if (this.#late) {
          this.#late = false;
          hung.count -= 1;
          tally.add('resynchronizations');
        }
        if (this.#handles[direction] !== handle) closeQuietly(handle.fd);
        learn(handle, performance.now() - startMs >= SLOW_OFF_LOOP_MS ? 'slow' : 'quick');
        resolve(error === null ? { kind: 'done', value } : { kind: 'error', error });
      });
    });
  }
}

function onLoop(handle: Handle, access: () => number): Attempt<number> {
  const startMs = performance.now();
  try {
    return { kind: 'done', value: access() };
  } catch (error) {
    return { kind: 'error', error };
  } finally {
    learn(handle, performance.now() - startMs >= SLOW_MS ? 'slow' : 'quick');
  }
}

function learn(handle: Handle, access: 'slow' | 'quick'): void {
  if (access === 'slow') handle.quickNeeded = QUICK_NEEDED_AFTER_SLOW;
  else if (handle.quickNeeded > 0) handle.quickNeeded -= 1;
}

function notStarted(place: string, finding: string): Outcome<never> {
  return refuse(fault('BUS_TIMEOUT', { place, finding, consequence: 'nothing was sent' }));
}

function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch (error) {
    // A file whose device is gone may fail to close and is closed all the same (close(2)); its number is free.
    if ((error as NodeJS.ErrnoException).code === 'EBADF') throw new Error(describeError(error));
  }
}
