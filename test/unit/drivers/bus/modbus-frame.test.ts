// Modbus bytes: the specification's own examples, and properties over any request, answer and noise.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mergeReads, type PlacedCell, valuesWithin } from '#drivers/bus/modbus-cell';
import {
  crc16,
  decodeAnswer,
  encodeRequest,
  encodeRtuFrame,
  encodeTcpFrame,
  findRtuAnswer,
  findTcpFrame,
  functionOf,
  type ModbusRequest,
} from '#drivers/bus/modbus-frame';
import { ModbusUnits, withCrc } from '../../../support/modbus-peer.ts';

const unit = fc.integer({ min: 1, max: 247 });
const word = fc.integer({ min: 0, max: 0xffff });
const bytes = fc.uint8Array({ maxLength: 64 });
const requests: fc.Arbitrary<ModbusRequest> = fc.oneof(
  fc.record({
    kind: fc.constant('read' as const),
    unit,
    table: fc.constantFrom('holding', 'input', 'coil', 'discrete'),
    address: fc.integer({ min: 0, max: 100 }),
    count: fc.integer({ min: 1, max: 125 }),
  }),
  fc.record({
    kind: fc.constant('write-coil' as const),
    unit,
    address: fc.integer({ min: 0, max: 200 }),
    on: fc.constantFrom(0, 1),
  }),
  fc.record({
    kind: fc.constant('write-registers' as const),
    unit,
    address: fc.integer({ min: 0, max: 800 }),
    values: fc.array(word, { minLength: 1, maxLength: 4 }),
  }),
);

function answerTo(request: ModbusRequest): Buffer {
  const units = new ModbusUnits([request.unit]);
  units.registers.get(request.unit)?.forEach((_, at, all) => {
    all[at] = at * 7;
  });
  const pdu = units.answer(request.unit, encodeRequest(request));
  if (pdu === undefined) throw new Error('the peer has no such unit');
  return pdu;
}

describe('Modbus PDUs', () => {
  // Modbus Application Protocol 1.1b3, the examples of sections 6.3, 6.5, 6.6 and 6.12.
  test.each<[ModbusRequest, string]>([
    [{ kind: 'read', unit: 1, table: 'holding', address: 0x6b, count: 3 }, '03006b0003'],
    [{ kind: 'write-coil', unit: 1, address: 0xac, on: 1 }, '0500acff00'],
    [{ kind: 'write-registers', unit: 1, address: 1, values: [3] }, '0600010003'],
    [
      { kind: 'write-registers', unit: 1, address: 1, values: [0x0a, 0x0102] },
      '100001000204000a0102',
    ],
  ])('%j is %s', (request, hex) => {
    expect(encodeRequest(request).toString('hex')).toBe(hex);
  });

  test('the examples’ answers decode to their values', () => {
    const request = { kind: 'read', unit: 1, table: 'holding', address: 0x6b, count: 3 } as const;
    const answer = decodeAnswer(request, 1, Buffer.from('0306022b00000064', 'hex'));
    expect(answer).toEqual({ kind: 'values', values: [0x22b, 0, 0x64] });
    const coils = { kind: 'read', unit: 1, table: 'coil', address: 0x13, count: 19 } as const;
    const bits = decodeAnswer(coils, 1, Buffer.from('0103cd6b05', 'hex'));
    expect(bits).toEqual({
      kind: 'values',
      values: [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1],
    });
    expect(decodeAnswer(request, 1, Buffer.from('8302', 'hex'))).toEqual({
      kind: 'exception',
      code: 2,
    });
  });

  test('the server’s answer to any request is an answer to it', () => {
    fc.assert(
      fc.property(requests, (request) => {
        const answer = decodeAnswer(request, request.unit, answerTo(request));
        expect(answer.kind).toBe('values');
        if (answer.kind !== 'values' || request.kind !== 'read') return;
        expect(answer.values).toHaveLength(request.count);
        if (request.table === 'holding') expect(answer.values[0]).toBe(request.address * 7);
      }),
    );
  });

  test('an answer to another unit, function or length is never taken', () => {
    fc.assert(
      fc.property(requests, requests, (asked, other) => {
        const answer = answerTo(other);
        const same =
          asked.unit === other.unit &&
          functionOf(asked) === functionOf(other) &&
          answer.length === answerTo(asked).length;
        fc.pre(!same);
        expect(decodeAnswer(asked, other.unit, answer).kind).toBe('mismatch');
      }),
    );
  });

  test('a write whose echo differs in any byte is not confirmed', () => {
    const writes = requests.filter((request) => request.kind !== 'read');
    fc.assert(
      fc.property(writes, fc.nat(4), fc.integer({ min: 1, max: 0x7f }), (request, at, flip) => {
        const echo = Buffer.from(answerTo(request));
        echo[at] = (echo[at] ?? 0) ^ flip;
        expect(decodeAnswer(request, request.unit, echo).kind).toBe('mismatch');
      }),
    );
  });

  test('any bytes decode to something, never to an error', () => {
    fc.assert(
      fc.property(requests, unit, bytes, (request, from, noise) => {
        decodeAnswer(request, from, noise);
        findRtuAnswer(noise);
        findTcpFrame(noise);
      }),
    );
  });
});

describe('RTU frames', () => {
  test('the CRC is the one of the serial line specification', () => {
    expect(crc16(Buffer.from('0207', 'hex'))).toBe(0x1241);
    fc.assert(
      fc.property(bytes, (body) => {
        expect(encodeRtuFrame(7, body)).toEqual(withCrc(Buffer.concat([Buffer.from([7]), body])));
      }),
    );
  });

  test('an answer is found at its own length, and not before its last byte', () => {
    fc.assert(
      fc.property(requests, bytes, (request, rest) => {
        const frame = encodeRtuFrame(request.unit, answerTo(request));
        for (let length = 0; length < frame.length; length++) {
          expect(findRtuAnswer(frame.subarray(0, length)).kind).toBe('incomplete');
        }
        const found = findRtuAnswer(Buffer.concat([frame, rest]));
        expect(found).toMatchObject({ kind: 'frame', unit: request.unit, length: frame.length });
      }),
    );
  });

  test('one changed bit is never a frame of that length', () => {
    fc.assert(
      fc.property(requests, fc.nat(), (request, where) => {
        const frame = encodeRtuFrame(request.unit, answerTo(request));
        const bit = where % (frame.length * 8);
        frame[bit >> 3] = (frame[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const found = findRtuAnswer(frame);
        expect(found.kind === 'frame' && found.length === frame.length).toBe(false);
      }),
    );
  });
});

describe('TCP frames', () => {
  test('come out as they went in, once complete', () => {
    const pdus = fc.uint8Array({ minLength: 1, maxLength: 253 }).map((pdu) => Buffer.from(pdu));
    fc.assert(
      fc.property(word, unit, pdus, (transaction, from, pdu) => {
        const frame = encodeTcpFrame(transaction, from, pdu);
        expect(findTcpFrame(frame.subarray(0, -1)).kind).toBe('incomplete');
        const found = findTcpFrame(frame);
        expect(found).toMatchObject({
          kind: 'frame',
          transaction,
          unit: from,
          length: frame.length,
        });
        if (found.kind === 'frame') expect(Buffer.from(found.pdu)).toEqual(pdu);
      }),
    );
  });
});

describe('merged reads', () => {
  const cells = fc.array(
    fc.record({
      unit: fc.constantFrom(1, 2),
      at: fc.integer({ min: 0, max: 400 }),
      count: fc.constantFrom(1, 2, 4),
    }),
    { maxLength: 60 },
  );

  test('cover every cell exactly, touch no other address and fit one PDU', () => {
    fc.assert(
      fc.property(cells, (wanted) => {
        const placed = wanted.map(
          ({ unit, at, count }, index): PlacedCell => ({
            index,
            cell: {
              device: 1,
              place: 'x.y',
              widthBits: 16,
              location: { kind: 'modbus', unit, table: 'holding', address: at },
            },
            request: { kind: 'read', unit, table: 'holding', address: at, count },
          }),
        );
        const merged = mergeReads(placed);
        expect(
          merged.flatMap((read) => read.cells.map((cell) => cell.index)).sort((a, b) => a - b),
        ).toEqual(placed.map((cell) => cell.index));
        for (const { request, cells } of merged) {
          expect(request.count).toBeLessThanOrEqual(125);
          const values = Array.from(
            { length: request.count },
            (_, index) => request.address + index,
          );
          const touched = new Set<number>();
          for (const cell of cells) {
            const own = valuesWithin({ request, cells }, cell, values);
            expect(own).toHaveLength(cell.request.count);
            expect(own[0]).toBe(cell.request.address);
            for (const value of own) touched.add(value);
          }
          expect(touched.size).toBe(request.count);
        }
      }),
    );
  });
});
