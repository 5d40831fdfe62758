// The REST application: one Fastify app whose routes are rows of the operation table, for network and local socket.
// Invariants: every answer that is not a success is application/problem+json from the catalogue; no internal text;
// a request is refused on its URL, origin, size and schema before anybody is asked.

import type { IncomingMessage, ServerResponse } from 'node:http';
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify';
import { jsonText, problemOf } from '#contract/json-answer';
import { type Fault, fault } from '#foundation/fault';
import { succeed } from '#foundation/outcome';
import { operationRow } from '#model/operation-table';
import { foreignOrigin, HttpPeers, secretInUrl } from '../http-peer.ts';
import type { InterfaceService } from '../service.ts';
import { CookieSessions } from './cookie-sessions.ts';
import { openApi } from './openapi.ts';
import { type RestAnswer, type RestRoute, restRoutes } from './routes.ts';

export interface RestOptions {
  /** Origins of pages besides our own that may call, `https://panel.example`. */
  readonly allowedOrigins?: readonly string[];
}

export const BODY_BYTES_MAX = 64 * 1024;

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

  private constructor(service: InterfaceService, options: RestOptions) {
    this.#service = service;
    this.allowedOrigins = options.allowedOrigins ?? [];
    const cookies = new CookieSessions(service.clock);
    this.peers = new HttpPeers(service, cookies);
    this.routes = [...restRoutes(service, cookies), this.#describeRoute()];
    this.#app = Fastify({
      bodyLimit: BODY_BYTES_MAX,
      routerOptions: { maxParamLength: 128 },
      onProtoPoisoning: 'error',
      onConstructorPoisoning: 'error',
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
      if (refused !== null) return send(reply, problemAnswer(refused));
    });
    app.setErrorHandler<FastifyError>((error, request, reply) => {
      if (reply.sent) return;
      void send(reply, problemAnswer(this.#faultOf(error, request.raw.url ?? '')));
    });
    app.setNotFoundHandler((_request, reply) => {
      const finding = 'no such route, or not with this method';
      const found = fault('OPERATION_UNSUPPORTED', { place: 'URL', finding });
      void send(reply, { ...problemAnswer(found), status: 404 });
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
      schema: {
        ...(body === undefined ? {} : { body }),
        ...(params === undefined ? {} : { params }),
        querystring: query ?? { type: 'object', additionalProperties: false },
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

  #faultOf(error: FastifyError, url: string): Fault {
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
    this.#service.log(`${url.split('?', 1)[0]}: ${error.stack ?? error.message}`);
    const finding = 'could not be answered because of an error in the agent';
    return fault('INTERNAL', { place: 'request', finding, metal: 'unknown' });
  }

  #describeRoute(): RestRoute {
    return {
      key: 'describe',
      answer: 'This description.',
      handle: () => succeed({ status: 200, body: openApi(this.routes) }),
    };
  }
}

function problemAnswer(found: Fault): RestAnswer {
  const body = problemOf(found);
  return { status: body.status, body, contentType: 'application/problem+json' };
}

function send(reply: FastifyReply, answer: RestAnswer): FastifyReply {
  if (answer.setCookie !== undefined) reply.header('set-cookie', answer.setCookie);
  const text = typeof answer.body === 'string' ? answer.body : jsonText(answer.body);
  return reply
    .code(answer.status)
    .header('content-type', answer.contentType ?? 'application/json; charset=utf-8')
    .send(Buffer.from(text));
}
