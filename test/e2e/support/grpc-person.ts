// One person on one gRPC channel, by token or by client certificate, with the generated clients.

import { readFileSync } from 'node:fs';
import { ChannelCredentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import {
  DsmilCommunicationServiceClient,
  EmergencyStopRequest,
  type EmergencyStopResponse,
  type EventNotification,
  EventSubscriptionRequest,
  HealthCheckRequest,
  type HealthCheckResponse,
  OperationCoordinationRequest,
  type OperationCoordinationResponse,
} from '#contract/generated/dsmil/communication/v1/communication';
import type { ReadyFile } from '../../support/agent.ts';

export type GrpcIdentity =
  | { readonly by: 'token'; readonly token: string }
  | { readonly by: 'certificate'; readonly certificate: string; readonly key: string }
  | { readonly by: 'nothing' };

type Plain = string | number | bigint | boolean | Uint8Array | undefined;
/** What a caller writes of a message; the generated code fills in the rest. */
export type Draft<T> = T extends Plain
  ? T
  : T extends readonly (infer Item)[]
    ? readonly Draft<Item>[]
    : { readonly [Member in keyof T]?: Draft<T[Member]> };

export interface GrpcRefusal {
  readonly status: number;
  readonly code: string;
  readonly details: string;
}

export class GrpcPerson {
  readonly client: DsmilCommunicationServiceClient;
  readonly #metadata = new Metadata();

  constructor(ready: ReadyFile, identity: GrpcIdentity) {
    const certificate = identity.by === 'certificate';
    const credentials = ChannelCredentials.createSsl(
      readFileSync(ready.ca),
      certificate ? readFileSync(identity.key) : null,
      certificate ? readFileSync(identity.certificate) : null,
    );
    if (identity.by === 'token') this.#metadata.set('authorization', `Bearer ${identity.token}`);
    const address = ready.grpc.replace(/^[a-z]+:\/\//, '');
    // A channel of its own each: sessions belong to connections.
    this.client = new DsmilCommunicationServiceClient(address, credentials, {
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  static byToken(ready: ReadyFile, person: 0 | 1): GrpcPerson {
    return new GrpcPerson(ready, { by: 'token', token: ready.people[person]?.token ?? '' });
  }

  static byCertificate(ready: ReadyFile, person: 0 | 1): GrpcPerson {
    const { certificate = '', key = '' } = ready.people[person] ?? {};
    return new GrpcPerson(ready, { by: 'certificate', certificate, key });
  }

  coordinate(request: Draft<OperationCoordinationRequest>): Promise<OperationCoordinationResponse> {
    const message = OperationCoordinationRequest.fromPartial(request as never);
    return new Promise((resolve, reject) => {
      this.client.coordinateOperation(message, this.#metadata, (error, response) =>
        error === null ? resolve(response) : reject(error),
      );
    });
  }

  stop(request: Draft<EmergencyStopRequest>): Promise<EmergencyStopResponse> {
    const message = EmergencyStopRequest.fromPartial(request as never);
    return new Promise((resolve, reject) => {
      this.client.emergencyStop(message, this.#metadata, (error, response) =>
        error === null ? resolve(response) : reject(error),
      );
    });
  }

  health(): Promise<HealthCheckResponse> {
    return new Promise((resolve, reject) => {
      this.client.healthCheck(HealthCheckRequest.create(), this.#metadata, (error, response) =>
        error === null ? resolve(response) : reject(error),
      );
    });
  }

  /** Collects events until `close`; resolves once the server has accepted the subscription. */
  async subscribe(
    request: Draft<EventSubscriptionRequest> = {},
  ): Promise<readonly EventNotification[]> {
    const events: EventNotification[] = [];
    const stream = this.client.subscribeEvents(
      EventSubscriptionRequest.fromPartial(request as never),
      this.#metadata,
    );
    stream.on('data', (event: EventNotification) => events.push(event));
    await new Promise<void>((resolve, reject) => {
      stream.once('metadata', () => resolve());
      stream.once('error', reject);
    });
    // Closing the channel ends the stream with an error that nobody waits for.
    stream.on('error', () => undefined);
    return events;
  }

  close(): void {
    this.client.close();
  }
}

/** The status and catalogue code of a call that has to be refused. */
export async function grpcRefusal(call: Promise<unknown>): Promise<GrpcRefusal> {
  try {
    await call;
  } catch (error) {
    const { code, details, metadata } = error as ServiceError;
    return { status: code, code: String(metadata?.get('dsmil-fault-code')[0] ?? ''), details };
  }
  throw new Error('the call was answered although it should have been refused');
}
