// What an I2C bus needs of an adapter: SMBus byte and word data, and a block in one combined transfer.

/** A failed transfer keeps the kernel's errno name (Documentation/i2c/fault-codes.rst). */
export type Transfer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly errno: string; readonly detail: string };

/** Largest block of one combined transfer (I2C_SMBUS_BLOCK_MAX of linux/i2c.h). */
export const I2C_BLOCK_MAX = 32;

/**
 * Calls never overlap; each returns when the adapter is done with it, however late.
 * `chip` 0x00..0x7F, `command` 0..255, words little-endian on the wire (SMBus 3.2 section 6.5.5).
 */
export interface I2cAdapter {
  /** Opens or opens again. */
  open(): Promise<Transfer<void>>;
  readByte(chip: number, command: number): Promise<Transfer<number>>;
  writeByte(chip: number, command: number, value: number): Promise<Transfer<void>>;
  readWord(chip: number, command: number): Promise<Transfer<number>>;
  writeWord(chip: number, command: number, value: number): Promise<Transfer<void>>;
  /** Start, chip and command written, repeated start, `length` bytes read. */
  readBlock(chip: number, command: number, length: number): Promise<Transfer<Buffer>>;
  writeBlock(chip: number, command: number, bytes: Buffer): Promise<Transfer<void>>;
  /** Ends a transfer that never returns, where that is possible at all. */
  abandon(): void;
  /** Answers that belonged to no open transfer, since the adapter was made. */
  strayAnswers(): number;
  close(): Promise<void>;
}

export function transferred<T>(value: T): Transfer<T> {
  return { ok: true, value };
}

export function transferFailed(errno: string, detail: string): Transfer<never> {
  return { ok: false, errno, detail };
}
