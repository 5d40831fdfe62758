// WebSockets at /api/v1/ws on any of our HTTP servers: checks the upgrade, then hands over to a client each.
// Invariants: no compression, messages up to 64 KiB in at most 16 fragments, 128 connections; a token comes in a
// header, as subprotocol or as first message, never in the URL.

import type { IncomingMessage, Server } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { WebSocketServer as Acceptor, type WebSocket } from 'ws';
import { jsonText, problemOf } from '#contract/json-answer';
import { type Fault, fault } from '#foundation/fault';
import type { AgentEvent } from '#model/event';
import { REST_BASE } from '#model/operation-table';
import type { Connection } from '../connection.ts';
import { foreignOrigin } from '../http-peer.ts';
import { bearerCredential } from '../peer.ts';
import type { RestApp } from '../rest/rest-app.ts';
import type { InterfaceService } from '../service.ts';
import { eventText, messageReader } from './messages.ts';
import { WebSocketClient } from './websocket-client.ts';

export const WEBSOCKET_PATH = `${REST_BASE}/ws`;
/** Offered beside `dsmil.token.TOKEN` by clients that cannot set headers; the token is never sent back. */
export const SUBPROTOCOL = 'dsmil.v1';
const TOKEN_PROTOCOL = 'dsmil.token.';

const PAYLOAD_BYTES_MAX = 64 * 1024;
const CLIENTS_MAX = 128;
const GOING_AWAY = 1001;
const CLOSE_MS = 500;
const CLOSE_POLL_MS = 10;

export class WebSocketServer {
  readonly #service: InterfaceService;
  readonly #app: RestApp;
  readonly #acceptor: Acceptor;
  readonly #clients = new Set<WebSocketClient>();
  readonly #read = messageReader();
  readonly #texts = new WeakMap<AgentEvent, string>();

  constructor(service: InterfaceService, app: RestApp) {
    this.#service = service;
    this.#app = app;
    this.#acceptor = new Acceptor({
      noServer: true,
      maxPayload: PAYLOAD_BYTES_MAX,
      maxFragments: 16,
      perMessageDeflate: false,
      clientTracking: false,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
  }

  get clients(): number {
    return this.#clients.size;
  }

  attach(server: Server | HttpsServer): void {
    server.on('upgrade', (request, stream, head) => this.#upgrade(request, stream, head));
  }

  /** Says goodbye, and cuts whoever has not closed within half a second. */
  async close(): Promise<void> {
    for (const client of this.#clients) client.close(GOING_AWAY, 'The agent is shutting down');
    const { clock } = this.#service;
    const untilMs = clock.nowMs() + CLOSE_MS;
    while (this.#clients.size > 0 && clock.nowMs() < untilMs) await clock.sleep(CLOSE_POLL_MS);
    for (const client of this.#clients) client.terminate();
  }

  #upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    stream.on('error', () => stream.destroy());
    const refused = this.#refusal(request);
    if (refused !== null) {
      this.#service.refusedEarly(refused, this.#connectionOf(request));
      refuseUpgrade(stream, refused);
      return;
    }
    const connection = this.#connectionOf(request);
    this.#acceptor.handleUpgrade(request, stream, head, (socket) =>
      this.#welcome(socket, stream, connection),
    );
  }

  #refusal(request: IncomingMessage): Fault | null {
    if (request.url !== WEBSOCKET_PATH) {
      const finding = `is not ${WEBSOCKET_PATH}, which takes no query`;
      return fault('REQUEST_MALFORMED', { place: 'URL of the WebSocket', finding });
    }
    if (foreignOrigin(request, this.#app.allowedOrigins)) {
      const finding = 'is not the address of this appliance';
      return fault('ORIGIN_REFUSED', { place: 'Origin of the page', finding });
    }
    if (this.#clients.size >= CLIENTS_MAX) {
      return fault('BUSY', { place: 'WebSocket', finding: `${CLIENTS_MAX} clients are connected` });
    }
    return null;
  }

  #connectionOf(request: IncomingMessage): Connection {
    const connection = this.#app.peers.connectionOf(request, 'websocket');
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',');
    const token = offered
      .map((name) => name.trim())
      .find((name) => name.startsWith(TOKEN_PROTOCOL));
    if (token === undefined) return connection;
    return {
      ...connection,
      credential: bearerCredential(`Bearer ${token.slice(TOKEN_PROTOCOL.length)}`),
    };
  }

  #welcome(socket: WebSocket, stream: Duplex, connection: Connection): void {
    socket.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code?.startsWith('WS_ERR_') !== true) return;
      const { origin, address } = connection;
      const stranger = { door: 'WebSocket', address, ...origin };
      this.#service.strangers.strange('no-websocket', stranger);
    });
    const client: WebSocketClient = new WebSocketClient({
      service: this.#service,
      socket,
      stream,
      connection,
      read: this.#read,
      textOf: (event) => this.#textOf(event),
      onClose: () => this.#clients.delete(client),
    });
    this.#clients.add(client);
  }

  /** One serialization for all clients of one event. */
  #textOf(event: AgentEvent): string {
    const known = this.#texts.get(event);
    if (known !== undefined) return known;
    const text = eventText(event);
    this.#texts.set(event, text);
    return text;
  }
}

/** An answer in plain HTTP, because the connection has not become a WebSocket. */
function refuseUpgrade(stream: Duplex, found: Fault): void {
  const body = jsonText(problemOf(found));
  stream.end(
    `HTTP/1.1 ${problemOf(found).status} Refused\r\nConnection: close\r\nContent-Type: application/problem+json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
