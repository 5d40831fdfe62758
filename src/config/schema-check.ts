// Says in words, at its line and column, what the generated validators find wrong with plain data.
// Invariants: defaults of the schema are filled into the data; the schemas are JSON Schema 2020-12, compiled
// ahead of time by scripts/generate-validators.ts, so that no process spends its start on compiling them.

import { nearestName, quoted } from '#foundation/nearest';
import { type DocumentPath, PROBLEMS_MAX, type Problem } from './problem.ts';
import type { YamlDocument } from './yaml-document.ts';

/** An error of the generated code (Ajv's verbose error object). */
export interface SchemaError {
  readonly instancePath: string;
  readonly keyword: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly message?: string;
  /** The schema that was broken; `false` is a schema too. */
  readonly parentSchema?: unknown;
  readonly data?: unknown;
}

export interface SchemaValidator {
  (value: unknown): boolean;
  errors?: readonly SchemaError[] | null;
}

/** Checks the value at `path` of the document; at most PROBLEMS_MAX problems, after which a file has more than it can use. */
export function checkSchema(
  validate: SchemaValidator,
  document: YamlDocument,
  value: unknown,
  path: DocumentPath = [],
): readonly Problem[] {
  if (validate(value)) return [];
  return withoutNoise(validate.errors ?? [])
    .slice(0, PROBLEMS_MAX)
    .map((error) => problemOf(document, path, error));
}

/** A failed branch is reported by its branches' errors, a failed choice by the choice alone. */
function withoutNoise(errors: readonly SchemaError[]): readonly SchemaError[] {
  const choices = new Set(
    errors.filter((error) => error.keyword === 'anyOf').map((error) => error.instancePath),
  );
  const seen = new Set<string>();
  return errors.filter((error) => {
    if (error.keyword === 'if') return false;
    if (choices.has(error.instancePath) && error.keyword !== 'anyOf') return false;
    const key = `${error.instancePath} ${error.keyword} ${JSON.stringify(error.params)}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function problemOf(document: YamlDocument, base: DocumentPath, error: SchemaError): Problem {
  const path = [...base, ...pathOf(document, base, error.instancePath)];
  const schema = (error.parentSchema ?? {}) as { title?: string; properties?: object };
  const title = schema.title ?? 'value';
  const source = document.sourceOf(path);
  const found = source === '' ? nounFor(error.data) : source;
  const parameters = error.params;
  switch (error.keyword) {
    case 'required':
      return document.problem(path, `${parameters.missingProperty} is missing`, 'key');
    case 'additionalProperties': {
      const name = String(parameters.additionalProperty);
      const known = nearestName(name, Object.keys(schema.properties ?? {}));
      const hint = known === undefined ? '' : `, did you mean ${known}?`;
      return document.problem([...path, name], `${title} has no such member${hint}`, 'key');
    }
    case 'false schema':
      return document.problem(path, 'does not belong here', 'key');
    case 'enum':
    case 'const': {
      const allowed =
        error.keyword === 'enum' ? parameters.allowedValues : [parameters.allowedValue];
      const list = (allowed as unknown[]).map(String);
      const near = typeof error.data === 'string' ? nearestName(error.data, list) : undefined;
      const hint = near === undefined ? '' : `, did you mean ${near}?`;
      return document.problem(path, `must be ${listed(list)}, not ${found}${hint}`);
    }
    case 'type':
      return document.problem(
        path,
        `must be ${NOUNS[String(parameters.type)] ?? parameters.type}, not ${found}`,
      );
    case 'minimum':
      return document.problem(path, `must be at least ${parameters.limit}, not ${found}`);
    case 'maximum':
      return document.problem(path, `must be at most ${parameters.limit}, not ${found}`);
    case 'minItems':
    case 'minProperties':
      return document.problem(path, `must have at least ${parameters.limit} members`);
    case 'maxItems':
    case 'maxProperties':
      return document.problem(path, `must have at most ${parameters.limit} members`);
    case 'minLength':
      return document.problem(path, 'must not be empty');
    case 'maxLength':
      return document.problem(path, `must have at most ${parameters.limit} characters`);
    case 'uniqueItems':
      return document.problem([...path, Number(parameters.i)], 'stands twice in the list');
    case 'pattern':
    case 'anyOf':
      return document.problem(path, `${shown(error.data, found)} is not a valid ${title}`);
    default:
      return document.problem(path, error.message ?? `fails the schema rule ${error.keyword}`);
  }
}

/** JSON pointer (RFC 6901) to path; a step is an index where the data above it is a list. */
function pathOf(document: YamlDocument, base: DocumentPath, pointer: string): DocumentPath {
  if (pointer === '') return [];
  let value: unknown = document.value;
  for (const step of base) value = (value as Record<string | number, unknown>)[step];
  return pointer
    .slice(1)
    .split('/')
    .map((part) => {
      const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
      const step = Array.isArray(value) ? Number(name) : name;
      value = (value as Record<string | number, unknown>)[step];
      return step;
    });
}

function shown(data: unknown, found: string): string {
  return typeof data === 'string' ? quoted(data) : found;
}

function listed(items: readonly string[]): string {
  if (items.length === 1) return items[0] ?? '';
  return `one of ${items.join(', ')}`;
}

const NOUNS: Readonly<Record<string, string>> = {
  object: 'a mapping',
  array: 'a list',
  integer: 'an integer',
  string: 'text',
  number: 'a number',
  boolean: 'true or false',
};

function nounFor(data: unknown): string {
  if (data === null || data === undefined) return 'empty';
  if (Array.isArray(data)) return 'a list';
  return typeof data === 'object' ? 'a mapping' : String(data);
}
