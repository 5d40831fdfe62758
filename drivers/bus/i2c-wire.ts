// The messages a simulated I2C adapter speaks on a unix socket: one combined transfer each way, in tiny binary frames.
//
// Request:  length u8 | id u16 | chip u8 | flags u8 | read length u8 | bytes to write ...
// Response: length u8 | id u16 | status u8 | bytes read ...
// Invariants: integers are big-endian; `length` counts what follows it; a transfer is start, write, repeated
// start, read, stop (UM10204 section 3.1.10), either part may be empty; flags are zero; answers carry the id of
// their request and may come late but never twice.
// Faults: a malformed frame leaves no way to find the next one, so a decoder that met one stays broken and the
// connection is closed.

export interface I2cRequest {
  /** 0..65535, chosen by the client. */
  readonly id: number;
  /** 7-bit chip address, 0..127. */
  readonly chip: number;
  readonly write: Uint8Array;
  /** Bytes to read, 0..255. */
  readonly readLength: number;
}

export type I2cStatus = 'ok' | 'nack' | 'arbitration-lost' | 'timeout';

export interface I2cResponse {
  readonly id: number;
  readonly status: I2cStatus;
  /** As many bytes as asked for when `ok`, none otherwise. */
  readonly bytes: Uint8Array;
}

/** Whole frames found so far; `broken` says why the stream can no longer be followed, or is null. */
export interface Decoded<T> {
  readonly messages: readonly T[];
  readonly broken: string | null;
}

const STATUSES = ['ok', 'nack', 'arbitration-lost', 'timeout'] as const satisfies I2cStatus[];
const REQUEST_HEAD = 5;
const RESPONSE_HEAD = 3;
const BODY_MAX = 255;
export const I2C_WRITE_MAX = BODY_MAX - REQUEST_HEAD;
export const I2C_READ_MAX = BODY_MAX - RESPONSE_HEAD;

export function encodeI2cRequest(request: I2cRequest): Buffer {
  checkRange('id', request.id, 0xffff);
  checkRange('chip', request.chip, 0x7f);
  checkRange('read length', request.readLength, I2C_READ_MAX);
  checkRange('write length', request.write.length, I2C_WRITE_MAX);
  const frame = Buffer.alloc(1 + REQUEST_HEAD + request.write.length);
  frame.writeUInt8(REQUEST_HEAD + request.write.length, 0);
  frame.writeUInt16BE(request.id, 1);
  frame.writeUInt8(request.chip, 3);
  frame.writeUInt8(0, 4);
  frame.writeUInt8(request.readLength, 5);
  frame.set(request.write, 1 + REQUEST_HEAD);
  return frame;
}

export function encodeI2cResponse(response: I2cResponse): Buffer {
  checkRange('id', response.id, 0xffff);
  checkRange('read length', response.bytes.length, I2C_READ_MAX);
  const frame = Buffer.alloc(1 + RESPONSE_HEAD + response.bytes.length);
  frame.writeUInt8(RESPONSE_HEAD + response.bytes.length, 0);
  frame.writeUInt16BE(response.id, 1);
  frame.writeUInt8(STATUSES.indexOf(response.status), 3);
  frame.set(response.bytes, 1 + RESPONSE_HEAD);
  return frame;
}

function checkRange(what: string, value: number, maximum: number): void {
  if (!Number.isInteger(value) || value < 0 || value > maximum) {
    throw new RangeError(`I2C ${what} ${value} is not within 0..${maximum}`);
  }
}

/** Cuts a byte stream into messages; feed it every chunk in order. */
export interface I2cDecoder<T> {
  push(chunk: Uint8Array): Decoded<T>;
}

/** The simulator's side. */
export function i2cRequestDecoder(): I2cDecoder<I2cRequest> {
  return new FrameDecoder(parseRequest);
}

/** The client's side. */
export function i2cResponseDecoder(): I2cDecoder<I2cResponse> {
  return new FrameDecoder(parseResponse);
}

class FrameDecoder<T> implements I2cDecoder<T> {
  readonly #parse: (body: Buffer) => T | string;
  #rest: Buffer = Buffer.alloc(0);
  #broken: string | null = null;

  constructor(parse: (body: Buffer) => T | string) {
    this.#parse = parse;
  }

  push(chunk: Uint8Array): Decoded<T> {
    const messages: T[] = [];
    if (this.#broken === null) this.#take(Buffer.concat([this.#rest, chunk]), messages);
    return { messages, broken: this.#broken };
  }

  #take(bytes: Buffer, messages: T[]): void {
    let offset = 0;
    while (offset < bytes.length) {
      const length = bytes.readUInt8(offset);
      const next = offset + 1 + length;
      if (next > bytes.length) break;
      const message = this.#parse(bytes.subarray(offset + 1, next));
      if (typeof message === 'string') {
        this.#broken = message;
        this.#rest = Buffer.alloc(0);
        return;
      }
      messages.push(message);
      offset = next;
    }
    this.#rest = bytes.subarray(offset);
  }
}

function parseRequest(body: Buffer): I2cRequest | string {
  if (body.length < REQUEST_HEAD) return `request of ${body.length} bytes is too short`;
  const chip = body.readUInt8(2);
  if (chip > 0x7f) return `chip address ${chip} is wider than 7 bits`;
  if (body.readUInt8(3) !== 0) return `unknown flags ${body.readUInt8(3)}`;
  const readLength = body.readUInt8(4);
  if (readLength > I2C_READ_MAX) return `read length ${readLength} is above ${I2C_READ_MAX}`;
  return {
    id: body.readUInt16BE(0),
    chip,
    readLength,
    write: Buffer.from(body.subarray(REQUEST_HEAD)),
  };
}

function parseResponse(body: Buffer): I2cResponse | string {
  if (body.length < RESPONSE_HEAD) return `response of ${body.length} bytes is too short`;
  const status = STATUSES[body.readUInt8(2)];
  if (status === undefined) return `unknown status ${body.readUInt8(2)}`;
  return { id: body.readUInt16BE(0), status, bytes: Buffer.from(body.subarray(RESPONSE_HEAD)) };
}
