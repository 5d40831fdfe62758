// Bodies to text and back: JSON, with words (bigint) and `undefined` in arrays as tagged strings.
// Invariants: decode(encode(x)) equals x except that members holding `undefined` are left out; an ordinary string
// never decodes to a word; no object with a `__proto__` member comes in or goes out.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';

const TAG = '#';
const TAG_CODE = 0x23;
const UNDEFINED_TEXT = '"#u"';
const DEPTH_MAX = 64;
const PLAIN = /^[\w #+.,:;/()-]*$/;
const HEX_DIGITS = /^[0-9a-f]{1,64}$/;
/** Up to this many hexadecimal digits a number is exact. */
const EXACT_DIGITS_MAX = 13;

/** Text of a body; empty for `undefined`. Throws a TypeError for what is not plain data. */
export function encodeBody(body: unknown): string {
  return body === undefined ? '' : encode(body, 0);
}

function encode(value: unknown, depth: number): string {
  switch (typeof value) {
    case 'string':
      return quote(value.charCodeAt(0) === TAG_CODE ? TAG + value : value);
    case 'number':
      if (!Number.isFinite(value)) throw new TypeError(`${value} cannot be sent`);
      return Object.is(value, -0) ? '-0' : String(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'bigint':
      return `"#${value < 0n ? '-' : '+'}${(value < 0n ? -value : value).toString(16)}"`;
    case 'undefined':
      return UNDEFINED_TEXT;
    case 'object':
      return value === null ? 'null' : encodeObject(value, depth + 1);
    default:
      throw new TypeError(`a ${typeof value} cannot be sent`);
  }
}

function encodeObject(value: object, depth: number): string {
  if (depth > DEPTH_MAX) throw new TypeError(`more than ${DEPTH_MAX} levels cannot be sent`);
  if (Array.isArray(value)) {
    let text = '[';
    for (let index = 0; index < value.length; index++) {
      if (index > 0) text += ',';
      text += encode(value[index], depth);
    }
    return `${text}]`;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new TypeError(`a ${value.constructor?.name ?? 'class instance'} cannot be sent`);
  }
  const record = value as Readonly<Record<string, unknown>>;
  let text = '{';
  for (const key of Object.keys(record)) {
    const member = record[key];
    if (member === undefined) continue;
    if (key === '__proto__') throw new TypeError('a __proto__ member cannot be sent');
    if (text.length > 1) text += ',';
    text += `${quote(key)}:${encode(member, depth)}`;
  }
  return `${text}}`;
}

/** JSON.stringify costs four times as much for the short plain names that most strings are. */
function quote(value: string): string {
  return value.length < 64 && PLAIN.test(value) ? `"${value}"` : JSON.stringify(value);
}

/** The body of a text, or LINK_PROTOCOL saying what is wrong with it. */
export function decodeBody(text: string): Outcome<unknown> {
  if (text === '') return succeed(undefined);
  try {
    const value: unknown = JSON.parse(text);
    return succeed(needsWalk(text) ? restore(value, 0) : value);
  } catch (error) {
    const finding =
      error instanceof SyntaxError ? 'the body is not JSON' : String((error as Error).message);
    return refuse(fault('LINK_PROTOCOL', { place: 'link', finding }));
  }
}

// An escape may spell a tag or `__proto__` in another way, so any `\u` sends the text through the walk too.
function needsWalk(text: string): boolean {
  return text.includes('"#') || text.includes('__proto__') || text.includes('\\u');
}

function restore(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return value.charCodeAt(0) === TAG_CODE ? untag(value) : value;
  if (typeof value !== 'object' || value === null) return value;
  if (depth > DEPTH_MAX) throw new TypeError(`the body has more than ${DEPTH_MAX} levels`);
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++)
      value[index] = restore(value[index], depth + 1);
    return value;
  }
  const record = value as Record<string, unknown>;
  for (const key of Object.keys(record)) {
    if (key === '__proto__') throw new TypeError('the body has a __proto__ member');
    const member = record[key];
    if (typeof member === 'string' || typeof member === 'object')
      record[key] = restore(member, depth + 1);
  }
  return record;
}

function untag(text: string): unknown {
  const digits = text.slice(2);
  switch (text[1]) {
    case TAG:
      return text.slice(1);
    case 'u':
      return undefined;
    case '+':
    case '-': {
      if (!HEX_DIGITS.test(digits)) throw new TypeError('the body has a malformed word');
      const exact = digits.length <= EXACT_DIGITS_MAX;
      const magnitude = exact ? BigInt(Number.parseInt(digits, 16)) : BigInt(`0x${digits}`);
      return text[1] === '-' ? -magnitude : magnitude;
    }
    default:
      throw new TypeError('the body has an unknown tag');
  }
}
