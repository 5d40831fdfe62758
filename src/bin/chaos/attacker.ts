// Somebody who attacks over the network, from one source address: HTTPS requests, WebSockets, gRPC calls and raw bytes.
// Invariants: everything passes the limits before it leaves; every wait has an end; the token of the exercise goes to the
// agent's own doors alone.

import { Agent, request } from 'node:https';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import { REST_BASE } from '#model/operation-table';
import type { Doors } from '../doors-file.ts';
import type { Limits } from './limits.ts';

export interface Answer {
  /** 0 where the connection ended without an answer. */
  readonly status: number;
  /** Of the fault catalogue; empty where there is none, or how the connection ended. */
  readonly code: string;
  readonly json: unknown;
}

export interface Call {
  readonly method?: string;
  /** Below the base, or from the root on. */
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Null for none. */
  readonly token?: string | null;
  /** A connection of its own instead of the attacker's. */
  readonly fresh?: true;
  readonly certificate?: { readonly cert: string; readonly key: string };
}

export interface AttackerParts {
  readonly doors: Doors;
  /** Certificate of the agent's authority. */
  readonly authority: string;
  /** Local address that everything comes from. */
  readonly source: string;
  readonly token: string;
  readonly limits: Limits;
}

/** `closed`: by the agent; `open`: it still was when the patience ended. */
export type RawEnd = 'closed' | 'refused' | 'open';

const ANSWER_MS = 8_000;
const RAW_MS = 3_000;
const ANSWER_BYTES_MAX = 1 << 20;

export class Attacker {
  readonly source: string;
  readonly #parts: AttackerParts;
  readonly #kept: Agent;
  #release: (() => void) | null = null;

  constructor(parts: AttackerParts) {
    this.#parts = parts;
    this.source = parts.source;
    this.#kept = new Agent({ keepAlive: true, maxSockets: 1, ...this.#tls() });
  }

  /** One HTTPS request; on the attacker's own kept connection unless it says otherwise. */
  async call(call: Call): Promise<Answer> {
    this.#parts.limits.spend();
    const own = call.fresh === true || call.certificate !== undefined;
    const release = own ? this.#parts.limits.open() : null;
    if (!own) this.#release ??= this.#parts.limits.open();
    try {
      return await this.#exchange(call, own);
    } finally {
      release?.();
    }
  }

  #exchange(call: Call, own: boolean): Promise<Answer> {
    const { doors, token } = this.#parts;
    const { method = 'GET', path, body, headers = {}, certificate } = call;
    const bearer = call.token === undefined ? token : call.token;
    const text =
      body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    return new Promise((resolve) => {
      const lost = (error: NodeJS.ErrnoException) =>
        resolve({ status: 0, code: error.code ?? error.message, json: undefined });
      const sent = request(
        {
          ...this.#tls(),
          ...certificate,
          host: doors.http.host,
          port: doors.http.port,
          agent: own ? false : this.#kept,
          method,
          path: path.startsWith('/') ? path : `${REST_BASE}/${path}`,
          signal: AbortSignal.timeout(ANSWER_MS),
          headers: {
            ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
            ...(text === undefined ? {} : { 'content-type': 'application/json' }),
            ...headers,
          },
        },
        (response) => {
          let received = '';
          response.setEncoding('utf8');
          response.on('error', lost);
          response.on('data', (part: string) => {
            received += part;
            if (received.length > ANSWER_BYTES_MAX) sent.destroy(new Error('too long'));
          });
          response.on('end', () => resolve(answerOf(response.statusCode ?? 0, received)));
        },
      );
      sent.on('error', lost);
      sent.end(text);
    });
  }

  /** Opens a WebSocket, says this, and hears the first answer and how it was closed. */
  async webSocket(how: {
    readonly headers?: Readonly<Record<string, string>>;
    readonly token?: string | null;
    readonly path?: string;
    readonly say?: readonly (string | Buffer)[];
  }): Promise<{
    readonly upgraded: boolean;
    readonly status: number;
    readonly code: string;
    readonly closed: number;
  }> {
    const { limits, doors, token } = this.#parts;
    limits.spend();
    const release = limits.open();
    const bearer = how.token === undefined ? token : how.token;
    const socket = new WebSocket(
      `wss://${hostText(doors.http.host)}:${doors.http.port}${how.path ?? `${REST_BASE}/ws`}`,
      {
        ...this.#tls(),
        handshakeTimeout: RAW_MS,
        headers: {
          ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
          ...how.headers,
        },
      },
    );
    let upgraded = false;
    let status = 0;
    let code = '';
    const said = how.say?.length ?? 0;
    const closed = await new Promise<number>((resolve) => {
      const timer = setTimeout(() => resolve(0), RAW_MS);
      const settle = (how: number) => {
        clearTimeout(timer);
        resolve(how);
      };
      socket.on('unexpected-response', (_request, response) => {
        status = response.statusCode ?? 0;
        let text = '';
        response.on('data', (part: Buffer) => {
          text += part.toString();
        });
        response.on('end', () => {
          code = answerOf(status, text).code;
          settle(0);
        });
      });
      socket.on('open', () => {
        upgraded = true;
        for (const message of how.say ?? []) {
          limits.spend();
          socket.send(message);
        }
      });
      let answers = 0;
      socket.on('message', (data) => {
        const { type, error } = parsed(String(data)) as {
          readonly type?: string;
          readonly error?: { readonly code?: string };
        };
        if (type === 'CONNECTION_ESTABLISHED') {
          if (said === 0) code = type;
        } else {
          answers += 1;
          code = error?.code ?? type ?? '';
        }
        if (answers >= said) settle(0);
      });
      socket.on('close', settle);
      socket.on('error', () => settle(0));
    });
    socket.terminate();
    release();
    return { upgraded, status, code, closed };
  }

  /** Bytes to a door, in TLS or below it, and what became of the connection. */
  async raw(
    bytes: Buffer,
    how: { readonly door?: 'http' | 'grpc'; readonly layer: 'tls' | 'tcp' },
  ): Promise<{ readonly end: RawEnd; readonly text: string }> {
    const { limits, doors } = this.#parts;
    limits.spend();
    const release = limits.open();
    const door = doors[how.door ?? 'http'];
    const alpn = how.door === 'grpc' ? ['h2'] : ['http/1.1'];
    const socket: Socket | TLSSocket =
      how.layer === 'tls'
        ? connectTls({ ...this.#tls(), host: door.host, port: door.port, ALPNProtocols: alpn })
        : connect({ host: door.host, port: door.port, localAddress: this.source });
    try {
      return await new Promise((resolve) => {
        let text = '';
        let connected = false;
        const settle = (end: RawEnd) => {
          clearTimeout(timer);
          resolve({ end, text });
        };
        const timer = setTimeout(() => settle('open'), RAW_MS);
        socket.on('error', () => settle(connected ? 'closed' : 'refused'));
        socket.on('close', () => settle('closed'));
        socket.on('data', (part: Buffer) => {
          if (text.length < 4_096) text += part.toString('latin1');
        });
        socket.once(how.layer === 'tls' ? 'secureConnect' : 'connect', () => {
          connected = true;
          socket.write(bytes);
        });
      });
    } finally {
      socket.destroy();
      release();
    }
  }

  /** A TLS connection that says nothing; null where it was not let in. */
  async idle(): Promise<{ close(): void } | null> {
    const { limits, doors } = this.#parts;
    limits.spend();
    const release = limits.open();
    const { host, port } = doors.http;
    const socket = connectTls({ ...this.#tls(), host, port });
    const close = () => {
      socket.destroy();
      release();
    };
    const open = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), ANSWER_MS);
      const settle = (good: boolean) => {
        clearTimeout(timer);
        resolve(good);
      };
      socket.once('secureConnect', () => settle(true));
      socket.once('close', () => settle(false));
      socket.on('error', () => settle(false));
    });
    if (open) return { close };
    close();
    return null;
  }

  close(): void {
    this.#kept.destroy();
    this.#release?.();
    this.#release = null;
  }

  /** The agent is who its authority says; under which name it is reached is not what is tried here. */
  #tls() {
    const { authority, source } = this.#parts;
    return {
      ca: authority,
      localAddress: source,
      servername: '',
      checkServerIdentity: () => undefined,
    } as const;
  }
}

function answerOf(status: number, text: string): Answer {
  const json = parsed(text);
  const { code } = (json ?? {}) as { readonly code?: unknown };
  return { status, code: typeof code === 'string' ? code : '', json };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
