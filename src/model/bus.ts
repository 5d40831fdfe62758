// How bytes move, as the rest of the agent sees it: a bus reads and writes single cells before a deadline.

import type { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { LinearId } from './device.ts';
import type { WidthBits, Word } from './register.ts';

export type BusKind = 'memory' | 'pci' | 'uio' | 'sysfs' | 'i2c' | 'serial' | 'modbus-tcp';

/** Where a register lives on its bus. Never sent over the network. */
export type Location =
  /** `address` in the bus's own address space: physical for /dev/mem, offset for a BAR or UIO map. */
  | { readonly kind: 'memory'; readonly address: number }
  /** `attribute` relative to the device's directory, which the driver finds by stable name. */
  | { readonly kind: 'sysfs'; readonly directory: string; readonly attribute: string }
  /** 7-bit chip address and command byte (SMBus 3.2 sections 6.5.4 and 6.5.5); raw is big-endian bytes. */
  | {
      readonly kind: 'i2c';
      readonly chip: number;
      readonly command: number;
      readonly protocol: 'byte' | 'word' | 'word-swapped' | 'raw';
    }
  /** Modbus unit 1..247, table and 0-based address (Modbus Application Protocol 1.1b3 section 4.4). */
  | {
      readonly kind: 'modbus';
      readonly unit: number;
      readonly table: 'holding' | 'input' | 'coil' | 'discrete';
      readonly address: number;
    };

/** One register of one device on one bus. */
export interface Cell {
  readonly device: LinearId;
  /** `fan-controller.duty`: names the place in every fault. */
  readonly place: string;
  readonly widthBits: WidthBits;
  readonly location: Location;
  /** How a text bus (sysfs) writes the word; absent means two's complement. Other buses ignore it. */
  readonly signed?: boolean;
}

export interface BusCounters {
  readonly reads: number;
  readonly writes: number;
  readonly timeouts: number;
  readonly corruptAnswers: number;
  readonly noAnswers: number;
  readonly otherFailures: number;
  readonly resynchronizations: number;
  /** Answers that belonged to no open request and were thrown away. */
  readonly strayAnswers: number;
}

export interface RegisterBus {
  readonly id: string;
  readonly kind: BusKind;
  /** True when an access completes within microseconds on the calling thread (mapped memory). */
  readonly immediate: boolean;
  /** Opens or opens again; a bus that is absent gives a fault and may be opened later. */
  open(deadline: Deadline): Promise<Outcome<void>>;
  read(cell: Cell, deadline: Deadline): Promise<Outcome<Word>>;
  /** A failed write says in `fault.metal` whether the device may have taken it. */
  write(cell: Cell, word: Word, deadline: Deadline): Promise<Outcome<void>>;
  /** Several cells in as few bus transactions as possible, each with its own outcome, in order. */
  readMany(cells: readonly Cell[], deadline: Deadline): Promise<readonly Outcome<Word>[]>;
  counters(): BusCounters;
  close(): Promise<void>;
}

/** An immediate bus can also be used without a promise: the stop path and batches. */
export interface ImmediateBus extends RegisterBus {
  readonly immediate: true;
  readNow(cell: Cell): Outcome<Word>;
  writeNow(cell: Cell, word: Word): Outcome<void>;
}

export function isImmediate(bus: RegisterBus): bus is ImmediateBus {
  return bus.immediate;
}
