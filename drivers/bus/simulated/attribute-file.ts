// One attribute file of the sysfs-like tree: shows a value, tells what was written to it, can be broken and mended.
// Invariants: a value is shown by one pwrite of fixed width padded with newlines, so no reader sees half of it and
// its first line is always the whole value; nothing is stored when the text has not changed.
// Faults: `eio` puts a link to /proc/self/mem in its place, whose first page reads as EIO (proc_pid_mem(5)); the
// old inode is emptied first, so that a reader that kept it open notices.

import {
  closeSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs';

/** Sign, 20 digits of 64 bits, newline, rounded up. */
const TEXT_WIDTH = 24;
const GARBAGE = '\u0001?garbage~';

export type AttributeFault = 'eio' | 'absent' | 'garbage';

export class AttributeFile {
  readonly path: string;
  readonly #buffer = Buffer.alloc(2 * TEXT_WIDTH);
  readonly #mode: number;
  #fd: number | null = null;
  #shown = '';
  #broken: AttributeFault | null = null;

  constructor(path: string, access: 'read-only' | 'writable') {
    this.path = path;
    this.#mode = access === 'read-only' ? 0o444 : 0o644;
  }

  get broken(): AttributeFault | null {
    return this.#broken;
  }

  open(text: string): void {
    rmSync(this.path, { force: true });
    this.#fd = openSync(this.path, 'wx+', this.#mode);
    this.#shown = '';
    this.show(text);
  }

  /** Remembered, and shown as soon as the attribute is whole. */
  show(text: string): void {
    if (text === this.#shown) return;
    this.#shown = text;
    if (this.#broken === null) this.#put(text);
  }

  /** The agent has put this text there itself: nothing to store. */
  accept(text: string): void {
    this.#shown = text;
  }

  /** The first line as it stands in the file; null while broken. */
  firstLine(): string | null {
    const content = this.#content();
    return content === null ? null : (content.split('\n', 1)[0] ?? '');
  }

  /** Writes the value again where the file shows anything else. */
  mend(text: string): void {
    this.#shown = text;
    if (this.#content() !== padded(text)) this.#put(text);
  }

  breakAs(fault: AttributeFault): void {
    this.restore();
    this.#broken = fault;
    if (fault === 'garbage') {
      this.#put(GARBAGE);
      return;
    }
    this.close();
    if (fault === 'eio') symlinkSync('/proc/self/mem', this.path);
  }

  restore(): void {
    const was = this.#broken;
    this.#broken = null;
    if (was === 'garbage') this.#put(this.#shown);
    else if (was !== null) this.open(this.#shown);
  }

  close(): void {
    if (this.#fd !== null) {
      ftruncateSync(this.#fd, 0);
      closeSync(this.#fd);
      this.#fd = null;
    }
    rmSync(this.path, { force: true });
  }

  #content(): string | null {
    if (this.#fd === null || this.#broken !== null) return null;
    const length = readSync(this.#fd, this.#buffer, 0, this.#buffer.length, 0);
    return this.#buffer.toString('latin1', 0, length);
  }

  #put(text: string): void {
    if (this.#fd === null) return;
    const bytes = Buffer.from(padded(text), 'latin1');
    writeSync(this.#fd, bytes, 0, bytes.length, 0);
    if (readSync(this.#fd, this.#buffer, 0, 1, bytes.length) > 0)
      ftruncateSync(this.#fd, bytes.length);
  }
}

function padded(text: string): string {
  return `${text}\n`.padEnd(TEXT_WIDTH, '\n');
}
