// JSON Schemas of answers that know the TypeScript type they describe, so that tsc holds an answer against its schema.
// Invariants: plain data with nothing of the types left at run time; a named schema is a $ref that carries what it
// refers to out of sight of JSON; `Schema<T>` fits `Schema<U>` only where T and U are the same.

import { type JsonSchema, Type } from './json-schema.ts';

declare const STATIC: unique symbol;
declare const EXACT: unique symbol;
declare const MAY_BE_MISSING: unique symbol;
/** What a $ref stands for; JSON leaves symbols out. */
const DEFINITION = Symbol('definition');

interface TypedSchema<T, E> extends JsonSchema {
  readonly [STATIC]?: T;
  readonly [EXACT]?: (value: E) => E;
}
export type Schema<T> = TypedSchema<T, Exact<T>>;
/** With optional members marked: an object without one would else fit a type that has it. */
type Exact<T> = T extends readonly (infer E)[]
  ? readonly Exact<E>[]
  : T extends object
    ? string extends keyof T
      ? T
      : {
          readonly [K in keyof T]-?: object extends Pick<T, K>
            ? { readonly maybe: Exact<T[K]> }
            : Exact<T[K]>;
        }
    : T;
type OptionalSchema<T> = Schema<T> & { readonly [MAY_BE_MISSING]: true };
export type Static<S> = S extends TypedSchema<infer T, infer _E> ? T : never;

type Members = Readonly<Record<string, JsonSchema>>;
type Flat<T> = { readonly [K in keyof T]: T[K] };
type MissingNames<M> = {
  [K in keyof M]: M[K] extends { readonly [MAY_BE_MISSING]: true } ? K : never;
}[keyof M];
type ObjectOf<M extends Members> = Flat<
  { readonly [K in Exclude<keyof M, MissingNames<M>>]: Static<M[K]> } & {
    readonly [K in MissingNames<M>]?: Static<M[K]>;
  }
>;

/** A value as JSON sends it: nothing in it can be changed, and what has members by any name stays as it is. */
export type AsSent<T> = T extends readonly (infer E)[]
  ? readonly AsSent<E>[]
  : T extends object
    ? string extends keyof T
      ? T
      : Flat<{ readonly [K in keyof T]: AsSent<T[K]> }>
    : T;
/** What a function of this contract makes, as JSON sends it. */
export type SentBy<F extends (...given: never[]) => unknown> = AsSent<ReturnType<F>>;

type Keywords = Readonly<Record<string, unknown>>;
/** A description, or further keywords. */
type Said = string | Keywords;
const keywords = (said: Said): Keywords =>
  typeof said === 'string' ? (said === '' ? {} : { description: said }) : said;

export const Answer = {
  Text: (said: Said = ''): Schema<string> => Type.String(keywords(said)),
  Integer: (said: Said = ''): Schema<number> => Type.Integer({ minimum: 0, ...keywords(said) }),
  Number: (said: Said = ''): Schema<number> => Type.Number(keywords(said)),
  Flag: (said: Said = ''): Schema<boolean> => ({ ...Type.Boolean(), ...keywords(said) }),
  /** One of these texts. */
  Names: <const N extends readonly string[]>(names: N, said: Said = ''): Schema<N[number]> => ({
    type: 'string',
    enum: names,
    ...keywords(said),
  }),
  /** The names of an enumeration of the model. */
  NamesOf: <T extends Readonly<Record<string, number>>>(
    table: T,
    said: Said = '',
  ): Schema<Extract<keyof T, string>> => ({
    type: 'string',
    enum: Object.keys(table),
    ...keywords(said),
  }),
  List: <S extends JsonSchema>(items: S, said: Said = ''): Schema<readonly Static<S>[]> =>
    Type.Array(items, keywords(said)),
  OrNull: <S extends JsonSchema>(schema: S, said: Said = ''): Schema<Static<S> | null> =>
    Type.Union([schema, Type.Null()], keywords(said)),
  OneOf: <S extends readonly JsonSchema[]>(
    schemas: S,
    said: Said = '',
  ): Schema<Static<S[number]>> => Type.Union(schemas, keywords(said)),
  /** A member that may be missing from its object. */
  Maybe: <S extends JsonSchema>(schema: S): OptionalSchema<Static<S>> =>
    Type.Optional(schema) as OptionalSchema<Static<S>>,
  /** Members of any name, all of this form. */
  Dictionary: <S extends JsonSchema>(
    member: S,
    said: Said = '',
  ): Schema<Readonly<Record<string, Static<S>>>> => ({
    type: 'object',
    additionalProperties: member,
    ...keywords(said),
  }),
  /** Members that the kind of record decides. */
  Open: <T>(description: string): Schema<T> => ({
    type: 'object',
    additionalProperties: true,
    description,
  }),
  Object: <M extends Members>(members: M, said: Said = ''): Schema<ObjectOf<M>> =>
    Type.Object(members, keywords(said)),
} as const;

/** The same schema by its name among the components of a description. */
export function named<S extends JsonSchema>(name: string, schema: S): Schema<Static<S>> {
  return { $ref: `#/components/schemas/${name}`, [DEFINITION]: { name, schema } } as Schema<
    Static<S>
  >;
}

interface Definition {
  readonly name: string;
  readonly schema: JsonSchema;
}

/** Every named schema that `value` refers to, at any depth; a name that stands for two schemas is thrown. */
export function definitionsIn(
  value: unknown,
  found: Map<string, JsonSchema> = new Map(),
): ReadonlyMap<string, JsonSchema> {
  if (typeof value !== 'object' || value === null) return found;
  const { [DEFINITION]: definition } = value as { readonly [DEFINITION]?: Definition };
  if (definition !== undefined) {
    const { name, schema } = definition;
    const known = found.get(name);
    if (known !== undefined && known !== schema) throw new Error(`two schemas are called ${name}`);
    if (known !== undefined) return found;
    found.set(name, schema);
    definitionsIn(schema, found);
  }
  for (const member of Object.values(value)) definitionsIn(member, found);
  return found;
}
