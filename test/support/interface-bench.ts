// The interface track on real sockets: HTTPS, WebSocket and gRPC over one service, with a scripted security behind it.

import { once } from 'node:events';
import { ChannelCredentials, Metadata } from '@grpc/grpc-js';
import { WebSocket } from 'ws';
import { ApplianceServiceClient } from '#contract/appliance';
import { DsmilCommunicationServiceClient } from '#contract/communication';
import { type Clock, systemClock } from '#foundation/clock';
import type { Outcome } from '#foundation/outcome';
import { GrpcServer } from '#tracks/interface/grpc/server';
import { HttpServer, type HttpTimes } from '#tracks/interface/rest/http-server';
import { RestApp } from '#tracks/interface/rest/rest-app';
import { type InterfaceLimits, InterfaceService } from '#tracks/interface/service';
import type { TlsMaterial } from '#tracks/interface/tls-material';
import { WebSocketServer } from '#tracks/interface/websocket/websocket-server';
import type { CertificateAndKey, TestAuthority } from './certificates.ts';
import { type HttpAnswer, type HttpCall, httpCall } from './http-client.ts';
import { ScriptedOrchestrator } from './scripted-orchestrator.ts';
import { smallBoard } from './small-board.ts';

export interface InterfaceBenchOptions {
  readonly limits?: InterfaceLimits;
  readonly times?: Partial<HttpTimes>;
  readonly clock?: Clock;
}

function need<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(outcome.fault.finding);
}

export class InterfaceBench {
  readonly orchestrator = new ScriptedOrchestrator();
  readonly logged: string[] = [];
  readonly service: InterfaceService;
  readonly authority: TestAuthority;
  readonly tls: TlsMaterial;
  readonly app: RestApp;
  readonly http: HttpServer;
  readonly webSockets: WebSocketServer;
  readonly grpc: GrpcServer;
  httpPort = 0;
  grpcPort = 0;
  readonly #closing: (() => void)[] = [];
  readonly #known = new Map<CertificateAndKey | undefined, ChannelCredentials>();

  private constructor(
    authority: TestAuthority,
    tls: TlsMaterial,
    service: InterfaceService,
    app: RestApp,
    times: Partial<HttpTimes>,
  ) {
    this.authority = authority;
    this.tls = tls;
    this.service = service;
    this.app = app;
    this.http = new HttpServer(app, tls, times);
    this.webSockets = new WebSocketServer(service, app);
    this.webSockets.attach(this.http.server);
    this.grpc = new GrpcServer(service);
  }

  static async start(
    authority: TestAuthority,
    { limits, times = {}, clock = systemClock }: InterfaceBenchOptions = {},
  ): Promise<InterfaceBench> {
    const tls = { authority: authority.authority, ...(await authority.server()) };
    const logged: string[] = [];
    const orchestrator = new ScriptedOrchestrator();
    const service = new InterfaceService({
      orchestrator,
      board: smallBoard(),
      clock,
      log: (message) => logged.push(message),
      ...(limits === undefined ? {} : { limits }),
    });
    const app = await RestApp.start(service);
    const bench = new InterfaceBench(authority, tls, service, app, times);
    Object.assign(bench, { orchestrator, logged });
    bench.httpPort = need(await bench.http.listen({ host: '127.0.0.1', port: 0 }));
    bench.grpcPort = need(
      await bench.grpc.listen({
        ...{ host: '127.0.0.1', port: 0, tls },
        ...(times.handshakeTimeout === undefined ? {} : { handshakeMs: times.handshakeTimeout }),
      }),
    );
    return bench;
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0)) close();
    await this.webSockets.close();
    await this.grpc.close();
    await this.http.close();
    await this.app.close();
    this.service.close();
  }

  /** As alice with a token unless headers say otherwise. */
  call(method: string, path: string, options: HttpCall = {}): Promise<HttpAnswer> {
    const { headers = { authorization: 'Bearer token-alice' }, ...rest } = options;
    const base = { host: '127.0.0.1', servername: 'localhost', port: this.httpPort };
    return httpCall({ ...base, ca: this.authority.authority, method, path, headers, ...rest });
  }

  /** Signs in and gives the `cookie` header. */
  async signIn(body: object, headers: Record<string, string> = {}): Promise<{ cookie: string }> {
    const answer = await this.call('POST', '/api/v1/auth/login', { headers, body });
    const [setCookie] = (answer.headers['set-cookie'] ?? []) as string[];
    if (setCookie === undefined) throw new Error(`signing in answered ${answer.text}`);
    return { cookie: setCookie.split(';', 1)[0] ?? '' };
  }

  socket(headers: Record<string, string>): BenchSocket {
    const socket = new BenchSocket(`wss://127.0.0.1:${this.httpPort}/api/v1/ws`, {
      ca: this.authority.authority,
      headers,
    });
    this.#closing.push(() => socket.socket.terminate());
    return socket;
  }

  communication(pair?: CertificateAndKey): DsmilCommunicationServiceClient {
    const credentials = this.#credentials(pair);
    const address = `127.0.0.1:${this.grpcPort}`;
    const client = new DsmilCommunicationServiceClient(address, credentials);
    this.#closing.push(() => client.close());
    return client;
  }

  appliance(pair?: CertificateAndKey): ApplianceServiceClient {
    const credentials = this.#credentials(pair);
    const client = new ApplianceServiceClient(`127.0.0.1:${this.grpcPort}`, credentials);
    this.#closing.push(() => client.close());
    return client;
  }

  metadata(token = 'token-alice'): Metadata {
    const metadata = new Metadata();
    if (token !== '') metadata.set('authorization', `Bearer ${token}`);
    return metadata;
  }

  /** Every session there is, as security would end them. */
  sessionIds(account = 'alice'): readonly string[] {
    const own = [...this.orchestrator.sessions.values()].filter(
      ({ principal }) => principal.id === account,
    );
    return own.map(({ id }) => id);
  }

  /** The same for the same certificate: clients with the same credentials share one connection. */
  #credentials(pair?: CertificateAndKey): ChannelCredentials {
    const known = this.#known.get(pair);
    if (known !== undefined) return known;
    const made = ChannelCredentials.createSsl(
      Buffer.from(this.authority.authority),
      pair === undefined ? null : Buffer.from(pair.key),
      pair === undefined ? null : Buffer.from(pair.certificate),
    );
    this.#known.set(pair, made);
    return made;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into whatever the server says
type Message = any;

export class BenchSocket {
  readonly socket: WebSocket;
  readonly messages: Message[] = [];
  /** How it closed; null while it is open. */
  closed: { readonly code: number; readonly reason: string } | null = null;
  /** The HTTP status with which the upgrade was refused; 0 while it was not. */
  refused = 0;

  constructor(url: string, options: ConstructorParameters<typeof WebSocket>[2]) {
    this.socket = new WebSocket(url, [], options);
    this.socket.on('message', (data) => this.messages.push(JSON.parse(String(data))));
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: String(reason) };
    });
    this.socket.on('unexpected-response', (request, response) => {
      this.refused = response.statusCode ?? 0;
      request.destroy();
    });
    this.socket.on('error', () => undefined);
  }

  async opened(): Promise<this> {
    if (this.socket.readyState !== WebSocket.OPEN) await once(this.socket, 'open');
    return this;
  }

  send(message: object): void {
    this.socket.send(JSON.stringify(message));
  }

  /** The next message of a type, taken once. */
  async take(type: string): Promise<Message> {
    const find = () => this.messages.findIndex((message) => message.type === type);
    for (let turn = 0; find() < 0 && turn < 1_000; turn++) await systemClock.sleep(5);
    const [message] = this.messages.splice(find(), 1);
    if (message?.type !== type) throw new Error(`no ${type} came`);
    return message;
  }
}
