import { describe, expect, it } from 'vitest';
import { MESSAGE_BYTES_MAX, MessageType } from '#link/link';
import {
  Assembler,
  bytesOf,
  type Message,
  PIECE_HEADER_BYTES,
  writePieceHeader,
} from '#link/message';

const message: Message = {
  type: MessageType.RAW,
  kind: 'request',
  correlation: 7,
  deadlineMs: 1234.5,
  method: 'echo',
  text: 'añ'.repeat(3000),
};

function pieces(value: Message, id: number, pieceBytes = 4000): Buffer[] {
  const bytes = Buffer.from(value.method + value.text);
  const frames: Buffer[] = [];
  for (let offset = 0; offset < bytes.length; offset += pieceBytes) {
    const part = bytes.subarray(offset, offset + pieceBytes);
    const frame = Buffer.alloc(PIECE_HEADER_BYTES + part.length);
    writePieceHeader(frame, value, { id, totalBytes: bytesOf(value), offset });
    part.copy(frame, PIECE_HEADER_BYTES);
    frames.push(frame);
  }
  return frames;
}

function feed(assembler: Assembler, frames: readonly Buffer[]): unknown[] {
  return frames.map((frame) => assembler.take(MessageType.RAW, frame, frame.length));
}

describe('Assembler', () => {
  it('puts the pieces of a message together', () => {
    const results = feed(new Assembler(), pieces(message, 1));
    expect(results.length).toBe(3);
    expect(results.slice(0, -1)).toEqual([undefined, undefined]);
    expect(results.at(-1)).toEqual(message);
  });

  it('drops a message that misses a piece and takes the next one whole', () => {
    const assembler = new Assembler();
    const [first, , last] = pieces(message, 1);
    expect(feed(assembler, [first, last] as Buffer[])).toEqual([
      undefined,
      { finding: 'piece is out of order' },
    ]);
    expect(feed(assembler, pieces(message, 2)).at(-1)).toEqual(message);
  });

  it('forgets a half-received message when a new one begins', () => {
    const assembler = new Assembler();
    feed(assembler, pieces(message, 1).slice(0, 1));
    const small = { ...message, text: 'x' };
    expect(feed(assembler, pieces(small, 2))).toEqual([small]);
    expect(assembler.abandoned).toBe(1);
  });

  it.each([
    ['a short header', (frame: Buffer) => frame.subarray(0, 20)],
    ['an unknown kind', (frame: Buffer) => edit(frame, () => frame.writeUInt8(9, 0))],
    ['an unknown version', (frame: Buffer) => edit(frame, () => frame.writeUInt8(9, 1))],
    [
      'a method longer than the message',
      (frame: Buffer) => edit(frame, () => frame.writeUInt16LE(60_000, 2)),
    ],
    [
      'a size beyond the limit',
      (frame: Buffer) => edit(frame, () => frame.writeUInt32LE(MESSAGE_BYTES_MAX + 1, 8)),
    ],
    [
      'a piece beyond its message',
      (frame: Buffer) => edit(frame, () => frame.writeUInt32LE(10, 8)),
    ],
    ['a piece from nowhere', (frame: Buffer) => edit(frame, () => frame.writeUInt32LE(5, 12))],
  ])('refuses %s', (_what, spoil) => {
    const frame = spoil(pieces(message, 1)[0] ?? Buffer.alloc(0));
    expect(new Assembler().take(MessageType.RAW, frame, frame.length)).toHaveProperty('finding');
  });
});

function edit(frame: Buffer, change: () => void): Buffer {
  change();
  return frame;
}
