// The core of every memory-mapped bus: one window per device region, exact-width access inside it and nowhere else.
//
// A bus says where its windows come from (a `WindowSource`, found again at every open); this class maps, checks,
// reads, writes and counts. Windows that can be mapped serve even when others cannot: `open` then gives the first
// refusal, and only accesses to the refused windows fail, each with its own reason.
// Invariants: a permanently quarantined device is never mapped; an access stays inside the region of its own device.
// Faults: WINDOW_EXCEEDED, WINDOW_MISALIGNED, BUS_ABSENT, BUS_PERMISSION at open; BUS_ERROR_SIGNAL at an access.

import { closeSync, fstatSync } from 'node:fs';
import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { BusCounters, BusKind, Cell, ImmediateBus } from '#model/bus';
import { type LinearId, permanentlyQuarantined } from '#model/device';
import type { Word } from '#model/register';
import { mapRefusal } from '../native/map-refusal.ts';
import { windowFault } from '../native/window-fault.ts';
import {
  openForMapping,
  type RegisterWindow,
  WindowBatch,
  type WindowCell,
} from '../native/windows.ts';
import { checkWord, locationOn } from './cell-check.ts';
import { BusTally } from './counter.ts';
import { mapRegion, type WindowRegion, type WindowSource } from './window-source.ts';

export interface WindowBusParts {
  readonly id: string;
  readonly kind: Extract<BusKind, 'memory' | 'pci' | 'uio'>;
  readonly regions: readonly WindowRegion[];
  readonly locate: () => Outcome<WindowSource>;
}

interface MappedRegion {
  readonly region: WindowRegion;
  window: Outcome<RegisterWindow>;
  /** A bus error happened inside: the next open maps it afresh. */
  suspect: boolean;
}

/** One list of cells made ready for the native batch call. */
interface CompiledRead {
  readonly cells: readonly Cell[];
  readonly generation: number;
  /** By cell: why it cannot be read. */
  readonly refusals: readonly (Fault | undefined)[];
  /** By batch entry: the index of its cell, and its region. */
  readonly cellIndexes: readonly number[];
  readonly owners: readonly MappedRegion[];
  readonly batch: WindowBatch;
  readonly words: BigUint64Array;
}

const DONE: Outcome<void> = succeed(undefined);

export class WindowBus implements ImmediateBus {
  readonly id: string;
  readonly kind: BusKind;
  readonly immediate = true;
  readonly #locate: () => Outcome<WindowSource>;
  readonly #regions: readonly MappedRegion[];
  readonly #byDevice = new Map<LinearId, MappedRegion[]>();
  readonly #tally = new BusTally();
  #compiled = new WeakMap<readonly Cell[], CompiledRead>();
  /** Changes whenever a window is mapped or unmapped. */
  #generation = 0;
  /** What the windows were mapped from; undefined while nothing is. */
  #mappedFrom: string | undefined;

  constructor(parts: WindowBusParts) {
    this.id = parts.id;
    this.kind = parts.kind;
    this.#locate = parts.locate;
    const closed = refuse(this.#notOpen());
    this.#regions = parts.regions
      .filter((region) => !permanentlyQuarantined(region.device))
      .map((region) => ({ region, window: closed, suspect: false }));
    for (const entry of this.#regions) {
      const list = this.#byDevice.get(entry.region.device) ?? [];
      this.#byDevice.set(entry.region.device, [...list, entry]);
    }
  }

  /**
   * Maps what is not mapped, and maps again what saw a bus error or came from a file that was replaced.
   * The fault of the first window that cannot be mapped; all others serve nevertheless.
   */
  async open(deadline: Deadline): Promise<Outcome<void>> {
    if (deadline.expired()) return refuse(expired(`bus ${this.id}`));
    const source = this.#locate();
    if (!source.ok) return this.#refuseAll(source.fault);
    let fd: number;
    try {
      fd = openForMapping(source.value.path, 'read-write', source.value.synchronous);
    } catch (error) {
      return this.#refuseAll(mapRefusal({ place: `bus ${this.id}`, step: 'open', error }));
    }
    try {
      const status = fstatSync(fd);
      const from = [status.dev, status.ino, status.rdev, JSON.stringify(source.value)].join(' ');
      if (this.#mappedFrom !== undefined && this.#mappedFrom !== from)
        this.#unmapAll(this.#notOpen());
      const again = this.#regions.some((entry) => entry.suspect);
      if (again) this.#tally.add('resynchronizations');
      this.#mappedFrom = from;
      return this.#mapMissing(source.value, fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Why each window that could not be mapped was refused, by device. */
  refusals(): ReadonlyMap<LinearId, Fault> {
    const found = new Map<LinearId, Fault>();
    for (const { region, window } of this.#regions) {
      if (!window.ok) found.set(region.device, window.fault);
    }
    return found;
  }

  async read(cell: Cell, deadline: Deadline): Promise<Outcome<Word>> {
    return deadline.expired() ? refuse(expired(cell.place)) : this.readNow(cell);
  }

  async write(cell: Cell, word: Word, deadline: Deadline): Promise<Outcome<void>> {
    return deadline.expired() ? refuse(expired(cell.place)) : this.writeNow(cell, word);
  }

  async readMany(cells: readonly Cell[], deadline: Deadline): Promise<readonly Outcome<Word>[]> {
    if (deadline.expired()) return cells.map((cell) => refuse(expired(cell.place)));
    return this.readManyNow(cells);
  }

  readNow(cell: Cell): Outcome<Word> {
    const entry = this.#entryOf(cell);
    if (!entry.ok) return entry;
    const { owner, window, offset } = entry.value;
    const word = window.read(offset, cell.widthBits);
    if (typeof word === 'number' && word < 0)
      return refuse(this.#failed(word, 'read', owner, cell, offset));
    this.#tally.add('reads');
    return succeed(typeof word === 'bigint' ? word : BigInt(word));
  }

  writeNow(cell: Cell, word: Word): Outcome<void> {
    const entry = this.#entryOf(cell);
    if (!entry.ok) return entry;
    const fits = checkWord(cell, word);
    if (!fits.ok) return fits;
    const { owner, window, offset } = entry.value;
    const code = window.write(offset, cell.widthBits, word);
    if (code < 0) return refuse(this.#failed(code, 'write', owner, cell, offset));
    this.#tally.add('writes');
    return DONE;
  }

  /**
   * All cells in one native call, in order; a cell that faults costs one call more and disturbs no other.
   * The preparation is remembered for the same array of the same cells, so pass the same array when polling.
   */
  readManyNow(cells: readonly Cell[]): readonly Outcome<Word>[] {
    const compiled = this.#compiledFor(cells);
    const { batch, words, cellIndexes } = compiled;
    const outcomes: Outcome<Word>[] = compiled.refusals.map((refusal) =>
      refusal === undefined ? succeed(0n) : refuse(refusal),
    );
    let next = 0;
    while (next < batch.count) {
      const stop = batch.read(words, next);
      const end = stop?.index ?? batch.count;
      for (let entry = next; entry < end; entry++) {
        outcomes[cellIndexes[entry] as number] = succeed(words[entry] as bigint);
      }
      this.#tally.add('reads', end - next);
      next = end + 1;
      if (stop === undefined) break;
      const index = cellIndexes[end] as number;
      const [owner, offset] = [compiled.owners[end], batch.cells[end]?.offset ?? 0];
      const cell = cells[index];
      if (owner === undefined || cell === undefined) break;
      outcomes[index] = refuse(this.#failed(stop.code, 'read', owner, cell, offset));
    }
    return outcomes;
  }

  counters(): BusCounters {
    return this.#tally.counters();
  }

  async close(): Promise<void> {
    this.#unmapAll(this.#notOpen());
  }

  #notOpen(): Fault {
    return fault('BUS_ABSENT', { place: `bus ${this.id}`, finding: 'the bus is not open' });
  }

  #mapMissing(source: WindowSource, fd: number): Outcome<void> {
    let first: Fault | undefined;
    for (const entry of this.#regions) {
      if (entry.window.ok && !entry.suspect) continue;
      if (entry.window.ok) entry.window.value.close();
      entry.window = mapRegion(entry.region, source, fd);
      entry.suspect = false;
      this.#generation += 1;
      if (!entry.window.ok) first ??= entry.window.fault;
    }
    return first === undefined ? DONE : refuse(first);
  }

  #refuseAll(reason: Fault): Outcome<void> {
    this.#unmapAll(reason);
    return refuse(reason);
  }

  #unmapAll(reason: Fault): void {
    for (const entry of this.#regions) {
      if (entry.window.ok) entry.window.value.close();
      entry.window = refuse(reason);
      entry.suspect = false;
    }
    this.#generation += 1;
    this.#mappedFrom = undefined;
  }

  /** The window a cell lies in, and where; refused outside the regions of the cell's own device. */
  #entryOf(cell: Cell): Outcome<{ owner: MappedRegion; window: RegisterWindow; offset: number }> {
    const location = locationOn(cell, 'memory');
    if (!location.ok) return location;
    const { address } = location.value;
    const own = this.#byDevice.get(cell.device);
    const first = own?.[0];
    if (own === undefined || first === undefined) {
      const finding = 'its device has no window on this bus';
      return refuse(fault('WINDOW_EXCEEDED', { place: cell.place, finding }));
    }
    for (const owner of own) {
      const offset = address - owner.region.address;
      if (offset < 0 || offset + cell.widthBits / 8 > owner.region.length) continue;
      if (!owner.window.ok) return refuse({ ...owner.window.fault, place: cell.place });
      return succeed({ owner, window: owner.window.value, offset });
    }
    return refuse(
      fault('WINDOW_EXCEEDED', {
        place: cell.place,
        finding: `${cell.widthBits} bits reach outside the device's own window of ${first.region.length} bytes`,
        internal: `address 0x${address.toString(16)}, window at 0x${first.region.address.toString(16)}`,
      }),
    );
  }

  #failed(
    code: number,
    attempt: 'read' | 'write',
    owner: MappedRegion,
    cell: Cell,
    offset: number,
  ): Fault {
    const { place, widthBits } = cell;
    const found = windowFault(code, attempt, owner.region, { place, widthBits, offset });
    if (found.code === 'BUS_ERROR_SIGNAL') {
      owner.suspect = true;
      this.#tally.add(attempt === 'read' ? 'reads' : 'writes');
      this.#tally.add('otherFailures');
    }
    return found;
  }

  #compiledFor(cells: readonly Cell[]): CompiledRead {
    const known = this.#compiled.get(cells);
    if (
      known !== undefined &&
      known.generation === this.#generation &&
      known.cells.length === cells.length &&
      known.cells.every((cell, index) => cell === cells[index])
    ) {
      return known;
    }
    const refusals: (Fault | undefined)[] = [];
    const cellIndexes: number[] = [];
    const owners: MappedRegion[] = [];
    const entries: WindowCell[] = [];
    cells.forEach((cell, index) => {
      const entry = this.#entryOf(cell);
      refusals.push(entry.ok ? undefined : entry.fault);
      if (!entry.ok) return;
      cellIndexes.push(index);
      owners.push(entry.value.owner);
      entries.push({
        window: entry.value.window,
        offset: entry.value.offset,
        widthBits: cell.widthBits,
      });
    });
    const compiled: CompiledRead = {
      cells: [...cells],
      generation: this.#generation,
      refusals,
      cellIndexes,
      owners,
      batch: new WindowBatch(entries),
      words: new BigUint64Array(entries.length),
    };
    this.#compiled.set(cells, compiled);
    return compiled;
  }
}

function expired(place: string): Fault {
  const finding = 'the deadline had passed before the access';
  return fault('DEADLINE_EXCEEDED', { place, finding, consequence: 'nothing was touched' });
}
