// Registers of Modbus units as cells of a bus, whatever carries the requests.
//
// Invariants: one request at a time; adjacent registers are read in one request, and each alone when the unit says
// that one of their addresses is illegal; a failed write says whether the unit may have obeyed it.
// Faults: BUS_EXCEPTION names the exception in words; others come from the transport.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Fault, fault, type Metal } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { BusCounters, Cell, RegisterBus } from '#model/bus';
import type { Word } from '#model/register';
import type { BusTally } from './counter.ts';
import {
  locateModbus,
  type MergedRead,
  mergeReads,
  type PlacedCell,
  readRequest,
  valuesWithin,
  wordOf,
  writeRequest,
} from './modbus-cell.ts';
import { exceptionName, ILLEGAL_DATA_ADDRESS, type ModbusRequest } from './modbus-frame.ts';
import type { Exchange, ModbusTransport } from './modbus-transport.ts';
import { Turnstile } from './turnstile.ts';

/** Closing waits this long for the request under way. */
const CLOSE_WAIT_MS = 1_000;

export class ModbusBus implements RegisterBus {
  readonly id: string;
  readonly kind: 'serial' | 'modbus-tcp';
  readonly immediate = false;
  readonly #transport: ModbusTransport;
  readonly #clock: Clock;
  readonly #tally: BusTally;
  readonly #turnstile: Turnstile;

  constructor(
    description: { readonly id: string; readonly kind: 'serial' | 'modbus-tcp' },
    transport: ModbusTransport,
    tally: BusTally,
    clock: Clock,
  ) {
    this.id = description.id;
    this.kind = description.kind;
    this.#transport = transport;
    this.#tally = tally;
    this.#clock = clock;
    this.#turnstile = new Turnstile(clock);
  }

  open(deadline: Deadline): Promise<Outcome<void>> {
    const place = `bus ${this.id}`;
    return this.#turnstile.run(place, deadline, async () => {
      const failure = await this.#transport.open(deadline);
      return failure === null ? succeed(undefined) : refuse(faultOf(place, 'read', failure));
    });
  }

  async read(cell: Cell, deadline: Deadline): Promise<Outcome<Word>> {
    const located = locateModbus(cell);
    const outcome = located.ok
      ? await this.#readAlone(
          { index: 0, cell, request: readRequest(cell, located.value) },
          deadline,
        )
      : located;
    return this.#tally.finish('reads', outcome);
  }

  async write(cell: Cell, word: Word, deadline: Deadline): Promise<Outcome<void>> {
    const request = writeRequest(cell, word);
    if (!request.ok) return this.#tally.finish('writes', request);
    const answer = await this.#exchange(cell.place, request.value, deadline);
    if (!answer.ok) return this.#tally.finish('writes', answer);
    const done = answer.value.kind === 'values';
    const outcome = done ? succeed(undefined) : refuse(faultOf(cell.place, 'write', answer.value));
    return this.#tally.finish('writes', outcome);
  }

  async readMany(cells: readonly Cell[], deadline: Deadline): Promise<readonly Outcome<Word>[]> {
    const outcomes: (Outcome<Word> | undefined)[] = new Array(cells.length);
    const placed: PlacedCell[] = [];
    cells.forEach((cell, index) => {
      const located = locateModbus(cell);
      if (located.ok) placed.push({ index, cell, request: readRequest(cell, located.value) });
      else outcomes[index] = located;
    });
    for (const read of mergeReads(placed)) {
      for (const { index, outcome } of await this.#readMerged(read, deadline))
        outcomes[index] = outcome;
    }
    return outcomes.map((outcome, index) =>
      this.#tally.finish(
        'reads',
        outcome ?? refuse(unread(cells[index]?.place ?? `bus ${this.id}`)),
      ),
    );
  }

  counters(): BusCounters {
    return this.#tally.counters();
  }

  async close(): Promise<void> {
    const limit = Deadline.after(this.#clock, CLOSE_WAIT_MS);
    const idle = await this.#turnstile.run(`bus ${this.id}`, limit, async () =>
      succeed(await this.#transport.close()),
    );
    if (!idle.ok) await this.#transport.close();
  }

  async #readMerged(
    read: MergedRead,
    deadline: Deadline,
  ): Promise<readonly { readonly index: number; readonly outcome: Outcome<Word> }[]> {
    const [first] = read.cells;
    if (first === undefined) return [];
    const answer = await this.#exchange(first.cell.place, read.request, deadline);
    const exchange = answer.ok ? answer.value : undefined;
    if (
      exchange?.kind === 'exception' &&
      exchange.code === ILLEGAL_DATA_ADDRESS &&
      read.cells.length > 1
    ) {
      const alone: { index: number; outcome: Outcome<Word> }[] = [];
      for (const placed of read.cells) {
        alone.push({ index: placed.index, outcome: await this.#readAlone(placed, deadline) });
      }
      return alone;
    }
    return read.cells.map((placed) => ({
      index: placed.index,
      outcome: answer.ok
        ? wordFrom(answer.value, read, placed)
        : refuse({ ...answer.fault, place: placed.cell.place }),
    }));
  }

  async #readAlone(placed: PlacedCell, deadline: Deadline): Promise<Outcome<Word>> {
    const read = { request: placed.request, cells: [placed] };
    const answer = await this.#exchange(placed.cell.place, placed.request, deadline);
    return answer.ok ? wordFrom(answer.value, read, placed) : answer;
  }

  #exchange(place: string, request: ModbusRequest, deadline: Deadline): Promise<Outcome<Exchange>> {
    return this.#turnstile.run(place, deadline, async () =>
      succeed(await this.#transport.exchange(request, deadline)),
    );
  }
}

function wordFrom(exchange: Exchange, read: MergedRead, placed: PlacedCell): Outcome<Word> {
  if (exchange.kind !== 'values') return refuse(faultOf(placed.cell.place, 'read', exchange));
  return wordOf(placed.cell, valuesWithin(read, placed, exchange.values));
}

/** Exceptions by which a unit says that it did not begin (Application Protocol 1.1b3 section 7). */
const NOT_BEGUN = new Set([1, 2, 3, 6, 10]);

function faultOf(
  place: string,
  access: 'read' | 'write',
  exchange: Exclude<Exchange, { kind: 'values' }>,
): Fault {
  if (exchange.kind === 'exception') {
    const metal = access === 'read' || NOT_BEGUN.has(exchange.code) ? 'untouched' : 'unknown';
    const finding = `the unit answered exception ${exchange.code}, ${exceptionName(exchange.code)}`;
    return fault('BUS_EXCEPTION', { place, finding, metal });
  }
  const metal: Metal = access === 'write' && exchange.sent === 'request' ? 'unknown' : 'untouched';
  const details = { place, finding: exchange.finding, metal };
  return fault(
    exchange.code,
    exchange.internal === undefined ? details : { ...details, internal: exchange.internal },
  );
}

function unread(place: string): Fault {
  return fault('INTERNAL', { place, finding: 'no request carried this register' });
}
