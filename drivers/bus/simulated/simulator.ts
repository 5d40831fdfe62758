// Puts the simulated hardware of a board behind its mechanisms, all inside one directory.
// Invariants: nothing outside the directory is ever created, changed or removed, whatever the board file names;
// what stands there already is replaced only when it is of the simulator's own making.
// Faults: CONFIG_INVALID for a bus outside the directory, BUSY when another simulator serves it.

import { existsSync, lstatSync, mkdirSync, rmdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join, relative, resolve, sep } from 'node:path';
import type { Clock } from '#foundation/clock';
import { FaultError, fault } from '#foundation/fault';
import type { Board, BusDescription } from '#model/board';
import { ControlDesk } from './control-desk.ts';
import { ControlServer } from './control-server.ts';
import { SimulatedHardware } from './hardware.ts';
import { I2cServer } from './i2c-server.ts';
import { I2cSlaves } from './i2c-slaves.ts';
import type { Mechanism } from './mechanism.ts';
import { MemoryMechanism } from './memory-mechanism.ts';
import { ModbusSlaves } from './modbus-slaves.ts';
import { SerialLine } from './serial-line.ts';
import { SysfsMechanism } from './sysfs-mechanism.ts';
import { SYSFS_TREE_MARK } from './sysfs-tree.ts';

export interface SimulatorOptions {
  readonly board: Board;
  readonly directory: string;
  readonly clock: Clock;
  readonly seed: number;
}

export class Simulator {
  readonly hardware: SimulatedHardware;
  /** Ids of buses that no mechanism here can stand in for (PCI, UIO, Modbus TCP, I2C by adapter number). */
  readonly unserved: readonly string[];
  readonly controlPath: string;
  readonly #directory: string;
  readonly #mechanisms: readonly Mechanism[];
  readonly #control: ControlServer;
  #madeDirectory = false;
  #open: Mechanism[] = [];

  constructor(options: SimulatorOptions) {
    this.#directory = resolve(options.directory);
    this.controlPath = join(this.#directory, 'control.sock');
    this.hardware = new SimulatedHardware(options);
    const unserved: string[] = [];
    const mechanisms: Mechanism[] = [];
    for (const bus of options.board.buses) {
      const mechanism = this.#mechanismFor(bus);
      if (mechanism === null) unserved.push(bus.id);
      else mechanisms.push(mechanism);
    }
    this.unserved = unserved;
    this.#mechanisms = mechanisms;
    this.#control = new ControlServer(this.controlPath, new ControlDesk(this.hardware, mechanisms));
  }

  async open(): Promise<void> {
    if (await answers(this.controlPath)) {
      const finding = 'another simulator serves this directory';
      throw new FaultError(
        fault('BUSY', { place: 'simulator', finding, internal: this.#directory }),
      );
    }
    this.#madeDirectory = mkdirSync(this.#directory, { recursive: true }) !== undefined;
    try {
      for (const mechanism of this.#mechanisms) {
        this.#open.push(mechanism);
        await mechanism.open();
      }
      await this.#control.open();
    } catch (error) {
      await this.close();
      throw error;
    }
    this.hardware.start();
  }

  async close(): Promise<void> {
    this.hardware.stop();
    await this.#control.close();
    for (const mechanism of this.#open.splice(0).reverse()) await mechanism.close();
    if (!this.#madeDirectory) return;
    try {
      rmdirSync(this.#directory);
    } catch {
      // Somebody else keeps a file in it: theirs to remove.
    }
  }

  #mechanismFor(bus: BusDescription): Mechanism | null {
    const { hardware } = this;
    switch (bus.kind) {
      case 'memory':
        this.#checkPath(bus.id, bus.path, (path) => lstatSync(path).isFile());
        return new MemoryMechanism(bus, hardware);
      case 'sysfs':
        this.#checkPath(bus.id, bus.root, (path) => existsSync(join(path, SYSFS_TREE_MARK)));
        return new SysfsMechanism(bus.id, bus.root, hardware);
      case 'i2c': {
        if (!('socket' in bus.adapter)) return null;
        this.#checkPath(bus.id, bus.adapter.socket, (path) => lstatSync(path).isSocket());
        const slaves = new I2cSlaves(bus.id, hardware.on(bus.id), hardware.faults);
        return new I2cServer(bus.adapter.socket, slaves, hardware.clock);
      }
      case 'serial': {
        this.#checkPath(bus.id, bus.path, (path) => lstatSync(path).isSymbolicLink());
        const slaves = new ModbusSlaves(hardware.on(bus.id));
        return new SerialLine(bus.id, bus.path, slaves, hardware.faults, hardware.clock);
      }
      case 'pci':
      case 'uio':
      case 'modbus-tcp':
        return null;
    }
  }

  /** A board file of the real machine must never make the simulator write to /dev/mem or remove /sys. */
  #checkPath(busId: string, path: string, own: (path: string) => boolean): void {
    const inside = relative(this.#directory, resolve(path));
    const place = `bus ${busId}`;
    if (
      inside === '' ||
      inside === '..' ||
      inside.startsWith(`..${sep}`) ||
      inside.startsWith(sep)
    ) {
      const finding = 'its path is outside the directory of the simulator';
      throw new FaultError(fault('CONFIG_INVALID', { place, finding, internal: path }));
    }
    if (lstatSync(path, { throwIfNoEntry: false }) !== undefined && !own(path)) {
      const finding = 'its path is taken by something that no simulator has made';
      throw new FaultError(fault('CONFIG_INVALID', { place, finding, internal: path }));
    }
  }
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((settle) => {
    const socket = connect(socketPath);
    socket.once('connect', () => {
      socket.destroy();
      settle(true);
    });
    socket.once('error', () => settle(false));
  });
}
