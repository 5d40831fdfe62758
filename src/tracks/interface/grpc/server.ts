// The gRPC server: TLS with optional client certificates, the two services, health, and reflection when asked.
// Faults: a port that cannot be bound is CONFIG_INVALID with the address.

import type { AddressInfo } from 'node:net';
import type { Server as TlsServer } from 'node:tls';
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
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { listenOn } from '../listen.ts';
import { HANDSHAKE_MS, NetworkDoor } from '../network-door.ts';
import type { InterfaceService } from '../service.ts';
import { checkedContext, type TlsMaterial } from '../tls-material.ts';
import { applianceService } from './appliance.ts';
import { communicationService } from './communication.ts';
import { HealthState } from './health.ts';
import { tlsServerFor } from './server-tls.ts';

/** Reflection shows the definitions to anyone who connects; off unless asked for. */
export type Reflection = 'off' | 'on';

export interface GrpcListenOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly tls: TlsMaterial;
  /** For a whole handshake; as the door has it unless it is given. */
  readonly handshakeMs?: number;
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
  #door: NetworkDoor | null = null;
  #tls: TlsServer | null = null;
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
    const { host, port, handshakeMs = HANDSHAKE_MS } = options;
    const { gate, strangers, clock } = this.#service;
    const parts = { gate, strangers, clock, handshakeMs };
    this.#door = new NetworkDoor({ name: 'gRPC', transport: 'grpc', ...parts });
    const shown = host.includes(':') ? `[${host}]` : host;
    const tls = tlsServerFor(this.#server, this.#door, options.tls);
    const listening = await listenOn(tls, { host, port }, `gRPC ${shown}:${port}`);
    if (!listening.ok) return listening;
    this.#tls = tls;
    await this.#updateHealth();
    return succeed((tls.address() as AddressInfo).port);
  }

  /** For connections from now on; those that are open keep what they were made with. */
  replaceTls(tls: TlsMaterial): Outcome<void> {
    const server = this.#tls;
    if (server === null) {
      return refuse(fault('CONFIG_INVALID', { place: 'gRPC', finding: 'does not listen yet' }));
    }
    const context = checkedContext(tls);
    if (!context.ok) return context;
    server.setSecureContext(context.value);
    return succeed(undefined);
  }

  /** Lets open calls end for half a second, then cuts them. */
  async close(): Promise<void> {
    this.#cancel();
    const closed = new Promise<void>((resolve) => {
      if (this.#tls === null) resolve();
      else this.#tls.close(() => resolve());
    });
    // grpc-js knows no connections of the server it injects into, and has shut down before its calls have ended.
    const shut = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    await Promise.race([Promise.all([shut, closed]), this.#clock.sleep(DRAIN_MS)]);
    this.#server.forceShutdown();
    this.#door?.cutAll();
    await closed;
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
