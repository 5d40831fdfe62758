// What an adapter knows about the far end of one connection, and the key under which its session is kept.

import { createHash } from 'node:crypto';
import type { Credential, Origin } from '#model/principal';

export interface Connection {
  readonly origin: Origin;
  /** The key of the limits: the far address without its port, a whole network for IPv6. */
  readonly address: string;
  /** Names the connection; sessions are kept under it. */
  readonly id: string;
  readonly credential: Credential | null;
}

export function credentialKey(credential: Credential): string {
  switch (credential.kind) {
    case 'token':
      return `token ${createHash('sha256').update(credential.token).digest('base64')}`;
    case 'certificate':
      return `certificate ${credential.fingerprint} ${credential.uri}`;
    case 'local':
      return `local ${credential.uid} ${credential.gid} ${credential.pid}`;
  }
}

/** Undefined for a connection that presents nothing. */
export function keyOf({ id, credential }: Connection): string | undefined {
  return credential === null ? undefined : `${id}|${credentialKey(credential)}`;
}
