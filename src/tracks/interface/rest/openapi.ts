// The OpenAPI 3.1 description, made from the routes that are registered, the operation table and the fault catalogue.

import { FAULT_CATALOGUE, type FaultCode } from '#foundation/fault-catalogue';
import { operationRow } from '#model/operation-table';
import { SESSION_COOKIE } from './cookie-sessions.ts';
import type { RestRoute } from './routes.ts';

interface ObjectSchema {
  readonly properties?: Readonly<Record<string, object>>;
  readonly required?: readonly string[];
}

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

const PROBLEM_CONTENT = {
  'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } },
};

export function openApi(routes: readonly RestRoute[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const { rest, summary, who, idempotent } = operationRow(route.key);
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
        responses: {
          '200': { description: route.answer },
          default: { description: 'A problem with its catalogue code.', content: PROBLEM_CONTENT },
        },
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'DSMIL appliance agent', version: '1' },
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        cookie: { type: 'apiKey', in: 'cookie', name: SESSION_COOKIE },
        mutualTls: { type: 'mutualTLS' },
      },
      schemas: { Problem: problemSchema() },
    },
  };
}

function problemSchema(): object {
  const text = { type: 'string' };
  return {
    type: 'object',
    required: ['type', 'title', 'status', 'detail', 'code'],
    properties: {
      type: text,
      title: text,
      status: { type: 'integer' },
      detail: text,
      code: { type: 'string', enum: Object.keys(FAULT_CATALOGUE) as FaultCode[] },
      place: text,
      finding: text,
      consequence: text,
      metal: { type: 'string', enum: ['untouched', 'touched', 'unknown'] },
      retry: { type: 'string', enum: ['now', 'later', 'never'] },
      operation: {
        type: 'object',
        description: 'The receipt of an operation that was refused or failed.',
      },
    },
  };
}
