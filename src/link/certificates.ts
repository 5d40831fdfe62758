// What interface asks of security for its TLS servers, over their link: shapes, server and client.
// Invariants: requests are checked before they are used; answers hold nothing that is secret.

import type { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import {
  SERVER_NAMES_MAX,
  SERVERS_TOLD_MAX,
  type ServerCertificate,
  type ServerCertificateRequest,
  type TrustMaterial,
} from '#model/server-certificate';
import { type Link, MESSAGE_BYTES_MAX, MessageType } from './link.ts';
import { listOf, nothing, object, type Shape, text } from './shape.ts';
import { askChecked } from './track-client.ts';
import { serveChecked } from './track-server.ts';

const PEM_MAX = 16_384;

const requestShape = object<ServerCertificateRequest>({
  publicKeyPem: text(1_024, 1),
  proof: text(256, 1),
});
const trust = {
  authorityPem: text(PEM_MAX, 1),
  revocationListPem: text(MESSAGE_BYTES_MAX),
  names: listOf(text(253, 1), SERVER_NAMES_MAX),
  revokedServers: listOf(text(128, 1), SERVERS_TOLD_MAX),
};
const trustShape: Shape<TrustMaterial> = object<TrustMaterial>(trust);
const certificateShape = object<ServerCertificate>({ ...trust, certificatePem: text(PEM_MAX, 1) });

export interface CertificateServer {
  certify(request: ServerCertificateRequest): Promise<Outcome<ServerCertificate>>;
  trust(): Promise<Outcome<TrustMaterial>>;
}

export function serveCertificates(link: Link, server: CertificateServer): void {
  serveChecked(link, 'pki.certify-server', requestShape, (body) => server.certify(body));
  serveChecked(link, 'pki.trust', nothing, () => server.trust());
}

/** Something of the trust material has changed; whoever misses this hears of it at the next look. */
export function announceTrustChanged(link: Link): void {
  link.notify(MessageType.EVENT, 'pki.trust-changed', {});
}

export interface CertificateClient {
  certify(
    request: ServerCertificateRequest,
    deadline: Deadline,
  ): Promise<Outcome<ServerCertificate>>;
  trust(deadline: Deadline): Promise<Outcome<TrustMaterial>>;
  onTrustChanged(listen: () => void): void;
}

export function certificateClient(link: Link): CertificateClient {
  const ask = <T>(method: string, body: unknown, shape: Shape<T>, deadline: Deadline) =>
    askChecked(
      link,
      { type: MessageType.OPERATION_REQUEST, method, body, shape, effect: 'none' },
      deadline,
    );
  return {
    certify: (request, deadline) => ask('pki.certify-server', request, certificateShape, deadline),
    trust: (deadline) => ask('pki.trust', undefined, trustShape, deadline),
    onTrustChanged: (listen) => link.onNotice('pki.trust-changed', listen),
  };
}
