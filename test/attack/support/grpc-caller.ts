// One gRPC channel with a token or a certificate, for both services and the open channel of operations.

import { ChannelCredentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { ApplianceServiceClient, ChannelRequest, type ChannelResponse } from '#contract/appliance';
import {
  DsmilCommunicationServiceClient,
  OperationCoordinationRequest,
} from '#contract/communication';
import { eventually } from '../../e2e/support/scene.ts';
import type { AttackScene } from './attack-scene.ts';

export interface OpenChannel {
  /** Sends one operation and gives what came back for it. */
  ask(operation: object): Promise<ChannelResponse>;
  /** How the server ended it. */
  ended(): Promise<ServiceError>;
}

export class GrpcCaller {
  readonly communication: DsmilCommunicationServiceClient;
  readonly appliance: ApplianceServiceClient;
  readonly metadata = new Metadata();

  constructor(
    scene: AttackScene,
    by: { readonly token?: string; readonly cert?: string; readonly key?: string },
  ) {
    const { token, cert, key } = by;
    const credentials = ChannelCredentials.createSsl(
      scene.authority,
      key === undefined ? null : Buffer.from(key),
      cert === undefined ? null : Buffer.from(cert),
    );
    if (token !== undefined) this.metadata.set('authorization', `Bearer ${token}`);
    const address = scene.agent.ready.grpc.replace(/^[a-z]+:\/\//, '');
    const options = { 'grpc.use_local_subchannel_pool': 1 };
    this.communication = new DsmilCommunicationServiceClient(address, credentials, options);
    this.appliance = new ApplianceServiceClient(address, credentials, options);
  }

  /** The fault code of one operation; empty where it was done. */
  operate(operation: object): Promise<string> {
    const message = OperationCoordinationRequest.fromPartial(operation as never);
    return new Promise((resolve) => {
      this.communication.coordinateOperation(message, this.metadata, (error, response) =>
        resolve(error === null ? response.faultCode : codeOf(error)),
      );
    });
  }

  /** The fault code of asking for the status, which everybody may who is signed in. */
  status(): Promise<string> {
    return new Promise((resolve) => {
      this.appliance.getStatus({}, this.metadata, (error) =>
        resolve(error === null ? '' : codeOf(error)),
      );
    });
  }

  approve(planDigest: string): Promise<string> {
    return new Promise((resolve) => {
      this.appliance.approve({ planDigest }, this.metadata, (error) =>
        resolve(error === null ? '' : codeOf(error)),
      );
    });
  }

  channel(): OpenChannel {
    const stream = this.appliance.channel(this.metadata);
    const answers = new Map<bigint, ChannelResponse>();
    let error: ServiceError | undefined;
    let count = 0n;
    stream.on('data', (answer: ChannelResponse) => answers.set(answer.requestId, answer));
    stream.on('error', (found: ServiceError) => {
      error = found;
    });
    return {
      ask: (operation) => {
        count += 1n;
        const requestId = count;
        stream.write(ChannelRequest.fromPartial({ requestId, operation } as never));
        return eventually('an answer on the channel', () => answers.get(requestId));
      },
      ended: () => eventually('the end of the channel', () => error),
    };
  }

  close(): void {
    this.communication.close();
    this.appliance.close();
  }
}

/** The catalogue code of a refused call. */
export function codeOf({ metadata, code }: ServiceError): string {
  return String(metadata?.get('dsmil-fault-code')[0] ?? `status ${code}`);
}
