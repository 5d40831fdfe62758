// The OpenAPI 3.1 description, made from the registered routes, the operation table, the fault catalogue and the answers.
// Invariants: loaded when somebody asks for the description and not before; nothing here serializes or checks an answer.

import { OperationProblemSchema, ProblemSchema } from '#contract/json-answer-schema';
import type { JsonSchema } from '#contract/json-schema';
import { definitionsIn } from '#contract/typed-schema';
import { FAULT_CATALOGUE, type FaultCode } from '#foundation/fault-catalogue';
import { type OperationRow, operationRow, type RestKey } from '#model/operation-table';
import { SESSION_COOKIE } from './cookie-sessions.ts';
import { ANSWERS, type RowAnswer } from './openapi-answers.ts';
import type { RestRoute } from './routes.ts';

interface ObjectSchema {
  readonly properties?: Readonly<Record<string, object>>;
  readonly required?: readonly string[];
}
type Responses = Record<string, object>;

const NOT_SIGNED_IN = 401;
const TOO_MANY = 429;
/** Of a page elsewhere, a flood, an error of ours, a track that is away, and a deadline: every row. */
const EVERYWHERE: readonly number[] = [400, 403, TOO_MANY, 500, 503, 504];
/** Of a session that is over or locked, and of security's rules: every row that needs an identity. */
const SIGNED_IN: readonly number[] = [NOT_SIGNED_IN, 423];
/** Of what a path names. */
const NAMED: readonly number[] = [404];
/** Of a body, and of changes. */
const CHANGES: readonly number[] = [NOT_SIGNED_IN, 404, 409, 412, 413, 422, 423, 428];

function parametersOf(schema: object | undefined, place: 'path' | 'query') {
  const { properties = {}, required = [] } = (schema ?? {}) as ObjectSchema;
  return Object.entries(properties).map(([name, member]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    schema: member,
  }));
}

function mayBeMissing(body: object): boolean {
  const { type } = body as { readonly type?: unknown };
  return Array.isArray(type) && type.includes('null');
}

export function openApi(routes: readonly RestRoute[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const row = operationRow(route.key);
    const { rest, summary, who, idempotent } = row;
    if (rest === undefined) continue;
    const path = rest.path.replace(/:(\w+)/g, '{$1}');
    paths[path] = {
      ...paths[path],
      [rest.method.toLowerCase()]: {
        operationId: route.key,
        summary,
        description: `Who may: ${who}. Idempotent: ${idempotent ? 'yes' : 'no'}.`,
        security: who === 'anyone' ? [{}] : [{ bearer: [] }, { cookie: [] }, { mutualTls: [] }],
        parameters: [...parametersOf(route.params, 'path'), ...parametersOf(route.query, 'query')],
        ...(route.body === undefined
          ? {}
          : {
              requestBody: {
                required: !mayBeMissing(route.body),
                content: { 'application/json': { schema: route.body } },
              },
            }),
        responses: responsesOf(route, row),
      },
    };
  }
  const responses = { ...problems('Problem'), ...problems('OperationProblem') };
  const named = definitionsIn({ paths, responses });
  return {
    openapi: '3.1.0',
    info: {
      title: 'DSMIL appliance agent',
      version: '1',
      description:
        'Answers may gain members; clients ignore those they do not know. Times are RFC 3339, lengths of time end in Ms, Seconds ' +
        'or Days, register contents are 0x-hexadecimal text, and devices come with linear id and token.',
    },
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        cookie: { type: 'apiKey', in: 'cookie', name: SESSION_COOKIE },
        mutualTls: { type: 'mutualTLS' },
      },
      headers: HEADERS,
      responses,
      schemas: Object.fromEntries([...named].sort(([left], [right]) => (left < right ? -1 : 1))),
    },
  };
}

function responsesOf({ key, answer, params }: RestRoute, { rest, who }: OperationRow): Responses {
  // A route is a row with a path, which the types of the table cannot say of `OperationKey`.
  const row: RowAnswer = ANSWERS[key as RestKey];
  const good = goodResponse(row, answer);
  const found: Responses = { '200': good };
  for (const { status, meaning } of row.also ?? []) {
    found[status] = { ...good, description: meaning };
  }
  const family = row.problems === 'operation' ? 'OperationProblem' : 'Problem';
  const statuses = new Set<number>([
    ...EVERYWHERE,
    ...(who === 'anyone' ? [] : SIGNED_IN),
    ...(params === undefined ? [] : NAMED),
    ...(rest?.method === 'POST' ? CHANGES : []),
    ...(row.problems === 'operation' ? STATUSES : []),
  ]);
  for (const status of [...statuses].sort((left, right) => left - right)) {
    const problem = `#/components/responses/${family}${status}`;
    found[status] = withBoth(found[status], problem, status);
  }
  found.default = { $ref: `#/components/responses/${family}` };
  return found;
}

/** A status that a good answer comes with too is told apart by the media type. */
function withBoth(good: object | undefined, problem: string, status: number): object {
  if (good === undefined) return { $ref: problem };
  const { content } = good as { readonly content: object };
  return { ...good, content: { ...content, ...problemContent('Problem', status) } };
}

function goodResponse(row: RowAnswer, description: string): object {
  const cookie =
    row.setsCookie === undefined
      ? {}
      : { headers: { 'Set-Cookie': { $ref: '#/components/headers/SetCookie' } } };
  return {
    description,
    ...cookie,
    content: { [row.mediaType ?? 'application/json']: { schema: row.schema } },
  };
}

type Family = 'Problem' | 'OperationProblem';

const CODES = Object.entries(FAULT_CATALOGUE) as [FaultCode, (typeof FAULT_CATALOGUE)[FaultCode]][];
const STATUSES = [...new Set(CODES.map(([, { http }]) => http))].sort(
  (left, right) => left - right,
);

function problemContent(family: Family, status: number): object {
  const schema: JsonSchema = family === 'Problem' ? ProblemSchema : OperationProblemSchema;
  const codes = CODES.filter(([, { http }]) => http === status).map(([code]) => code);
  return {
    'application/problem+json': {
      schema,
      ...(codes.length === 0 ? {} : { 'x-codes': codes }),
    },
  };
}

/** One response for each status of the catalogue, and one for what nobody expected. */
function problems(family: Family): Responses {
  const found: Responses = {
    [family]: {
      description: 'A problem with its catalogue code.',
      content: problemContent(family, 0),
    },
  };
  for (const status of STATUSES) {
    const headers = {
      ...(status === NOT_SIGNED_IN
        ? { 'WWW-Authenticate': { $ref: '#/components/headers/WwwAuthenticate' } }
        : {}),
      ...(status === TOO_MANY
        ? { 'Retry-After': { $ref: '#/components/headers/RetryAfter' } }
        : {}),
    };
    const codes = CODES.filter(([, { http }]) => http === status);
    found[`${family}${status}`] = {
      description: codes.map(([code, { action }]) => `${code}: ${action}`).join(' '),
      ...(Object.keys(headers).length === 0 ? {} : { headers }),
      content: problemContent(family, status),
    };
  }
  return found;
}

const text = { type: 'string' } as const;
const HEADERS = {
  SetCookie: {
    description:
      'The session cookie: HttpOnly, Secure, SameSite=Strict; emptied by signing out. Not sent where `bearer` asked for the token.',
    schema: text,
  },
  WwwAuthenticate: {
    description: 'How one signs in (RFC 9110, 11.6.1).',
    required: true,
    schema: text,
  },
  RetryAfter: {
    description: 'Seconds until the next request would be taken, where that is known.',
    schema: { type: 'integer', minimum: 1 },
  },
} as const;
