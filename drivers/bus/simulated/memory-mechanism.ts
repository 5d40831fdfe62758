// Serves the memory devices of one bus as a mapped file: looks for words that the agent stored and reacts to them.
//
// Invariants: only a difference to the shadow counts as a write; a word is stored only when it must change, at its
// exact width, and only while the file still holds what was last seen there; quarantined windows are filled with
// canaries once and never stored to again.
// Limits of shared memory: a read cannot be seen (an `rc` register is cleared by the control socket only), nor can a
// write of the value that is there already, and of two writes between two looks only the second is seen.

import { closeSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { windowFault } from '#drivers/native/window-fault';
import { RegisterWindow, WindowBatch, type WindowCell } from '#drivers/native/windows';
import type { Cancel } from '#foundation/clock';
import { FaultError } from '#foundation/fault';
import type { BusDescription } from '#model/board';
import type { PlacedRegister } from '#model/device';
import { CANARY_WORD, type DeviceModel } from './device-model.ts';
import type { SimulatedHardware } from './hardware.ts';
import type { Mechanism } from './mechanism.ts';

/** After a write more are likely. A wake-up alone costs tens of microseconds, so an idle board is looked at less. */
const BUSY_LOOK_MS = 1;
const IDLE_LOOK_MS = 8;
const BUSY_FOR_MS = 250;
const PAGE_BYTES = 4096;

const NO_CELL = { window: { length: 0 }, offset: 0, widthBits: 32 } as const;

interface Word {
  readonly model: DeviceModel;
  readonly register: PlacedRegister;
  readonly cell: WindowCell;
}

/** Registers that are looked at in one native call; `seen` is the last content taken in or stored. */
interface Look {
  readonly words: readonly Word[];
  readonly batch: WindowBatch;
  readonly now: Uint32Array | BigUint64Array;
  readonly seen: Uint32Array | BigUint64Array;
  readonly nowBytes: Buffer;
  readonly seenBytes: Buffer;
}

type MemoryBus = Extract<BusDescription, { kind: 'memory' }>;

export class MemoryMechanism implements Mechanism {
  readonly #bus: MemoryBus;
  readonly #hardware: SimulatedHardware;
  readonly #models: readonly DeviceModel[];
  readonly #length: number;
  readonly #touched = new Set<string>();
  #fd = -1;
  #window: RegisterWindow | null = null;
  #looks: readonly Look[] = [];
  readonly #placesOf = new Map<DeviceModel, { readonly look: Look; readonly index: number }[]>();
  /** The file is shorter than it should be, or was at the last look: its content means nothing. */
  #short = false;
  /** A fault keeps the file short; otherwise somebody else cut it and it is made whole when it is back. */
  #cut = false;
  #busyUntilMs = 0;
  /** Stuck bits in force here; a read-back must not find them otherwise, so looking never pauses. */
  #stuckCount = 0;
  #cancelLook: Cancel = () => undefined;

  constructor(bus: MemoryBus, hardware: SimulatedHardware) {
    this.#bus = bus;
    this.#hardware = hardware;
    this.#models = hardware.on(bus.id);
    const ends = this.#models.map(
      ({ device }) => (device.window?.address ?? bus.origin) + (device.window?.length ?? 0),
    );
    const span = Math.max(bus.origin + PAGE_BYTES, ...ends) - bus.origin;
    this.#length = Math.ceil(span / PAGE_BYTES) * PAGE_BYTES;
    hardware.listen(bus.id, (model) => this.#follow(model));
    hardware.faults.listen({
      apply: (target, fault) => {
        if (target.busId !== bus.id) return;
        if (fault.kind === 'truncate') this.#truncate(fault.sizeBytes);
        if (fault.kind === 'stuck-bits') this.#stuck(1);
      },
      undo: (target, fault) => {
        if (target.busId !== bus.id) return;
        if (fault.kind === 'truncate') this.#mend();
        if (fault.kind === 'stuck-bits') this.#stuck(-1);
      },
    });
  }

  async open(): Promise<void> {
    this.#fd = openSync(this.#bus.path, 'w+', 0o660);
    ftruncateSync(this.#fd, this.#length);
    const mapped = RegisterWindow.map({
      place: `simulated bus ${this.#bus.id}`,
      source: { fd: this.#fd },
      offset: 0,
      length: this.#length,
      access: 'read-write',
    });
    if (!mapped.ok) throw new FaultError(mapped.fault);
    this.#window = mapped.value;
    const words = this.#placed(mapped.value);
    this.#looks = [
      lookAt(
        words.filter((word) => word.cell.widthBits <= 32),
        'narrow',
      ),
      lookAt(
        words.filter((word) => word.cell.widthBits === 64),
        'wide',
      ),
    ].filter((look) => look.words.length > 0);
    for (const look of this.#looks) {
      look.words.forEach(({ model }, index) => {
        const places = this.#placesOf.get(model) ?? [];
        places.push({ look, index });
        this.#placesOf.set(model, places);
      });
    }
    this.#layCanaries();
    this.#storeAll();
    this.#scheduleLook();
  }

  flush(): void {
    this.#look();
  }

  touched(): readonly string[] {
    this.#checkCanaries();
    return [...this.#touched];
  }

  async close(): Promise<void> {
    this.#cancelLook();
    this.#window?.close();
    this.#window = null;
    if (this.#fd !== -1) closeSync(this.#fd);
    this.#fd = -1;
    rmSync(this.#bus.path, { force: true });
  }

  #placed(window: RegisterWindow): readonly Word[] {
    const words: Word[] = [];
    for (const model of this.#models) {
      if (model.device.quarantined) continue;
      for (const register of model.device.registers) {
        if (register.location.kind !== 'memory') continue;
        const offset = register.location.address - this.#bus.origin;
        const cell = { window, offset, widthBits: register.spec.widthBits };
        words.push({ model, register, cell });
      }
    }
    return words;
  }

  #scheduleLook(): void {
    const again = (): void => {
      this.#look();
      this.#scheduleLook();
    };
    if (this.#stuckCount > 0) {
      const immediate = setImmediate(again);
      this.#cancelLook = () => clearImmediate(immediate);
      return;
    }
    const busy = this.#hardware.clock.nowMs() < this.#busyUntilMs;
    this.#cancelLook = this.#hardware.clock.after(busy ? BUSY_LOOK_MS : IDLE_LOOK_MS, again);
  }

  #stuck(change: 1 | -1): void {
    this.#stuckCount += change;
    if (this.#window === null) return;
    this.#cancelLook();
    this.#scheduleLook();
  }

  /** One native read of everything; a comparison of bytes when nothing happened. */
  #look(): void {
    if (this.#window === null || this.#cut) return;
    for (const look of this.#looks) {
      const stop = look.batch.read(look.now);
      if (stop === undefined) continue;
      const { window, offset, widthBits } = look.batch.cells[stop.index] ?? NO_CELL;
      const place = `simulated bus ${this.#bus.id}`;
      const found = windowFault(stop.code, 'read', window, { place, offset, widthBits });
      // Anything but a short file is a mistake of the simulator's own, which must not pass for a quiet device.
      if (found.code !== 'BUS_ERROR_SIGNAL') throw new FaultError(found);
      this.#short = true;
      return;
    }
    if (this.#short) {
      this.#makeWhole();
      return;
    }
    for (const look of this.#looks) {
      if (look.nowBytes.compare(look.seenBytes) !== 0) this.#takeIn(look);
    }
  }

  #takeIn(look: Look): void {
    const written = new Set<DeviceModel>();
    look.words.forEach(({ model, register }, index) => {
      const now = look.now[index] ?? 0;
      if (now === look.seen[index]) return;
      setWord(look.seen, index, now);
      model.write(register.spec.name, BigInt(now));
      written.add(model);
    });
    for (const model of written) this.#store(model);
    this.#busyUntilMs = this.#hardware.clock.nowMs() + BUSY_FOR_MS;
  }

  /** The device changed by itself: take in what the agent wrote before that, then show the change. */
  #follow(model: DeviceModel): void {
    this.#look();
    this.#store(model);
  }

  #store(model: DeviceModel): void {
    const window = this.#window;
    if (window === null || this.#short || model.device.quarantined) return;
    for (const { look, index } of this.#placesOf.get(model) ?? []) {
      const word = look.words[index];
      if (word === undefined) continue;
      const { offset, widthBits } = word.cell;
      const wanted = model.shown(word.register.spec.name);
      if (wanted === BigInt(look.seen[index] ?? 0)) continue;
      // The second read leaves a word alone that the agent has just written: the next look takes it in.
      if (window.read(offset, widthBits) !== look.seen[index]) continue;
      window.write(offset, widthBits, wanted);
      setWord(look.seen, index, wanted);
    }
  }

  #storeAll(): void {
    for (const look of this.#looks) {
      look.words.forEach(({ model, register, cell }, index) => {
        const wanted = model.shown(register.spec.name);
        cell.window.write(cell.offset, cell.widthBits, wanted);
        setWord(look.seen, index, wanted);
      });
    }
  }

  #truncate(sizeBytes: number): void {
    this.#look();
    this.#checkCanaries();
    this.#short = true;
    this.#cut = true;
    if (this.#fd !== -1) ftruncateSync(this.#fd, Math.min(sizeBytes, this.#length));
  }

  #mend(): void {
    this.#cut = false;
    this.#makeWhole();
  }

  /** Full length again, with what the devices hold; what was written while it was short is lost. */
  #makeWhole(): void {
    if (this.#fd === -1) return;
    ftruncateSync(this.#fd, this.#length);
    this.#layCanaries();
    this.#storeAll();
    this.#short = false;
  }

  #layCanaries(): void {
    for (const { offset, length } of this.#quarantined()) {
      writeSync(this.#fd, canaryBytes(length), 0, length, offset);
    }
  }

  #checkCanaries(): void {
    if (this.#short || this.#fd === -1) return;
    for (const { slug, offset, length } of this.#quarantined()) {
      const found = Buffer.alloc(length);
      readSync(this.#fd, found, 0, length, offset);
      if (!found.equals(canaryBytes(length))) this.#touched.add(slug);
    }
  }

  #quarantined(): readonly {
    readonly slug: string;
    readonly offset: number;
    readonly length: number;
  }[] {
    return this.#models.flatMap(({ device }) =>
      device.quarantined && device.window !== undefined
        ? [
            {
              slug: device.slug,
              offset: device.window.address - this.#bus.origin,
              length: device.window.length,
            },
          ]
        : [],
    );
  }
}

function lookAt(words: readonly Word[], width: 'narrow' | 'wide'): Look {
  const make = (): Uint32Array | BigUint64Array =>
    width === 'narrow' ? new Uint32Array(words.length) : new BigUint64Array(words.length);
  const now = make();
  const seen = make();
  return {
    words,
    batch: new WindowBatch(words.map((word) => word.cell)),
    now,
    seen,
    nowBytes: Buffer.from(now.buffer),
    seenBytes: Buffer.from(seen.buffer),
  };
}

function setWord(words: Uint32Array | BigUint64Array, index: number, word: number | bigint): void {
  if (words instanceof BigUint64Array) words[index] = BigInt(word);
  else words[index] = Number(word);
}

function canaryBytes(length: number): Buffer {
  const word = Buffer.alloc(4);
  word.writeUInt32LE(Number(CANARY_WORD));
  return Buffer.alloc(length, word);
}
