// Reads the far end of a connection: address without port, and the identity of a verified client certificate.

import type { PeerCertificate } from 'node:tls';
import type { Credential } from '#model/principal';

const TOKEN_LENGTH_MAX = 4096;
const URI_LENGTH_MAX = 2048;

/** `127.0.0.1` of `ipv4:127.0.0.1:40312`, `::1` of `[::1]:40312`. */
export function addressOf(peer: string): string {
  const text = peer.replace(/^(ipv4|ipv6):/, '');
  const colon = text.lastIndexOf(':');
  const host = colon > 0 ? text.slice(0, colon) : text;
  return host.replace(/^\[|\]$/g, '');
}

/**
 * The identity in a certificate that TLS has verified against our authority: its one URI subject alternative
 * name (RFC 5280 section 4.2.1.6). None, several, or one that Node had to quote give no identity.
 */
export function certificateCredential(certificate: PeerCertificate): Credential | null {
  const names = (certificate.subjectaltname ?? '').split(', ');
  const uris = names.filter((name) => name.startsWith('URI:')).map((name) => name.slice(4));
  const [uri] = uris;
  if (
    uris.length !== 1 ||
    uri === undefined ||
    uri.startsWith('"') ||
    uri === '' ||
    uri.length > URI_LENGTH_MAX
  )
    return null;
  return { kind: 'certificate', uri, fingerprint: certificate.fingerprint256 };
}

/** The token of an `Authorization: Bearer TOKEN` value (RFC 6750 section 2.1); null for anything else. */
export function bearerCredential(header: string | undefined): Credential | null {
  const match = /^Bearer ([A-Za-z0-9._~+/=-]+)$/i.exec(header ?? '');
  const token = match?.[1];
  if (token === undefined || token.length > TOKEN_LENGTH_MAX) return null;
  return { kind: 'token', token };
}
