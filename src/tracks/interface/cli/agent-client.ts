// Talks to the agent over the local socket: one request, one answer, or the reason there was none.

import { request } from 'node:http';
import type { ProblemJson } from '#contract/json-answer';
import { type FaultCode, isFaultCode } from '#foundation/fault-catalogue';

export type AgentAnswer =
  | { readonly kind: 'data'; readonly json: unknown }
  /** The agent refused or failed; `json` is the whole problem, with a receipt where there is one. */
  | {
      readonly kind: 'problem';
      readonly code: FaultCode;
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

export interface AgentClientOptions {
  readonly socket: string;
  /** Another identity than the local one. */
  readonly token?: string;
}

const TIMEOUT_MS = 35_000;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

export class AgentClient {
  readonly #options: AgentClientOptions;

  constructor(options: AgentClientOptions) {
    this.#options = options;
  }

  get(path: string): Promise<AgentAnswer> {
    return this.send({ method: 'GET', path });
  }

  post(path: string, body: unknown): Promise<AgentAnswer> {
    return this.send({ method: 'POST', path, body });
  }

  send(asked: AgentRequest): Promise<AgentAnswer> {
    const { socket, token } = this.#options;
    const text = asked.body === undefined ? undefined : JSON.stringify(asked.body);
    return new Promise((resolve) => {
      const unreachable = (finding: string): void => resolve({ kind: 'unreachable', finding });
      const sent = request(
        {
          socketPath: socket,
          method: asked.method,
          path: asked.path,
          agent: false,
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
    detail: problem.detail ?? `the agent answered ${status}`,
    action: problem.title ?? '',
    json,
  };
}
