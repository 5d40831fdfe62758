// Safe values as lines of a plan that a program without Node carries out (drivers/native/safe-drive): where each register
// is on this machine now, what puts it into its safe state, and which of its bits are read back.
// Invariants: a register is found and checked as its driver does; what the program cannot reach is refused, never guessed.
// Faults: those of finding the bus (BUS_ABSENT, BUS_PERMISSION, CONFIG_INVALID) and BUS_EXCEPTION for what only Node can reach.

import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { BusDescription } from '#model/board';
import type { Cell } from '#model/bus';
import type { DeviceDescriptor } from '#model/device';
import type { WidthBits, Word } from '#model/register';
import { checkWord, type LocationOf, locationOn } from './cell-check.ts';
import { type I2cDescription, locateI2c } from './i2c.ts';
import { findAdapter, I2C_DEVICES } from './i2c-kernel.ts';
import { locateFile } from './memory.ts';
import { locateModbus, writeRequest } from './modbus-cell.ts';
import type { SerialDescription } from './modbus-rtu.ts';
import { locateBar } from './pci.ts';
import type { SysfsDescription } from './sysfs.ts';
import { isPathComponent, SysfsFinder } from './sysfs-locator.ts';
import { formatAttribute, NAMED_VALUES } from './sysfs-text.ts';
import { locateMap } from './uio.ts';
import { regionsOf } from './window-region.ts';
import type { WindowRegion, WindowSource } from './window-source.ts';

/** One register and its safe value, as the stop writes it. */
export interface SafeOrder {
  readonly cell: Cell;
  readonly word: Word;
  /** Bits to compare afterwards; 0 when the register cannot be read back. */
  readonly mask: Word;
  readonly expected: Word;
}

/** The fields of a bus line, and of the step lines on it after time-out and settling time. */
export interface SafeBus {
  readonly fields: string;
  /** Longest time one step needs on the wire, milliseconds. */
  readonly timeoutMs: number;
  step(order: SafeOrder): Outcome<string>;
}

/** Baud rates that the program can set. */
const BAUD_RATES: ReadonlySet<number> = new Set([
  1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600,
]);
const PARITIES = { none: 'n', even: 'e', odd: 'o' } as const;
/** The longest exchange: four registers written by function 16, and its answer. */
const EXCHANGE_BYTES_MAX = 17 + 8;
const TIMEOUT_MS_MAX = 5_000;
/** When a process has just died the machine may be busy, and nobody else waits for the bus. */
const PATIENCE = 4;
const PATH_LENGTH_MAX = 1_023;

export function safeBusOf(
  description: BusDescription,
  devices: readonly DeviceDescriptor[],
): Outcome<SafeBus> {
  const onBus = devices.filter(({ busId }) => busId === description.id);
  switch (description.kind) {
    case 'memory':
      return windowBus(description, locateFile(description), onBus);
    case 'pci':
      return windowBus(description, locateBar(description), onBus);
    case 'uio':
      return windowBus(description, locateMap(description), onBus);
    case 'sysfs':
      return sysfsBus(description);
    case 'i2c':
      return i2cBus(description);
    case 'serial':
      return serialBus(description);
    case 'modbus-tcp':
      return unreachable(description, 'a network is not reached without Node');
  }
}

// --- Windows -----------------------------------------------------------------------------------

function windowBus(
  description: BusDescription,
  located: Outcome<WindowSource>,
  devices: readonly DeviceDescriptor[],
): Outcome<SafeBus> {
  if (!located.ok) return located;
  const source = located.value;
  const path = pathField(description, source.path);
  if (!path.ok) return path;
  const regions = regionsOf(devices);
  return succeed({
    fields: `window ${source.synchronous ? 1 : 0} ${path.value}`,
    timeoutMs: timeoutOf(description, 0),
    step: (order) => windowStep(order, source, regions),
  });
}

function windowStep(
  order: SafeOrder,
  source: WindowSource,
  regions: readonly WindowRegion[],
): Outcome<string> {
  const { cell } = order;
  const located = placedOn(order, 'memory');
  if (!located.ok) return located;
  const { address } = located.value;
  const end = address + cell.widthBits / 8;
  const inside = regions.some(
    (region) =>
      region.device === cell.device &&
      address >= region.address &&
      end <= region.address + region.length,
  );
  const position = source.zeroOffset + address;
  if (!inside || position < 0 || (source.limit !== null && end > source.limit.addressEnd)) {
    const finding = 'the register is outside the window of its device';
    return refuse(fault('WINDOW_EXCEEDED', { place: cell.place, finding }));
  }
  if (position % (cell.widthBits / 8) !== 0) {
    const finding = 'the register is not on a boundary of its width';
    return refuse(fault('WINDOW_MISALIGNED', { place: cell.place, finding }));
  }
  // Where the file's size says nothing, the range was checked above and is mapped from the beginning.
  const mapping = source.mappingOffset ?? (source.sizeLimit === 'file-size' ? '-' : 0);
  return succeed(`${mapping} ${position} ${words(order)}`);
}

// --- Sysfs -------------------------------------------------------------------------------------

function sysfsBus(description: SysfsDescription): Outcome<SafeBus> {
  let root: string;
  try {
    root = realpathSync(description.root);
  } catch (error) {
    const finding = 'the sysfs root is absent';
    const internal = describeError(error);
    return refuse(fault('BUS_ABSENT', { place: `bus ${description.id}`, finding, internal }));
  }
  const path = pathField(description, root);
  if (!path.ok) return path;
  const finder = new SysfsFinder(root);
  return succeed({
    fields: `sysfs ${path.value}`,
    timeoutMs: timeoutOf(description, 0),
    step: (order) => sysfsStep(order, description, finder),
  });
}

function sysfsStep(
  order: SafeOrder,
  description: SysfsDescription,
  finder: SysfsFinder,
): Outcome<string> {
  const { cell, word } = order;
  const located = placedOn(order, 'sysfs');
  if (!located.ok) return located;
  const { directory, attribute } = located.value;
  if (!isPathComponent(attribute)) {
    const finding = 'its attribute is no single name';
    return refuse(fault('CONFIG_INVALID', { place: cell.place, finding }));
  }
  const found = finder.find(directory, cell.place);
  if (!found.ok) return found;
  const path = pathField(description, join(found.value, attribute));
  if (!path.ok) return path;
  const scheme = directory.split(':', 1)[0] ?? '';
  const names = NAMED_VALUES[`${scheme}:${attribute}`];
  const signedness = cell.signed === false ? 'unsigned' : 'signed';
  const text = formatAttribute(word, cell.widthBits, signedness, names).trim();
  const form = /^-?\d+$/.test(text)
    ? 'number'
    : names === NAMED_VALUES['gpio:direction']
      ? 'direction'
      : 'word';
  // A name with a space (`Not charging`) has no place in a line of the plan.
  if (!/^[\x21-\x7e]{1,24}$/.test(text))
    return unreachable(description, `"${text}" is not written without Node`);
  return succeed(`${words(order)} ${form} ${text} ${path.value}`);
}

// --- I2C ---------------------------------------------------------------------------------------

function i2cBus(description: I2cDescription): Outcome<SafeBus> {
  const { adapter } = description;
  const found = adapterPath(description);
  if (!found.ok) return found;
  const path = pathField(description, found.value);
  if (!path.ok) return path;
  return succeed({
    fields: `${'socket' in adapter ? 'i2c-socket' : 'i2c'} ${path.value}`,
    timeoutMs: timeoutOf(description, 0),
    step: i2cStep,
  });
}

function adapterPath(description: I2cDescription): Outcome<string> {
  const { adapter } = description;
  if ('socket' in adapter) return succeed(adapter.socket);
  if ('number' in adapter) return succeed(`/dev/i2c-${adapter.number}`);
  const number = findAdapter(adapter.name, I2C_DEVICES);
  if (number.ok) return succeed(`/dev/i2c-${number.value}`);
  const finding = 'there is no such adapter';
  return refuse(
    fault('BUS_ABSENT', { place: `bus ${description.id}`, finding, internal: number.detail }),
  );
}

function i2cStep(order: SafeOrder): Outcome<string> {
  const { cell, word } = order;
  const fits = checkWord(cell, word);
  const located = fits.ok ? locateI2c(cell) : fits;
  if (!located.ok) return located;
  const { chip, command, protocol } = located.value;
  return succeed(`${hexByte(chip)} ${hexByte(command)} ${protocol} ${words(order)}`);
}

// --- Serial ------------------------------------------------------------------------------------

function serialBus(description: SerialDescription): Outcome<SafeBus> {
  const { baudRate, dataBits, parity, stopBits } = description;
  if (!BAUD_RATES.has(baudRate))
    return unreachable(description, `a line of ${baudRate} baud is not set without Node`);
  const path = pathField(description, description.path);
  if (!path.ok) return path;
  const bits = 1 + dataBits + (parity === 'none' ? 0 : 1) + stopBits;
  const wireMs = (EXCHANGE_BYTES_MAX * 1_000 * bits) / baudRate;
  return succeed({
    fields: `serial ${baudRate} ${dataBits} ${PARITIES[parity]} ${stopBits} ${path.value}`,
    timeoutMs: timeoutOf(description, wireMs),
    step: serialStep,
  });
}

function serialStep(order: SafeOrder): Outcome<string> {
  const { cell, word } = order;
  const request = writeRequest(cell, word);
  if (!request.ok) return request;
  const located = locateModbus(cell);
  if (!located.ok) return located;
  const { unit, table, address } = located.value;
  return succeed(`${unit} ${table} ${address} ${words(order)}`);
}

// --- Fields ------------------------------------------------------------------------------------

function placedOn<K extends Parameters<typeof locationOn>[1]>(
  { cell, word }: SafeOrder,
  kind: K,
): Outcome<LocationOf<K>> {
  const fits = checkWord(cell, word);
  return fits.ok ? locationOn(cell, kind) : fits;
}

function words({ cell, word, mask, expected }: SafeOrder): string {
  const { widthBits } = cell;
  const all = [word, mask, expected & mask].map((one) => hexWord(one, widthBits));
  return `${widthBits} ${all.join(' ')}`;
}

function hexByte(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

function hexWord(word: Word, widthBits: WidthBits): string {
  return word.toString(16).padStart(widthBits / 4, '0');
}

function timeoutOf(description: BusDescription, wireMs: number): number {
  return Math.min(
    TIMEOUT_MS_MAX,
    Math.max(1, Math.ceil(PATIENCE * description.accessTimeoutMs + wireMs)),
  );
}

/** A line of the plan is divided at spaces, and shows everything it holds; the program refuses all of a plan for less. */
function pathField(description: BusDescription, path: string): Outcome<string> {
  const plain = /^(\/[\x21-\x2e\x30-\x7e]+)+$/.test(path) && path.length <= PATH_LENGTH_MAX;
  if (plain && !path.split('/').includes('..')) return succeed(path);
  return unreachable(
    description,
    'its path is not absolute, or holds spaces or unusual characters',
  );
}

function unreachable(description: BusDescription, finding: string): Outcome<never> {
  return refuse(fault('BUS_EXCEPTION', { place: `bus ${description.id}`, finding }));
}
