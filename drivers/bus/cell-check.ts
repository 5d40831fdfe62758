// What every slower bus asks of a cell before it touches anything.
//
// Invariants: a permanently quarantined device is refused here whatever the layers above decided.

import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Cell, Location } from '#model/bus';
import { permanentlyQuarantined } from '#model/device';
import { formatWord, type Word, widthMask } from '#model/register';

export type LocationOf<K extends Location['kind']> = Extract<Location, { readonly kind: K }>;

/** The cell's location when it is of this bus's kind and the device may be touched at all. */
export function locationOn<K extends Location['kind']>(
  cell: Cell,
  kind: K,
): Outcome<LocationOf<K>> {
  if (permanentlyQuarantined(cell.device)) {
    return refuse(
      fault('DEVICE_QUARANTINED', {
        place: cell.place,
        finding: 'the bus was asked for a quarantined device',
      }),
    );
  }
  if (cell.location.kind !== kind) {
    return refuse(
      misplaced(cell, `its location is of kind ${cell.location.kind}, the bus carries ${kind}`),
    );
  }
  return succeed(cell.location as LocationOf<K>);
}

/** A location that this bus can never serve: the board file or profile is wrong. */
export function misplaced(cell: Cell, finding: string): Fault {
  return fault('CONFIG_INVALID', {
    place: cell.place,
    finding,
    consequence: 'nothing was touched',
  });
}

export function checkWord(cell: Cell, word: Word): Outcome<void> {
  if (word >= 0n && word <= widthMask(cell.widthBits)) return succeed(undefined);
  const finding = `${word < 0n ? word : formatWord(word, cell.widthBits)} does not fit ${cell.widthBits} bits`;
  return refuse(fault('VALUE_TOO_WIDE', { place: cell.place, finding }));
}
