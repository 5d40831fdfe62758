// Small checks of what arrived from another process: type, members, lengths and ranges, with the place of the first fault.
// Invariants: nothing is converted; members that a shape does not name are refused; no check is unbounded.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';

/** Null when the value fits, else what is wrong: `.targets[2].device: not a whole number 0..83`. */
export interface Shape<T> {
  (value: unknown): string | null;
  /** Never present; carries the type. */
  readonly type?: T;
}

export function text(lengthMax: number, lengthMin = 0): Shape<string> {
  return (value) =>
    typeof value === 'string' && value.length >= lengthMin && value.length <= lengthMax
      ? null
      : `: not a text of ${lengthMin} to ${lengthMax} characters`;
}

export function pattern(expected: RegExp, name: string): Shape<string> {
  return (value) => (typeof value === 'string' && expected.test(value) ? null : `: not ${name}`);
}

export function integer(minimum: number, maximum: number): Shape<number> {
  return (value) =>
    Number.isInteger(value) && (value as number) >= minimum && (value as number) <= maximum
      ? null
      : `: not a whole number ${minimum}..${maximum}`;
}

/** Any finite number from 0 up: durations and times. */
export const quantity: Shape<number> = (value) =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0
    ? null
    : ': not a number from 0 up';

/** Register contents: 0 .. 2^64 - 1. */
export const word: Shape<bigint> = (value) =>
  typeof value === 'bigint' && value >= 0n && value < 1n << 64n ? null : ': not a word of 64 bits';

export const flag: Shape<boolean> = (value) =>
  typeof value === 'boolean' ? null : ': not true or false';

export function oneOf<const T extends string | number | boolean>(values: readonly T[]): Shape<T> {
  const allowed = new Set<unknown>(values);
  return (value) => (allowed.has(value) ? null : `: not one of ${values.join(', ')}`);
}

export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return (value) => (value === null ? null : shape(value));
}

export function listOf<T>(shape: Shape<T>, lengthMax: number): Shape<readonly T[]> {
  return (value) => {
    if (!Array.isArray(value) || value.length > lengthMax)
      return `: not a list of at most ${lengthMax}`;
    for (let index = 0; index < value.length; index++) {
      const finding = shape(value[index]);
      if (finding !== null) return `[${index}]${finding}`;
    }
    return null;
  };
}

export function textMap(
  countMax: number,
  lengthMax: number,
): Shape<Readonly<Record<string, string>>> {
  return (value) => {
    if (!isRecord(value) || Object.keys(value).length > countMax)
      return `: not at most ${countMax} texts`;
    for (const member of Object.values(value)) {
      if (typeof member !== 'string' || member.length > lengthMax)
        return `: holds more than short texts`;
    }
    return null;
  };
}

type Members<T> = { readonly [K in keyof T]-?: Shape<Exclude<T[K], undefined>> };

/** An object with exactly these members; those named in `optional` may be missing. */
export function object<T extends object>(
  members: Members<T>,
  optional: readonly (keyof T & string)[] = [],
): Shape<T> {
  const shapes = new Map<string, Shape<unknown>>(Object.entries(members));
  const may = new Set<string>(optional);
  const required = [...shapes.keys()].filter((name) => !may.has(name));
  return (value) => {
    if (!isRecord(value)) return ': not an object';
    let present = 0;
    for (const name of Object.keys(value)) {
      const shape = shapes.get(name);
      if (shape === undefined) return ': has a member that is not known';
      const finding = shape(value[name]);
      if (finding !== null) return `.${name}${finding}`;
      if (!may.has(name)) present += 1;
    }
    if (present === required.length) return null;
    return `.${required.find((name) => !Object.hasOwn(value, name))}: missing`;
  };
}

/** The first member names the variant: `{ kind: 'token', ... }`. */
export function variant<T extends { readonly kind: string }>(
  shapes: {
    readonly [K in T['kind']]: Shape<Extract<T, { readonly kind: K }>>;
  },
): Shape<T> {
  const byKind = new Map<unknown, Shape<unknown>>(Object.entries<Shape<unknown>>(shapes));
  return (value) => {
    const shape = isRecord(value) ? byKind.get(value.kind) : undefined;
    return shape === undefined ? '.kind: not known' : shape(value);
  };
}

export const nothing: Shape<undefined> = (value) => (value === undefined ? null : ': not empty');

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value as `T`, or LINK_PROTOCOL naming the method and the first member that does not fit. */
export function conform<T>(shape: Shape<T>, value: unknown, method: string): Outcome<T> {
  const finding = shape(value);
  if (finding === null) return succeed(value as T);
  return refuse(fault('LINK_PROTOCOL', { place: `link ${method}`, finding: `body${finding}` }));
}
