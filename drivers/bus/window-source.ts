// Where the windows of a mapped bus come from, and how the region of one device becomes a window.
// Faults: WINDOW_MISALIGNED and WINDOW_EXCEEDED name the device; what the kernel refuses is told by RegisterWindow.

import { fault } from '#foundation/fault';
import { type Outcome, refuse } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import { RegisterWindow } from '../native/windows.ts';

/** The part of a bus that belongs to one device. */
export interface WindowRegion {
  readonly device: LinearId;
  /** The device's name, for faults. */
  readonly place: string;
  /** First byte in the bus's own address space, on a 4-byte boundary. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
}

/** What to map, as found at one `open`. */
export interface WindowSource {
  readonly path: string;
  /** O_SYNC: /dev/mem maps uncached only then. */
  readonly synchronous: boolean;
  /** Offset of bus address 0 in the mappable file; negative when the file begins above address 0. */
  readonly zeroOffset: number;
  /** Where every mapping has to begin (UIO selects a map by the offset); null for the region's own page. */
  readonly mappingOffset: number | null;
  /** First address behind the hardware's window, and what to call it; null when the file's end is the only limit. */
  readonly limit: { readonly addressEnd: number; readonly noun: string } | null;
  readonly sizeLimit: 'file-size' | 'checked-by-caller';
  /** Physical address of bus address 0 of a PCI BAR, to explain a refusal; null for everything else. */
  readonly barAddress: number | null;
}

const REGION_ALIGNMENT_BYTES = 4;

/** Maps one region of an opened source; nothing is mapped that the region does not need. */
export function mapRegion(
  region: WindowRegion,
  source: WindowSource,
  fd: number,
): Outcome<RegisterWindow> {
  const { place, address, length } = region;
  if (address % REGION_ALIGNMENT_BYTES !== 0) {
    return refuse(
      fault('WINDOW_MISALIGNED', {
        place,
        finding: `its window does not start on a ${REGION_ALIGNMENT_BYTES}-byte boundary`,
        consequence: 'nothing was mapped for this device',
        internal: `address 0x${address.toString(16)}`,
      }),
    );
  }
  const exceeded = (finding: string) =>
    refuse(
      fault('WINDOW_EXCEEDED', {
        place,
        finding,
        consequence: 'nothing was mapped for this device',
        internal: `address 0x${address.toString(16)} in ${source.path}`,
      }),
    );
  const { limit, mappingOffset, zeroOffset, barAddress } = source;
  if (limit !== null && address + length > limit.addressEnd) {
    return exceeded(
      `its window of ${length} bytes ends ${address + length - limit.addressEnd} bytes beyond ${limit.noun} of ${limit.addressEnd} bytes`,
    );
  }
  const position = zeroOffset + address;
  if (address < 0 || position < 0 || !Number.isSafeInteger(position + length)) {
    return exceeded(`its window of ${length} bytes starts ${-position} bytes before the bus does`);
  }
  return RegisterWindow.map({
    place,
    source: { fd },
    offset: mappingOffset ?? position,
    start: mappingOffset === null ? 0 : position - mappingOffset,
    length,
    access: 'read-write',
    sizeLimit: source.sizeLimit,
    ...(barAddress !== null && { barAddress: barAddress + address }),
  });
}
