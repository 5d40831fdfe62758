// Whether a board is simulated: the board file itself says where each bus lives, and with which variable.
// Invariants: simulated only where every bus was written as a place inside `${SIMULATOR}`; a board with one other bus, and
// one whose variable leads to the system's own devices, is real hardware. When unsure: real.

import { isAbsolute, resolve, sep } from 'node:path';
import type { BusDescription } from '#model/board';
import type { DocumentPath } from './problem.ts';
import type { Variables, YamlDocument } from './yaml-document.ts';

export const SIMULATOR_VARIABLE = 'SIMULATOR';
/** Where the kernel shows hardware: nothing below is anybody's simulation. */
const SYSTEM_PLACES = ['/dev', '/sys', '/proc'];
const WRITTEN_SO = /^["']?\$\{SIMULATOR\}\//;

interface Place {
  readonly member: readonly string[];
  readonly path: string;
}

/** Absolute directory of the simulator that serves every bus; undefined for real hardware. */
export function simulatorDirectoryOf(
  document: YamlDocument,
  buses: readonly { readonly value: BusDescription; readonly path: DocumentPath }[],
  variables: Variables,
): string | undefined {
  const variable = variables[SIMULATOR_VARIABLE];
  if (variable === undefined || !isAbsolute(variable) || buses.length === 0) return undefined;
  const directory = resolve(variable);
  const inSystem = SYSTEM_PLACES.some((place) => isInside(directory, place) || directory === place);
  if (inSystem || directory === sep) return undefined;
  const simulated = buses.every(({ value, path }) => {
    const place = placeOf(value);
    if (place === undefined) return false;
    const written = document.sourceOf([...path, ...place.member]);
    return WRITTEN_SO.test(written) && isInside(resolve(place.path), directory);
  });
  return simulated ? directory : undefined;
}

/** What the simulator can stand in for; undefined for buses that only real machines have. */
function placeOf(bus: BusDescription): Place | undefined {
  switch (bus.kind) {
    case 'memory':
    case 'serial':
      return { member: ['path'], path: bus.path };
    case 'sysfs':
      return { member: ['root'], path: bus.root };
    case 'i2c':
      if (!('socket' in bus.adapter)) return undefined;
      return { member: ['adapter', 'socket'], path: bus.adapter.socket };
    case 'pci':
    case 'uio':
    case 'modbus-tcp':
      return undefined;
  }
}

function isInside(path: string, directory: string): boolean {
  return path.startsWith(`${directory}${sep}`);
}
