// TLS of the gRPC server: asks for a client certificate, goes on without one, and can be given new material while it runs.
// Invariants: a certificate on the revocation list gets no connection; new material counts for the next handshake.

import type { Http2SecureServer } from 'node:http2';
import { type Server, ServerCredentials } from '@grpc/grpc-js';
import { type Outcome, succeed } from '#foundation/outcome';
import { checkedContext, cutRevoked, secureContext, type TlsMaterial } from '../tls-material.ts';

const HANDSHAKE_MS = 10_000;

/** `createSsl` offers only "demand" or "do not ask", and nothing that can be replaced. */
export class ReplaceableTls extends ServerCredentials {
  constructor(tls: TlsMaterial) {
    const asking = { requestCert: true, rejectUnauthorized: false } as const;
    super({ ...asking, handshakeTimeout: HANDSHAKE_MS }, secureContext(tls));
  }

  replace(tls: TlsMaterial): Outcome<void> {
    const context = checkedContext(tls);
    if (!context.ok) return context;
    this.updateSecureContextOptions(context.value);
    return succeed(undefined);
  }

  _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/**
 * Has every HTTP/2 server below cut connections with a revoked certificate. grpc-js shows its servers nowhere else,
 * and has no place for "optional, but not revoked".
 */
export function cutRevokedConnections(server: Server): void {
  const { http2Servers } = server as unknown as {
    readonly http2Servers?: ReadonlyMap<Http2SecureServer, unknown>;
  };
  if (http2Servers === undefined || http2Servers.size === 0) {
    throw new Error('this version of grpc-js keeps its HTTP/2 servers elsewhere');
  }
  for (const below of http2Servers.keys()) below.prependListener('secureConnection', cutRevoked);
}
