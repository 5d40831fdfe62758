// One message as pieces in frame payloads: a 32-byte piece header, then method name and body text.
// Invariants: the pieces of a message follow each other in the ring, so at most one message is half-received.

import type { MessageType } from './link.ts';
import { MESSAGE_BYTES_MAX } from './link.ts';

export type MessageKind = 'request' | 'answer' | 'fault' | 'notice';

export interface Message {
  readonly type: MessageType;
  readonly kind: MessageKind;
  /** The request's own number; an answer carries that of its request; 0 for a notice. */
  readonly correlation: number;
  /** Monotonic milliseconds; 0 where there is none. */
  readonly deadlineMs: number;
  /** Empty for answers. */
  readonly method: string;
  readonly text: string;
}

const KINDS = ['request', 'answer', 'fault', 'notice'] as const satisfies readonly MessageKind[];
const KIND_NUMBER: Readonly<Record<MessageKind, number>> = {
  request: 1,
  answer: 2,
  fault: 3,
  notice: 4,
};

// Piece header, little-endian: kind u8, version u8, method length u16, message id u32, total bytes u32,
// offset u32, correlation u32, reserved u32, deadline f64.
export const PIECE_HEADER_BYTES = 32;
const VERSION = 1;
const METHOD_BYTES_MAX = 255;

export function bytesOf(message: Message): number {
  return message.method.length + Buffer.byteLength(message.text);
}

export function piecesOf(totalBytes: number, frameBytes: number): number {
  return Math.max(1, Math.ceil(totalBytes / (frameBytes - PIECE_HEADER_BYTES)));
}

/** Writes the header of one piece to the start of `frame`. */
export function writePieceHeader(
  frame: Buffer,
  message: Message,
  piece: { readonly id: number; readonly totalBytes: number; readonly offset: number },
): void {
  frame[0] = KIND_NUMBER[message.kind];
  frame[1] = VERSION;
  frame.writeUInt16LE(message.method.length, 2);
  frame.writeUInt32LE(piece.id, 4);
  frame.writeUInt32LE(piece.totalBytes, 8);
  frame.writeUInt32LE(piece.offset, 12);
  frame.writeUInt32LE(message.correlation, 16);
  frame.writeUInt32LE(0, 20);
  frame.writeDoubleLE(message.deadlineMs, 24);
}

/** Puts pieces together; `undefined` for a message not yet whole, a finding for a piece that does not fit. */
export class Assembler {
  #partial: { readonly id: number; readonly bytes: Buffer; filled: number } | null = null;
  #abandoned = 0;

  /** Messages whose last pieces never came. */
  get abandoned(): number {
    return this.#abandoned;
  }

  /** Forgets a half-received message: its sender is gone. */
  reset(): void {
    this.#partial = null;
  }

  /** `frame` is valid only during the call. */
  take(
    type: number,
    frame: Buffer,
    size: number,
  ): Message | undefined | { readonly finding: string } {
    if (size < PIECE_HEADER_BYTES || frame[1] !== VERSION)
      return this.#refuse('piece header is malformed');
    const kind = KINDS[(frame[0] ?? 0) - 1];
    const methodBytes = frame.readUInt16LE(2);
    const totalBytes = frame.readUInt32LE(8);
    const offset = frame.readUInt32LE(12);
    const length = size - PIECE_HEADER_BYTES;
    if (kind === undefined || methodBytes > METHOD_BYTES_MAX || methodBytes > totalBytes) {
      return this.#refuse('piece header is malformed');
    }
    if (totalBytes > MESSAGE_BYTES_MAX)
      return this.#refuse(`message of ${totalBytes} bytes is too large`);
    if (offset + length > totalBytes) return this.#refuse('piece reaches beyond its message');
    if (offset === 0 && this.#partial !== null) {
      this.#abandoned += 1;
      this.#partial = null;
    }
    if (offset === 0 && length === totalBytes) {
      return read(type, kind, frame, frame, PIECE_HEADER_BYTES, totalBytes);
    }
    const id = frame.readUInt32LE(4);
    if (offset === 0) {
      this.#partial = { id, bytes: Buffer.allocUnsafe(totalBytes), filled: 0 };
    }
    const partial = this.#partial;
    if (
      partial === null ||
      partial.id !== id ||
      partial.filled !== offset ||
      partial.bytes.length !== totalBytes
    ) {
      return this.#refuse('piece is out of order');
    }
    frame.copy(partial.bytes, offset, PIECE_HEADER_BYTES, size);
    partial.filled += length;
    if (partial.filled < totalBytes)
      return length === 0 ? this.#refuse('piece is empty') : undefined;
    this.#partial = null;
    return read(type, kind, frame, partial.bytes, 0, totalBytes);
  }

  #refuse(finding: string): { readonly finding: string } {
    this.#partial = null;
    return { finding };
  }
}

function read(
  type: number,
  kind: MessageKind,
  header: Buffer,
  bytes: Buffer,
  start: number,
  totalBytes: number,
): Message {
  const bodyStart = start + header.readUInt16LE(2);
  return {
    type: type as MessageType,
    kind,
    correlation: header.readUInt32LE(16),
    deadlineMs: header.readDoubleLE(24),
    method: bytes.toString('latin1', start, bodyStart),
    text: bytes.toString('utf8', bodyStart, start + totalBytes),
  };
}
