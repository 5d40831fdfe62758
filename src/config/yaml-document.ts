// A YAML file as plain data that still knows the line and column of each of its values.
// Invariants: integers beyond 2^53 become their exact decimal text; objects have no prototype; size, depth
// and the number of values (aliases expanded) are bounded before anything else looks at the data.
// Faults: everything wrong with the file is a Problem with its place; nothing throws.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
} from 'yaml';
import { describeError } from '#foundation/fault';
import {
  type DocumentPath,
  FILE_NOT_USED,
  formatPath,
  PROBLEMS_MAX,
  type Problem,
} from './problem.ts';

export type Plain = null | boolean | number | string | readonly Plain[] | PlainObject;
export interface PlainObject {
  readonly [key: string]: Plain;
}

export const FILE_BYTES_MAX = 1 << 20;
const VALUES_MAX = 100_000;
const DEPTH_MAX = 32;
/** Four times the longest list that any file may have; checking much longer ones would take minutes. */
const MEMBERS_MAX = 1_024;

export type Variables = Readonly<Record<string, string>>;

export interface YamlDocument {
  readonly file: string;
  /** The file's bytes, for its digest; empty when it could not be read. */
  readonly bytes: Buffer;
  /** null when the file could not be parsed. */
  readonly value: Plain;
  readonly problems: readonly Problem[];
  /** A problem at the value of `path`, or at its key, or at the nearest member above that exists. */
  problem(path: DocumentPath, finding: string, at?: 'value' | 'key'): Problem;
  /** The text of a scalar as it stands in the file (`0x800C`), at most 60 characters. */
  sourceOf(path: DocumentPath): string;
}

/** Reads and parses; `variables` are put in for `${NAME}` in every text value, null leaves texts alone. */
export function readYaml(file: string, variables: Variables | null): YamlDocument {
  const read = readBounded(file);
  if (typeof read === 'string') return failed(file, read);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(read);
  } catch {
    return failed(file, 'is not UTF-8 text');
  }
  return parseYaml(file, read, text, variables);
}

function readBounded(file: string): Buffer | string {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, 'r');
    const status = fstatSync(descriptor);
    if (!status.isFile()) return 'is not a regular file';
    if (status.size > FILE_BYTES_MAX) {
      return `is too large: ${status.size} bytes, at most ${FILE_BYTES_MAX} are read`;
    }
    const buffer = Buffer.alloc(status.size);
    let length = 0;
    while (length < buffer.length) {
      const count = readSync(descriptor, buffer, length, buffer.length - length, length);
      if (count === 0) break;
      length += count;
    }
    return buffer.subarray(0, length);
  } catch (error) {
    return `cannot be read (${describeError(error)})`;
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function failed(file: string, finding: string): YamlDocument {
  const problem = (path: DocumentPath, text: string): Problem => ({
    file,
    line: 1,
    column: 1,
    path: formatPath(path),
    finding: text,
    consequence: FILE_NOT_USED,
  });
  return {
    file,
    bytes: Buffer.alloc(0),
    value: null,
    problems: [problem([], finding)],
    problem,
    sourceOf: () => '',
  };
}

function parseYaml(
  file: string,
  bytes: Buffer,
  text: string,
  variables: Variables | null,
): YamlDocument {
  const lines = new LineCounter();
  const document = composed(text, lines);
  if (document === undefined) return failed(file, 'is nested too deeply to be parsed');
  const anchors = new AnchorTable(document);
  const at = (offset: number, path: DocumentPath, finding: string): Problem => {
    const place = lines.linePos(Math.min(offset, Math.max(0, text.length - 1)));
    return {
      file,
      line: Math.max(1, place.line),
      column: Math.max(1, place.col),
      path: formatPath(path),
      finding,
      consequence: FILE_NOT_USED,
    };
  };
  const problems: Problem[] = [...document.errors, ...document.warnings]
    .slice(0, PROBLEMS_MAX)
    .map((error) => at(error.pos[0], [], `YAML: ${error.message.replace(/\s+/g, ' ').trim()}`));
  const base = {
    file,
    bytes,
    problem: (path: DocumentPath, finding: string, part: 'value' | 'key' = 'value') =>
      at(offsetOf(document, anchors, path, part), path, finding),
    sourceOf: (path: DocumentPath) => {
      const node = nodeAt(document, anchors, path);
      return isScalar(node) && node.range
        ? text.slice(node.range[0], Math.min(node.range[1], node.range[0] + 60))
        : '';
    },
  };
  if (problems.length > 0) return { ...base, value: null, problems };
  const converter = new Converter(anchors, variables, at);
  const value = converter.convert(document.contents, [], 0);
  return { ...base, value: converter.aborted ? null : value, problems: converter.kept() };
}

/** The library composes nodes recursively, so only nesting beyond the stack makes it throw. */
function composed(text: string, lines: LineCounter): Document | undefined {
  try {
    return parseDocument(text, {
      lineCounter: lines,
      intAsBigInt: true,
      prettyErrors: false,
      stringKeys: true,
      // The library compares each key with all before it; the converter does it with a set.
      uniqueKeys: false,
      version: '1.2',
    });
  } catch {
    return undefined;
  }
}

/** Anchors by name, collected once: the library's own search walks the whole document for each alias. */
class AnchorTable {
  readonly #document: Document;
  #nodes: Map<string, Node[]> | undefined;

  constructor(document: Document) {
    this.#document = document;
  }

  /** The node itself, or for an alias the last anchor of its name before it (YAML 1.2.2 section 7.1). */
  resolve(node: unknown): unknown {
    if (!isAlias(node)) return node;
    // Hardly any file has an alias, and the search costs as much as a tenth of the parsing.
    this.#nodes ??= collectAnchors(this.#document);
    return this.#nodes.get(node.source)?.findLast((anchor) => startOf(anchor) < startOf(node));
  }
}

function collectAnchors(document: Document): Map<string, Node[]> {
  const nodes = new Map<string, Node[]>();
  visit(document, {
    Node: (_, node) => {
      if (isAlias(node) || node.anchor === undefined) return;
      const earlier = nodes.get(node.anchor);
      if (earlier === undefined) nodes.set(node.anchor, [node]);
      else earlier.push(node);
    },
  });
  return nodes;
}

/** Nodes to plain data, with bounds and variables. */
class Converter {
  readonly problems: Problem[] = [];
  aborted = false;
  #count = 0;
  readonly #anchors: AnchorTable;
  readonly #variables: Variables | null;
  readonly #at: (offset: number, path: DocumentPath, finding: string) => Problem;

  constructor(
    anchors: AnchorTable,
    variables: Variables | null,
    at: (offset: number, path: DocumentPath, finding: string) => Problem,
  ) {
    this.#anchors = anchors;
    this.#variables = variables;
    this.#at = at;
  }

  convert(given: unknown, path: DocumentPath, depth: number): Plain {
    if (this.aborted) return null;
    this.#count += 1;
    if (this.#count > VALUES_MAX) {
      return this.#abort(given, [], `the file expands to more than ${VALUES_MAX} values`);
    }
    if (depth > DEPTH_MAX) {
      return this.#abort(given, path.slice(0, 3), `values are nested more than ${DEPTH_MAX} deep`);
    }
    const node = this.#anchors.resolve(given);
    if (node === undefined && isAlias(given)) {
      this.problems.push(this.#at(startOf(given), path, `alias *${given.source} has no anchor`));
    }
    if (isMap(node)) {
      const result: Record<string, Plain> = Object.create(null);
      for (const pair of node.items) {
        const key = keyOf(pair);
        if (key in result) {
          const finding = 'the same key stands twice in one mapping';
          this.problems.push(this.#at(startOf(pair.key), [...path, key], finding));
        }
        result[key] = this.convert(pair.value, [...path, key], depth + 1);
      }
      return result;
    }
    if (isSeq(node)) {
      if (node.items.length > MEMBERS_MAX) {
        return this.#abort(given, path, `a list of more than ${MEMBERS_MAX} members`);
      }
      return node.items.map((item, index) => this.convert(item, [...path, index], depth + 1));
    }
    if (!isScalar(node)) return null;
    return this.#scalar(node.value, given, path);
  }

  #scalar(value: unknown, given: unknown, path: DocumentPath): Plain {
    switch (typeof value) {
      case 'bigint': {
        const number = Number(value);
        return Number.isSafeInteger(number) ? number : value.toString();
      }
      case 'number':
      case 'boolean':
        return value;
      case 'string':
        return this.#substituted(value, given, path);
      default:
        return null;
    }
  }

  #substituted(text: string, given: unknown, path: DocumentPath): string {
    const variables = this.#variables;
    if (variables === null || !text.includes('${')) return text;
    return text.replace(/\$\{([^}]*)\}/g, (whole, name: string) => {
      if (Object.hasOwn(variables, name)) return variables[name] ?? '';
      const known = Object.keys(variables);
      const others = known.length === 0 ? 'none is set' : `set: ${known.join(', ')}`;
      this.problems.push(
        this.#at(startOf(given), path, `variable \${${name}} is not set (${others})`),
      );
      return whole;
    });
  }

  /** As many as a person can use, the reason for giving up among them. */
  kept(): readonly Problem[] {
    const last = this.aborted ? this.problems.slice(-1) : [];
    return [...this.problems.slice(0, PROBLEMS_MAX - last.length), ...last].filter(
      (problem, index, all) => all.indexOf(problem) === index,
    );
  }

  #abort(given: unknown, path: DocumentPath, finding: string): null {
    this.aborted = true;
    this.problems.push(this.#at(startOf(given), path, finding));
    return null;
  }
}

function keyOf(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
}

function startOf(node: unknown): number {
  return (node as Node | null)?.range?.[0] ?? 0;
}

function nodeAt(document: Document, anchors: AnchorTable, path: DocumentPath): unknown {
  let node: unknown = document.contents;
  for (const step of path) {
    const child = childOf(anchors, node, step);
    if (child === undefined) return undefined;
    node = isPair(child) ? child.value : child;
  }
  return node;
}

function offsetOf(
  document: Document,
  anchors: AnchorTable,
  path: DocumentPath,
  part: 'value' | 'key',
): number {
  let node: unknown = document.contents;
  let offset = startOf(node);
  for (const [depth, step] of path.entries()) {
    const child = childOf(anchors, node, step);
    if (child === undefined) break;
    node = isPair(child) ? child.value : child;
    const wantsKey = part === 'key' && depth === path.length - 1;
    if (isPair(child) && (wantsKey || isEmpty(node))) offset = startOf(child.key);
    else offset = startOf(node);
  }
  return offset;
}

/** A value left out (`token:`) has no place of its own worth showing. */
function isEmpty(node: unknown): boolean {
  return node === null || (isScalar(node) && node.source === '');
}

function childOf(anchors: AnchorTable, given: unknown, step: string | number): unknown {
  const node = anchors.resolve(given);
  if (isSeq(node) && typeof step === 'number') return node.items[step];
  if (isMap(node)) return node.items.find((pair) => keyOf(pair) === String(step));
  return undefined;
}
