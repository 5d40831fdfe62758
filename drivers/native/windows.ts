// Mapped register windows: exact-width access to a mapped file or device, one register or many in one call.
// Invariants: a closed window refuses; every check is made in native code, so no argument can end the process.
// Faults: BUS_ERROR_SIGNAL for an access the hardware or a truncated file does not answer; WINDOW_EXCEEDED,
//   WINDOW_MISALIGNED, REGISTER_READ_ONLY, VALUE_TOO_WIDE and BUS_ABSENT (closed) before anything is touched.

import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { WidthBits, Word } from '#model/register';
import { addon } from './addon.ts';
import { mapRefusal, physicalAddressOf } from './map-refusal.ts';
import { CODES, windowFault } from './window-fault.ts';

interface NativeWindows {
  readonly windowPageBytes: number;
  mapWindow(
    fd: number,
    fileOffset: number,
    start: number,
    length: number,
    writable: boolean,
  ): number;
  closeWindow(handle: number): boolean;
  readWindow8(handle: number, offset: number): number;
  readWindow16(handle: number, offset: number): number;
  readWindow32(handle: number, offset: number): number;
  readWindow64(handle: number, offset: number): bigint | number;
  writeWindow8(handle: number, offset: number, value: number): number;
  writeWindow16(handle: number, offset: number, value: number): number;
  writeWindow32(handle: number, offset: number, value: number): number;
  writeWindow64(handle: number, offset: number, value: bigint): number;
  readWindowBatch(plan: Uint32Array, words: BatchWords, start: number): number;
  writeWindowBatch(plan: Uint32Array, words: BatchWords, start: number): number;
}

const native = addon as NativeWindows;
const {
  readWindow8,
  readWindow16,
  readWindow32,
  readWindow64,
  writeWindow8,
  writeWindow16,
  writeWindow32,
  writeWindow64,
} = native;

/** Bytes of a page: mappings begin at its multiples (getpagesize(2)). */
export const PAGE_BYTES = native.windowPageBytes;

export type BatchWords = Uint32Array | BigUint64Array;
export type WindowAccess = 'read-only' | 'read-write';

export interface WindowRequest {
  /** Names the window in every fault: `bus memory-0`, `fan-controller`. */
  readonly place: string;
  /** An open descriptor is only used during the call; it may be closed afterwards. */
  readonly source: { readonly path: string } | { readonly fd: number };
  /** First byte of the mapping in the file; need not lie on a page boundary. */
  readonly offset: number;
  /** Bytes between `offset` and the window's first byte (UIO selects a map by offset); default 0. */
  readonly start?: number;
  /** Bytes of the window, 1 .. 2^32. */
  readonly length: number;
  readonly access: WindowAccess;
  /** Opens a path with O_SYNC, which /dev/mem takes as "do not cache"; default false. */
  readonly synchronous?: boolean;
  /** Whether the size that fstat(2) shows for a regular file limits the window; default yes. */
  readonly sizeLimit?: 'file-size' | 'checked-by-caller';
  /** Physical address of the window's first byte when the source is a PCI BAR, to explain a refusal. */
  readonly barAddress?: number;
}

const LENGTH_MAX = 2 ** 32;

export class RegisterWindow {
  readonly place: string;
  readonly length: number;
  readonly access: WindowAccess;
  #handle: number;

  private constructor(request: WindowRequest, handle: number) {
    this.place = request.place;
    this.length = request.length;
    this.access = request.access;
    this.#handle = handle;
  }

  /** Maps a file or device shared. Nothing beyond a regular file's end is mapped (mmap(2) would allow it). */
  static map(request: WindowRequest): Outcome<RegisterWindow> {
    if ('fd' in request.source) return mapDescriptor(request, request.source.fd);
    let fd: number;
    try {
      fd = openForMapping(request.source.path, request.access, request.synchronous ?? false);
    } catch (error) {
      return refuse(mapRefusal({ place: request.place, step: 'open', error }));
    }
    try {
      return mapDescriptor(request, fd);
    } finally {
      closeSync(fd);
    }
  }

  /** @internal For `map` alone. */
  static adopt(request: WindowRequest, handle: number): RegisterWindow {
    return new RegisterWindow(request, handle);
  }

  get open(): boolean {
    return this.#handle !== 0;
  }

  /** For a batch's plan; 0 once closed. */
  get handle(): number {
    return this.#handle;
  }

  /**
   * One load of exactly this width at `offset` bytes: the word, a number up to 32 bits and a bigint for 64.
   * A negative number is a result code for `windowFault`; nothing is thrown and nothing is allocated up to 31 bits.
   */
  read(offset: number, widthBits: 8 | 16 | 32): number;
  read(offset: number, widthBits: WidthBits): number | bigint;
  read(offset: number, widthBits: WidthBits): number | bigint {
    switch (widthBits) {
      case 32:
        return readWindow32(this.#handle, offset);
      case 64:
        return readWindow64(this.#handle, offset);
      case 16:
        return readWindow16(this.#handle, offset);
      case 8:
        return readWindow8(this.#handle, offset);
    }
  }

  /** One store of exactly this width: 0, or a negative result code for `windowFault`. */
  write(offset: number, widthBits: WidthBits, word: Word): number {
    switch (widthBits) {
      case 32:
        return writeWindow32(this.#handle, offset, Number(word));
      case 64:
        return writeWindow64(this.#handle, offset, word);
      case 16:
        return writeWindow16(this.#handle, offset, Number(word));
      case 8:
        return writeWindow8(this.#handle, offset, Number(word));
    }
  }

  readWord(offset: number, widthBits: WidthBits): Outcome<Word> {
    const word = this.read(offset, widthBits);
    if (typeof word === 'bigint') return succeed(word);
    if (word >= 0) return succeed(BigInt(word));
    return refuse(windowFault(word, 'read', this, { place: this.place, offset, widthBits }));
  }

  writeWord(offset: number, widthBits: WidthBits, word: Word): Outcome<void> {
    const code = this.write(offset, widthBits, word);
    if (code === 0) return DONE;
    return refuse(windowFault(code, 'write', this, { place: this.place, offset, widthBits }));
  }

  /** Unmaps the window; closing twice does nothing. */
  close(): void {
    if (this.#handle !== 0) native.closeWindow(this.#handle);
    this.#handle = 0;
  }
}

const DONE: Outcome<void> = succeed(undefined);

/** One register of a batch. */
export interface WindowCell {
  readonly window: RegisterWindow;
  /** Bytes from the window's start. */
  readonly offset: number;
  readonly widthBits: WidthBits;
}

/** Where a batch stopped: `index` was not accessed for the reason `code`, those before it were. */
export interface BatchStop {
  readonly index: number;
  readonly code: number;
}

/**
 * Registers of one or more windows, compiled once and accessed in one native call, in order.
 * Words are indexed as the cells: a Uint32Array for widths up to 32 bits, a BigUint64Array for any.
 */
export class WindowBatch {
  readonly cells: readonly WindowCell[];
  /** Runs of registers side by side: handle, offset, bytes, count. */
  readonly #plan: Uint32Array;
  readonly #windows: readonly { readonly window: RegisterWindow; readonly handle: number }[];

  constructor(cells: readonly WindowCell[]) {
    this.cells = [...cells];
    const runs: [handle: number, offset: number, bytes: number, count: number][] = [];
    for (const { window, offset, widthBits } of cells) {
      const bytes = widthBits / 8;
      const run = runs.at(-1);
      const joins = run !== undefined && run[0] === window.handle && run[2] === bytes;
      // Offsets beyond 2^32 lie outside every window; 2^32 - 1 does so too and can be told to native code.
      const place =
        Number.isInteger(offset) && offset >= 0 ? Math.min(offset, LENGTH_MAX - 1) : LENGTH_MAX - 1;
      if (joins && run[1] + run[3] * bytes === place) run[3] += 1;
      else runs.push([window.handle, place, bytes, 1]);
    }
    this.#plan = Uint32Array.from(runs.flat());
    this.#windows = [...new Set(cells.map((cell) => cell.window))].map((window) => ({
      window,
      handle: window.handle,
    }));
  }

  get count(): number {
    return this.cells.length;
  }

  /** True while every window is still the one the batch was compiled for. */
  current(): boolean {
    return this.#windows.every(({ window, handle }) => handle !== 0 && handle === window.handle);
  }

  /** Reads all cells from `start` on into `words`; undefined when all were read. */
  read(words: BatchWords, start = 0): BatchStop | undefined {
    if (words.length < this.count) return { index: start, code: -CODES.argument };
    const result = native.readWindowBatch(this.#plan, words, start);
    return result >= 0 ? undefined : stopOf(result);
  }

  /** Writes `words`; every cell is checked before the first is written, so only a bus error stops it midway. */
  write(words: BatchWords, start = 0): BatchStop | undefined {
    if (words.length < this.count) return { index: start, code: -CODES.argument };
    const result = native.writeWindowBatch(this.#plan, words, start);
    return result >= 0 ? undefined : stopOf(result);
  }
}

function stopOf(result: number): BatchStop {
  const packed = -result;
  return { index: Math.floor(packed / 16), code: -(packed % 16) };
}

/** Opens without waiting for a peer (a FIFO named by mistake) and without taking a terminal. */
export function openForMapping(path: string, access: WindowAccess, synchronous: boolean): number {
  const mode = access === 'read-write' ? constants.O_RDWR : constants.O_RDONLY;
  const flags = mode | constants.O_NONBLOCK | constants.O_NOCTTY;
  return openSync(path, synchronous ? flags | constants.O_SYNC : flags);
}

function mapDescriptor(request: WindowRequest, fd: number): Outcome<RegisterWindow> {
  const { place, offset, length, access } = request;
  const start = request.start ?? 0;
  if (!(length >= 1 && length <= LENGTH_MAX) || offset < 0 || start < 0) {
    const finding = `a window of ${length} bytes cannot be mapped`;
    return refuse(fault('WINDOW_EXCEEDED', { place, finding, internal: `offset ${offset}` }));
  }
  try {
    const status = fstatSync(fd);
    if (
      request.sizeLimit !== 'checked-by-caller' &&
      status.isFile() &&
      offset + start + length > status.size
    ) {
      return refuse(
        fault('WINDOW_EXCEEDED', {
          place,
          finding: `the window of ${length} bytes ends ${offset + start + length - status.size} bytes beyond a file of ${status.size} bytes`,
          internal: `offset 0x${offset.toString(16)}`,
        }),
      );
    }
    const handle = native.mapWindow(fd, offset, start, length, access === 'read-write');
    return succeed(RegisterWindow.adopt(request, handle));
  } catch (error) {
    const address = request.barAddress ?? physicalAddressOf(fd, offset + start);
    const step = request.barAddress === undefined ? 'map' : 'map-bar';
    const range = address === undefined ? undefined : { address, length };
    return refuse(mapRefusal({ place, step, error, ...(range && { range }) }));
  }
}
