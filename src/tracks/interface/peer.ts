// Reads the far end of a connection: address without port, and the identity of a verified client certificate.

import { isIP } from 'node:net';
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
 * What one far end can hold to itself, for the limits: an IPv4 address whichever way it is written, the /64 of an
 * IPv6 address, because its owner has all of them (RFC 4291 section 2.5.4). Anything else stays as it is.
 */
export function networkOf(address: string): string {
  const [plain = ''] = address.split('%', 1);
  if (isIP(plain) !== 6) return plain === '' ? address : plain;
  const groups = groupsOf(plain);
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (mapped) {
    const [high = 0, low = 0] = groups.slice(6);
    return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
  }
  if (groups.slice(0, 7).every((group) => group === 0)) return plain;
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':')}::/64`;
}

/** The eight groups of an address that is known to be IPv6. */
function groupsOf(address: string): readonly number[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const hex = (high: string | undefined, low: string | undefined) =>
    (Number(high) * 256 + Number(low)).toString(16);
  const text =
    dotted === null
      ? address
      : `${dotted[1]}${hex(dotted[2], dotted[3])}:${hex(dotted[4], dotted[5])}`;
  const [before = '', after] = text.split('::');
  const parts = (half: string) => half.split(':').filter((part) => part !== '');
  const head = parts(before);
  const tail = parts(after ?? '');
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  return [...head, ...zeros, ...tail].map((group) => Number.parseInt(group, 16));
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
