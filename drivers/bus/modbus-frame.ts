// The Modbus bytes, pure: requests and answers as PDUs, RTU frames with their CRC, and TCP frames with their header.
//
// Sources: Modbus Application Protocol 1.1b3 (sections 6 and 7), Modbus over Serial Line 1.02 (sections 2.5.1 and
// 6.2.2), Modbus Messaging on TCP/IP 1.0b (section 3.1.3).
// Invariants: an answer matches its request in unit, function and length, and a write's echo in every byte.

export type ModbusTable = 'holding' | 'input' | 'coil' | 'discrete';

export type ModbusRequest =
  | {
      readonly kind: 'read';
      readonly unit: number;
      readonly table: ModbusTable;
      readonly address: number;
      /** Registers or bits. */
      readonly count: number;
    }
  | {
      readonly kind: 'write-coil';
      readonly unit: number;
      readonly address: number;
      readonly on: 0 | 1;
    }
  | {
      /** One register by function 6, several by function 16. */
      readonly kind: 'write-registers';
      readonly unit: number;
      readonly address: number;
      readonly values: readonly number[];
    };

export type ModbusAnswer =
  /** Registers 0..65535, or bits 0 and 1; empty for a write. */
  | { readonly kind: 'values'; readonly values: readonly number[] }
  | { readonly kind: 'exception'; readonly code: number }
  /** No answer to this request, whoever it was for. */
  | { readonly kind: 'mismatch'; readonly finding: string };

/** Sections 6.3, 6.1 and 6.12: what fits one PDU. */
export const READ_REGISTERS_MAX = 125;
export const READ_BITS_MAX = 2000;
export const WRITE_REGISTERS_MAX = 123;

const READ_FUNCTION = { coil: 1, discrete: 2, holding: 3, input: 4 } as const;
const WRITE_COIL = 5;
const WRITE_REGISTER = 6;
const WRITE_REGISTERS = 16;
const EXCEPTION_BIT = 0x80;
const COIL_ON = 0xff00;

const EXCEPTIONS: Readonly<Record<number, string>> = {
  1: 'illegal function',
  2: 'illegal data address',
  3: 'illegal data value',
  4: 'server device failure',
  5: 'acknowledged, still being processed',
  6: 'server device busy',
  8: 'memory parity error',
  10: 'gateway path unavailable',
  11: 'gateway target device failed to respond',
};

export const ILLEGAL_DATA_ADDRESS = 2;

/** The words for an exception code (section 7). */
export function exceptionName(code: number): string {
  return EXCEPTIONS[code] ?? 'unassigned exception';
}

export function functionOf(request: ModbusRequest): number {
  switch (request.kind) {
    case 'read':
      return READ_FUNCTION[request.table];
    case 'write-coil':
      return WRITE_COIL;
    case 'write-registers':
      return request.values.length === 1 ? WRITE_REGISTER : WRITE_REGISTERS;
  }
}

/** Function code and data of a request. */
export function encodeRequest(request: ModbusRequest): Buffer {
  const code = functionOf(request);
  switch (request.kind) {
    case 'read':
      return fields(code, request.address, request.count);
    case 'write-coil':
      return fields(code, request.address, request.on * COIL_ON);
    case 'write-registers': {
      const [first] = request.values;
      if (first !== undefined && request.values.length === 1)
        return fields(code, request.address, first);
      const head = fields(code, request.address, request.values.length);
      const data = Buffer.alloc(1 + request.values.length * 2);
      data.writeUInt8(request.values.length * 2, 0);
      request.values.forEach((value, index) => {
        data.writeUInt16BE(value, 1 + index * 2);
      });
      return Buffer.concat([head, data]);
    }
  }
}

function fields(code: number, first: number, second: number): Buffer {
  const pdu = Buffer.alloc(5);
  pdu.writeUInt8(code, 0);
  pdu.writeUInt16BE(first, 1);
  pdu.writeUInt16BE(second, 3);
  return pdu;
}

/** What a PDU from `unit` means as the answer to `request`. */
export function decodeAnswer(request: ModbusRequest, unit: number, pdu: Uint8Array): ModbusAnswer {
  const bytes = Buffer.from(pdu.buffer, pdu.byteOffset, pdu.length);
  const code = functionOf(request);
  if (unit !== request.unit) return mismatch(`it came from unit ${unit}, not ${request.unit}`);
  if (bytes[0] === (code | EXCEPTION_BIT)) {
    const exception = bytes[1];
    if (bytes.length !== 2 || exception === undefined)
      return mismatch('its exception has a wrong length');
    return { kind: 'exception', code: exception };
  }
  if (bytes[0] !== code) return mismatch(`it answers function ${bytes[0]}, not ${code}`);
  if (request.kind === 'read') return decodeRead(request, bytes);
  const echo = encodeRequest(request).subarray(0, 5);
  return bytes.equals(echo)
    ? { kind: 'values', values: [] }
    : mismatch('it does not repeat what was written');
}

function decodeRead(
  request: Extract<ModbusRequest, { kind: 'read' }>,
  bytes: Buffer,
): ModbusAnswer {
  const bits = request.table === 'coil' || request.table === 'discrete';
  const dataLength = bits ? Math.ceil(request.count / 8) : request.count * 2;
  if (bytes[1] !== dataLength || bytes.length !== 2 + dataLength) {
    return mismatch(`it carries ${Math.max(bytes.length - 2, 0)} bytes, not ${dataLength}`);
  }
  const values = Array.from({ length: request.count }, (_, index) =>
    bits ? ((bytes[2 + (index >> 3)] ?? 0) >> (index & 7)) & 1 : bytes.readUInt16BE(2 + index * 2),
  );
  return { kind: 'values', values };
}

function mismatch(finding: string): ModbusAnswer {
  return { kind: 'mismatch', finding };
}

/** CRC-16 with polynomial 0xA001, start 0xFFFF (Serial Line 1.02 section 6.2.2). */
export function crc16(bytes: Uint8Array): number {
  let crc = 0xffff;
  for (const byte of bytes) crc = (crc >> 8) ^ (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0);
  return crc;
}

const CRC_TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1;
  return crc;
});

/** Unit, PDU and CRC, low byte first. */
export function encodeRtuFrame(unit: number, pdu: Uint8Array): Buffer {
  const frame = Buffer.alloc(pdu.length + 3);
  frame.writeUInt8(unit, 0);
  frame.set(pdu, 1);
  frame.writeUInt16LE(crc16(frame.subarray(0, pdu.length + 1)), pdu.length + 1);
  return frame;
}

/** What stands at the beginning of received bytes. `bad`: no answer frame, or its CRC is wrong. */
export type RtuFinding =
  | {
      readonly kind: 'frame';
      readonly unit: number;
      readonly pdu: Uint8Array;
      readonly length: number;
    }
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'bad'; readonly finding: string };

/** Answers say their own length, so frames are found without timing (sections 6.1 to 6.12 and 7). */
export function findRtuAnswer(bytes: Uint8Array): RtuFinding {
  const code = bytes[1];
  if (code === undefined) return { kind: 'incomplete' };
  const length = rtuAnswerLength(code, bytes[2]);
  if (length === undefined) return { kind: 'bad', finding: `function ${code} was never asked for` };
  if (bytes.length < length) return { kind: 'incomplete' };
  const received = ((bytes[length - 1] ?? 0) << 8) | (bytes[length - 2] ?? 0);
  const computed = crc16(bytes.subarray(0, length - 2));
  if (received !== computed) {
    return { kind: 'bad', finding: `CRC ${hex(received)} received, ${hex(computed)} computed` };
  }
  return { kind: 'frame', unit: bytes[0] ?? 0, pdu: bytes.slice(1, length - 2), length };
}

function rtuAnswerLength(code: number, byteCount: number | undefined): number | undefined {
  const asked = code & ~EXCEPTION_BIT;
  const reads = asked >= READ_FUNCTION.coil && asked <= READ_FUNCTION.input;
  const writes = asked === WRITE_COIL || asked === WRITE_REGISTER || asked === WRITE_REGISTERS;
  if (!reads && !writes) return undefined;
  if (code & EXCEPTION_BIT) return 5;
  // Without its byte count a read's answer is at least as long as the shortest one.
  return writes ? 8 : 5 + (byteCount ?? 1);
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(4, '0').toUpperCase()}`;
}

const TCP_HEADER = 7;
/** Unit and the longest PDU. */
const TCP_LENGTH_MAX = 254;

export function encodeTcpFrame(transaction: number, unit: number, pdu: Uint8Array): Buffer {
  const frame = Buffer.alloc(TCP_HEADER + pdu.length);
  frame.writeUInt16BE(transaction, 0);
  frame.writeUInt16BE(pdu.length + 1, 4);
  frame.writeUInt8(unit, 6);
  frame.set(pdu, TCP_HEADER);
  return frame;
}

export type TcpFinding =
  | {
      readonly kind: 'frame';
      readonly transaction: number;
      readonly unit: number;
      readonly pdu: Uint8Array;
      readonly length: number;
    }
  | { readonly kind: 'incomplete' }
  /** The stream cannot be followed any more. */
  | { readonly kind: 'bad'; readonly finding: string };

export function findTcpFrame(bytes: Uint8Array): TcpFinding {
  if (bytes.length < TCP_HEADER) return { kind: 'incomplete' };
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const protocol = view.readUInt16BE(2);
  const rest = view.readUInt16BE(4);
  if (protocol !== 0) return { kind: 'bad', finding: `protocol ${protocol} is not Modbus` };
  if (rest < 2 || rest > TCP_LENGTH_MAX)
    return { kind: 'bad', finding: `frame length ${rest} is impossible` };
  const length = TCP_HEADER - 1 + rest;
  if (bytes.length < length) return { kind: 'incomplete' };
  const pdu = bytes.slice(TCP_HEADER, length);
  return { kind: 'frame', transaction: view.readUInt16BE(0), unit: view.readUInt8(6), pdu, length };
}
