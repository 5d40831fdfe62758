// Builds the JSON Schemas (2020-12) of request bodies: the few forms they need, as plain data.
// Importing typebox for them costs 23 MB of resident memory and 150 ms of start-up.

export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

type Keywords = Readonly<Record<string, unknown>>;
/** Not a keyword: read by `object` alone and never written out. */
const OPTIONAL = Symbol('optional member');

function isOptional(schema: JsonSchema): boolean {
  return OPTIONAL in schema;
}

export const Type = {
  String: (keywords: Keywords = {}): JsonSchema => ({ type: 'string', ...keywords }),
  Integer: (keywords: Keywords = {}): JsonSchema => ({ type: 'integer', ...keywords }),
  Number: (keywords: Keywords = {}): JsonSchema => ({ type: 'number', ...keywords }),
  Boolean: (keywords: Keywords = {}): JsonSchema => ({ type: 'boolean', ...keywords }),
  Null: (): JsonSchema => ({ type: 'null' }),
  /** Anything at all, said what it is for. */
  Any: (description: string): JsonSchema => ({ description }),
  Literal: (value: string | number | boolean): JsonSchema => ({ const: value }),
  Array: (items: JsonSchema, keywords: Keywords = {}): JsonSchema => ({
    type: 'array',
    items,
    ...keywords,
  }),
  Union: (anyOf: readonly JsonSchema[], keywords: Keywords = {}): JsonSchema => ({
    anyOf,
    ...keywords,
  }),
  /** A member that may be missing from its object. */
  Optional: (schema: JsonSchema): JsonSchema => ({ ...schema, [OPTIONAL]: true }),
  /** An object, or no body at all. */
  OrNothing: (schema: JsonSchema): JsonSchema => ({ ...schema, type: ['object', 'null'] }),
  Object: (members: Readonly<Record<string, JsonSchema>>, keywords: Keywords = {}): JsonSchema => ({
    type: 'object',
    properties: members,
    required: Object.keys(members).filter((name) => !isOptional(members[name] ?? {})),
    ...keywords,
  }),
} as const;
