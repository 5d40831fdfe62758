// The I2C socket messages survive any value and any cutting of the stream.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  encodeI2cRequest,
  encodeI2cResponse,
  I2C_READ_MAX,
  I2C_WRITE_MAX,
  type I2cDecoder,
  i2cRequestDecoder,
  i2cResponseDecoder,
} from '#drivers/bus/i2c-wire';

const bytesUpTo = (maxLength: number) =>
  fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes));
const requests = fc.record({
  id: fc.integer({ min: 0, max: 0xffff }),
  chip: fc.integer({ min: 0, max: 0x7f }),
  write: bytesUpTo(I2C_WRITE_MAX),
  readLength: fc.integer({ min: 0, max: I2C_READ_MAX }),
});
const responses = fc.record({
  id: fc.integer({ min: 0, max: 0xffff }),
  status: fc.constantFrom('ok', 'nack', 'arbitration-lost', 'timeout'),
  bytes: bytesUpTo(I2C_READ_MAX),
});

function decodeInPieces<T>(decoder: I2cDecoder<T>, stream: Buffer, cuts: readonly number[]): T[] {
  const found: T[] = [];
  let from = 0;
  for (const cut of [...cuts.map((cut) => cut % (stream.length + 1)), stream.length].sort(
    (a, b) => a - b,
  )) {
    found.push(...decoder.push(stream.subarray(from, cut)).messages);
    from = cut;
  }
  return found;
}

describe('I2C socket messages', () => {
  test('requests come out as they went in, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(requests, { maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        (sent, cuts) => {
          const stream = Buffer.concat(sent.map(encodeI2cRequest));
          expect(decodeInPieces(i2cRequestDecoder(), stream, cuts)).toEqual(sent);
        },
      ),
    );
  });

  test('responses come out as they went in, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(responses, { maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        (sent, cuts) => {
          const stream = Buffer.concat(sent.map(encodeI2cResponse));
          expect(decodeInPieces(i2cResponseDecoder(), stream, cuts)).toEqual(sent);
        },
      ),
    );
  });

  test('any bytes give messages or a reason, never an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (noise) => {
        i2cRequestDecoder().push(noise);
        i2cResponseDecoder().push(noise);
      }),
    );
  });

  test('a decoder that met a malformed frame gives nothing any more', () => {
    const decoder = i2cResponseDecoder();
    expect(decoder.push(Buffer.from([3, 0, 1, 9])).broken).toBe('unknown status 9');
    const good = encodeI2cResponse({ id: 1, status: 'ok', bytes: Buffer.from([1]) });
    expect(decoder.push(good)).toEqual({ messages: [], broken: 'unknown status 9' });
  });

  test('a request that no frame can carry is refused before it is sent', () => {
    const request = { id: 1, chip: 0x50, write: Buffer.alloc(0), readLength: 1 };
    expect(() => encodeI2cRequest({ ...request, chip: 0x80 })).toThrow(/chip 128/);
    expect(() => encodeI2cRequest({ ...request, write: Buffer.alloc(251) })).toThrow(
      /write length 251/,
    );
  });
});
