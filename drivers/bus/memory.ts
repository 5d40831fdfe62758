// Register windows in a mappable file: /dev/mem, or any file whose bytes are registers.
// Faults: as WindowBus; BUS_PERMISSION for /dev/mem says whether lockdown, STRICT_DEVMEM or a driver is the reason.

import { type Outcome, succeed } from '#foundation/outcome';
import type { BusDescription } from '#model/board';
import { WindowBus } from './window-bus.ts';
import type { WindowRegion, WindowSource } from './window-source.ts';

export type MemoryDescription = Extract<BusDescription, { readonly kind: 'memory' }>;

/** Addresses are those of the bus: physical for /dev/mem, `origin` is the first byte of another file. */
export class MemoryBus extends WindowBus {
  constructor(description: MemoryDescription, regions: readonly WindowRegion[]) {
    super({
      id: description.id,
      kind: 'memory',
      regions,
      locate: () => locateFile(description),
    });
  }
}

export function locateFile(description: MemoryDescription): Outcome<WindowSource> {
  return succeed({
    path: description.path,
    synchronous: true,
    zeroOffset: -description.origin,
    mappingOffset: null,
    limit: null,
    sizeLimit: 'file-size',
    barAddress: null,
  });
}
