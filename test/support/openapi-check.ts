// Holds real answers against the served OpenAPI description, with every member refused that the description does not name.

import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { HttpAnswer } from './http-client.ts';

interface MediaType {
  readonly schema: object;
  readonly 'x-codes'?: readonly string[];
}
interface Response {
  readonly $ref?: string;
  readonly content?: Readonly<Record<string, MediaType>>;
  readonly headers?: Readonly<Record<string, { readonly $ref?: string }>>;
}
export interface DescribedOperation {
  readonly operationId: string;
  readonly security: readonly object[];
  readonly responses: Readonly<Record<string, Response>>;
}
export interface OpenApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DescribedOperation>>>>;
  readonly components: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** RFC 3339 in UTC, as the agent writes it. */
const DATE_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;

/** Where members are named, no others. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, closed(member)]),
  );
  const named = members.type === 'object' && members.properties !== undefined;
  return named ? { additionalProperties: false, ...members } : members;
}

export class OpenApiCheck {
  readonly document: OpenApiDocument;
  readonly #ajv = new Ajv2020({ allErrors: true, strict: true });
  readonly #schemas: unknown;
  readonly #known = new Map<string, ValidateFunction>();
  /** `operationId status` of every answer that was held against the description. */
  readonly seen = new Set<string>();

  constructor(document: OpenApiDocument) {
    this.document = document;
    this.#schemas = closed(document.components.schemas);
    this.#ajv.addVocabulary(['components', 'x-line']);
    this.#ajv.addFormat('date-time', DATE_TIME);
  }

  /** Every described operation with its method and path, by operation id. */
  operations(): ReadonlyMap<string, DescribedOperation> {
    const all = Object.values(this.document.paths).flatMap((methods) => Object.values(methods));
    return new Map(all.map((operation) => [operation.operationId, operation]));
  }

  /** What is wrong with this answer, each a sentence; empty when it is as described. */
  findings(key: string, answer: HttpAnswer): readonly string[] {
    const what = `${key} ${answer.status}`;
    const described = this.operations().get(key)?.responses[String(answer.status)];
    if (described === undefined) return [`${what}: no such status is described: ${answer.text}`];
    const response = this.#resolve<Response>(described);
    const [type = ''] = String(answer.headers['content-type']).split(';', 1);
    const media = response.content?.[type];
    if (media === undefined) return [`${what}: ${type} is not described`];
    this.seen.add(what);
    const codes = media['x-codes'];
    const code = (answer.json as { readonly code?: string } | undefined)?.code ?? '';
    return [
      ...this.#headerFindings(what, response, answer),
      ...(codes === undefined || codes.includes(code)
        ? []
        : [`${what}: ${code} has another status`]),
      ...this.schemaFindings(
        what,
        media.schema,
        /[/+]json$/.test(type) ? answer.json : answer.text,
      ),
    ];
  }

  schemaFindings(what: string, schema: object, value: unknown): readonly string[] {
    const text = JSON.stringify(schema);
    let validate = this.#known.get(text);
    if (validate === undefined) {
      const components = { schemas: this.#schemas };
      validate = this.#ajv.compile({ allOf: [closed(schema)], components });
      this.#known.set(text, validate);
    }
    if (validate(value)) return [];
    return (validate.errors ?? []).map(
      ({ instancePath, message, params }) =>
        `${what}: ${instancePath} ${message} ${JSON.stringify(params)}`,
    );
  }

  #headerFindings(what: string, { headers = {} }: Response, answer: HttpAnswer): readonly string[] {
    return Object.entries(headers).flatMap(([name, given]) => {
      const header = this.#resolve<{ readonly required?: boolean; readonly schema: object }>(given);
      const value = answer.headers[name.toLowerCase()];
      if (value === undefined)
        return header.required === true ? [`${what}: ${name} is missing`] : [];
      const text = String(value);
      const { type } = header.schema as { readonly type?: string };
      return this.schemaFindings(
        `${what} ${name}`,
        header.schema,
        type === 'integer' ? Number(text) : text,
      );
    });
  }

  #resolve<T>(given: { readonly $ref?: string }): T {
    if (given.$ref === undefined) return given as T;
    const [, , family = '', name = ''] = given.$ref.split('/');
    const found = this.document.components[family]?.[name];
    if (found === undefined) throw new Error(`${given.$ref} refers to nothing`);
    return found as T;
  }
}

/** Every `$ref` in the document, at any depth. */
export function refsIn(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) =>
    name === '$ref' && typeof member === 'string' ? [member] : refsIn(member),
  );
}
