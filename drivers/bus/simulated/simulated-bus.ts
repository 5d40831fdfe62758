// A bus of the simulated hardware in this process: no file, socket or terminal, time only from the clock.
// For the bench composition and seeded simulation; the mechanisms beside it serve the same models to other processes.
// Invariants: an injected fault gives the catalogue code that the real bus driver gives for it; quarantined devices
// are refused before the model; `readNow` and `writeNow` take no simulated time.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { type Fault, fault, type Metal } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { BusCounters, BusKind, Cell, ImmediateBus, Location, RegisterBus } from '#model/bus';
import { formatWord, type Word, widthMask } from '#model/register';
import { BusTally } from '../counter.ts';
import type { DeviceModel } from './device-model.ts';
import type { AccessFault, StateFault } from './fault-plan.ts';
import type { SimulatedHardware } from './hardware.ts';

type Access = 'read' | 'write';

/** One access on the wire, milliseconds: enough for order and deadlines to matter under a virtual clock. */
const ACCESS_MS: Readonly<Record<BusKind, number>> = {
  memory: 0,
  pci: 0,
  uio: 0,
  sysfs: 0.05,
  i2c: 0.5,
  serial: 5,
  'modbus-tcp': 1,
};

export interface SimulatedBusOptions {
  readonly id: string;
  readonly kind: BusKind;
  readonly hardware: SimulatedHardware;
  readonly clock: Clock;
}

class SimulatedWire implements RegisterBus {
  readonly id: string;
  readonly kind: BusKind;
  readonly immediate: boolean;
  readonly #hardware: SimulatedHardware;
  readonly #clock: Clock;
  readonly #tally = new BusTally();
  #open = false;
  /** Half duplex: an access begins when the one before it has ended. */
  #line: Promise<unknown> = Promise.resolve();

  constructor(options: SimulatedBusOptions, immediate: boolean) {
    this.id = options.id;
    this.kind = options.kind;
    this.immediate = immediate;
    this.#hardware = options.hardware;
    this.#clock = options.clock;
  }

  async open(_deadline: Deadline): Promise<Outcome<void>> {
    if (this.#hardware.bus(this.id) === undefined || this.#gone()) {
      return refuse(fault('BUS_ABSENT', { place: `bus ${this.id}`, finding: 'it is not there' }));
    }
    this.#open = true;
    return succeed(undefined);
  }

  async read(cell: Cell, deadline: Deadline): Promise<Outcome<Word>> {
    if (this.immediate) return this.readNow(cell);
    const outcome = await this.#inTurn(cell, deadline, 'read', () => this.#readModel(cell));
    return this.#tally.finish('reads', outcome);
  }

  async write(cell: Cell, word: Word, deadline: Deadline): Promise<Outcome<void>> {
    if (this.immediate) return this.writeNow(cell, word);
    const outcome = await this.#inTurn(cell, deadline, 'write', () => this.#writeModel(cell, word));
    return this.#tally.finish('writes', outcome);
  }

  async readMany(cells: readonly Cell[], deadline: Deadline): Promise<readonly Outcome<Word>[]> {
    const outcomes: Outcome<Word>[] = [];
    for (const cell of cells) outcomes.push(await this.read(cell, deadline));
    return outcomes;
  }

  readNow(cell: Cell): Outcome<Word> {
    return this.#tally.finish('reads', this.#readModel(cell));
  }

  writeNow(cell: Cell, word: Word): Outcome<void> {
    return this.#tally.finish('writes', this.#writeModel(cell, word));
  }

  counters(): BusCounters {
    return this.#tally.counters();
  }

  async close(): Promise<void> {
    this.#open = false;
  }

  async #inTurn<T>(
    cell: Cell,
    deadline: Deadline,
    access: Access,
    touch: () => Outcome<T>,
  ): Promise<Outcome<T>> {
    const before = this.#line;
    let release = (): void => undefined;
    this.#line = new Promise<void>((resolve) => {
      release = resolve;
    });
    try {
      await before;
      return await this.#overWire(cell, deadline, access, touch);
    } finally {
      release();
    }
  }

  async #overWire<T>(
    cell: Cell,
    deadline: Deadline,
    access: Access,
    touch: () => Outcome<T>,
  ): Promise<Outcome<T>> {
    if (deadline.expired()) {
      const finding = 'the deadline passed before the access began';
      return refuse(fault('BUS_TIMEOUT', { place: cell.place, finding }));
    }
    await this.#clock.sleep(ACCESS_MS[this.kind]);
    const model = this.#modelOf(cell);
    const spoiled = model === null ? null : this.#hardware.faults.spoil(this.id, model.device.slug);
    // A slave that only answers wrongly has carried the order out all the same.
    if (spoiled !== null && carriesOut(spoiled)) touch();
    if (spoiled?.kind === 'late' && spoiled.ms < deadline.remainingMs()) {
      await this.#clock.sleep(spoiled.ms);
      return touch();
    }
    if (spoiled === null) return touch();
    if (lastsUntilDeadline(spoiled)) await this.#clock.sleep(deadline.remainingMs());
    return refuse(faultOf(spoiled, cell, access));
  }

  #readModel(cell: Cell): Outcome<Word> {
    const reached = this.#reach(cell, 'read');
    if (!reached.ok) return reached;
    return succeed(reached.value.model.read(reached.value.register));
  }

  #writeModel(cell: Cell, word: Word): Outcome<void> {
    if (word < 0n || word > widthMask(cell.widthBits)) {
      const finding = `${formatWord(word, cell.widthBits)} does not fit ${cell.widthBits} bits`;
      return refuse(fault('VALUE_TOO_WIDE', { place: cell.place, finding }));
    }
    const reached = this.#reach(cell, 'write');
    if (!reached.ok) return reached;
    reached.value.model.write(reached.value.register, word);
    return succeed(undefined);
  }

  /** The model's register behind a cell, unless a lasting fault stands in the way. */
  #reach(cell: Cell, access: Access): Outcome<{ model: DeviceModel; register: string }> {
    const { place } = cell;
    if (!this.#open) return refuse(fault('BUS_ABSENT', { place, finding: 'the bus is not open' }));
    const model = this.#modelOf(cell);
    if (model === null) {
      return refuse(fault('BUS_NO_ANSWER', { place, finding: 'no simulated device is there' }));
    }
    if (model.device.quarantined) {
      const finding = 'the bus was asked for a quarantined device';
      return refuse(fault('DEVICE_QUARANTINED', { place, finding }));
    }
    const register = registerAt(model, cell.location);
    if (register === undefined) {
      return refuse(fault('BUS_EXCEPTION', { place, finding: 'the device has no such register' }));
    }
    for (const lasting of this.#hardware.faults.lasting(this.id, model.device.slug, register)) {
      const stop = LASTING[lasting.kind];
      if (stop === null) continue;
      const metal: Metal =
        access === 'write' && stop.code === 'BUS_ERROR_SIGNAL' ? 'unknown' : 'untouched';
      return refuse(fault(stop.code, { place, finding: stop.finding, metal }));
    }
    return succeed({ model, register });
  }

  #modelOf(cell: Cell): DeviceModel | null {
    const model = this.#hardware.models.get(cell.device);
    return model?.device.busId === this.id ? model : null;
  }

  #gone(): boolean {
    return this.#hardware.faults
      .list()
      .some(({ target, fault: { kind } }) => kind === 'vanish' && target.busId === this.id);
  }
}

/** By identity where the caller took the location from the descriptor itself, which is the usual case. */
function registerAt({ device }: DeviceModel, location: Location): string | undefined {
  const known = device.registers.find((placed) => placed.location === location);
  if (known !== undefined) return known.spec.name;
  const wanted = JSON.stringify(location);
  return device.registers.find((placed) => JSON.stringify(placed.location) === wanted)?.spec.name;
}

interface Stop {
  readonly code: FaultCode;
  readonly finding: string;
}

/** What a lasting fault makes of an access; null where the model itself shows it. */
const LASTING: Readonly<Record<StateFault['kind'], Stop | null>> = {
  vanish: { code: 'BUS_ABSENT', finding: 'the line is gone' },
  eio: { code: 'BUS_IO', finding: 'the attribute gives an input/output error' },
  absent: { code: 'BUS_ABSENT', finding: 'the attribute is absent' },
  garbage: { code: 'BUS_CORRUPT', finding: 'the attribute shows no number' },
  truncate: { code: 'BUS_ERROR_SIGNAL', finding: 'bus error on the access' },
  'stuck-bits': null,
};

function carriesOut(spoiled: AccessFault): boolean {
  switch (spoiled.kind) {
    case 'bad-crc':
    case 'wrong-unit':
      return true;
    case 'late':
    case 'silent':
    case 'exception':
    case 'nack':
    case 'stuck':
    case 'arbitration':
      return false;
  }
}

function lastsUntilDeadline(spoiled: AccessFault): boolean {
  return spoiled.kind === 'silent' || spoiled.kind === 'late' || spoiled.kind === 'wrong-unit';
}

function faultOf(spoiled: AccessFault, cell: Cell, access: Access): Fault {
  const { place } = cell;
  const metal: Metal = access === 'write' ? 'unknown' : 'untouched';
  switch (spoiled.kind) {
    case 'late':
    case 'silent':
    case 'wrong-unit':
    case 'stuck':
      return fault('BUS_TIMEOUT', { place, finding: 'no answer before the deadline', metal });
    case 'bad-crc':
      return fault('BUS_CORRUPT', { place, finding: 'the answer has a wrong CRC', metal });
    case 'exception':
      return fault('BUS_EXCEPTION', { place, finding: `exception ${spoiled.code}` });
    case 'nack':
      return fault('BUS_NO_ANSWER', { place, finding: 'the chip did not acknowledge', metal });
    case 'arbitration':
      return fault('BUS_IO', { place, finding: 'arbitration was lost', metal });
  }
}

/** Memory, PCI and UIO buses are immediate, as their real drivers are. */
export function simulatedBus(options: SimulatedBusOptions): RegisterBus | ImmediateBus {
  const immediate = options.kind === 'memory' || options.kind === 'pci' || options.kind === 'uio';
  return new SimulatedWire(options, immediate);
}
