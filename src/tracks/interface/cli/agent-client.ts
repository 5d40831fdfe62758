// Talks to the agent: one request, one answer, or the reason there was none; over whichever way the route has found.

import { type RequestOptions, request } from 'node:http';
import type { ProblemJson } from '#contract/json-answer';
import { type FaultCode, isFaultCode } from '#foundation/fault-catalogue';
import type { AgentRoute } from './agent-route.ts';

export type AgentAnswer =
  | { readonly kind: 'data'; readonly json: unknown }
  /** The agent refused or failed; `json` is the whole problem, with a receipt where there is one. */
  | {
      readonly kind: 'problem';
      readonly code: FaultCode;
      readonly place: string;
      readonly detail: string;
      readonly action: string;
      readonly json: unknown;
    }
  | { readonly kind: 'unreachable'; readonly finding: string };

export interface AgentRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  readonly timeoutMs?: number;
}

/** How a connection to a REST application is made: each request on one of its own. */
export type AgentConnection = Pick<RequestOptions, 'socketPath' | 'agent' | 'createConnection'>;

const TIMEOUT_MS = 35_000;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

export class AgentClient {
  readonly #route: AgentRoute;
  readonly #token: string | undefined;

  /** `token`: another identity than the local one. */
  constructor(route: AgentRoute, token: string | undefined) {
    this.#route = route;
    this.#token = token;
  }

  get(path: string): Promise<AgentAnswer> {
    return this.send({ method: 'GET', path });
  }

  post(path: string, body?: unknown): Promise<AgentAnswer> {
    return this.send({ method: 'POST', path, ...(body === undefined ? {} : { body }) });
  }

  async send(asked: AgentRequest): Promise<AgentAnswer> {
    const way = await this.#route.way();
    if (!way.ok) return { kind: 'unreachable', finding: way.fault.finding };
    return exchange(way.value, this.#token, asked);
  }
}

export function exchange(
  connection: AgentConnection,
  token: string | undefined,
  asked: AgentRequest,
): Promise<AgentAnswer> {
  const text = asked.body === undefined ? undefined : JSON.stringify(asked.body);
  return new Promise((resolve) => {
    const unreachable = (finding: string): void => resolve({ kind: 'unreachable', finding });
    const sent = request(
      {
        ...connection,
        method: asked.method,
        path: asked.path,
        signal: AbortSignal.timeout(asked.timeoutMs ?? TIMEOUT_MS),
        headers: {
          ...(text === undefined ? {} : { 'content-type': 'application/json' }),
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
      },
      (response) => {
        const parts: Buffer[] = [];
        let length = 0;
        response.on('data', (part: Buffer) => {
          parts.push(part);
          length += part.length;
          if (length > ANSWER_BYTES_MAX) sent.destroy(new Error('the answer is too long'));
        });
        response.on('error', (error) => unreachable(error.message));
        response.on('end', () =>
          resolve(understand(response.statusCode ?? 0, Buffer.concat(parts).toString())),
        );
      },
    );
    sent.on('error', (error: NodeJS.ErrnoException) => unreachable(whyUnreachable(error)));
    sent.end(text);
  });
}

/** True for an answer that says, or shows, that security cannot be asked: kernel may know more. */
export function securityIsAway(answer: AgentAnswer): boolean {
  if (answer.kind === 'unreachable') return true;
  if (answer.kind === 'data') return false;
  const late = answer.code === 'TRACK_UNAVAILABLE' || answer.code === 'DEADLINE_EXCEEDED';
  return late && answer.place.startsWith('security');
}

function whyUnreachable(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ABORT_ERR':
      return 'did not answer in time';
    case 'ENOENT':
      return 'its socket does not exist (ENOENT)';
    case 'ECONNREFUSED':
      return 'nobody listens on its socket (ECONNREFUSED)';
    case 'EACCES':
      return 'its socket is not open to this user (EACCES)';
    default:
      return error.code ?? error.message;
  }
}

function understand(status: number, text: string): AgentAnswer {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { kind: 'unreachable', finding: `answered ${status} with something that is no JSON` };
  }
  if (status >= 200 && status < 300) return { kind: 'data', json };
  const problem = json as Partial<ProblemJson>;
  const code = problem.code ?? 'INTERNAL';
  return {
    kind: 'problem',
    code: isFaultCode(code) ? code : 'INTERNAL',
    place: problem.place ?? '',
    detail: problem.detail ?? `the agent answered ${status}`,
    action: problem.title ?? '',
    json,
  };
}
