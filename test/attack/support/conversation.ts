// A WebSocket client that keeps what it hears, for attacks over an open connection.

import WebSocket, { type ClientOptions } from 'ws';
import { eventually } from '../../e2e/support/scene.ts';
import type { AttackScene } from './attack-scene.ts';

// biome-ignore lint/suspicious/noExplicitAny: tests look into whatever the server says
export type Message = any;

export class Conversation {
  readonly socket: WebSocket;
  readonly messages: Message[] = [];
  #closed: { readonly code: number; readonly reason: string } | undefined;
  #refused: number | undefined;

  constructor(scene: AttackScene, options: ClientOptions = {}, path = '') {
    this.socket = new WebSocket(`${scene.agent.ready.websocket}${path}`, [], {
      ca: scene.authority,
      localAddress: scene.fresh(),
      ...options,
    });
    this.socket.on('message', (data) => this.messages.push(JSON.parse(String(data))));
    this.socket.on('close', (code, reason) => {
      this.#closed = { code, reason: String(reason) };
    });
    this.socket.on('unexpected-response', (request, response) => {
      this.#refused = response.statusCode ?? 0;
      request.destroy();
    });
    this.socket.on('error', () => undefined);
  }

  /** Signed in and welcomed. */
  static async with(scene: AttackScene, token: string): Promise<Conversation> {
    const talk = new Conversation(scene, { headers: { authorization: `Bearer ${token}` } });
    await talk.next('the welcome', ({ type }) => type === 'CONNECTION_ESTABLISHED');
    return talk;
  }

  send(message: object): void {
    this.socket.send(JSON.stringify(message));
  }

  next(what: string, fits: (message: Message) => boolean): Promise<Message> {
    return eventually(what, () => this.messages.find(fits));
  }

  closed(): Promise<{ readonly code: number; readonly reason: string }> {
    return eventually('the close', () => this.#closed);
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** HTTP status with which the upgrade was refused. */
  refused(): Promise<number> {
    return eventually('the refusal', () => this.#refused);
  }

  end(): void {
    this.socket.terminate();
  }
}
