// TLS of the gRPC server: a server of our own that shakes hands and hands what speaks HTTP/2 over to grpc-js.
// Invariants: grpc-js sees no connection before its handshake is over, and none but HTTP/2; a certificate on the revocation
// list gets no connection; new material counts for the next handshake.

import type { Http2Server, ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { type Server, ServerCredentials } from '@grpc/grpc-js';
import { HANDSHAKE_MS, type NetworkDoor } from '../network-door.ts';
import type { Stranger } from '../stranger-reports.ts';
import { secureContext, type TlsMaterial } from '../tls-material.ts';

const ALPN = 'h2';

/**
 * The server that listens. grpc-js takes connections that were made elsewhere (its `createConnectionInjector`) and reads
 * the client's certificate from the TLS socket that it is given; "insecure" is what it calls not doing TLS itself.
 */
export function tlsServerFor(grpc: Server, door: NetworkDoor, tls: TlsMaterial): TlsServer {
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  hearBrokenRules(grpc, door);
  const server = createServer(
    {
      ...secureContext(tls),
      requestCert: true,
      // Without a certificate a token may still identify the caller; `authorized` is checked where it is read.
      rejectUnauthorized: false,
      // The door has a deadline for the whole of it; this one of silence never comes first.
      handshakeTimeout: 2 * HANDSHAKE_MS,
      ALPNProtocols: [ALPN],
      noDelay: true,
    },
    (socket: TLSSocket) => {
      // An error of the connection ends the session on it, which tells nobody here.
      socket.on('error', () => undefined);
      if (socket.destroyed) return;
      if (socket.alpnProtocol === ALPN) {
        injector.injectConnection(socket);
        return;
      }
      door.strange('other-protocol', door.strangerOf(socket));
      socket.destroy();
    },
  );
  door.guard(server);
  return server;
}

/** grpc-js shows the HTTP/2 server that it injects into nowhere else, and drops sessions that break the rules in silence. */
function hearBrokenRules(grpc: Server, door: NetworkDoor): void {
  const { http2Servers } = grpc as unknown as {
    readonly http2Servers?: ReadonlyMap<Http2Server, unknown>;
  };
  const [below] = http2Servers?.keys() ?? [];
  if (below === undefined) {
    throw new Error('this version of grpc-js keeps its HTTP/2 servers elsewhere');
  }
  below.on('session', (session: ServerHttp2Session) => {
    // Asked for now: a session that broke down has no socket any more.
    const stranger: Stranger = door.strangerOf(session.socket as Socket);
    session.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ERR_HTTP2_ERROR') door.strange('no-http2', stranger);
    });
  });
}
