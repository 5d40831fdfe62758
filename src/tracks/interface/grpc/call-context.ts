// What every gRPC method needs: who calls, until when, and a fault turned into a status.
// Invariants: identity comes from the certificate that TLS verified or the authorization header, never from the body.

import type { EventEmitter } from 'node:events';
import {
  Metadata,
  type ServerErrorResponse,
  type ServerUnaryCall,
  type StatusObject,
} from '@grpc/grpc-js';
import type { Deadline } from '#foundation/deadline';
import { describeFault, type Fault, fault } from '#foundation/fault';
import { FAULT_CATALOGUE } from '#foundation/fault-catalogue';
import type { Credential } from '#model/principal';
import type { Connection } from '../connection.ts';
import { addressOf, bearerCredential, certificateCredential, networkOf } from '../peer.ts';
import type { InterfaceService } from '../service.ts';

/** The part of grpc-js's four server call types that is the same in all. */
export interface GrpcCall {
  readonly metadata: Metadata;
  getPeer(): string;
  getDeadline(): Date | number;
  getAuthContext(): ReturnType<ServerUnaryCall<unknown, unknown>['getAuthContext']>;
}

function credentialOf(call: GrpcCall): Credential | null {
  const headers = call.metadata.get('authorization');
  if (headers.length > 0) {
    const [header] = headers;
    return headers.length === 1 && typeof header === 'string' ? bearerCredential(header) : null;
  }
  const certificate = call.getAuthContext()?.sslPeerCertificate;
  return certificate === undefined ? null : certificateCredential(certificate);
}

export function connectionOf(call: GrpcCall): Connection {
  const peer = call.getPeer().replace(/^(ipv4|ipv6):/, '');
  return {
    origin: { transport: 'grpc', peer },
    address: networkOf(addressOf(peer)),
    id: `grpc ${peer}`,
    credential: credentialOf(call),
  };
}

export function deadlineOf(call: GrpcCall, service: InterfaceService): Deadline {
  const deadline = call.getDeadline();
  const atMs = typeof deadline === 'number' ? deadline : deadline.getTime();
  return Number.isFinite(atMs) ? service.deadline(atMs - Date.now()) : service.deadline();
}

/** The catalogue's status with the code in the trailer `dsmil-fault-code`. */
export function statusOf(found: Fault): ServerErrorResponse & Partial<StatusObject> {
  const metadata = new Metadata();
  metadata.set('dsmil-fault-code', found.code);
  const details = describeFault(found);
  return Object.assign(new Error(details), {
    code: FAULT_CATALOGUE[found.code].grpc,
    details,
    metadata,
  });
}

/**
 * Ends a stream the moment the session that it was opened with does; a channel outlives a lock, because a stop may
 * still come through it.
 */
export function endWithSession(
  service: InterfaceService,
  connection: Connection,
  call: EventEmitter,
  onLock: 'ends' | 'stays',
): void {
  const stop = service.watchSession(connection, (change) => {
    if (change.kind === 'ended') {
      call.emit('error', statusOf(sessionOver(change.reason)));
    } else if (onLock === 'ends') {
      const finding = 'is locked';
      call.emit('error', statusOf(fault('ACCOUNT_LOCKED', { place: 'session', finding })));
    }
  });
  for (const end of ['cancelled', 'close', 'error', 'finish']) call.once(end, stop);
}

function sessionOver(finding: string): Fault {
  return fault('NOT_AUTHENTICATED', { place: 'session', finding });
}
