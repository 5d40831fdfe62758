// Between register cells and Modbus requests, pure: which request reads a cell, and which cells one request reads.
//
// Invariants: a 32- or 64-bit register is 2 or 4 consecutive 16-bit ones, most significant first; a merged request
// touches exactly the addresses of its cells, never one between them that nobody asked for.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Cell } from '#model/bus';
import type { WidthBits, Word } from '#model/register';
import { checkWord, type LocationOf, locationOn, misplaced } from './cell-check.ts';
import {
  type ModbusRequest,
  type ModbusTable,
  READ_BITS_MAX,
  READ_REGISTERS_MAX,
} from './modbus-frame.ts';

export type ModbusReadRequest = Extract<ModbusRequest, { readonly kind: 'read' }>;

/** Registers or bits that a cell occupies. */
export function cellLength(table: ModbusTable, widthBits: WidthBits): number {
  return isBits(table) ? 1 : Math.max(1, widthBits / 16);
}

export function locateModbus(cell: Cell): Outcome<LocationOf<'modbus'>> {
  const located = locationOn(cell, 'modbus');
  if (!located.ok) return located;
  const { unit, table, address } = located.value;
  // Unit 0 is a broadcast that nobody answers; 248..255 are reserved (Serial Line 1.02 section 2.2).
  if (!Number.isInteger(unit) || unit < 1 || unit > 247)
    return refuse(misplaced(cell, `${unit} is no unit from 1 to 247`));
  const last = address + cellLength(table, cell.widthBits) - 1;
  if (!Number.isInteger(address) || address < 0 || last > 0xffff) {
    return refuse(misplaced(cell, `${table} address ${address} is not within 0..65535`));
  }
  return located;
}

export function readRequest(
  cell: Cell,
  { unit, table, address }: LocationOf<'modbus'>,
): ModbusReadRequest {
  return { kind: 'read', unit, table, address, count: cellLength(table, cell.widthBits) };
}

export function writeRequest(cell: Cell, word: Word): Outcome<ModbusRequest> {
  const fits = checkWord(cell, word);
  if (!fits.ok) return fits;
  const located = locateModbus(cell);
  if (!located.ok) return located;
  const { unit, table, address } = located.value;
  switch (table) {
    case 'holding': {
      const count = cellLength(table, cell.widthBits);
      const values = Array.from({ length: count }, (_, index) =>
        Number((word >> BigInt(16 * (count - 1 - index))) & 0xffffn),
      );
      return succeed({ kind: 'write-registers', unit, address, values });
    }
    case 'coil':
      if (word > 1n) {
        const finding = `a coil is 0 or 1, not ${word}`;
        return refuse(fault('VALUE_OUT_OF_LIMITS', { place: cell.place, finding }));
      }
      return succeed({ kind: 'write-coil', unit, address, on: word === 1n ? 1 : 0 });
    case 'input':
    case 'discrete': {
      const finding = `the Modbus table ${table} cannot be written`;
      return refuse(fault('REGISTER_READ_ONLY', { place: cell.place, finding }));
    }
  }
}

/** The word in the values of an answer; an 8-bit register is the low half of one whose high half is 0. */
export function wordOf(cell: Cell, values: readonly number[]): Outcome<Word> {
  const word = values.reduce((high, value) => (high << 16n) | BigInt(value), 0n);
  if (cell.widthBits > 8 || word <= 0xffn) return succeed(word);
  const finding = `read ${word}, which does not fit 8 bits`;
  return refuse(fault('BUS_CORRUPT', { place: cell.place, finding }));
}

export interface PlacedCell {
  /** Where the caller wants the outcome. */
  readonly index: number;
  readonly cell: Cell;
  readonly request: ModbusReadRequest;
}

/** One request and the cells whose values it carries. */
export interface MergedRead {
  readonly request: ModbusReadRequest;
  readonly cells: readonly PlacedCell[];
}

/** Joins cells of one unit and table that touch or overlap, as far as one PDU reaches. */
export function mergeReads(cells: readonly PlacedCell[]): readonly MergedRead[] {
  const merged: { request: ModbusReadRequest; cells: PlacedCell[] }[] = [];
  for (const cell of [...cells].sort(byPlace)) {
    const open = merged.at(-1);
    const end = Math.max(open === undefined ? 0 : endOf(open.request), endOf(cell.request));
    if (open !== undefined && joins(open.request, cell.request, end)) {
      open.request = { ...open.request, count: end - open.request.address };
      open.cells.push(cell);
    } else merged.push({ request: cell.request, cells: [cell] });
  }
  return merged;
}

/** The values of one cell within the answer to a merged request. */
export function valuesWithin(
  read: MergedRead,
  cell: PlacedCell,
  values: readonly number[],
): readonly number[] {
  const from = cell.request.address - read.request.address;
  return values.slice(from, from + cell.request.count);
}

function joins(open: ModbusReadRequest, next: ModbusReadRequest, end: number): boolean {
  const limit = isBits(open.table) ? READ_BITS_MAX : READ_REGISTERS_MAX;
  const together = open.unit === next.unit && open.table === next.table;
  return together && next.address <= endOf(open) && end - open.address <= limit;
}

function byPlace(left: PlacedCell, right: PlacedCell): number {
  const [a, b] = [left.request, right.request];
  return a.unit - b.unit || a.table.localeCompare(b.table) || a.address - b.address;
}

function endOf(request: ModbusReadRequest): number {
  return request.address + request.count;
}

function isBits(table: ModbusTable): boolean {
  return table === 'coil' || table === 'discrete';
}
