// Registers of chips on one I2C adapter, as SMBus bytes and words or as big-endian blocks.
//
// Invariants: one transfer at a time; after a deadline passed, nothing is sent until the late transfer returned, so
// that its answer is nobody else's and its write cannot overtake a later one.
// Faults: BUS_NO_ANSWER for a NACK, BUS_TIMEOUT (a write then has metal `unknown`), BUS_PERMISSION for a chip that a
// kernel driver has claimed, BUS_ABSENT without adapter, CONFIG_INVALID for a width that the protocol cannot carry.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Fault, fault, type Metal } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { BusDescription } from '#model/board';
import type { BusCounters, Cell, RegisterBus } from '#model/bus';
import type { Word } from '#model/register';
import { checkWord, type LocationOf, locationOn, misplaced } from './cell-check.ts';
import { BusTally } from './counter.ts';
import { type I2cAdapter, type Transfer, transferred } from './i2c-adapter.ts';
import { Turnstile } from './turnstile.ts';

export type I2cDescription = Extract<BusDescription, { readonly kind: 'i2c' }>;
type I2cLocation = LocationOf<'i2c'>;

/** A late transfer is waited for this many access times before the adapter is asked to give it up. */
const ABANDON_AFTER_ACCESSES = 5;

export class I2cBus implements RegisterBus {
  readonly id: string;
  readonly kind = 'i2c';
  readonly immediate = false;
  readonly #adapter: I2cAdapter;
  readonly #accessTimeoutMs: number;
  readonly #clock: Clock;
  readonly #tally = new BusTally();
  readonly #turnstile: Turnstile;
  /** Settles when the transfer that outlived its deadline has returned. */
  #late: Promise<unknown> | undefined;

  constructor(description: I2cDescription, adapter: I2cAdapter, clock: Clock) {
    this.id = description.id;
    this.#accessTimeoutMs = description.accessTimeoutMs;
    this.#adapter = adapter;
    this.#clock = clock;
    this.#turnstile = new Turnstile(clock);
  }

  open(deadline: Deadline): Promise<Outcome<void>> {
    const place = `bus ${this.id}`;
    return this.#turnstile.run(place, deadline, () =>
      this.#transfer(place, 'read', deadline, () => this.#adapter.open()),
    );
  }

  async read(cell: Cell, deadline: Deadline): Promise<Outcome<Word>> {
    const location = locateI2c(cell);
    const outcome = location.ok
      ? await this.#turnstile.run(cell.place, deadline, () =>
          this.#transfer(cell.place, 'read', deadline.within(this.#accessTimeoutMs), () =>
            this.#read(location.value, cell),
          ),
        )
      : location;
    return this.#tally.finish('reads', outcome);
  }

  async write(cell: Cell, word: Word, deadline: Deadline): Promise<Outcome<void>> {
    const fits = checkWord(cell, word);
    const location = fits.ok ? locateI2c(cell) : fits;
    const outcome = location.ok
      ? await this.#turnstile.run(cell.place, deadline, () =>
          this.#transfer(cell.place, 'write', deadline.within(this.#accessTimeoutMs), () =>
            this.#write(location.value, cell, word),
          ),
        )
      : location;
    return this.#tally.finish('writes', outcome);
  }

  async readMany(cells: readonly Cell[], deadline: Deadline): Promise<readonly Outcome<Word>[]> {
    const outcomes: Outcome<Word>[] = [];
    for (const cell of cells) outcomes.push(await this.read(cell, deadline));
    return outcomes;
  }

  counters(): BusCounters {
    return { ...this.#tally.counters(), strayAnswers: this.#adapter.strayAnswers() };
  }

  /** A transfer that hangs in the kernel keeps its file: the number must not be given to another file meanwhile. */
  async close(): Promise<void> {
    const limit = Deadline.after(this.#clock, this.#accessTimeoutMs);
    const closed = await this.#turnstile.run(`bus ${this.id}`, limit, async () => {
      if (await this.#lateReturned(limit)) await this.#adapter.close();
      else this.#adapter.abandon();
      return succeed(undefined);
    });
    if (!closed.ok) this.#adapter.abandon();
  }

  async #read(location: I2cLocation, cell: Cell): Promise<Transfer<Word>> {
    const { chip, command } = location;
    switch (location.protocol) {
      case 'byte':
        return asWord(await this.#adapter.readByte(chip, command));
      case 'word':
        return asWord(await this.#adapter.readWord(chip, command));
      case 'word-swapped': {
        const word = await this.#adapter.readWord(chip, command);
        return asWord(word.ok ? transferred(swapBytes(word.value)) : word);
      }
      case 'raw': {
        const bytes = await this.#adapter.readBlock(chip, command, cell.widthBits / 8);
        return bytes.ok ? transferred(BigInt(`0x${bytes.value.toString('hex')}`)) : bytes;
      }
    }
  }

  #write(location: I2cLocation, cell: Cell, word: Word): Promise<Transfer<void>> {
    const { chip, command } = location;
    switch (location.protocol) {
      case 'byte':
        return this.#adapter.writeByte(chip, command, Number(word));
      case 'word':
        return this.#adapter.writeWord(chip, command, Number(word));
      case 'word-swapped':
        return this.#adapter.writeWord(chip, command, swapBytes(Number(word)));
      case 'raw': {
        const digits = word.toString(16).padStart(cell.widthBits / 4, '0');
        return this.#adapter.writeBlock(chip, command, Buffer.from(digits, 'hex'));
      }
    }
  }

  /** One transfer against its deadline; the next one waits for it even when its caller no longer does. */
  async #transfer<T>(
    place: string,
    access: 'read' | 'write',
    limit: Deadline,
    start: () => Promise<Transfer<T>>,
  ): Promise<Outcome<T>> {
    if (!(await this.#lateReturned(limit)) || limit.expired()) {
      const finding = 'an earlier transfer has not returned from the adapter';
      return refuse(fault('BUS_TIMEOUT', { place, finding, consequence: 'nothing was sent' }));
    }
    const startMs = this.#clock.nowMs();
    const running = start();
    const result = await this.#before(running, limit);
    if (result !== undefined) {
      return result.ok ? succeed(result.value) : refuse(transferFault(place, access, result));
    }
    this.#keepLate(running);
    const waitedMs = Math.round(this.#clock.nowMs() - startMs);
    const finding = `no answer within ${waitedMs} ms`;
    return refuse(
      fault('BUS_TIMEOUT', { place, finding, metal: access === 'write' ? 'unknown' : 'untouched' }),
    );
  }

  #keepLate(running: Promise<unknown>): void {
    const abandonMs = this.#accessTimeoutMs * ABANDON_AFTER_ACCESSES;
    const cancel = this.#clock.after(abandonMs, () => this.#adapter.abandon());
    this.#late = running.then(() => {
      cancel();
      this.#late = undefined;
      this.#tally.add('resynchronizations');
    });
  }

  async #lateReturned(limit: Deadline): Promise<boolean> {
    if (this.#late === undefined) return true;
    await this.#before(this.#late, limit);
    return this.#late === undefined;
  }

  /** The promise's value, or undefined when the deadline comes first. */
  #before<T>(promise: Promise<T>, limit: Deadline): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(limit.remainingMs(), () => resolve(undefined));
      promise.then(
        (value) => {
          cancel();
          resolve(value);
        },
        (error) => {
          cancel();
          reject(error);
        },
      );
    });
  }
}

/** Where a cell is, when its chip, command and protocol can be those of a register of its width. */
export function locateI2c(cell: Cell): Outcome<I2cLocation> {
  const located = locationOn(cell, 'i2c');
  if (!located.ok) return located;
  const { protocol, chip, command } = located.value;
  const carries = protocol === 'byte' ? 8 : protocol === 'raw' ? cell.widthBits : 16;
  if (carries !== cell.widthBits) {
    const finding = `its protocol ${protocol} carries ${carries} bits, the register has ${cell.widthBits}`;
    return refuse(misplaced(cell, finding));
  }
  // Addresses 0x00..0x07 and 0x78..0x7F are reserved (UM10204 section 3.1.12); 0 would reach every chip.
  if (!Number.isInteger(chip) || chip < 0x08 || chip > 0x77) {
    return refuse(misplaced(cell, `${chip} is no 7-bit chip address`));
  }
  if (!Number.isInteger(command) || command < 0 || command > 0xff) {
    return refuse(misplaced(cell, `${command} is no command byte`));
  }
  return located;
}

function asWord(result: Transfer<number>): Transfer<Word> {
  return result.ok ? transferred(BigInt(result.value)) : result;
}

function swapBytes(word: number): number {
  return ((word & 0xff) << 8) | (word >> 8);
}

interface Meaning {
  readonly code: FaultCode;
  readonly finding: string;
  /** Whether a failed write with this errno may have reached the chip. */
  readonly written: Metal;
}

/** Documentation/i2c/fault-codes.rst: ENXIO is a NACK of the address, so nothing was taken; others may come later. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  ENXIO: { code: 'BUS_NO_ANSWER', finding: 'the chip did not acknowledge', written: 'untouched' },
  EREMOTEIO: { code: 'BUS_NO_ANSWER', finding: 'the chip did not acknowledge', written: 'unknown' },
  ETIMEDOUT: {
    code: 'BUS_TIMEOUT',
    finding: 'the adapter gave the transfer up',
    written: 'unknown',
  },
  EIO: { code: 'BUS_IO', finding: 'input/output error', written: 'unknown' },
  EAGAIN: { code: 'BUS_IO', finding: 'arbitration was lost to another master', written: 'unknown' },
  EPROTO: { code: 'BUS_CORRUPT', finding: 'the transfer had the wrong length', written: 'unknown' },
  EBADMSG: { code: 'BUS_CORRUPT', finding: 'the packet error code is wrong', written: 'unknown' },
  EOPNOTSUPP: {
    code: 'BUS_EXCEPTION',
    finding: 'the adapter cannot do this kind of transfer',
    written: 'untouched',
  },
  EBUSY: {
    code: 'BUS_PERMISSION',
    finding: 'a kernel driver has claimed the chip',
    written: 'untouched',
  },
  EACCES: { code: 'BUS_PERMISSION', finding: 'permission denied', written: 'untouched' },
  EPERM: { code: 'BUS_PERMISSION', finding: 'permission denied', written: 'untouched' },
  ENOENT: { code: 'BUS_ABSENT', finding: 'there is no such adapter', written: 'untouched' },
  ENODEV: { code: 'BUS_ABSENT', finding: 'there is no such adapter', written: 'untouched' },
  ECONNREFUSED: { code: 'BUS_ABSENT', finding: 'nobody serves the adapter', written: 'untouched' },
  ENOTCONN: {
    code: 'BUS_STALE',
    finding: 'the adapter went away during the transfer',
    written: 'unknown',
  },
  ECONNRESET: {
    code: 'BUS_STALE',
    finding: 'the adapter went away during the transfer',
    written: 'unknown',
  },
  EPIPE: {
    code: 'BUS_STALE',
    finding: 'the adapter went away during the transfer',
    written: 'unknown',
  },
};

function transferFault(
  place: string,
  access: 'read' | 'write',
  failed: { errno: string; detail: string },
): Fault {
  const meaning = MEANINGS[failed.errno];
  return fault(meaning?.code ?? 'BUS_IO', {
    place,
    finding: meaning?.finding ?? `the transfer failed with ${failed.errno}`,
    metal: access === 'write' ? (meaning?.written ?? 'unknown') : 'untouched',
    internal: failed.detail,
  });
}
