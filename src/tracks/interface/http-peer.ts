// Who is at the other end of an HTTP connection: local peer, client certificate, token or cookie.
// Invariants: a connection's identity is read from its socket once; headers may add a token, never a certificate.

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Credential, Transport } from '#model/principal';
import type { Connection } from './connection.ts';
import { bearerCredential, certificateCredential, networkOf } from './peer.ts';
import type { CookieSessions, Place } from './rest/cookie-sessions.ts';
import type { InterfaceService } from './service.ts';

interface KnownSocket {
  readonly id: string;
  readonly peer: string;
  readonly address: string;
  readonly local: Place;
  readonly credential: Credential | null;
}

export class HttpPeers {
  readonly #service: InterfaceService;
  readonly #cookies: CookieSessions;
  readonly #known = new WeakMap<Socket, KnownSocket>();
  #count = 0;

  constructor(service: InterfaceService, cookies: CookieSessions) {
    this.#service = service;
    this.#cookies = cookies;
  }

  /** A connection of the local socket, whose peer the kernel has named. */
  addLocal(socket: Socket, credential: Extract<Credential, { kind: 'local' }>): void {
    this.#remember(socket, {
      id: `local ${++this.#count}`,
      peer: `uid ${credential.uid}`,
      address: `uid ${credential.uid}`,
      local: 'local',
      credential,
    });
  }

  /** The caller of one request; its session is ended when the socket closes. */
  connectionOf(request: IncomingMessage, transport: Transport): Connection {
    const known = this.#known.get(request.socket) ?? this.#addNetwork(request.socket);
    const origin = {
      transport: known.local === 'local' ? 'local' : transport,
      peer: known.peer,
    } as const;
    const base = { origin, address: known.address, id: known.id };
    const { authorization, cookie } = request.headers;
    if (authorization !== undefined) {
      return { ...base, credential: bearerCredential(authorization) };
    }
    const found = this.#cookies.find(cookie, known.local);
    if (found !== null) return { ...base, id: found.id, credential: found.credential };
    return { ...base, credential: known.credential };
  }

  #addNetwork(socket: Socket): KnownSocket {
    const address = socket.remoteAddress ?? 'unknown';
    const verified = socket instanceof TLSSocket && socket.authorized;
    const certificate = verified ? socket.getPeerCertificate() : undefined;
    return this.#remember(socket, {
      id: `http ${++this.#count}`,
      peer: `${address}:${socket.remotePort ?? 0}`,
      address: networkOf(address),
      local: 'network',
      credential: certificate?.raw === undefined ? null : certificateCredential(certificate),
    });
  }

  #remember(socket: Socket, known: KnownSocket): KnownSocket {
    this.#known.set(socket, known);
    socket.once('close', () => this.#service.closeConnection(known.id));
    return known;
  }
}

/** True when a browser sent the request from a page of another site (Fetch Metadata, RFC 6454). */
export function foreignOrigin(request: IncomingMessage, allowed: readonly string[]): boolean {
  const { origin, host } = request.headers;
  if (request.headers['sec-fetch-site'] === 'cross-site') return true;
  if (origin === undefined) return false;
  return origin !== `https://${host ?? ''}` && !allowed.includes(origin);
}

/** Query members that would put a secret into logs and histories, however they are spelled. */
export function secretInUrl(url: string): boolean {
  const start = url.indexOf('?');
  if (start < 0) return false;
  const names = [...new URLSearchParams(url.slice(start + 1)).keys()];
  return names.some((name) => SECRET_NAMES.has(name.toLowerCase().replace(/[^a-z]/g, '')));
}

const SECRET_NAMES: ReadonlySet<string> = new Set(
  (
    'accesstoken apikey apitoken auth authorization bearer code cookie credential credentials dsmilsession idtoken ' +
    'invitation jwt key otp pass passwd password passphrase pin pwd refreshtoken secret session sessionid sid sig ' +
    'signature token totp'
  ).split(' '),
);
