// Register windows in a memory BAR of a PCI function, through its sysfs `resourceN` file.
// Source: Documentation/PCI/sysfs-pci.rst and linux/ioport.h (resource flags) of the Linux kernel.
// Faults: as WindowBus; BUS_ABSENT when the function or BAR is not there or is not the only one that matches.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeError, type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { BusDescription } from '#model/board';
import { mapRefusal } from '../native/map-refusal.ts';
import { PAGE_BYTES } from '../native/windows.ts';
import { WindowBus } from './window-bus.ts';
import type { WindowRegion, WindowSource } from './window-source.ts';

export type PciDescription = Extract<BusDescription, { readonly kind: 'pci' }>;

/** Addresses are offsets from the start of the BAR. */
export class PciBus extends WindowBus {
  constructor(description: PciDescription, regions: readonly WindowRegion[]) {
    super({ id: description.id, kind: 'pci', regions, locate: () => locateBar(description) });
  }
}

const IORESOURCE_MEM = 0x200n;
/** Six BARs; the expansion ROM and bridge windows behind them are no register windows. */
const BAR_COUNT = 6;

/** Finds the function, checks the BAR and enables the function's memory decoding. */
export function locateBar(description: PciDescription): Outcome<WindowSource> {
  const place = `bus ${description.id}`;
  const found = findFunction(description, place);
  if (!found.ok) return found;
  const directory = found.value;
  try {
    const bar = readBar(directory, description.bar, place);
    if (!bar.ok) return bar;
    const enabled = enable(directory, place);
    if (!enabled.ok) return enabled;
    // mmap of resourceN gives whole pages, so a small BAR lies where its physical address does within its page.
    const zeroOffset = bar.value.start % PAGE_BYTES;
    return succeed({
      path: join(directory, `resource${description.bar}`),
      synchronous: false,
      zeroOffset,
      mappingOffset: null,
      limit: { addressEnd: bar.value.length, noun: `BAR ${description.bar}` },
      sizeLimit: zeroOffset === 0 ? 'file-size' : 'checked-by-caller',
      barAddress: bar.value.start,
    });
  } catch (error) {
    return refuse(mapRefusal({ place, step: 'open', error }));
  }
}

/** The kernel lets CAP_SYS_ADMIN alone enable a function (drivers/pci/pci-sysfs.c), whatever the file's mode says. */
function enable(directory: string, place: string): Outcome<void> {
  const path = join(directory, 'enable');
  if (readFileSync(path, 'latin1').trim() !== '0') return succeed(undefined);
  try {
    writeFileSync(path, '1', { flag: 'r+' });
    return succeed(undefined);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EPERM' && code !== 'EACCES') throw error;
    const finding = 'the PCI function is not enabled, and only root may do it: a udev rule has to';
    return refuse(fault('BUS_PERMISSION', { place, finding, internal: describeError(error) }));
  }
}

function findFunction(description: PciDescription, place: string): Outcome<string> {
  const { match, root } = description;
  if ('address' in match) {
    // The address becomes a path component, so nothing but an address may pass.
    if (!/^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i.test(match.address)) {
      return refuse(
        absent(place, 'the PCI address is not of the form dddd:bb:dd.f', match.address),
      );
    }
    return succeed(join(root, match.address.toLowerCase()));
  }
  const ids = `${hex4(match.vendor)}:${hex4(match.device)}`;
  try {
    const matching = readdirSync(root).filter(
      (name) =>
        numberIn(join(root, name, 'vendor')) === match.vendor &&
        numberIn(join(root, name, 'device')) === match.device,
    );
    const [only] = matching;
    if (only === undefined) {
      return refuse(absent(place, `no PCI function has the ids ${ids}`, root));
    }
    if (matching.length > 1) {
      const finding = `${matching.length} PCI functions have the ids ${ids}; the board file must name one by address`;
      return refuse(absent(place, finding, matching.join(' ')));
    }
    return succeed(join(root, only));
  } catch (error) {
    return refuse(absent(place, 'the list of PCI functions cannot be read', describeError(error)));
  }
}

/** Line n of `resource`: start, end and flags of BAR n in hexadecimal, all zero for a BAR that is not there. */
function readBar(
  directory: string,
  bar: number,
  place: string,
): Outcome<{ readonly start: number; readonly length: number }> {
  const line = readFileSync(join(directory, 'resource'), 'latin1').split('\n')[bar] ?? '';
  const fields = /^(0x[0-9a-f]+) (0x[0-9a-f]+) (0x[0-9a-f]+)$/i.exec(line.trim());
  const [start, end, flags] = (fields?.slice(1) ?? []).map((text) => BigInt(text));
  if (bar >= BAR_COUNT || start === undefined || end === undefined || !flags) {
    return refuse(absent(place, `the function has no BAR ${bar}`, `${directory} ${line}`));
  }
  if ((flags & IORESOURCE_MEM) === 0n) {
    return refuse(
      absent(place, `BAR ${bar} is an I/O port range, not memory`, `${directory} ${line}`),
    );
  }
  if (start === 0n || end < start || end > BigInt(Number.MAX_SAFE_INTEGER)) {
    return refuse(absent(place, `BAR ${bar} has no address assigned`, `${directory} ${line}`));
  }
  return succeed({ start: Number(start), length: Number(end - start) + 1 });
}

function numberIn(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'latin1').trim());
  } catch {
    return undefined;
  }
}

function hex4(id: number): string {
  return id.toString(16).padStart(4, '0');
}

function absent(place: string, finding: string, internal: string): Fault {
  return fault('BUS_ABSENT', { place, finding, internal });
}
