// Calls of an attacker at the gRPC door, with the generated clients; loaded only by attacks that go there.
// They come from 127.0.0.1: the client takes no source address, so nothing that counts against an address is tried here.

import {
  type ChannelCredentials,
  credentials as grpcCredentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { ApplianceServiceClient, GetStatusRequest } from '#contract/appliance';
import {
  DsmilCommunicationServiceClient,
  OperationCoordinationRequest,
  type OperationCoordinationResponse,
} from '#contract/communication';
import type { Ground } from './attack.ts';

const CALL_MS = 5_000;

/** The fault code of a status call with this token; `OK` where it is answered. */
export async function grpcStatus(ground: Ground, token: string): Promise<string> {
  return withChannel(ground, async (address, credentials, options) => {
    const client = new ApplianceServiceClient(address, credentials, options);
    try {
      return await new Promise<string>((resolve) => {
        client.getStatus(GetStatusRequest.create(), bearer(token), deadline(), (error) =>
          resolve(error === null ? 'OK' : codeOf(error)),
        );
      });
    } finally {
      client.close();
    }
  });
}

/** An operation with whatever it claims of its sender. */
export async function grpcOperation(
  ground: Ground,
  token: string,
  request: Readonly<Record<string, unknown>>,
): Promise<{ readonly code: string; readonly response: OperationCoordinationResponse | null }> {
  return withChannel(ground, async (address, credentials, options) => {
    const client = new DsmilCommunicationServiceClient(address, credentials, options);
    try {
      return await new Promise((resolve) => {
        const message = OperationCoordinationRequest.fromPartial(request as never);
        client.coordinateOperation(message, bearer(token), deadline(), (error, response) => {
          if (error !== null) resolve({ code: codeOf(error), response: null });
          else resolve({ code: response.faultCode || 'OK', response });
        });
      });
    } finally {
      client.close();
    }
  });
}

async function withChannel<T>(
  ground: Ground,
  use: (
    address: string,
    credentials: ChannelCredentials,
    options: Readonly<Record<string, number | string>>,
  ) => Promise<T>,
): Promise<T> {
  const { limits, doors } = ground;
  limits.spend();
  const release = limits.open();
  const { certificatePem } = await ground.observer.get<{ readonly certificatePem: string }>(
    'certificates/authority',
  );
  const credentials = grpcCredentials.createSsl(Buffer.from(certificatePem), null, null, {
    checkServerIdentity: () => undefined,
  });
  const { host, port } = doors.grpc;
  const shown = host.includes(':') ? `[${host}]` : host;
  try {
    return await use(`${shown}:${port}`, credentials, {
      'grpc.use_local_subchannel_pool': 1,
      // No address can be a server name (RFC 6066 section 3).
      'grpc.ssl_target_name_override': 'localhost',
      'grpc.default_authority': `${shown}:${port}`,
    });
  } finally {
    release();
  }
}

function bearer(token: string): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

function deadline() {
  return { deadline: Date.now() + CALL_MS };
}

function codeOf(error: ServiceError): string {
  return String(error.metadata?.get('dsmil-fault-code')[0] ?? error.details);
}
