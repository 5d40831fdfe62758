// An I2C adapter of the kernel's, through the i2c-bus package and /dev/i2c-N.
//
// Invariants: the package keeps the file of a chip even when the kernel refused the chip's address for it, and
// would then talk to address 0 on the next call; so its bus object is thrown away after any refusal of that kind.
// Faults: a call runs in the thread pool and cannot be cancelled; `abandon` does nothing.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { I2CBus } from 'i2c-bus';
import { describeError } from '#foundation/fault';
import { type I2cAdapter, type Transfer, transferFailed, transferred } from './i2c-adapter.ts';

export type KernelAdapterMatch = { readonly number: number } | { readonly name: string };

/** Directory of the kernel's I2C adapters and clients. */
export const I2C_DEVICES = '/sys/bus/i2c/devices';

/**
 * The number of the adapter whose name begins with `name`, below `root`; survives renumbering.
 * Two adapters with such a name are an error: which one was meant is not for us to guess.
 */
export function findAdapter(name: string, root: string): Transfer<number> {
  let entries: string[];
  try {
    entries = readdirSync(root);
  } catch (error) {
    return transferFailed('ENOENT', describeError(error));
  }
  const found = entries.flatMap((entry) => {
    const number = /^i2c-(\d+)$/.exec(entry)?.[1];
    return number !== undefined && adapterName(join(root, entry)).startsWith(name)
      ? [Number(number)]
      : [];
  });
  const [first] = found;
  if (first === undefined) return transferFailed('ENOENT', `no adapter is named ${name}...`);
  if (found.length === 1) return transferred(first);
  return transferFailed(
    'ENOENT',
    `${found.length} adapters are named ${name}...; give a longer name`,
  );
}

function adapterName(directory: string): string {
  try {
    return readFileSync(join(directory, 'name'), 'latin1').trim();
  } catch {
    // The adapter went away between listing and reading.
    return '';
  }
}

export class KernelI2cAdapter implements I2cAdapter {
  readonly #match: KernelAdapterMatch;
  readonly #root: string;
  #number: number | undefined;
  #bus: I2CBus | undefined;

  constructor(match: KernelAdapterMatch, root = I2C_DEVICES) {
    this.#match = match;
    this.#root = root;
  }

  async open(): Promise<Transfer<void>> {
    await this.close();
    const number =
      'number' in this.#match
        ? transferred(this.#match.number)
        : findAdapter(this.#match.name, this.#root);
    if (!number.ok) return number;
    this.#number = number.value;
    const bus = await this.#opened();
    if (!bus.ok) return bus;
    // The package opens the character device at the first access only; asking for its abilities does so now.
    return call<void>((done) => bus.value.i2cFuncs((error) => done(error, undefined)));
  }

  readByte(chip: number, command: number): Promise<Transfer<number>> {
    return this.#access((bus, done) => bus.readByte(chip, command, done));
  }

  writeByte(chip: number, command: number, value: number): Promise<Transfer<void>> {
    return this.#access((bus, done) =>
      bus.writeByte(chip, command, value, (error) => done(error, undefined)),
    );
  }

  readWord(chip: number, command: number): Promise<Transfer<number>> {
    return this.#access((bus, done) => bus.readWord(chip, command, done));
  }

  writeWord(chip: number, command: number, value: number): Promise<Transfer<void>> {
    return this.#access((bus, done) =>
      bus.writeWord(chip, command, value, (error) => done(error, undefined)),
    );
  }

  async readBlock(chip: number, command: number, length: number): Promise<Transfer<Buffer>> {
    const bytes = Buffer.alloc(length);
    const count = await this.#access<number>((bus, done) =>
      bus.readI2cBlock(chip, command, length, bytes, done),
    );
    if (!count.ok) return count;
    if (count.value === length) return transferred(bytes);
    return transferFailed('EPROTO', `${count.value} of ${length} bytes came`);
  }

  writeBlock(chip: number, command: number, bytes: Buffer): Promise<Transfer<void>> {
    return this.#access((bus, done) =>
      bus.writeI2cBlock(chip, command, bytes.length, bytes, (error) => done(error, undefined)),
    );
  }

  abandon(): void {}

  strayAnswers(): number {
    return 0;
  }

  async close(): Promise<void> {
    const bus = this.#bus;
    this.#bus = undefined;
    if (bus !== undefined) bus.closeSync();
  }

  async #opened(): Promise<Transfer<I2CBus>> {
    if (this.#number === undefined) return transferFailed('ENODEV', 'the adapter is not open');
    if (this.#bus !== undefined) return transferred(this.#bus);
    try {
      // Imported here because the package is optional: it has native code that a machine without I2C may lack.
      const { default: i2c } = await import('i2c-bus');
      this.#bus = i2c.openSync(this.#number);
      return transferred(this.#bus);
    } catch (error) {
      return transferFailed('ENODEV', describeError(error));
    }
  }

  async #access<T>(
    start: (bus: I2CBus, done: (error: unknown, value: T) => void) => void,
  ): Promise<Transfer<T>> {
    const bus = await this.#opened();
    if (!bus.ok) return bus;
    const result = await call<T>((done) => start(bus.value, done));
    if (!result.ok && !ANSWERED.has(result.errno)) await this.close();
    return result;
  }
}

/** Failures that come from the transfer itself, so the chip's file has its address. */
const ANSWERED = new Set(['ENXIO', 'EREMOTEIO', 'ETIMEDOUT', 'EIO', 'EPROTO']);

function call<T>(start: (done: (error: unknown, value: T) => void) => void): Promise<Transfer<T>> {
  return new Promise((resolve) => {
    try {
      start((error, value) => {
        resolve(error === null || error === undefined ? transferred(value) : errnoOf(error));
      });
    } catch (error) {
      resolve(errnoOf(error));
    }
  });
}

function errnoOf(error: unknown): Transfer<never> {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return transferFailed(code ?? 'EINVAL', describeError(error));
}
