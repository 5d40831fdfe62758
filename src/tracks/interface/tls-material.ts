// What a TLS server of ours needs, as PEM texts.

export interface TlsMaterial {
  /** Our authority's certificate: client certificates are checked against it alone. */
  readonly authority: string;
  /** The server's certificate, with intermediates if any. */
  readonly certificate: string;
  readonly key: string;
}
