// Talks to the agent: one request, one answer, or the reason there was none; over whichever way the route has found.

import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import type { ProblemJson } from '#contract/json-answer';
import { describeFault, type Fault } from '#foundation/fault';
import { FAULT_CATALOGUE, type FaultCode, isFaultCode } from '#foundation/fault-catalogue';
import { type Outcome, succeed } from '#foundation/outcome';
import type { AgentRoute } from './agent-route.ts';

/** The agent refused or failed; `json` is the whole problem, with a receipt where there is one. */
export interface AgentProblem {
  readonly kind: 'problem';
  readonly code: FaultCode;
  readonly place: string;
  readonly detail: string;
  readonly action: string;
  readonly json: unknown;
}

export type AgentAnswer =
  | { readonly kind: 'data'; readonly json: unknown }
  | AgentProblem
  | { readonly kind: 'unreachable'; readonly finding: string };

/** A long answer as it arrives, or what came instead of it. */
export type AgentStream =
  | { readonly kind: 'stream'; readonly body: AsyncIterable<Buffer> }
  | Exclude<AgentAnswer, { readonly kind: 'data' }>;

export interface AgentRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  readonly timeoutMs?: number;
  /** `local`: as the user of this machine, whoever signed in or whatever token was given. */
  readonly as?: 'local';
}

/** How a connection to a REST application is made: each request on one of its own. */
export type AgentConnection = Pick<RequestOptions, 'socketPath' | 'agent' | 'createConnection'>;

const TIMEOUT_MS = 35_000;
/** A long answer that brings nothing for so long has broken off. */
const SILENCE_MS_MAX = 30_000;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

export class AgentClient {
  readonly #route: AgentRoute;
  readonly #token: () => Outcome<string | undefined>;

  /** `token`: of another identity than the local one, or why there can be none. */
  constructor(route: AgentRoute, token: () => Outcome<string | undefined>) {
    this.#route = route;
    this.#token = token;
  }

  /** What this client signs in with; undefined for the user of this machine. */
  credential(): Outcome<string | undefined> {
    return this.#token();
  }

  get(path: string): Promise<AgentAnswer> {
    return this.send({ method: 'GET', path });
  }

  post(path: string, body?: unknown): Promise<AgentAnswer> {
    return this.send({ method: 'POST', path, ...(body === undefined ? {} : { body }) });
  }

  async send(asked: AgentRequest): Promise<AgentAnswer> {
    const local = asked.as === 'local';
    const token = local ? succeed(undefined) : this.#token();
    if (!token.ok) return refusedHere(token.fault);
    const way = await this.#route.way(local ? 'local' : 'own');
    if (!way.ok) return { kind: 'unreachable', finding: way.fault.finding };
    return exchange(way.value, token.value, asked);
  }

  /** A GET whose answer is passed on as it comes and kept nowhere. */
  async stream(path: string): Promise<AgentStream> {
    const token = this.#token();
    if (!token.ok) return refusedHere(token.fault);
    const way = await this.#route.way('own');
    if (!way.ok) return { kind: 'unreachable', finding: way.fault.finding };
    return openStream(way.value, token.value, path);
  }
}

/** The command line's own refusal, in the form of the agent's. */
function refusedHere(found: Fault): AgentProblem {
  const { code, place } = found;
  const { action } = FAULT_CATALOGUE[code];
  return { kind: 'problem', code, place, detail: describeFault(found), action, json: {} };
}

function openStream(
  connection: AgentConnection,
  token: string | undefined,
  path: string,
): Promise<AgentStream> {
  const silence = new Silence(SILENCE_MS_MAX);
  return new Promise((resolve) => {
    const failed = (finding: string): void => {
      silence.end();
      resolve({ kind: 'unreachable', finding });
    };
    const sent = request(
      {
        ...connection,
        method: 'GET',
        path,
        signal: silence.signal,
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      },
      (response) => {
        const status = response.statusCode ?? 0;
        if (status >= 200 && status < 300) {
          resolve({ kind: 'stream', body: silence.watch(response) });
          return;
        }
        wholeText(response).then(
          (text) => {
            const answer = understand(status, text);
            silence.end();
            resolve(
              answer.kind === 'data'
                ? { kind: 'unreachable', finding: `answered ${status}` }
                : answer,
            );
          },
          (error: Error) => failed(error.message),
        );
      },
    );
    sent.on('error', (error: NodeJS.ErrnoException) => failed(whyUnreachable(error)));
    sent.end();
  });
}

/** Aborts when nothing has come for too long. */
class Silence {
  readonly #limitMs: number;
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
    this.#start();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  async *watch(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    try {
      for await (const part of body) {
        // However long the caller takes with a part, that is not silence of the other side.
        this.end();
        yield part;
        this.#start();
      }
    } finally {
      this.end();
    }
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(), this.#limitMs);
  }
}

async function wholeText(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    parts.push(part);
    length += part.length;
    if (length > ANSWER_BYTES_MAX) throw new Error('the answer is too long');
  }
  return Buffer.concat(parts).toString();
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
      (response) =>
        void wholeText(response).then(
          (answer) => resolve(understand(response.statusCode ?? 0, answer)),
          (error: Error) => {
            sent.destroy();
            unreachable(error.message);
          },
        ),
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
