// What a TLS server of ours needs, as PEM texts, and the context that is made of them.

import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';

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

/** OpenSSL reads the first label only (RFC 7468 section 6); libraries write the second too. */
const REVOCATION_LIST = /-----BEGIN (?:X509 )?CRL-----([\s\S]+?)-----END (?:X509 )?CRL-----/g;

/** Throws for texts that are not what they should be; see `checkedContext`. */
export function secureContext(tls: TlsMaterial): SecureContextOptions {
  const text = tls.revocationList ?? '';
  // Node reads one list from each text it is given.
  const lists = [...text.matchAll(REVOCATION_LIST)].map(
    ([, body]) => `-----BEGIN X509 CRL-----${body}-----END X509 CRL-----\n`,
  );
  if (lists.length === 0 && text.trim() !== '') throw new Error('no revocation list in its text');
  return {
    cert: tls.certificate,
    key: tls.key,
    ca: tls.authority,
    minVersion: 'TLSv1.2',
    ...(lists.length === 0 ? {} : { crl: lists }),
  };
}

/**
 * What replaces a server's context, tried before it does: a server must never lose material that works for some that
 * does not. Each context has ticket keys of its own, so a revoked certificate cannot come back by an old ticket.
 */
export function checkedContext(tls: TlsMaterial): Outcome<SecureContextOptions> {
  try {
    const context = secureContext(tls);
    createSecureContext(context);
    return succeed(context);
  } catch (error) {
    const finding = 'certificate, key, authority or revocation list cannot be used together';
    const consequence = 'the material of before stays in use';
    const internal = describeError(error);
    const place = 'TLS material';
    return refuse(fault('CONFIG_INVALID', { place, finding, consequence, internal }));
  }
}
