// Finds Modbus RTU requests in a byte stream by their length, because a pseudo-terminal keeps no t3.5 silences.
// Serial Line Protocol 1.02 section 2.5.1.
// Invariants: bytes that are no whole request with a good CRC are thrown away at the next silence, and counted;
// until then nothing after them is believed.

import { crc16 } from '#drivers/bus/modbus-frame';

export interface RtuRequest {
  readonly unit: number;
  readonly pdu: Uint8Array;
}

/** Longest frame of the serial line: unit, 253 bytes of PDU, CRC. */
const FRAME_MAX = 256;
const FRAME_MIN = 4;

export class RtuFramer {
  #bytes: Buffer = Buffer.alloc(0);
  #lost = false;
  #discarded = 0;

  /** Bytes thrown away so far. */
  get discarded(): number {
    return this.#discarded;
  }

  /** True while bytes wait for their rest or for a silence. */
  get pending(): boolean {
    return this.#bytes.length > 0;
  }

  push(chunk: Uint8Array): readonly RtuRequest[] {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    const requests: RtuRequest[] = [];
    while (!this.#lost) {
      const length = requestLength(this.#bytes);
      if (length === null || length > this.#bytes.length) break;
      const request = parse(this.#bytes.subarray(0, length));
      if (request === null) {
        this.#lost = true;
        break;
      }
      requests.push(request);
      this.#bytes = this.#bytes.subarray(length);
    }
    if (this.#bytes.length > FRAME_MAX) this.#lost = true;
    return requests;
  }

  /** The line fell silent: what is left is one request of an unknown function code, or rubbish. */
  silence(): RtuRequest | null {
    const rest = this.#bytes;
    this.#bytes = Buffer.alloc(0);
    const request = this.#lost || requestLength(rest) !== null ? null : parse(rest);
    this.#lost = false;
    if (request === null) this.#discarded += rest.length;
    return request;
  }
}

/** Length of the request that starts here; null when it cannot be told (yet). */
function requestLength(bytes: Buffer): number | null {
  if (bytes.length < 2) return null;
  const code = bytes.readUInt8(1);
  if (code >= 1 && code <= 6) return 8;
  if (code !== 15 && code !== 16) return null;
  return bytes.length < 7 ? null : 9 + bytes.readUInt8(6);
}

function parse(frame: Buffer): RtuRequest | null {
  if (frame.length < FRAME_MIN || frame.length > FRAME_MAX) return null;
  const body = frame.subarray(0, frame.length - 2);
  if (crc16(body) !== frame.readUInt16LE(frame.length - 2)) return null;
  return { unit: frame.readUInt8(0), pdu: Buffer.from(body.subarray(1)) };
}
