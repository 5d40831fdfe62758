// Ways to damage bytes: bits, pieces, splices, boundary integers, length fields and words from a dictionary.
// Invariants: pure; an input grows to at most INPUT_BYTES_MAX.

import type { FuzzRandom } from './random.ts';

/** Beyond every bound of the agent that a network can reach, short enough for thousands of runs a second. */
export const INPUT_BYTES_MAX = 256 * 1024;

export interface ByteContext {
  readonly random: FuzzRandom;
  /** All valid inputs, for splices. */
  readonly corpus: readonly Buffer[];
  readonly dictionary: readonly (string | Buffer)[];
}

type ByteMutator = (input: Buffer, context: ByteContext) => Buffer;

const BOUNDARIES = [
  0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x100, 0xfff, 0x1000, 0x1001,
  0x7fff, 0x8000, 0xffff, 0x1_0000, 0xf_0000, 0xf_0001, 0xff_ffff, 0x7fff_ffff, 0x8000_0000,
  0xffff_fffe, 0xffff_ffff,
] as const;

function cut(input: Buffer, start: number, end: number, middle: Uint8Array): Buffer {
  return Buffer.concat([input.subarray(0, start), middle, input.subarray(end)]);
}

/** Start and end of a piece; short pieces more often than long ones. */
function piece(length: number, random: FuzzRandom): readonly [number, number] {
  const start = random.below(length + 1);
  const longest = random.once(4) ? length - start : Math.min(16, length - start);
  return [start, start + random.below(longest + 1)];
}

const flipBits: ByteMutator = (input, { random }) => {
  const changed = Buffer.from(input);
  for (let left = 1 + random.below(random.once(4) ? 16 : 2); left > 0; left--) {
    const at = random.below(changed.length);
    if (changed.length > 0) changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
  }
  return changed;
};

const setByte: ByteMutator = (input, { random }) => {
  const at = random.below(input.length);
  return cut(input, at, at + 1, Buffer.from([random.pick(BOUNDARIES) & 0xff]));
};

const insert: ByteMutator = (input, { random }) => {
  const at = random.below(input.length + 1);
  return cut(input, at, at, random.bytes(1 + random.below(random.once(8) ? 512 : 8)));
};

const remove: ByteMutator = (input, { random }) => {
  const [start, end] = piece(input.length, random);
  return cut(input, start, Math.max(end, start + 1), Buffer.alloc(0));
};

const duplicate: ByteMutator = (input, { random }) => {
  const [start, end] = piece(input.length, random);
  const copies = random.once(8) ? 1 + random.below(64) : 1;
  const copied = input.subarray(start, end);
  return cut(input, end, end, Buffer.concat(Array.from({ length: copies }, () => copied)));
};

const truncate: ByteMutator = (input, { random }) => input.subarray(0, random.below(input.length));

const splice: ByteMutator = (input, { random, corpus }) => {
  const other = random.pick(corpus);
  const [start, end] = piece(other.length, random);
  const [from, to] = piece(input.length, random);
  return random.once(2)
    ? Buffer.concat([input.subarray(0, from), other.subarray(start)])
    : cut(input, from, to, other.subarray(start, end));
};

/** One to eight bytes, either way round: lengths, counts and offsets are what most often lie there. */
const integer: ByteMutator = (input, { random }) => {
  const width = random.pick([1, 2, 4, 8]);
  if (input.length < width) return input;
  const changed = Buffer.from(input);
  const at = random.below(input.length - width + 1);
  const [order, value] = [random.below(2), BigInt(random.pick(BOUNDARIES))];
  const whole = random.once(8) ? 0xffff_ffff_ffff_ffffn - value : value;
  for (let index = 0; index < width; index++) {
    const shift = BigInt(8 * (order === 0 ? index : width - 1 - index));
    changed[at + index] = Number((whole >> shift) & 0xffn);
  }
  return changed;
};

/** A field that tells a length is changed by little, so that what follows is read a little wrong. */
const nearby: ByteMutator = (input, { random }) => {
  const width = random.pick([1, 2, 4]);
  if (input.length < width) return input;
  const changed = Buffer.from(input);
  const at = random.below(input.length - width + 1);
  const step = random.pick([-2, -1, 1, 2, 3, 4, 8, 16]);
  const limit = 2 ** (8 * width);
  if (random.once(2)) {
    changed.writeUIntLE((changed.readUIntLE(at, width) + step + limit) % limit, at, width);
  } else {
    changed.writeUIntBE((changed.readUIntBE(at, width) + step + limit) % limit, at, width);
  }
  return changed;
};

const word: ByteMutator = (input, { random, dictionary }) => {
  if (dictionary.length === 0) return input;
  const chosen = Buffer.from(random.pick(dictionary));
  const at = random.below(input.length + 1);
  const end = random.once(2) ? at : Math.min(input.length, at + chosen.length);
  return cut(input, at, end, chosen);
};

const MUTATORS: readonly ByteMutator[] = [
  flipBits,
  flipBits,
  setByte,
  insert,
  remove,
  duplicate,
  truncate,
  splice,
  integer,
  nearby,
  word,
];

/** One to six of them, one after the other. */
export function damageBytes(input: Buffer, context: ByteContext): Buffer {
  const { random } = context;
  let changed = input;
  for (let left = 1 + random.below(random.once(3) ? 6 : 2); left > 0; left--) {
    changed = random.pick(MUTATORS)(changed, context);
  }
  return changed.subarray(0, INPUT_BYTES_MAX);
}
