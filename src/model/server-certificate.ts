// What interface asks of security for its TLS server: a certificate for a key that never leaves interface.
// Invariants: the names in it are security's to choose; a request is worth nothing without the private key.

export interface ServerCertificateRequest {
  /** SPKI as PEM, on P-256. */
  readonly publicKeyPem: string;
  /** ECDSA with SHA-256 over `serverProofBytes`, base64: whoever asks has the private key. */
  readonly proof: string;
}

/** What every TLS server of ours needs beside a key; public. */
export interface TrustMaterial {
  readonly authorityPem: string;
  readonly revocationListPem: string;
  /** Names that the server certificate has to carry now, the first one first. */
  readonly names: readonly string[];
  /** Fingerprints of server certificates that were revoked, the last ones. */
  readonly revokedServers: readonly string[];
}

export interface ServerCertificate extends TrustMaterial {
  readonly certificatePem: string;
}

export const SERVER_NAMES_MAX = 32;
export const SERVERS_TOLD_MAX = 32;

export function serverProofBytes(publicKeyPem: string): Buffer {
  return Buffer.from(`dsmil-server-certificate:${publicKeyPem}`);
}

/** The 4 or 16 bytes of an IP address (RFC 5280 section 4.2.1.6); null for anything else. */
export function addressBytes(text: string): Buffer | null {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) {
    const parts = text.split('.').map(Number);
    return parts.every((part) => part <= 255) ? Buffer.from(parts) : null;
  }
  if (!/^[0-9a-f:.]+$/i.test(text) || !text.includes(':')) return null;
  const url = `http://[${text}]`;
  if (!URL.canParse(url)) return null;
  // The URL parser writes out an embedded IPv4 part and keeps at most one gap.
  const [head = '', tail] = new URL(url).hostname.slice(1, -1).split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':'));
  const left = groups(head);
  const right = groups(tail ?? '');
  const gap = Array<string>(8 - left.length - right.length).fill('0');
  const all = tail === undefined ? left : [...left, ...gap, ...right];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

/** Null when a server certificate can carry this name; else what is wrong with it. */
export function serverNameRefusal(name: string): string | null {
  if (addressBytes(name) !== null) return null;
  if (/^[\d.]+$/.test(name)) return `${name}: no IP address`;
  const label = /^(?!-)[a-z0-9-]{1,63}(?<!-)$/;
  const isName = name.length <= 253 && name.split('.').every((part) => label.test(part));
  return isName ? null : `${name}: no IP address and no host name in lower case`;
}
