// What the native result codes of register windows mean, in the words of the fault catalogue.

import { type Fault, fault } from '#foundation/fault';
import type { WidthBits } from '#model/register';

/** Native result codes, negated: the numbers of register-window.c. */
export const CODES = {
  closed: 1,
  exceeded: 2,
  misaligned: 3,
  readOnly: 4,
  busError: 5,
  value: 6,
  width: 7,
  argument: 8,
} as const;

/** What a negative result code of a window or batch means, in the words of the catalogue. */
export function windowFault(
  code: number,
  attempt: 'read' | 'write',
  window: { readonly length: number },
  cell: { readonly place: string; readonly offset: number; readonly widthBits: WidthBits },
): Fault {
  const { place, widthBits } = cell;
  const internal = `${attempt} of ${widthBits} bits at offset 0x${cell.offset.toString(16)}`;
  switch (-code) {
    case CODES.closed:
      return fault('BUS_ABSENT', { place, finding: 'the window is closed', internal });
    case CODES.exceeded:
      return fault('WINDOW_EXCEEDED', {
        place,
        finding: `${attempt} of ${widthBits} bits reaches outside the window of ${window.length} bytes`,
        internal,
      });
    case CODES.misaligned:
      return fault('WINDOW_MISALIGNED', {
        place,
        finding: `${attempt} of ${widthBits} bits is not on a ${widthBits / 8}-byte boundary`,
        internal,
      });
    case CODES.readOnly:
      return fault('REGISTER_READ_ONLY', {
        place,
        finding: 'the window is mapped read-only',
        internal,
      });
    case CODES.busError:
      return fault('BUS_ERROR_SIGNAL', {
        place,
        finding: `bus error on the ${attempt} of ${widthBits} bits`,
        metal: attempt === 'write' ? 'unknown' : 'untouched',
        internal,
      });
    case CODES.value:
      return fault('VALUE_TOO_WIDE', {
        place,
        finding: `the value does not fit ${widthBits} bits`,
        internal,
      });
    default:
      return fault('INTERNAL', { place, finding: `window access code ${code}`, internal });
  }
}
