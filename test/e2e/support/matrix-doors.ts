// One caller at one transport of the running agent: sends a request, and says with which catalogued code it was answered.

import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as TlsAgent } from 'node:https';
import { ChannelCredentials, Client, Metadata, type ServiceError } from '@grpc/grpc-js';
import WebSocket from 'ws';
import { ChannelRequest, ChannelResponse } from '#contract/appliance';
import { OperationCoordinationResponse } from '#contract/communication';
import { FAULT_CATALOGUE, isFaultCode } from '#foundation/fault-catalogue';
import type { ReadyFile } from '../../support/agent.ts';
import { httpCall } from '../../support/http-client.ts';
import type { ClientCertificate } from './ceremony.ts';
import { Relay } from './source-addresses.ts';

export type Identity =
  | { readonly by: 'nothing' }
  | { readonly by: 'token'; readonly token: string }
  | ({ readonly by: 'certificate' } & ClientCertificate);

/** The code of the catalogue; empty when it was done, else what took the place of a code. */
export type Verdict = string;
export const NO_CONNECTION: Verdict = 'no connection';
export const UNIMPLEMENTED: Verdict = 'unimplemented';

const ANSWER_MS = 20_000;
const UNIMPLEMENTED_STATUS = 12;
const UNAVAILABLE_STATUS = 14;

/** A code with a status that is not its own is another verdict. */
function checked(code: string, status: number, side: 'http' | 'grpc'): Verdict {
  if (!isFaultCode(code)) return `${side} ${status} ${code}`;
  // An unknown route is 404, the same code in other places 400.
  const fits =
    FAULT_CATALOGUE[code][side] === status || (code === 'OPERATION_UNSUPPORTED' && status === 404);
  return fits ? code : `${code} with ${side} ${status}`;
}

export class HttpDoor {
  readonly #where: object;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent: HttpAgent;

  private constructor(where: object, identity: Identity, agent: HttpAgent) {
    this.#where = where;
    this.#agent = agent;
    this.#headers = identity.by === 'token' ? { authorization: `Bearer ${identity.token}` } : {};
  }

  static network(ready: ReadyFile, identity: Identity, from: string): HttpDoor {
    const { hostname: host, port } = new URL(ready.http);
    const own =
      identity.by === 'certificate' ? { cert: identity.certificate, key: identity.key } : {};
    const keep = { keepAlive: true, maxSockets: 1, localAddress: from } as const;
    const agent = new TlsAgent({ ...keep, ...own, ca: readFileSync(ready.ca) });
    return new HttpDoor({ host, port: Number(port), servername: '' }, identity, agent);
  }

  /** At the agent's socket, or at one that leads there as another local user. */
  static local(socketPath: string, identity: Identity): HttpDoor {
    const agent = new HttpAgent({ keepAlive: true, maxSockets: 1 });
    return new HttpDoor({ socketPath }, identity, agent);
  }

  async ask(method: string, path: string, body: unknown): Promise<Verdict> {
    const call = { ...this.#where, agent: this.#agent, method, path, headers: this.#headers };
    try {
      const { status, json } = await httpCall({
        ...call,
        signal: AbortSignal.timeout(ANSWER_MS),
        ...(body === null ? {} : { body }),
      });
      // A health that is not well is an answer; bytes that TLS cannot read are none.
      if (status === 200 || (status === 503 && path.endsWith('/health'))) return '';
      if (status === 400 && json === undefined) return NO_CONNECTION;
      return checked(String(json?.code), status, 'http');
    } catch (error) {
      const { name, message } = error as Error;
      return name === 'AbortError' ? `no answer: ${message}` : NO_CONNECTION;
    }
  }

  close(): void {
    this.#agent.destroy();
  }
}

const same = (bytes: Buffer) => bytes;

export class GrpcDoor {
  readonly #client: Client;
  readonly #relay: Relay;
  readonly #metadata = new Metadata();

  private constructor(ready: ReadyFile, identity: Identity, relay: Relay) {
    const certificate = identity.by === 'certificate' ? identity : null;
    const pem = (text: string | undefined) => (text === undefined ? null : Buffer.from(text));
    const credentials = ChannelCredentials.createSsl(
      readFileSync(ready.ca),
      pem(certificate?.key),
      pem(certificate?.certificate),
    );
    this.#relay = relay;
    this.#client = new Client(`127.0.0.1:${relay.port}`, credentials, {
      'grpc.use_local_subchannel_pool': 1,
    });
    if (identity.by === 'token') this.#metadata.set('authorization', `Bearer ${identity.token}`);
  }

  static async open(ready: ReadyFile, identity: Identity, from: string): Promise<GrpcDoor> {
    const relay = await Relay.open(Number(ready.grpc.split(':').at(-1)), from);
    return new GrpcDoor(ready, identity, relay);
  }

  async ask(method: string, request: Uint8Array): Promise<Verdict> {
    const name = method.split('/').at(-1);
    if (name === 'SubscribeEvents') return this.#subscribe(method, request);
    if (name === 'Channel') return this.#channel(method, request);
    return new Promise((resolve) => {
      const options = { deadline: Date.now() + ANSWER_MS };
      const bytes = Buffer.from(request);
      this.#client.makeUnaryRequest(
        `/${method}`,
        same,
        same,
        bytes,
        this.#metadata,
        options,
        (error, answer) => {
          if (error !== null) return resolve(verdictOf(error));
          // An operation that was denied is an answer of its own.
          if (name !== 'CoordinateOperation' || answer === undefined) return resolve('');
          resolve(OperationCoordinationResponse.decode(answer).faultCode);
        },
      );
    });
  }

  #subscribe(method: string, request: Uint8Array): Promise<Verdict> {
    return new Promise((resolve) => {
      const options = { deadline: Date.now() + ANSWER_MS };
      const bytes = Buffer.from(request);
      const stream = this.#client.makeServerStreamRequest(
        `/${method}`,
        same,
        same,
        bytes,
        this.#metadata,
        options,
      );
      stream.on('error', (error) => resolve(verdictOf(error as ServiceError)));
      stream.on('data', () => undefined);
      stream.on('metadata', () => {
        // Headers come before the status also where there is nothing but the status.
        setTimeout(() => {
          resolve('');
          stream.cancel();
        }, 30);
      });
    });
  }

  #channel(method: string, request: Uint8Array): Promise<Verdict> {
    return new Promise((resolve) => {
      const options = { deadline: Date.now() + ANSWER_MS };
      const stream = this.#client.makeBidiStreamRequest(
        `/${method}`,
        same,
        same,
        this.#metadata,
        options,
      );
      stream.on('error', (error) => resolve(verdictOf(error as ServiceError)));
      stream.on('data', (bytes: Buffer) => {
        const { operation, fault } = ChannelResponse.decode(bytes);
        resolve(fault?.code ?? operation?.faultCode ?? 'nothing');
        stream.cancel();
      });
      const operation = { requestId: 1n, operation: undefined };
      stream.write(
        Buffer.from(request.length === 0 ? ChannelRequest.encode(operation).finish() : request),
      );
    });
  }

  close(): void {
    this.#client.close();
    this.#relay.close();
  }
}

function verdictOf({ code, metadata, details }: ServiceError): Verdict {
  const fault = metadata?.get('dsmil-fault-code')[0];
  if (fault !== undefined) return checked(String(fault), code, 'grpc');
  if (code === UNIMPLEMENTED_STATUS) return UNIMPLEMENTED;
  return code === UNAVAILABLE_STATUS ? NO_CONNECTION : `grpc ${code} ${details}`;
}

interface Frame {
  readonly type: string;
  readonly error?: { readonly code: string };
  /** Of an operation, which has an answer also where it was denied. */
  readonly receipt?: { readonly fault?: { readonly code: string } };
}

export class WebSocketDoor {
  readonly #socket: WebSocket;
  readonly #frames: Frame[] = [];
  #closed: number | null = null;
  #wake: () => void = () => undefined;

  constructor(ready: ReadyFile, identity: Identity, from: string) {
    const own =
      identity.by === 'certificate' ? { cert: identity.certificate, key: identity.key } : {};
    const headers = identity.by === 'token' ? { authorization: `Bearer ${identity.token}` } : {};
    const options = { ca: readFileSync(ready.ca), localAddress: from, headers, ...own };
    this.#socket = new WebSocket(ready.websocket, [], options as WebSocket.ClientOptions);
    this.#socket.on('message', (data) => {
      const frame = JSON.parse(String(data)) as Frame;
      // A stop is told to everybody, asked for or not.
      if (frame.type !== 'EMERGENCY_STOP') this.#frames.push(frame);
      this.#wake();
    });
    this.#socket.on('error', () => undefined);
    this.#socket.on('close', (code) => {
      this.#closed = code;
      this.#wake();
    });
  }

  /** Once the connection stands; false when it never will. */
  async opened(): Promise<boolean> {
    if (this.#socket.readyState === WebSocket.CONNECTING) {
      await new Promise<void>((resolve) => {
        this.#socket.once('open', () => resolve());
        this.#socket.once('close', () => resolve());
      });
    }
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** The next frame that is no stop, or how the connection ended. */
  async next(): Promise<Frame | { readonly type: 'CLOSED'; readonly code: number }> {
    const untilMs = performance.now() + ANSWER_MS;
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      if (this.#closed !== null) return { type: 'CLOSED', code: this.#closed };
      const left = untilMs - performance.now();
      if (left <= 0) return { type: 'SILENT' };
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** What the next frame says of this message; what the connection says of itself counts as the answer. */
  async ask(message: object): Promise<Verdict> {
    this.#socket.send(JSON.stringify(message));
    const frame = await this.next();
    if ('error' in frame) return frame.error?.code ?? 'an error';
    if ('receipt' in frame) return frame.receipt?.fault?.code ?? '';
    if (frame.type === 'CLOSED') return NO_CONNECTION;
    return frame.type === 'SILENT' ? 'no answer' : '';
  }

  send(message: object): void {
    this.#socket.send(JSON.stringify(message));
  }

  /** Every frame until the server closes: for callers who get nothing but that. */
  async rest(): Promise<{ readonly codes: readonly Verdict[]; readonly closed: number }> {
    const codes: Verdict[] = [];
    for (;;) {
      const frame = await this.next();
      if (frame.type === 'CLOSED' && 'code' in frame) return { codes, closed: frame.code };
      if (frame.type === 'SILENT') return { codes, closed: 0 };
      codes.push('error' in frame ? (frame.error?.code ?? 'an error') : frame.type);
    }
  }

  close(): void {
    this.#socket.terminate();
  }
}
