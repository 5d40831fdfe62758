// The board: which buses exist, how to open them, and which devices sit on them.

import type { DeviceDescriptor, LinearId } from './device.ts';
import type { RegisterCondition } from './device-behaviour.ts';

interface BusDescriptionBase {
  readonly id: string;
  /** Deadline of one access, milliseconds. */
  readonly accessTimeoutMs: number;
}

export type BusDescription =
  /** A mappable file; `origin` is the bus address of its first byte (0 for /dev/mem). */
  | (BusDescriptionBase & {
      readonly kind: 'memory';
      readonly path: string;
      readonly origin: number;
    })
  /** A PCI function found by address (`0000:00:04.0`) or by vendor and device id; its BAR n is `resourceN`. */
  | (BusDescriptionBase & {
      readonly kind: 'pci';
      readonly match:
        | { readonly address: string }
        | { readonly vendor: number; readonly device: number };
      readonly bar: number;
      /** Directory of PCI functions, normally /sys/bus/pci/devices. */
      readonly root: string;
    })
  /** A UIO device found by its name attribute or by path; `map` is the memory map's index. */
  | (BusDescriptionBase & {
      readonly kind: 'uio';
      readonly match: { readonly name: string } | { readonly path: string };
      readonly map: number;
      /** Directory of UIO classes, normally /sys/class/uio. */
      readonly root: string;
    })
  /** A sysfs-like tree; `root` is normally /sys. */
  | (BusDescriptionBase & { readonly kind: 'sysfs'; readonly root: string })
  | (BusDescriptionBase & { readonly kind: 'i2c'; readonly adapter: I2cAdapterDescription })
  | (BusDescriptionBase & {
      readonly kind: 'serial';
      /** Best a stable name under /dev/serial/by-id. */
      readonly path: string;
      readonly baudRate: number;
      readonly dataBits: 7 | 8;
      readonly parity: 'none' | 'even' | 'odd';
      readonly stopBits: 1 | 2;
    })
  | (BusDescriptionBase & {
      readonly kind: 'modbus-tcp';
      readonly host: string;
      readonly port: number;
    });

export type I2cAdapterDescription =
  /** Character device by number: /dev/i2c-N. */
  | { readonly number: number }
  /** Found by a prefix of its name under /sys/bus/i2c/devices: survives renumbering. */
  | { readonly name: string }
  /** A simulated adapter that speaks I2C messages on a unix socket. */
  | { readonly socket: string };

/**
 * A circuit that allows the system to run: an emergency button, a door, a GPIO line. While `healthy` does not hold, or
 * cannot be read, kernel stops by itself, and a reset is refused.
 */
export interface StopInput {
  readonly name: string;
  readonly device: LinearId;
  readonly healthy: RegisterCondition;
  /** Between two looks, milliseconds. */
  readonly periodMs: number;
}

export interface Board {
  readonly name: string;
  /** The file it came from, for messages on this machine. */
  readonly file: string;
  /** SHA-256 of the file and every profile it uses. */
  readonly digest: string;
  readonly buses: readonly BusDescription[];
  /** In order of linear id. */
  readonly devices: readonly DeviceDescriptor[];
  /** Absent or empty where the board has none. */
  readonly stopInputs?: readonly StopInput[];
  /** Absolute directory of the simulator that serves every bus; absent for real hardware, and whenever that is not sure. */
  readonly simulated?: string;
}
