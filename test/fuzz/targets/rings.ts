// Shared memory of a link under somebody else's hands: its file is written to while frames wait in it, half of the
// writes with a check that fits. What is damaged must be told as corrupt and stop kernel; nothing may crash or stay open.

import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32c } from '#drivers/native/rings';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import { MessageType } from '#link/link';
import { loopbackPair } from '#link/loopback';
import { linkName, SharedLink } from '#link/shared-link';
import { SharedStopLatch } from '#link/stop-latch';
import { ComposedKernel } from '../../../src/bin/compose/kernel.ts';
import type { FuzzBench, FuzzTarget } from '../fuzz.ts';
import type { FuzzRandom } from '../random.ts';
import { type Complaint, judgeOutcome } from '../verdict.ts';

const SLOTS = 8;
const PAGE_BYTES = 4096;
const SLOT_BYTES = 4160;
const HEADER_BYTES = 40;
const CHECKSUM_AT = HEADER_BYTES + 4096;
const FILE_BYTES = PAGE_BYTES + 2 * SLOTS * SLOT_BYTES;
/** Frames of security wait in the second ring. */
const RING_AT = PAGE_BYTES + SLOTS * SLOT_BYTES;
const WAIT_MS = 4_000;
/** Frames that were made to vanish are asked for this long. */
const ASK_MS = 60;
const TURN_MS = 2;

type Act = 'write' | 'write and check' | 'cut';
const ACTS: readonly Act[] = ['write', 'write and check', 'cut'];
/** Kind, offset and length before the bytes of each act. */
const PREFIX_BYTES = 7;

interface Change {
  readonly act: Act;
  readonly offset: number;
  readonly bytes: Buffer;
}

function encode({ act, offset, bytes }: Change): Buffer {
  const head = Buffer.alloc(PREFIX_BYTES);
  head[0] = ACTS.indexOf(act);
  head.writeUInt32LE(offset, 1);
  head.writeUInt16LE(bytes.length, 5);
  return Buffer.concat([head, bytes]);
}

function decode(input: Buffer): readonly Change[] {
  const changes: Change[] = [];
  for (let at = 0; at + PREFIX_BYTES <= input.length; ) {
    const act = ACTS[(input[at] ?? 0) % ACTS.length] ?? 'write';
    const offset = input.readUInt32LE(at + 1) % FILE_BYTES;
    const start = at + PREFIX_BYTES;
    const bytes = input.subarray(start, start + input.readUInt16LE(at + 5));
    changes.push({ act, offset, bytes: bytes.subarray(0, FILE_BYTES - offset) });
    at = start + bytes.length;
  }
  return changes;
}

/** Words of the first page: magic, sizes, then of each side pid, epoch, heartbeat, sleeping, then heads and tails. */
const WORDS = [0, 8, 12, 64, 68, 72, 128, 192, 196, 200, 256, 320, 384, 448, 512] as const;
const VALUES = [0, 1, 2, 3, 7, 8, 9, 31, 32, 4095, 4096, 4097, 0x7fff_ffff, 0xffff_ffff] as const;

function change(random: FuzzRandom): Change {
  const word = Buffer.alloc(4);
  word.writeUInt32LE(random.once(3) ? random.word() : random.pick(VALUES));
  const bytes = random.once(3) ? random.bytes(1 + random.below(16)) : word;
  if (random.once(40))
    return { act: 'cut', offset: random.below(FILE_BYTES), bytes: Buffer.alloc(0) };
  if (random.once(4)) return { act: 'write', offset: random.pick(WORDS), bytes };
  const slot = RING_AT + random.below(4) * SLOT_BYTES;
  // Frame header, piece header, the first of method and body, or the checksum.
  const within = random.pick([
    4 * random.below(10),
    HEADER_BYTES + random.below(32),
    HEADER_BYTES + 32 + random.below(64),
    CHECKSUM_AT,
  ]);
  const act = random.once(2) ? 'write' : 'write and check';
  return { act, offset: slot + within, bytes };
}

function apply(descriptor: number, { act, offset, bytes }: Change): void {
  if (act === 'cut') {
    ftruncateSync(descriptor, offset);
    return;
  }
  writeSync(descriptor, bytes, 0, bytes.length, offset);
  if (act === 'write' || offset < PAGE_BYTES) return;
  const slotAt = offset - ((offset - PAGE_BYTES) % SLOT_BYTES);
  const slot = Buffer.alloc(SLOT_BYTES);
  if (readSync(descriptor, slot, 0, SLOT_BYTES, slotAt) < SLOT_BYTES) return;
  const size = Math.min(slot.readUInt32LE(4), 4096);
  const check = Buffer.alloc(4);
  check.writeUInt32LE(crc32c(slot.subarray(0, HEADER_BYTES + size), 'table'));
  writeSync(descriptor, check, 0, 4, slotAt + CHECKSUM_AT);
}

/** Whether a frame that waits was changed where its check looks, and nothing else was. */
function mustBeNoticed(before: Buffer, after: Buffer, changes: readonly Change[]): boolean {
  if (changes.some(({ act, offset }) => act !== 'write' || offset < PAGE_BYTES)) return false;
  for (let slot = 0; slot < 3; slot++) {
    const at = RING_AT + slot * SLOT_BYTES;
    const used = HEADER_BYTES + before.readUInt32LE(at + 4);
    const differs = (start: number, length: number) =>
      !before.subarray(start, start + length).equals(after.subarray(start, start + length));
    if (differs(at, used) || differs(at + CHECKSUM_AT, 4)) return true;
  }
  return false;
}

function wholeFile(descriptor: number): Buffer {
  const bytes = Buffer.alloc(FILE_BYTES);
  readSync(descriptor, bytes, 0, FILE_BYTES, 0);
  return bytes;
}

async function until(condition: () => boolean): Promise<boolean> {
  const endMs = systemClock.nowMs() + WAIT_MS;
  while (!condition() && systemClock.nowMs() < endMs) await systemClock.sleep(TURN_MS);
  return condition();
}

/** Kernel with nothing to drive: what counts is whether it stops. */
function stoppable(directory: string): { kernel: ComposedKernel; latch: SharedStopLatch } {
  const latch = new SharedStopLatch({ directory, self: 'kernel' });
  const noError = () => undefined;
  const { left } = loopbackPair('kernel', 'security', { clock: systemClock, onError: noError });
  const kernel = new ComposedKernel({
    board: { name: 'none', file: 'none', digest: '', buses: [], devices: [] },
    clock: systemClock,
    latch,
    link: left,
    openBus: () => {
      throw new Error('there is no bus');
    },
    createDriver: () => {
      throw new Error('there is no device');
    },
    quarantine: { recall: () => [], remember: () => undefined },
    life: 'life-1',
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
  });
  return { kernel, latch };
}

export const rings: FuzzTarget = {
  name: 'rings',
  runs: 400,
  open: async (): Promise<FuzzBench> => {
    const home = mkdtempSync(join(tmpdir(), 'fuzz-rings-'));
    const { kernel, latch } = stoppable(home);
    const check = async (input: Buffer): Promise<Complaint> => {
      const directory = mkdtempSync(join(home, 'link-'));
      const errors: string[] = [];
      // A process id that cannot be watched is told; the heartbeat is left to tell of the peer.
      const onError = (error: unknown, where: string) =>
        void (where === 'watch of security' || where === 'watch of kernel'
          ? null
          : errors.push(`${where}: ${String(error)}`));
      const shared = { directory, clock: systemClock, onError, slots: SLOTS, heartbeatMs: 5 };
      const security = new SharedLink({ ...shared, self: 'security', peer: 'kernel' });
      const near = new SharedLink({ ...shared, self: 'kernel', peer: 'security' });
      const path = join(directory, `${linkName('kernel', 'security')}.link`);
      const descriptor = openSync(path, 'r+');
      const findings: string[] = [];
      latch.release();
      near.onCorrupt((finding) => {
        findings.push(finding);
        kernel.trip(`frame from security corrupt: ${finding}`);
      });
      near.serve('echo', (body) => Promise.resolve(succeed(body)));
      try {
        await until(() => security.peerState === 'up' && near.peerState === 'up');
        const deadline = Deadline.after(systemClock, ASK_MS);
        const asked = [1, 2, 3].map((number) =>
          security.request(MessageType.OPERATION_REQUEST, 'echo', { number }, deadline),
        );
        const changes = decode(input);
        const before = wholeFile(descriptor);
        for (const one of changes) apply(descriptor, one);
        const corrupt = mustBeNoticed(before, wholeFile(descriptor), changes);
        const outcomes = await Promise.all(asked);
        if (corrupt && !(await until(() => findings.length > 0)))
          return 'a damaged frame was believed';
        if (findings.includes('')) return 'an empty finding';
        if (findings.length > 0 && !(await until(() => latch.engaged())))
          return 'kernel did not stop';
        if (errors.length > 0) return `thrown: ${errors[0]}`;
        return judgeAnswers(outcomes, changes);
      } finally {
        near.close();
        security.close();
        closeSync(descriptor);
        rmSync(directory, { recursive: true });
      }
    };
    return {
      corpus: [Buffer.alloc(0)],
      mutate: (_, random) =>
        Buffer.concat(Array.from({ length: 1 + random.below(4) }, () => encode(change(random)))),
      check,
      close: async () => {
        kernel.halt();
        latch.close();
        rmSync(home, { recursive: true });
      },
    };
  },
};

/** Without a forged check an answer is the one that was asked for, or a fault. */
function judgeAnswers(
  outcomes: readonly Outcome<unknown>[],
  changes: readonly Change[],
): Complaint {
  const forged = changes.some(({ act }) => act === 'write and check');
  for (const [index, outcome] of outcomes.entries()) {
    const complaint = judgeOutcome(outcome);
    if (complaint !== null) return complaint;
    const wanted = JSON.stringify({ number: index + 1 });
    const said = outcome.ok ? JSON.stringify(outcome.value) : wanted;
    if (!forged && said !== wanted) return `asked ${wanted} and believed ${said}`;
  }
  return null;
}
