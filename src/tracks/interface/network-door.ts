// What stands at every network door before anybody has signed in: the gate before TLS costs anything, a deadline for the
// whole handshake, and a word on record about what came that was foreign.
// Invariants: a connection that the gate refused never reaches TLS; one that is not through its handshake when its time is
// over is cut, however slowly its bytes drip; whoever shows a revoked certificate gets no connection at all.

import type { Socket } from 'node:net';
import type { TLSSocket, Server as TlsServer } from 'node:tls';
import type { Cancel, Clock } from '#foundation/clock';
import type { ConnectionGate } from './connection-gate.ts';
import { certificateCredential, networkOf } from './peer.ts';
import type { StrangeKind, Stranger, StrangerReports } from './stranger-reports.ts';

/** For the whole handshake; Node's own limit is one of silence, and starts anew with every byte. */
export const HANDSHAKE_MS = 10_000;

export interface NetworkDoorParts {
  /** `HTTPS` or `gRPC`. */
  readonly name: string;
  readonly transport: Stranger['transport'];
  readonly gate: ConnectionGate;
  readonly strangers: StrangerReports;
  readonly clock: Clock;
  readonly handshakeMs?: number;
}

interface Arrival {
  readonly socket: Socket;
  readonly stranger: Stranger;
  readonly cancel: Cancel;
}

export class NetworkDoor {
  readonly #parts: NetworkDoorParts;
  readonly #handshakeMs: number;
  readonly #open = new Set<Socket>();
  /** In their handshake, by address and port. */
  readonly #arrivals = new Map<string, Arrival>();

  constructor(parts: NetworkDoorParts) {
    this.#parts = parts;
    this.#handshakeMs = parts.handshakeMs ?? HANDSHAKE_MS;
  }

  /** Puts itself before what the server does with a new connection, and hears how its handshakes end. */
  guard(server: TlsServer): void {
    const accepting = server.listeners('connection');
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      if (!this.#admits(socket)) return;
      for (const accept of accepting) Reflect.apply(accept, server, [socket]);
    });
    server.prependListener('secureConnection', (socket: TLSSocket) => this.#shaken(socket));
    // Before Node's own listeners, which close the socket.
    server.prependListener('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      const arrival = this.#arrivalOf(socket);
      const kind = strangeTls(error);
      // Foreign bytes may come and go before the address can be asked for; the arrival knows it.
      if (kind !== null) this.strange(kind, arrival?.stranger ?? this.strangerOf(socket));
      // Node leaves a socket whose handshake was too slow to whoever hears of it.
      socket.destroy();
    });
  }

  /** On record, in bounds: something came that is foreign to this door. */
  strange(kind: StrangeKind, stranger: Stranger): void {
    this.#parts.strangers.strange(kind, stranger);
  }

  strangerOf(socket: Pick<Socket, 'remoteAddress' | 'remotePort'>): Stranger {
    const { name: door, transport } = this.#parts;
    const address = socket.remoteAddress ?? 'unknown';
    const peer = `${address}:${socket.remotePort ?? 0}`;
    return { door, transport, peer, address: networkOf(address) };
  }

  /** Cuts every connection, those in their handshake too. */
  cutAll(): void {
    for (const socket of this.#open) socket.destroy();
  }

  #admits(socket: Socket): boolean {
    socket.on('error', () => undefined);
    // Gone again already, and nobody can say who it was.
    if (socket.remoteAddress === undefined) {
      socket.destroy();
      return false;
    }
    const stranger = this.strangerOf(socket);
    const { address, peer } = stranger;
    const answer = this.#parts.gate.ask({ address, peer, cut: () => socket.destroy() });
    if (!answer.admitted) {
      this.strange(answer.full === 'address' ? 'address-full' : 'doors-full', stranger);
      // Without the long goodbye, which would keep memory of the system for each of them.
      socket.resetAndDestroy();
      return false;
    }
    const { displaced } = answer;
    if (displaced !== null) {
      this.strange('displaced', { ...stranger, peer: displaced.peer, address: displaced.address });
    }
    const cancel = this.#parts.clock.after(this.#handshakeMs, () => {
      this.strange('handshake-slow', stranger);
      socket.destroy();
    });
    const arrival = { socket, stranger, cancel };
    this.#open.add(socket);
    this.#arrivals.set(peer, arrival);
    socket.once('close', () => {
      cancel();
      answer.leave();
      this.#open.delete(socket);
      if (this.#arrivals.get(peer) === arrival) this.#arrivals.delete(peer);
    });
    return true;
  }

  #shaken(socket: TLSSocket): void {
    const arrival = this.#arrivalOf(socket);
    const stranger = arrival?.stranger ?? this.strangerOf(socket);
    arrival?.cancel();
    this.#arrivals.delete(stranger.peer);
    const kind = strangeCertificate(socket);
    if (kind !== null) this.strange(kind, stranger);
    if (kind === 'certificate-revoked') socket.destroy();
    else if (socket.authorized) this.#parts.gate.prove(stranger.peer);
  }

  /** By address and port, or where the system has forgotten those, by the socket below. */
  #arrivalOf(socket: TLSSocket): Arrival | undefined {
    const known = this.#arrivals.get(this.strangerOf(socket).peer);
    if (known !== undefined) return known;
    const below: unknown = Reflect.get(socket, '_parent');
    return [...this.#arrivals.values()].find((arrival) => arrival.socket === below);
  }
}

/** What is wrong with the certificate that was shown; null for none, which a browser has, and for a good one. */
function strangeCertificate(socket: TLSSocket): StrangeKind | null {
  const shown: Partial<ReturnType<TLSSocket['getPeerCertificate']>> | null =
    socket.getPeerCertificate();
  // Node gives an empty object where the client showed no certificate.
  if (shown?.raw === undefined) return null;
  if (socket.authorized) {
    const named = certificateCredential(socket.getPeerCertificate());
    return named === null ? 'certificate-nameless' : null;
  }
  // Declared as an error, and a text in truth: the code of OpenSSL.
  const found: unknown = socket.authorizationError;
  switch (found) {
    case 'CERT_REVOKED':
      return 'certificate-revoked';
    case 'CERT_HAS_EXPIRED':
      return 'certificate-expired';
    case 'CERT_NOT_YET_VALID':
      return 'certificate-early';
    case 'INVALID_PURPOSE':
    case 'CERT_REJECTED':
    case 'CRL_HAS_EXPIRED':
    case 'UNABLE_TO_GET_CRL':
      return 'certificate-unfit';
    default:
      return 'certificate-foreign';
  }
}

/** OpenSSL's reasons for what cannot have been meant as TLS. */
const NO_TLS = new RegExp(
  'WRONG_VERSION_NUMBER|UNKNOWN_PROTOCOL|DATA_LENGTH_TOO_LONG|LENGTH_MISMATCH|UNEXPECTED_MESSAGE|' +
    'BAD_RECORD_TYPE|BAD_PACKET_LENGTH|BAD_LENGTH',
);

/**
 * What a handshake that failed says of the client; null where it says nothing against it: a connection that was only
 * opened and closed, and a client that does not trust our certificate and says so by an alert.
 */
function strangeTls({ code = '' }: NodeJS.ErrnoException): StrangeKind | null {
  if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') return 'handshake-slow';
  if (!/^(EPROTO$|ERR_O?SSL_)/.test(code) || code.includes('_ALERT_')) return null;
  if (/HTTPS?_(PROXY_)?REQUEST/.test(code)) return 'plain-http';
  if (code.includes('NO_APPLICATION_PROTOCOL')) return 'other-protocol';
  return NO_TLS.test(code) ? 'no-tls' : 'tls-failed';
}
