// The REST application: one Fastify app whose routes are rows of the operation table, for network and local socket.
// Invariants: every answer that is not a success is application/problem+json from the catalogue; no internal text;
// a request is refused on its URL, origin, size and schema before anybody is asked.

import type { IncomingMessage, ServerResponse } from 'node:http';
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import { jsonText, problemOf } from '#contract/json-answer';
import { Type } from '#contract/json-schema';
import { findClimbing, findHiddenText } from '#contract/plain-text';
import { type Fault, fault } from '#foundation/fault';
import { type OperationKey, operationRow } from '#model/operation-table';
import { redactText } from '#model/redaction';
import { foreignOrigin, HttpPeers, secretInUrl } from '../http-peer.ts';
import type { InterfaceService } from '../service.ts';
import { CookieSessions } from './cookie-sessions.ts';
import { ok } from './rest-route.ts';
import { type RestAnswer, type RestRoute, restRoutes } from './routes.ts';

export interface RestOptions {
  /** Origins of pages besides our own that may call, `https://panel.example`. */
  readonly allowedOrigins?: readonly string[];
}

export const BODY_BYTES_MAX = 64 * 1024;
/** For a route without a body of its own: nothing, or an empty object. */
const NO_BODY = Type.OrNothing(Type.Object({}, { additionalProperties: false }));

const HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'strict-transport-security': 'max-age=31536000',
  'referrer-policy': 'no-referrer',
};

export class RestApp {
  readonly peers: HttpPeers;
  readonly routes: readonly RestRoute[];
  readonly allowedOrigins: readonly string[];
  readonly #app: FastifyInstance;
  readonly #service: InterfaceService;
  /** Made when it is first asked for, and kept: anyone may ask for it. */
  #description: string | null = null;

  private constructor(service: InterfaceService, options: RestOptions) {
    this.#service = service;
    this.allowedOrigins = options.allowedOrigins ?? [];
    const cookies = new CookieSessions(service.clock);
    this.peers = new HttpPeers(service, cookies);
    this.routes = [...restRoutes(service, cookies), this.#describeRoute()];
    service.onSessionGone((connectionId) => cookies.end(connectionId));
    this.#app = Fastify({
      bodyLimit: BODY_BYTES_MAX,
      routerOptions: { maxParamLength: 128 },
      onProtoPoisoning: 'error',
      onConstructorPoisoning: 'error',
      frameworkErrors: (_error, _request, reply) => {
        const finding = 'is not the URL of anything here';
        const found = fault('REQUEST_MALFORMED', { place: 'URL', finding });
        void send(reply.headers(HEADERS), problemAnswer(found));
      },
      ajv: {
        customOptions: {
          coerceTypes: false,
          removeAdditional: false,
          useDefaults: false,
          allErrors: false,
        },
      },
    });
  }

  get service(): InterfaceService {
    return this.#service;
  }

  static async start(service: InterfaceService, options: RestOptions = {}): Promise<RestApp> {
    const app = new RestApp(service, options);
    app.#register();
    await app.#app.ready();
    return app;
  }

  /** Serves one request of any HTTP server of ours. */
  readonly serve = (request: IncomingMessage, response: ServerResponse): void => {
    this.#app.routing(request, response);
  };

  /** `METHOD path` of every registered route. */
  registered(): readonly string[] {
    return this.routes.map((route) => {
      const { rest } = operationRow(route.key);
      return rest === undefined ? `${route.key} has no route` : `${rest.method} ${rest.path}`;
    });
  }

  async close(): Promise<void> {
    await this.#app.close();
  }

  #register(): void {
    const app = this.#app;
    app.addHook('onRequest', async (request, reply) => {
      reply.headers(HEADERS);
      // A body that is not there has no type: a stop button need not send one.
      const { 'content-length': length, 'transfer-encoding': coding } = request.raw.headers;
      if (coding === undefined && (length ?? '0') === '0')
        delete request.raw.headers['content-type'];
      const refused = this.#refuseEarly(request.raw);
      if (refused === null) return;
      this.#service.refusedEarly(refused, this.peers.connectionOf(request.raw, 'rest'));
      return send(reply, problemAnswer(refused));
    });
    app.setErrorHandler<FastifyError>((error, request, reply) => {
      if (reply.sent) return;
      void send(reply, problemAnswer(this.#faultOf(error, request)));
    });
    app.setNotFoundHandler((_request, reply) => {
      const finding = 'no such route, or not with this method';
      const found = fault('OPERATION_UNSUPPORTED', { place: 'URL', finding });
      const problem = problemAnswer(found);
      void send(reply, { ...problem, status: 404, body: { ...problemOf(found), status: 404 } });
    });
    for (const route of this.routes) this.#add(route);
  }

  #add(route: RestRoute): void {
    const { rest } = operationRow(route.key);
    if (rest === undefined)
      throw new Error(`${route.key} has no REST route in the operation table`);
    const { body, params, query } = route;
    this.#app.route({
      method: rest.method,
      url: rest.path,
      // HEAD would be a second, unlisted route.
      exposeHeadRoute: false,
      config: { key: route.key },
      schema: {
        ...(rest.method === 'POST' ? { body: body ?? NO_BODY } : {}),
        ...(params === undefined ? {} : { params }),
        querystring: query ?? { type: 'object', additionalProperties: false },
      },
      preValidation: async (request, reply) => {
        const refused = refuseHidden(route.key, request);
        if (refused !== null) return send(reply, problemAnswer(refused));
      },
      handler: async (request, reply) => {
        const deadline = this.#service.deadline();
        const connection = this.peers.connectionOf(request.raw, 'rest');
        const key = route.rowOf?.(request.body) ?? route.key;
        const outcome = await this.#service.call(key, connection, deadline, (caller) =>
          route.handle(caller, {
            body: request.body,
            params: request.params as Record<string, string>,
            query: request.query as Record<string, string>,
            deadline,
          }),
        );
        return send(reply, outcome.ok ? outcome.value : problemAnswer(outcome.fault));
      },
    });
  }

  #refuseEarly(request: IncomingMessage): Fault | null {
    if (secretInUrl(request.url ?? '')) {
      const finding = 'carries a secret, which logs and histories would keep';
      return fault('REQUEST_MALFORMED', { place: 'URL', finding });
    }
    if (foreignOrigin(request, this.allowedOrigins)) {
      const finding = 'is not the address of this appliance';
      return fault('ORIGIN_REFUSED', { place: 'Origin of the page', finding });
    }
    return null;
  }

  #faultOf(error: FastifyError, request: FastifyRequest): Fault {
    if (error.validation !== undefined) {
      const [first] = error.validation;
      const place = `${error.validationContext ?? 'request'}${first?.instancePath ?? ''}`;
      return fault('REQUEST_MALFORMED', {
        place,
        finding: first?.message ?? 'does not fit its schema',
      });
    }
    if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
      const finding = `is larger than ${BODY_BYTES_MAX} bytes`;
      return fault('REQUEST_TOO_LARGE', { place: 'body', finding });
    }
    if ((error.statusCode ?? 500) < 500) {
      const finding = 'is not JSON as it must be, or is cut short';
      return fault('REQUEST_MALFORMED', { place: 'request', finding });
    }
    const { config } = request.routeOptions;
    const key = (config as { readonly key?: OperationKey }).key;
    const text = error.stack ?? error.message;
    const shown = key === undefined ? error.name : redactText(key, request.body, text);
    this.#service.log(`${request.raw.url?.split('?', 1)[0]}: ${shown}`);
    const finding = 'could not be answered because of an error in the agent';
    return fault('INTERNAL', { place: 'request', finding, metal: 'unknown' });
  }

  #describeRoute(): RestRoute {
    return {
      key: 'describe',
      answer: 'This description.',
      handle: async () => {
        // Schemas of every answer: nobody but a person who writes a client needs them.
        const { openApi } = await import('./openapi.ts');
        this.#description ??= jsonText(openApi(this.routes));
        return ok(this.#description);
      },
    };
  }
}

/** What no body, path or query may hold; a stop is never refused for its wording. */
function refuseHidden(key: OperationKey, request: FastifyRequest): Fault | null {
  const check = key === 'stop' ? 'keys' : 'keys and texts';
  const params = (request.params ?? {}) as Record<string, unknown>;
  const query = (request.query ?? {}) as Record<string, unknown>;
  const found =
    findHiddenText(request.body, 'body', check, operationRow(key).secrets) ??
    findHiddenText(params, 'params', 'keys and names') ??
    findHiddenText(query, 'querystring', 'keys and names') ??
    findClimbing(params, 'params') ??
    findClimbing(query, 'querystring');
  return found === null ? null : fault('REQUEST_MALFORMED', found);
}

function problemAnswer(found: Fault): RestAnswer {
  const body = problemOf(found);
  const { retryAfterMs } = found;
  return {
    status: body.status,
    body,
    contentType: 'application/problem+json',
    ...(retryAfterMs === undefined || !Number.isFinite(retryAfterMs) ? {} : { retryAfterMs }),
  };
}

function send(reply: FastifyReply, answer: RestAnswer): FastifyReply {
  if (answer.setCookie !== undefined) reply.header('set-cookie', answer.setCookie);
  // RFC 9110, 15.5.2: whoever is not signed in is told how one is.
  if (answer.status === 401) reply.header('www-authenticate', 'Bearer realm="dsmil"');
  // RFC 9110, 10.2.3: whole seconds, and never too soon.
  if (answer.retryAfterMs !== undefined) {
    reply.header('retry-after', String(Math.max(1, Math.ceil(answer.retryAfterMs / 1000))));
  }
  if (answer.stream !== undefined) {
    const type = answer.contentType ?? 'application/octet-stream';
    return reply.code(answer.status).header('content-type', type).send(answer.stream);
  }
  const text = typeof answer.body === 'string' ? answer.body : jsonText(answer.body);
  return reply
    .code(answer.status)
    .header('content-type', answer.contentType ?? 'application/json; charset=utf-8')
    .send(Buffer.from(text));
}
