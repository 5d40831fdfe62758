// The gRPC server: TLS with optional client certificates, the two services, health, and reflection when asked.
// Faults: a port that cannot be bound is CONFIG_INVALID with the address.

import {
  logVerbosity,
  Server,
  setLogVerbosity,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { ApplianceServiceService } from '#contract/appliance';
import { DsmilCommunicationServiceService } from '#contract/communication';
import { HealthService } from '#contract/health';
import type { Clock } from '#foundation/clock';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { InterfaceService } from '../service.ts';
import type { TlsMaterial } from '../tls-material.ts';
import { applianceService } from './appliance.ts';
import { communicationService } from './communication.ts';
import { HealthState } from './health.ts';
import { cutRevokedConnections, ReplaceableTls } from './server-tls.ts';

/** Reflection shows the definitions to anyone who connects; off unless asked for. */
export type Reflection = 'off' | 'on';

export interface GrpcListenOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly tls: TlsMaterial;
}

const RECEIVE_BYTES_MAX = 64 * 1024;
const SEND_BYTES_MAX = 4 * 1024 * 1024;
const HEALTH_EVERY_MS = 1_000;
const SERVICES = [
  'dsmil.communication.v1.DsmilCommunicationService',
  'dsmil.appliance.v1.ApplianceService',
];
const DRAIN_MS = 500;

export class GrpcServer {
  readonly #server: Server;
  readonly #health = new HealthState(SERVICES);
  readonly #service: InterfaceService;
  readonly #reflection: Reflection;
  readonly #clock: Clock;
  #tls: ReplaceableTls | null = null;
  #cancel: () => void = () => undefined;

  constructor(service: InterfaceService, reflection: Reflection = 'off') {
    this.#reflection = reflection;
    this.#service = service;
    this.#clock = service.clock;
    // The library would write what a stranger sends, headers with tokens among it, past our log to standard error.
    setLogVerbosity(logVerbosity.NONE);
    this.#server = new Server({
      'grpc.max_receive_message_length': RECEIVE_BYTES_MAX,
      'grpc.max_send_message_length': SEND_BYTES_MAX,
      'grpc.max_concurrent_streams': 128,
      'grpc.keepalive_time_ms': 30_000,
      'grpc.keepalive_timeout_ms': 10_000,
      'grpc.max_connection_idle_ms': 600_000,
      'grpc-node.max_session_memory': 16,
    });
    this.#add(DsmilCommunicationServiceService, communicationService(service));
    this.#add(ApplianceServiceService, applianceService(service));
    this.#add(HealthService, this.#health.implementation());
  }

  /** Fully qualified methods this server answers, for the completeness test. */
  static methods(): readonly string[] {
    return [DsmilCommunicationServiceService, ApplianceServiceService].flatMap((definition) =>
      Object.values(definition).map((method) => method.path.slice(1)),
    );
  }

  async listen(options: GrpcListenOptions): Promise<Outcome<number>> {
    if (this.#reflection === 'on') {
      // Loaded only when asked for: it brings a protobuf parser.
      const { addReflection } = await import('./reflection.ts');
      addReflection(this.#server);
    }
    const host = options.host.includes(':') ? `[${options.host}]` : options.host;
    const address = `${host}:${options.port}`;
    const tls = new ReplaceableTls(options.tls);
    const port = await new Promise<number | Error>((resolve) => {
      this.#server.bindAsync(address, tls, (error, bound) => resolve(error ?? bound));
    });
    if (typeof port !== 'number') {
      const finding = 'the address cannot be bound';
      return refuse(
        fault('CONFIG_INVALID', {
          place: `gRPC ${address}`,
          finding,
          internal: describeError(port),
        }),
      );
    }
    cutRevokedConnections(this.#server);
    this.#tls = tls;
    await this.#updateHealth();
    return succeed(port);
  }

  /** For connections from now on; those that are open keep what they were made with. */
  replaceTls(tls: TlsMaterial): Outcome<void> {
    if (this.#tls !== null) return this.#tls.replace(tls);
    return refuse(fault('CONFIG_INVALID', { place: 'gRPC', finding: 'does not listen yet' }));
  }

  /** Lets open calls end for half a second, then cuts them. */
  async close(): Promise<void> {
    this.#cancel();
    const drained = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    await Promise.race([drained, this.#clock.sleep(DRAIN_MS)]);
    this.#server.forceShutdown();
  }

  #add(definition: object, implementation: object): void {
    this.#server.addService(
      definition as Parameters<Server['addService']>[0],
      implementation as UntypedServiceImplementation,
    );
  }

  async #updateHealth(): Promise<void> {
    const status = await this.#service.status(this.#service.deadline(HEALTH_EVERY_MS));
    const serving = status.tracks.every((track) => track.up) ? 'SERVING' : 'NOT_SERVING';
    this.#health.set(serving);
    this.#cancel = this.#clock.after(HEALTH_EVERY_MS, () => void this.#updateHealth());
  }
}
