// The part of a memory bus that belongs to each device: its window, or what its registers span when it states none.

import type { DeviceDescriptor } from '#model/device';
import type { WindowRegion } from './window-source.ts';

/** Native windows begin on a 4-byte boundary; rounding outwards costs at most 3 bytes on each side. */
const ALIGNMENT_BYTES = 4;

/** One region for each device that has registers in memory; none for the others. */
export function regionsOf(devices: readonly DeviceDescriptor[]): readonly WindowRegion[] {
  return devices.flatMap((device) => {
    const { id, slug: place, window } = device;
    if (window !== undefined) return [{ device: id, place, ...window }];
    let start = Number.POSITIVE_INFINITY;
    let end = 0;
    for (const { spec, location } of device.registers) {
      if (location.kind !== 'memory') continue;
      start = Math.min(start, location.address);
      end = Math.max(end, location.address + spec.widthBits / 8);
    }
    if (end === 0) return [];
    const address = Math.floor(start / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    const length = Math.ceil((end - address) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    return [{ device: id, place, address, length }];
  });
}
