// A fault on the wire: code, place, finding, consequence; never its internal text.

import type { Fault } from '#foundation/fault';
import { isFaultCode } from '#foundation/fault-catalogue';
import { metalFromWire, metalToWire } from './enumerations.ts';
import type * as wire from './generated/dsmil/communication/v1/communication.ts';

export function faultToWire(value: Fault): wire.Fault {
  return {
    code: value.code,
    place: value.place,
    finding: value.finding,
    consequence: value.consequence,
    metal: metalToWire(value.metal),
  };
}

/** A code this version does not know becomes INTERNAL, with its text kept. */
export function faultFromWire(value: wire.Fault): Fault {
  return {
    code: isFaultCode(value.code) ? value.code : 'INTERNAL',
    place: value.place,
    finding: value.finding,
    consequence: value.consequence,
    metal: metalFromWire(value.metal),
  };
}
