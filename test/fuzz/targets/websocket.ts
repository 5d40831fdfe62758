// WebSocket frames of a signed-in client, damaged: opcodes, reserved bits, masks, lengths, fragments without end, letters.

import { damageBytes } from '../byte-mutators.ts';
import type { FuzzBench, FuzzTarget } from '../fuzz.ts';
import type { FuzzRandom } from '../random.ts';
import { damageTree } from '../tree-mutators.ts';
import { type Complaint, judgeFault } from '../verdict.ts';
import { Front } from './front.ts';
import { converse } from './http.ts';

const HANDSHAKE = Buffer.from(
  'GET /api/v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n' +
    'Authorization: Bearer token-alice\r\n\r\n',
);
/** RFC 6455 section 7.4.1, those that an endpoint may send; 1011 would own up to an error of ours. */
const CLOSE_CODES = new Set([1000, 1001, 1002, 1003, 1007, 1008, 1009]);
const TEXT = 1;
const CLOSE = 8;

const ID = 'one';
const MESSAGES: readonly object[] = [
  { type: 'PING' },
  { type: 'REQUEST_STATUS' },
  { type: 'SUBSCRIBE', subscription: { id: ID, types: ['DEVICE_UPDATE'], devices: [1] } },
  { type: 'SUBSCRIBE', subscription: { minimumPriority: 'HIGH' }, lastSequence: 0 },
  { type: 'UNSUBSCRIBE', subscription: { id: ID } },
  { type: 'ACKNOWLEDGE', id: 'stop-3' },
  { type: 'OPERATION', id: ID, request: { operation: 'READ', device: 1 } },
  {
    type: 'OPERATION',
    id: ID,
    request: {
      operation: 'WRITE',
      targets: [{ device: '0x8001', registers: [{ register: 'DATA', value: '0xFF' }] }],
      dryRun: true,
    },
  },
  { type: 'OPERATE_SELECTED', id: ID, operationId: 'operation-1', confirmedRisk: 'LOW' },
  { type: 'RELEASE_SELECTED', id: ID, operationId: 'operation-1' },
  { type: 'SYNCHRONIZE', id: ID, devices: [1] },
  { type: 'REQUEST_RIGHTS', id: ID, operations: ['operate'], devices: [1], operation: 'WRITE' },
  { type: 'EMERGENCY_STOP', id: ID, request: { reason: 'smoke', devices: [1] } },
  { type: 'AUTHENTICATE', token: 'token-bob' },
];

const MASK = Buffer.from([0x5a, 0xa5, 0x3c, 0xc3]);

/** RFC 6455 section 5.2. `masked` and the rest may be as wrong as one likes. */
function frame(first: number, payload: Buffer, masked: 'masked' | 'bare' = 'masked'): Buffer {
  const bit = masked === 'masked' ? 0x80 : 0;
  let head: Buffer;
  if (payload.length < 126) head = Buffer.from([first, bit | payload.length]);
  else if (payload.length < 65_536) {
    head = Buffer.from([first, bit | 126, payload.length >> 8, payload.length & 0xff]);
  } else {
    head = Buffer.alloc(10);
    head.set([first, bit | 127]);
    head.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  if (masked === 'bare') return Buffer.concat([head, payload]);
  const body = Buffer.from(payload.map((byte, at) => byte ^ (MASK[at & 3] ?? 0)));
  return Buffer.concat([head, MASK, body]);
}

const FINAL = 0x80;

/** One frame that no sound client sends. */
function oddFrame(random: FuzzRandom): Buffer {
  const payload = random.bytes(random.pick([0, 1, 2, 3, 124, 125, 126, 127, 1_000]));
  switch (random.below(9)) {
    case 0:
      return frame(FINAL | random.pick([3, 4, 7, 11, 15]), payload);
    case 1:
      return frame(FINAL | TEXT | random.pick([0x10, 0x20, 0x40, 0x70]), payload);
    case 2:
      return frame(random.pick([TEXT, 2, 0, 8, 9, 10]), payload);
    case 3:
      return frame(FINAL | TEXT, payload, 'bare');
    case 4:
      return frame(FINAL | random.pick([8, 9, 10]), random.bytes(126 + random.below(200)));
    case 5: {
      const head = Buffer.from([FINAL | TEXT, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
      head.writeBigUInt64BE(
        random.pick([0xffff_ffff_ffff_ffffn, 1n << 63n, 1n << 53n, 65_537n]),
        2,
      );
      return Buffer.concat([head, MASK, payload]);
    }
    case 6:
      return frame(FINAL | TEXT, Buffer.from([0x7b, 0xff, 0xfe, 0xed, 0xa0, 0x80, 0x7d]));
    case 7: {
      const code = Buffer.alloc(2);
      code.writeUInt16BE(random.pick([0, 999, 1004, 1005, 1006, 1015, 2999, 3000, 5000, 65535]));
      return frame(FINAL | CLOSE, Buffer.concat([code, payload.subarray(0, 100)]));
    }
    default: {
      const parts = [frame(TEXT, Buffer.from('{"type":'))];
      for (let left = random.pick([1, 14, 15, 16, 17, 300]); left > 0; left--) {
        parts.push(frame(random.once(8) ? FINAL | 9 : 0, payload.subarray(0, 3)));
      }
      return Buffer.concat(parts);
    }
  }
}

/** Messages and the close that the server sent, after its answer to the handshake. */
function judgeFrames(bytes: Buffer): Complaint {
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at] ?? 0;
    let length = bytes[at + 1] ?? 0;
    let start = at + 2;
    if (length === 126) {
      length = start + 2 <= bytes.length ? bytes.readUInt16BE(start) : bytes.length;
      start += 2;
    } else if (length === 127) {
      length = start + 8 <= bytes.length ? Number(bytes.readBigUInt64BE(start)) : bytes.length;
      start += 8;
    }
    if (length >= 0x80 && (bytes[at + 1] ?? 0) >= 0x80) return 'the server masked a frame';
    // Cut off by the end of the connection.
    if (start + length > bytes.length) return null;
    const payload = bytes.subarray(start, start + length);
    const complaint = judgeFrame(first, payload);
    if (complaint !== null) return complaint;
    at = start + length;
  }
  return null;
}

function judgeFrame(first: number, payload: Buffer): Complaint {
  if (first === (FINAL | CLOSE)) {
    const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1000;
    // The code that the client gave comes back to it (section 5.5.1).
    return CLOSE_CODES.has(code) || code >= 3_000 || code === 1_010 || code >= 1_012
      ? null
      : `closed with ${code}`;
  }
  if (first !== (FINAL | TEXT)) return null;
  let message: { readonly type?: unknown; readonly error?: unknown };
  try {
    message = JSON.parse(payload.toString('utf8'));
  } catch {
    return 'a message that is no JSON';
  }
  if (typeof message.type !== 'string') return 'a message without a type';
  return message.type === 'ERROR' ? judgeFault(message.error) : null;
}

export const websocket: FuzzTarget = {
  name: 'websocket',
  runs: 800,
  open: async (): Promise<FuzzBench> => {
    const front = await Front.open();
    const texts = MESSAGES.map((message) => Buffer.from(JSON.stringify(message)));
    const corpus = texts.map((text) => frame(FINAL | TEXT, text));
    corpus.push(
      Buffer.concat([frame(TEXT, Buffer.from('{"type":')), frame(FINAL, Buffer.from('"PING"}'))]),
      Buffer.concat([frame(FINAL | 9, Buffer.from('x')), frame(FINAL | 10, Buffer.alloc(0))]),
      Buffer.concat([...corpus, frame(FINAL | CLOSE, Buffer.from([0x03, 0xe8]))]),
    );
    const dictionary = texts;
    return {
      corpus,
      mutate: (input, random) => {
        switch (random.below(4)) {
          case 0: {
            const odd = Array.from({ length: 1 + random.below(3) }, () => oddFrame(random));
            return Buffer.concat(random.once(2) ? [...odd, input] : [input, ...odd]);
          }
          case 1:
          case 2: {
            const other = () => random.pick(MESSAGES);
            const text = damageTree(random.pick(MESSAGES), random, other);
            return frame(FINAL | TEXT, Buffer.from(text));
          }
          default:
            return damageBytes(input, { random, corpus, dictionary });
        }
      },
      check: async (input) => {
        const bytes = await converse(front.path, HANDSHAKE, input);
        const start = bytes.indexOf('\r\n\r\n') + 4;
        if (!bytes.subarray(0, 12).equals(Buffer.from('HTTP/1.1 101'))) return 'no handshake';
        return judgeFrames(bytes.subarray(start)) ?? front.judge();
      },
      close: () => front.close(),
    };
  },
};
