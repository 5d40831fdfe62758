// Ways to damage JSON, and YAML, which reads the same text: members, types, numbers, keys, depth and letters.
// Invariants: pure; what comes out is still text of the form, but for the last resort of the byte mutators.

import type { FuzzRandom } from './random.ts';

/** A value as it will stand in the text, so that a key can come twice and a number can be longer than any type. */
type Tree =
  | { readonly kind: 'object'; readonly members: (readonly [string, Tree])[] }
  | { readonly kind: 'array'; readonly items: Tree[] }
  | { readonly kind: 'text'; readonly text: string };

const KEYS = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'kind',
  'type',
  'id',
  '',
  ' ',
  '$ref',
  '\u202e',
  'a'.repeat(300),
] as const;

const NUMBERS = [
  '0',
  '-0',
  '-1',
  '1',
  '83',
  '84',
  '255',
  '256',
  '65535',
  '65536',
  '2147483647',
  '2147483648',
  '4294967295',
  '4294967296',
  '9007199254740991',
  '9007199254740992',
  '9007199254740993',
  '18446744073709551615',
  '18446744073709551616',
  '1e308',
  '1e309',
  '-1e309',
  '1e-400',
  '0.1',
  '1.5',
  '32769',
  '32780',
  `1${'0'.repeat(400)}`,
] as const;

const TEXTS = [
  '',
  ' ',
  '\u0000',
  '\ud800',
  '\udc00\ud800',
  '\u202e\u2066',
  '\ufeff',
  '\uffff',
  '\u2028',
  'e\u0301',
  '\u{1F600}',
  '#',
  '#u',
  '#+',
  '#-0',
  '#+ffffffffffffffff',
  '#+10000000000000000',
  `#+${'f'.repeat(65)}`,
  '##',
  '0x8001',
  '0xFFFFFFFFFFFFFFFF',
  '0x10000000000000000',
  '-1',
  'NaN',
  'true',
  'null',
  '__proto__',
  '../../../etc/passwd',
  '$' + '{HOME}',
  '*',
  '&a',
  '!!binary',
  'WRITE',
  'EMERGENCY_STOP',
  'x'.repeat(65),
  'x'.repeat(129),
  'x'.repeat(4_097),
  '\u{1F600}'.repeat(600),
] as const;

export function treeOf(value: unknown): Tree {
  if (Array.isArray(value)) return { kind: 'array', items: value.map(treeOf) };
  if (typeof value === 'object' && value !== null) {
    return {
      kind: 'object',
      members: Object.entries(value).map(([key, member]) => [key, treeOf(member)] as const),
    };
  }
  return { kind: 'text', text: JSON.stringify(value ?? null) };
}

export function textOf(tree: Tree): string {
  switch (tree.kind) {
    case 'text':
      return tree.text;
    case 'array':
      return `[${tree.items.map(textOf).join(',')}]`;
    case 'object':
      return `{${tree.members
        .map(([key, member]) => `${JSON.stringify(key)}:${textOf(member)}`)
        .join(',')}}`;
  }
}

function leaf(random: FuzzRandom): Tree {
  switch (random.below(6)) {
    case 0:
      return { kind: 'text', text: random.pick(['null', 'true', 'false']) };
    case 1:
    case 2:
      return { kind: 'text', text: random.pick(NUMBERS) };
    case 3:
      return random.once(2) ? { kind: 'array', items: [] } : { kind: 'object', members: [] };
    default:
      return { kind: 'text', text: JSON.stringify(random.pick(TEXTS)) };
  }
}

/** Deeper than any stack is, and still shorter than the largest body. */
const DEPTHS_BEYOND = [4_000, 15_000, 32_000] as const;

function nested(inner: Tree, random: FuzzRandom): Tree {
  if (random.once(12)) {
    const depth = random.pick(DEPTHS_BEYOND);
    const [open, close] = random.once(2) ? ['[', ']'] : ['{"a":', '}'];
    const levels = Math.min(depth, Math.floor(64_000 / (open.length + close.length)));
    return { kind: 'text', text: `${open.repeat(levels)}1${close.repeat(levels)}` };
  }
  let made = inner;
  for (let depth = random.pick([1, 2, 31, 32, 33, 63, 64, 65, 66, 500]); depth > 0; depth--) {
    made = random.once(2)
      ? { kind: 'array', items: [made] }
      : { kind: 'object', members: [[random.pick(['a', ...KEYS]), made]] };
  }
  return made;
}

/** Every value of the tree with a way to put another one in its place; undefined takes it out. */
interface Spot {
  readonly tree: Tree;
  replace(by: readonly Tree[]): void;
  rename(key: string): void;
}

function spotsIn(root: Tree, setRoot: (tree: Tree) => void): Spot[] {
  const spots: Spot[] = [
    { tree: root, replace: ([by]) => by && setRoot(by), rename: () => undefined },
  ];
  const walk = (tree: Tree): void => {
    if (tree.kind === 'array') {
      for (const item of tree.items) {
        spots.push({
          tree: item,
          replace: (by) => tree.items.splice(tree.items.indexOf(item), 1, ...by),
          rename: () => undefined,
        });
        walk(item);
      }
    } else if (tree.kind === 'object') {
      for (const member of tree.members) {
        const [key, value] = member;
        const put = (members: (readonly [string, Tree])[]) =>
          tree.members.splice(tree.members.indexOf(member), 1, ...members);
        spots.push({
          tree: value,
          replace: (by) => put(by.map((one) => [key, one] as const)),
          rename: (name) => put([[name, value]]),
        });
        walk(value);
      }
    }
  };
  walk(root);
  return spots;
}

function damageOnce(root: Tree, random: FuzzRandom, others: () => unknown): Tree {
  let result = root;
  const spots = spotsIn(root, (tree) => {
    result = tree;
  });
  const spot = random.pick(spots);
  const { tree } = spot;
  switch (random.below(10)) {
    case 0:
      spot.replace([]);
      break;
    case 1:
      spot.replace([tree, tree]);
      break;
    case 2:
      spot.replace([tree, leaf(random)]);
      break;
    case 3: {
      const other = random.pick(spots).tree;
      spot.replace([structuredClone(other)]);
      break;
    }
    case 4:
      spot.rename(random.pick(KEYS));
      break;
    case 5:
      if (tree.kind === 'object') tree.members.push([random.pick(KEYS), leaf(random)]);
      else if (tree.kind === 'array') tree.items.push(leaf(random));
      else spot.replace([leaf(random)]);
      break;
    case 6:
      spot.replace([nested(tree, random)]);
      break;
    case 7: {
      const long = random.pick([2, 17, 85, 257, 1_001]);
      if (tree.kind === 'array' && tree.items.length > 0) {
        const { items } = tree;
        while (items.length < long) items.push(structuredClone(random.pick(items)));
      } else spot.replace([leaf(random)]);
      break;
    }
    case 8: {
      const from = random.pick(spotsIn(treeOf(others()), () => undefined));
      spot.replace([from.tree]);
      break;
    }
    default:
      spot.replace([leaf(random)]);
  }
  return result;
}

/** One to four changes of the value; `others` gives values to take pieces from. */
export function damageTree(value: unknown, random: FuzzRandom, others: () => unknown): string {
  let tree = treeOf(value);
  for (let left = 1 + random.below(random.once(3) ? 4 : 2); left > 0; left--) {
    tree = damageOnce(tree, random, others);
  }
  return textOf(tree);
}

/** Changes of whole lines and their indentation, for block YAML and whatever else is made of lines. */
export function damageLines(text: string, other: string, random: FuzzRandom): string {
  const lines = text.split('\n');
  const pieces = other.split('\n');
  for (let left = 1 + random.below(random.once(3) ? 6 : 2); left > 0; left--) {
    const at = random.below(lines.length);
    const line = lines[at] ?? '';
    const value = random.once(2) ? random.pick(NUMBERS) : JSON.stringify(random.pick(TEXTS));
    switch (random.below(9)) {
      case 0:
        lines.splice(at, 1 + random.below(random.once(4) ? 12 : 2));
        break;
      case 1:
        lines.splice(at, 0, ...lines.slice(at, at + 1 + random.below(random.once(4) ? 12 : 2)));
        break;
      case 2:
        lines[at] = lines[random.below(lines.length)] ?? '';
        break;
      case 3:
        lines[at] = random.once(2) ? ` ${line}` : line.replace(/^ /, '');
        break;
      case 4:
        lines[at] = line.replace(/:\s.*$/, () => `: ${value}`);
        break;
      case 5:
        lines[at] = line.replace(/[\w-]+:/, () => `${random.pick(KEYS)}:`);
        break;
      case 6: {
        const start = random.below(pieces.length);
        lines.splice(at, 0, ...pieces.slice(start, start + 1 + random.below(12)));
        break;
      }
      case 7:
        lines[at] = line.replace(
          /:\s/,
          () => `: ${random.pick(['&a ', '*a ', '!!str ', '!x ', '| ', '? '])}`,
        );
        break;
      default:
        lines[at] = line.replace(/\d+/, () => random.pick(NUMBERS));
    }
    if (lines.length === 0) lines.push('');
  }
  return lines.join('\n');
}
