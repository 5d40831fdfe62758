import {
  closeSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  crc32c,
  FRAME_PAYLOAD_BYTES,
  POP_BROKEN,
  POP_CORRUPT,
  POP_EMPTY,
  Rings,
} from '#drivers/native/rings';
import { Doorbell } from '#drivers/native/signal';

const SLOTS = 8;
const PAGE_BYTES = 4096;
const SLOT_BYTES = 4160;
const HEADER_BYTES = 40;

let directory: string;
let path: string;
let bell: Doorbell;
let opened: Rings[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rings-'));
  path = join(directory, 'a.link');
  bell = new Doorbell(join(directory, 'bell'));
  opened = [];
});

afterEach(() => {
  for (const rings of opened) rings.close();
  bell.close();
  rmSync(directory, { recursive: true });
});

function open(side: 0 | 1, slots = SLOTS): Rings {
  const rings = new Rings({
    path,
    slots,
    side,
    ownTrack: side + 1,
    peerTrack: 2 - side,
    peerBell: bell.descriptor,
  });
  opened.push(rings);
  return rings;
}

function push(rings: Rings, bytes: Uint8Array): string {
  rings.send.set(bytes);
  return rings.push(255, bytes.length);
}

/** Flips one bit of the file behind both mappings. */
function flip(offset: number): void {
  const descriptor = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(descriptor, byte, 0, 1, offset);
  byte[0] = (byte[0] ?? 0) ^ 0x10;
  writeSync(descriptor, byte, 0, 1, offset);
  closeSync(descriptor);
}

describe('Rings', () => {
  it('behave like a bounded queue in both directions', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.record({ side: fc.constantFrom(0, 1), bytes: fc.uint8Array({ maxLength: 64 }) }),
            fc.record({ side: fc.constantFrom(0, 1) }),
          ),
          { maxLength: 60 },
        ),
        (actions) => {
          rmSync(path, { force: true });
          const ends = [open(0), open(1)] as const;
          const queues: Uint8Array[][] = [[], []];
          for (const action of actions) {
            const end = ends[action.side as 0 | 1];
            const incoming = queues[1 - action.side] ?? [];
            const outgoing = queues[action.side] ?? [];
            if ('bytes' in action) {
              const fits = outgoing.length < SLOTS;
              expect(push(end, action.bytes)).toBe(fits ? 'sent' : 'full');
              if (fits) outgoing.push(action.bytes);
            } else {
              const size = end.pop();
              const wanted = incoming.shift();
              expect(size).toBe(wanted?.length ?? POP_EMPTY);
              if (wanted !== undefined)
                expect(end.receive.subarray(0, size)).toEqual(Buffer.from(wanted));
            }
          }
          for (const end of ends) end.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  it.each([
    ['payload', HEADER_BYTES + 5],
    ['message type', 0],
    ['message size', 4],
    ['sequence number', 8],
    ['timestamp', 16],
    ['source track', 32],
    ['checksum', HEADER_BYTES + FRAME_PAYLOAD_BYTES],
  ])('skip a frame whose %s was altered, and deliver the next', (_what, offset) => {
    const [sender, receiver] = [open(0), open(1)];
    push(sender, Buffer.from('first frame'));
    push(sender, Buffer.from('second'));
    flip(PAGE_BYTES + offset);
    expect(receiver.pop()).toBe(POP_CORRUPT);
    expect(receiver.pop()).toBe('second'.length);
    expect(receiver.receive.toString('utf8', 0, 6)).toBe('second');
    expect(receiver.pop()).toBe(POP_EMPTY);
  });

  it('notice a frame that was sent once and is published again', () => {
    const [sender, receiver] = [open(0), open(1)];
    for (let turn = 0; turn < SLOTS; turn++) {
      push(sender, Buffer.from([turn]));
      receiver.pop();
    }
    // The head word of ring 0: the reader believes one more frame is there, which is the oldest again.
    const descriptor = openSync(path, 'r+');
    writeSync(descriptor, Buffer.from(Uint32Array.of(SLOTS + 1).buffer), 0, 4, 64 + 2 * 128);
    closeSync(descriptor);
    expect(receiver.pop()).toBe(POP_CORRUPT);
  });

  it('take a head that cannot be true as corruption and go on', () => {
    const [sender, receiver] = [open(0), open(1)];
    const descriptor = openSync(path, 'r+');
    writeSync(descriptor, Buffer.from(Uint32Array.of(0xdeadbeef).buffer), 0, 4, 64 + 2 * 128);
    closeSync(descriptor);
    expect(receiver.pop()).toBe(POP_CORRUPT);
    expect(receiver.pop()).toBe(POP_EMPTY);
    expect(push(sender, Buffer.from('x'))).toBe('sent');
    expect(receiver.pop()).toBe(1);
  });

  it('take a tail that cannot be true as a full ring until the reader beats again', () => {
    const [sender, receiver] = [open(0), open(1)];
    const descriptor = openSync(path, 'r+');
    writeSync(descriptor, Buffer.from(Uint32Array.of(0xdeadbeef).buffer), 0, 4, 64 + 2 * 128 + 64);
    closeSync(descriptor);
    expect(push(sender, Buffer.from('x'))).toBe('full');
    receiver.beat();
    expect(push(sender, Buffer.from('x'))).toBe('sent');
  });

  it('drop what an earlier incarnation had not read, and number the incarnations', () => {
    const sender = open(0);
    const first = open(1);
    push(sender, Buffer.from('old'));
    const epoch = first.ownEpoch;
    first.close();
    const second = open(1);
    expect(second.ownEpoch).toBe(epoch + 1);
    expect(second.pop()).toBe(POP_EMPTY);
    push(sender, Buffer.from('new'));
    expect(second.pop()).toBe(3);
    sender.look();
    expect(sender.peerEpoch).toBe(epoch + 1);
  });

  it('refuse a second process or object on the same side', () => {
    open(0);
    expect(() => open(0)).toThrow(expect.objectContaining({ code: 'EAGAIN' }));
  });

  it('refuse files of another size, kind or slot count', () => {
    writeFileSync(path, 'too short');
    expect(() => open(0)).toThrow(expect.objectContaining({ code: 'EMEDIUMTYPE' }));
    writeFileSync(path, Buffer.alloc(PAGE_BYTES + 2 * SLOTS * SLOT_BYTES));
    expect(() => open(0)).toThrow(expect.objectContaining({ code: 'EMEDIUMTYPE' }));
    rmSync(path);
    open(0);
    expect(() => open(1, SLOTS * 2)).toThrow(expect.objectContaining({ code: 'EMEDIUMTYPE' }));
  });

  it('make the file with mode 0660 whatever the umask is', () => {
    const before = process.umask(0o077);
    try {
      open(0);
    } finally {
      process.umask(before);
    }
    expect(statSync(path).mode & 0o777).toBe(0o660);
  });

  it('survive a file that is cut short under them', () => {
    const [sender, receiver] = [open(0), open(1)];
    truncateSync(path, 0);
    push(sender, Buffer.from('x'));
    expect(push(sender, Buffer.from('x'))).toBe('broken');
    receiver.pop();
    expect(receiver.pop()).toBe(POP_BROKEN);
    expect(receiver.beat()).toBe(false);
  });

  it('refuse a push that does not fit a frame', () => {
    expect(() => open(0).push(1, FRAME_PAYLOAD_BYTES + 1)).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });
});

describe('crc32c', () => {
  it('gives the check value of RFC 3720 appendix B.4', () => {
    expect(crc32c(Buffer.alloc(32), 'chosen')).toBe(0x8a9136aa);
    expect(crc32c(Buffer.from('123456789'), 'table')).toBe(0xe3069283);
  });

  it('is the same by hardware and by table', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        expect(crc32c(bytes, 'chosen')).toBe(crc32c(bytes, 'table'));
      }),
    );
  });
});
