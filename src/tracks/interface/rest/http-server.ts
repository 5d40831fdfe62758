// The HTTPS server in front of the REST application: TLS with optional client certificates behind the gate, and time-outs.
// Faults: an address that cannot be bound is CONFIG_INVALID with the address.

import type { Server, ServerOptions } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { type Outcome, succeed } from '#foundation/outcome';
import { listenOn } from '../listen.ts';
import { HANDSHAKE_MS, NetworkDoor } from '../network-door.ts';
import { https } from '../node-http.ts';
import { checkedContext, secureContext, type TlsMaterial } from '../tls-material.ts';
import type { RestApp } from './rest-app.ts';

export interface HttpListenOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly tls: TlsMaterial;
}

/** Time-outs of every HTTP server of ours: a slow or silent client loses its connection. */
export const HTTP_TIMES = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
  /** How often the first two are looked at. */
  connectionsCheckingInterval: 1_000,
} as const satisfies ServerOptions;
/** A client that neither sends nor reads anything for so long while it is served loses its connection too. */
export const SILENCE_MS = 60_000;
/** All headers of a request together (RFC 9112 leaves it to the server). */
export const HTTP_BOUNDS = { maxHeaderSize: 16 * 1024 } as const satisfies ServerOptions;
/** More than these are an error of the parser, answered like any other bytes that are no request. */
export const HEADERS_MAX = 64;

export type HttpTimes = { readonly [K in keyof typeof HTTP_TIMES]: number } & {
  readonly silenceMs: number;
  readonly handshakeTimeout: number;
};

export class HttpServer {
  readonly server: HttpsServer;
  readonly #door: NetworkDoor;

  constructor(app: RestApp, tls: TlsMaterial, given: Partial<HttpTimes> = {}) {
    const { silenceMs = SILENCE_MS, handshakeTimeout = HANDSHAKE_MS, ...times } = given;
    const { gate, strangers, clock } = app.service;
    this.server = https.createServer(
      {
        ...secureContext(tls),
        requestCert: true,
        // Without a certificate a token may still identify the caller; `authorized` is checked where it is read.
        rejectUnauthorized: false,
        handshakeTimeout,
        ...HTTP_BOUNDS,
        ...HTTP_TIMES,
        ...times,
      },
      app.serve,
    );
    this.server.setTimeout(silenceMs);
    this.server.maxHeadersCount = HEADERS_MAX;
    this.#door = new NetworkDoor({
      name: 'HTTPS',
      transport: 'rest',
      handshakeMs: handshakeTimeout,
      ...{ gate, strangers, clock },
    });
    this.#door.guard(this.server);
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (isNoHttp(error)) this.#door.strange('no-http', this.#door.strangerOf(socket as Socket));
      answerBadRequest(error, socket);
    });
  }

  /** For connections from now on; those that are open keep what they were made with. */
  replaceTls(tls: TlsMaterial): Outcome<void> {
    const context = checkedContext(tls);
    if (!context.ok) return context;
    this.server.setSecureContext(context.value);
    return succeed(undefined);
  }

  async listen(options: Omit<HttpListenOptions, 'tls'>): Promise<Outcome<number>> {
    const { host, port } = options;
    const listening = await listenOn(this.server, { host, port }, `HTTPS ${host}:${port}`);
    if (!listening.ok) return listening;
    return succeed((this.server.address() as AddressInfo).port);
  }

  async close(): Promise<void> {
    const closed = closeServer(this.server);
    // Handshakes belong to no request, and would keep the server open until their deadline.
    this.#door.cutAll();
    await closed;
  }
}

/** The parser gave up at bytes that are no HTTP; a request that is only slow, or was cut short, is none of these. */
export function isNoHttp({ code = '' }: NodeJS.ErrnoException): boolean {
  return code.startsWith('HPE_') && code !== 'HPE_INVALID_EOF_STATE';
}

/**
 * Bytes that are no HTTP request, or come too slowly, get a bare 400, never the parser's words. The connection is gone then,
 * whether the client closes its half or not: one that waits for it would keep a place that others need.
 */
export function answerBadRequest(
  error: NodeJS.ErrnoException,
  socket: {
    readonly writable: boolean;
    end(text: string, written: () => void): unknown;
    destroy(): unknown;
  },
): void {
  // Nothing can be written before the handshake is over, and this one will never be.
  if (!socket.writable || error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT') {
    socket.destroy();
    return;
  }
  const answer = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';
  socket.end(answer, () => socket.destroy());
}

/** Stops taking connections and cuts the open ones. */
export function closeServer(server: Server | HttpsServer): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
