// Register windows in a memory map of a UIO device, through /dev/uioN.
// Source: Documentation/driver-api/uio-howto.rst of the Linux kernel: map M is selected by mmap offset M pages.
// Faults: as WindowBus; BUS_ABSENT when the device or map is not there or is not the only one that matches.

import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describeError, type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { BusDescription } from '#model/board';
import { mapRefusal } from '../native/map-refusal.ts';
import { PAGE_BYTES } from '../native/windows.ts';
import { WindowBus } from './window-bus.ts';
import type { WindowRegion, WindowSource } from './window-source.ts';

export type UioDescription = Extract<BusDescription, { readonly kind: 'uio' }>;

/** Addresses are offsets from the start of the map's registers. */
export class UioBus extends WindowBus {
  constructor(
    description: UioDescription,
    regions: readonly WindowRegion[],
    deviceDirectory = '/dev',
  ) {
    super({
      id: description.id,
      kind: 'uio',
      regions,
      locate: () => locateMap(description, deviceDirectory),
    });
  }
}

/** MAX_UIO_MAPS of linux/uio_driver.h. */
const MAP_COUNT = 5;

export function locateMap(
  description: UioDescription,
  deviceDirectory = '/dev',
): Outcome<WindowSource> {
  const place = `bus ${description.id}`;
  const { map, root } = description;
  const found = findDevice(description, deviceDirectory, place);
  if (!found.ok) return found;
  const { name, path } = found.value;
  const directory = join(root, name, 'maps', `map${map}`);
  if (!Number.isInteger(map) || map < 0 || map >= MAP_COUNT) {
    return refuse(absent(place, `a UIO device has no map ${map}`, directory));
  }
  try {
    const [offset, size] = ['offset', 'size'].map((attribute) =>
      Number(readFileSync(join(directory, attribute), 'latin1').trim()),
    );
    if (offset === undefined || !size || !Number.isSafeInteger(offset + size)) {
      return refuse(absent(place, `map ${map} of the UIO device is empty`, directory));
    }
    const mappingOffset = map * PAGE_BYTES;
    return succeed({
      path,
      synchronous: true,
      zeroOffset: mappingOffset + offset,
      mappingOffset,
      limit: { addressEnd: size, noun: `map ${map}` },
      sizeLimit: 'file-size',
      barAddress: null,
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return refuse(absent(place, `the UIO device has no map ${map}`, describeError(error)));
    }
    return refuse(mapRefusal({ place, step: 'open', error }));
  }
}

/** `uioN` and its device node. */
function findDevice(
  description: UioDescription,
  deviceDirectory: string,
  place: string,
): Outcome<{ readonly name: string; readonly path: string }> {
  const { match, root } = description;
  try {
    if ('path' in match) {
      // A stable name from udev is a link to the numbered node, whose name is that of its class directory.
      return succeed({ name: basename(realpathSync(match.path)), path: match.path });
    }
    const matching = readdirSync(root).filter(
      (name) => readFileSync(join(root, name, 'name'), 'utf8').trim() === match.name,
    );
    const [only] = matching;
    if (only === undefined) {
      return refuse(absent(place, `no UIO device is named ${match.name}`, root));
    }
    if (matching.length > 1) {
      const finding = `${matching.length} UIO devices are named ${match.name}; the board file must name one by path`;
      return refuse(absent(place, finding, matching.join(' ')));
    }
    return succeed({ name: only, path: join(deviceDirectory, only) });
  } catch (error) {
    return refuse(absent(place, 'the UIO device is not there', describeError(error)));
  }
}

function absent(place: string, finding: string, internal: string): Fault {
  return fault('BUS_ABSENT', { place, finding, internal });
}
