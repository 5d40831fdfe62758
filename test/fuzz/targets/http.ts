// HTTP on the local socket: damaged JSON bodies of every POST route of the operation table, and damaged requests byte by byte.

import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { FAULT_CATALOGUE } from '#foundation/fault-catalogue';
import { OPERATION_TABLE } from '#model/operation-table';
import { REST_BODIES, type RestKey, restPath } from '../../support/rest-bodies.ts';
import { damageBytes } from '../byte-mutators.ts';
import type { FuzzBench, FuzzTarget } from '../fuzz.ts';
import { damageTree } from '../tree-mutators.ts';
import { type Complaint, judgeFault } from '../verdict.ts';
import { Front } from './front.ts';

const TOKEN = 'Bearer token-alice';
const WAIT_MS = 15_000;
const KEYS = Object.keys(REST_BODIES) as RestKey[];
const POSTED = KEYS.filter((key) => OPERATION_TABLE[key].rest.method === 'POST');

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

/** A success, or a problem of the catalogue that is no mistake of the agent. */
function judgeAnswer({ status, type, text }: Answer): Complaint {
  if (status >= 200 && status < 300) return null;
  if (status === 400 && text === '') return null;
  if (!type.startsWith('application/problem+json')) return `${status} as ${type}`;
  let problem: unknown;
  try {
    problem = JSON.parse(text);
  } catch {
    return `${status} with a problem that is no JSON`;
  }
  const complaint = judgeFault(problem);
  if (complaint !== null) return complaint;
  const { code } = problem as { readonly code: keyof typeof FAULT_CATALOGUE };
  // What the schema lets through must also fit the link: LINK_PROTOCOL would blame the agent's own halves.
  if (code === 'LINK_PROTOCOL') return `LINK_PROTOCOL: ${text}`;
  const wanted = FAULT_CATALOGUE[code].http;
  return status === wanted || status === 404 ? null : `${code} with status ${status}`;
}

function post(path: string, url: string, body: Buffer, agent: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sending = request(
      {
        agent,
        socketPath: path,
        method: 'POST',
        path: url,
        timeout: WAIT_MS,
        headers: { authorization: TOKEN, 'content-type': 'application/json' },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const type = response.headers['content-type'] ?? '';
          const text = Buffer.concat(chunks).toString('utf8');
          resolve({ status: response.statusCode ?? 0, type, text });
        });
      },
    );
    sending.on('timeout', () => sending.destroy(new Error(`no answer to ${url}`)));
    sending.on('error', reject);
    sending.end(body);
  });
}

export const json: FuzzTarget = {
  name: 'json',
  runs: 1_500,
  open: async (): Promise<FuzzBench> => {
    const front = await Front.open();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    // The route's key, a line feed, then the body.
    const corpus = POSTED.map((key) => {
      const body = REST_BODIES[key];
      return Buffer.from(`${key}\n${body === null ? '' : JSON.stringify(body)}`);
    });
    const full = {
      operation: 'WRITE',
      targets: [{ device: '0x8000', registers: [{ register: 'DATA', value: '0xFF' }] }],
      justification: 'the pump stands still',
      confirmedRisk: 'LOW',
      dryRun: true,
    };
    corpus.push(Buffer.from(`operate\n${JSON.stringify(full)}`));
    const bodyIn = (input: Buffer) => input.subarray(input.indexOf('\n') + 1);
    return {
      corpus,
      mutate: (input, random) => {
        const head = input.subarray(0, input.indexOf('\n') + 1);
        const text = bodyIn(input).toString('utf8') || '{}';
        if (random.once(6)) {
          const dictionary = ['__proto__', '\\u005f', '\ufeff', '{}', '[', '"', '\\ud800', '1e999'];
          const bodies = corpus.map(bodyIn);
          const damaged = damageBytes(bodyIn(input), { random, corpus: bodies, dictionary });
          return Buffer.concat([head, damaged]);
        }
        const other = () => JSON.parse(bodyIn(random.pick(corpus)).toString('utf8') || '{}');
        return Buffer.concat([head, Buffer.from(damageTree(JSON.parse(text), random, other))]);
      },
      check: async (input) => {
        const name = input.subarray(0, Math.max(0, input.indexOf('\n'))).toString('latin1');
        const key = POSTED.find((one) => one === name) ?? 'operate';
        const url = restPath(key, OPERATION_TABLE[key].rest.path);
        let answer: Answer;
        try {
          answer = await post(front.path, url, bodyIn(input), agent);
        } catch (error) {
          // A body beyond the limit may be answered and cut off before it was sent whole.
          const { code } = error as NodeJS.ErrnoException;
          if (bodyIn(input).length < 65_536 || (code !== 'EPIPE' && code !== 'ECONNRESET')) {
            throw error;
          }
          return front.judge();
        }
        return judgeAnswer(answer) ?? front.judge();
      },
      close: async () => {
        agent.destroy();
        await front.close();
      },
    };
  },
};

/**
 * All that comes until the connection is closed, after everything was sent. What is sent second goes when the first was
 * answered, and the end after that when nothing more comes for a few turns of the event loop.
 */
export function converse(path: string, first: Buffer, second?: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    const chunks: Buffer[] = [];
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`the connection was still open after ${WAIT_MS} ms`));
    }, WAIT_MS);
    let waits = second;
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      if (waits === undefined) return;
      socket.write(waits);
      waits = undefined;
      void quietTurns(chunks).then(() => socket.end());
    });
    // Closed by the server while we still wrote: what came before counts.
    socket.on('error', () => undefined);
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks));
    });
    if (second === undefined) socket.end(first);
    else socket.write(first);
  });
}

const QUIET_TURNS = 6;

async function quietTurns(chunks: readonly Buffer[]): Promise<void> {
  let seen = chunks.length;
  for (let quiet = 0; quiet < QUIET_TURNS; quiet++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (chunks.length === seen) continue;
    seen = chunks.length;
    quiet = 0;
  }
}

/** Reads the answers that follow each other, by their own lengths. */
function judgeStream(bytes: Buffer): Complaint {
  for (let at = 0; at < bytes.length; ) {
    const headEnd = bytes.indexOf('\r\n\r\n', at);
    if (headEnd < 0) return `half a head: ${bytes.subarray(at, at + 100).toString('latin1')}`;
    const [first = '', ...lines] = bytes.subarray(at, headEnd).toString('latin1').split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1] ?? 0);
    if (status === 0) return `no status: ${first.slice(0, 100)}`;
    const headers = new Map(
      lines.map((line) => {
        const [name = '', ...value] = line.split(': ');
        return [name.toLowerCase(), value.join(': ')] as const;
      }),
    );
    const bodyAt = headEnd + 4;
    if (status === 100) {
      at = bodyAt;
      continue;
    }
    // A stream goes on to the end of the connection, and so does a protocol that was switched to.
    if (status === 101 || headers.has('transfer-encoding')) return null;
    const length = Number(headers.get('content-length') ?? 0);
    const text = bytes.subarray(bodyAt, bodyAt + length).toString('utf8');
    const complaint = judgeAnswer({ status, type: headers.get('content-type') ?? '', text });
    if (complaint !== null) return complaint;
    at = bodyAt + length;
  }
  return null;
}

const WORDS = [
  'GET ',
  'POST ',
  'HEAD ',
  'CONNECT ',
  'OPTIONS * HTTP/1.1\r\n',
  'HTTP/1.0',
  'HTTP/2.0',
  'Transfer-Encoding: chunked\r\n',
  'Content-Length: 0\r\n',
  'Content-Length: 4294967296\r\n',
  'Content-Length: -1\r\n',
  'Expect: 100-continue\r\n',
  'Expect: nothing\r\n',
  'Connection: Upgrade\r\nUpgrade: websocket\r\n',
  'Upgrade: h2c\r\n',
  'Authorization: Bearer token-bob\r\n',
  'Authorization: Basic YTpi\r\n',
  'Cookie: dsmil_session=x\r\n',
  'Origin: null\r\n',
  'Host: \r\n',
  'Content-Type: application/json; charset=utf-16\r\n',
  'Content-Type: text/plain\r\n',
  'Content-Encoding: gzip\r\n',
  '\r\n\r\n',
  '\n\n',
  '\u0000',
  '%00',
  '%2e%2e/',
  '//',
  '?token=x',
  '#',
  '0\r\n\r\n',
  'ffffffff\r\n',
];

export const http: FuzzTarget = {
  name: 'http',
  runs: 1_000,
  open: async (): Promise<FuzzBench> => {
    const front = await Front.open();
    const corpus = KEYS.map((key) => {
      const { method, path } = OPERATION_TABLE[key].rest;
      const body = REST_BODIES[key] === null ? '' : JSON.stringify(REST_BODIES[key]);
      const length = method === 'GET' ? '' : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
      const type = body === '' ? '' : 'Content-Type: application/json\r\n';
      return Buffer.from(
        `${method} ${restPath(key, path)} HTTP/1.1\r\nHost: localhost\r\n` +
          `Authorization: ${TOKEN}\r\n${type}${length}\r\n${body}`,
      );
    });
    corpus.push(
      Buffer.from(
        'POST /api/v1/operations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n' +
          'Transfer-Encoding: chunked\r\n\r\n5\r\n{"ope\r\n1d\r\nration":"READ","device":0}   \r\n0\r\n\r\n',
      ),
    );
    return {
      corpus,
      mutate: (input, random) => damageBytes(input, { random, corpus, dictionary: WORDS }),
      check: async (input) => {
        const answers = await converse(front.path, input);
        return judgeStream(answers) ?? front.judge();
      },
      close: () => front.close(),
    };
  },
};
