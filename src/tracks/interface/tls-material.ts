// What a TLS server of ours needs, as PEM texts, and what it does with a certificate that is on the revocation list.

import type { SecureContextOptions, TLSSocket } from 'node:tls';

export interface TlsMaterial {
  /** Our authority's certificate: client certificates are checked against it alone. */
  readonly authority: string;
  /** The server's certificate, with intermediates if any. */
  readonly certificate: string;
  readonly key: string;
  /**
   * Revocation lists in PEM (RFC 5280 section 5), one for each certificate in `authority`. With any, OpenSSL takes a
   * client certificate for worthless whose issuer has no list here or an outdated one: pass current lists only.
   */
  readonly revocationList?: string;
}

const REVOCATION_LIST = /-----BEGIN X509 CRL-----[\s\S]+?-----END X509 CRL-----/g;

/** A fresh context: session tickets made before it resume nothing, so a revoked certificate cannot come back by one. */
export function secureContext(tls: TlsMaterial): SecureContextOptions {
  // Node reads one list from each text it is given.
  const lists = tls.revocationList?.match(REVOCATION_LIST) ?? [];
  return {
    cert: tls.certificate,
    key: tls.key,
    ca: tls.authority,
    minVersion: 'TLSv1.2',
    ...(lists.length === 0 ? {} : { crl: [...lists] }),
  };
}

/**
 * A listener for `secureConnection`: who presents a revoked certificate gets no connection at all. This is where Node
 * itself rejects certificates; it has no earlier place for "optional, but not revoked".
 */
export function cutRevoked(socket: TLSSocket): void {
  // Declared as an error, and a text in truth: the code of OpenSSL.
  const found = socket.authorizationError as unknown;
  if (found === 'CERT_REVOKED') socket.destroy();
}
