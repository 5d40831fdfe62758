// Short forms for the guest's tests: cells, one access with a generous deadline, and what a fault must be.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeFault, type Fault } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import type { Outcome } from '#foundation/outcome';
import type { Cell, Location, RegisterBus } from '#model/bus';
import type { WidthBits, Word } from '#model/register';

/** Emulated processors are slow; no test here is about speed. */
const ACCESS_TIMEOUT_MS = 5_000;

export function soon(): Deadline {
  return Deadline.after(systemClock, ACCESS_TIMEOUT_MS);
}

export function cell(location: Location, widthBits: WidthBits, place = 'part.register'): Cell {
  return { device: 0, place, widthBits, location };
}

export function at(address: number, widthBits: WidthBits = 32): Cell {
  return cell({ kind: 'memory', address }, widthBits);
}

export function got<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(
    `${outcome.fault.code}: ${describeFault(outcome.fault)} [${outcome.fault.internal}]`,
  );
}

export function refused(outcome: Outcome<unknown>, code: FaultCode): Fault {
  assert.equal(outcome.ok, false, 'the access was not refused');
  assert.equal(outcome.fault.code, code, describeFault(outcome.fault));
  return outcome.fault;
}

export async function opened<B extends RegisterBus>(bus: B): Promise<B> {
  got(await bus.open(soon()));
  return bus;
}

export async function read(bus: RegisterBus, place: Cell): Promise<Word> {
  return got(await bus.read(place, soon()));
}

export async function write(bus: RegisterBus, place: Cell, word: Word): Promise<void> {
  got(await bus.write(place, word, soon()));
}

/** Waits for something the kernel does on its own, such as making a class directory. */
export async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const found = look();
    if (found !== undefined) return found;
    await systemClock.sleep(20);
  }
  throw new Error(`waited 2 s for ${what}`);
}

/** The sysfs directory of a PCI function. */
export function pciDirectory(vendor: number, device: number): string {
  const root = '/sys/bus/pci/devices';
  const number = (name: string, file: string): number =>
    Number(readFileSync(join(root, name, file), 'latin1'));
  const found = readdirSync(root).find(
    (name) => number(name, 'vendor') === vendor && number(name, 'device') === device,
  );
  assert.ok(found, `no PCI function ${vendor.toString(16)}:${device.toString(16)}`);
  return join(root, found);
}

/** Physical address of a BAR. */
export function barAddress(vendor: number, device: number, bar: number): number {
  const lines = readFileSync(join(pciDirectory(vendor, device), 'resource'), 'latin1').split('\n');
  return Number(lines[bar]?.split(' ')[0]);
}

export const EDU = { vendor: 0x1234, device: 0x11e8 } as const;
export const WATCHDOG = { vendor: 0x8086, device: 0x25ab } as const;
export const IVSHMEM = { vendor: 0x1af4, device: 0x1110 } as const;
