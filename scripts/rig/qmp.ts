// QEMU's machine protocol on a unix socket: commands one at a time, events as they come.

import { createConnection, type Socket } from 'node:net';

export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** Milliseconds since 1970 when it arrived here. */
  readonly atMs: number;
}

const CONNECT_ATTEMPTS_MAX = 200;
const CONNECT_PAUSE_MS = 25;

export class QmpClient {
  readonly events: QmpEvent[] = [];
  readonly #socket: Socket;
  readonly #onEvent: (event: QmpEvent) => void;
  #rest = '';

  private constructor(socket: Socket, onEvent: (event: QmpEvent) => void) {
    this.#socket = socket;
    this.#onEvent = onEvent;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', () => socket.destroy());
    this.send('qmp_capabilities');
  }

  /** Waits at most 5 s for QEMU to make its socket; `undefined` when it never did. */
  static async connect(
    path: string,
    onEvent: (event: QmpEvent) => void,
  ): Promise<QmpClient | undefined> {
    for (let attempt = 0; attempt < CONNECT_ATTEMPTS_MAX; attempt++) {
      const socket = await connectOnce(path);
      if (socket !== undefined) return new QmpClient(socket, onEvent);
      await new Promise((resolve) => setTimeout(resolve, CONNECT_PAUSE_MS));
    }
    return undefined;
  }

  /** Sends a command; its answer is not awaited, effects show as events. */
  send(command: string, parameters: Readonly<Record<string, unknown>> = {}): void {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: parameters })}\n`);
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const message = JSON.parse(line) as { event?: string; data?: Record<string, unknown> };
      if (message.event === undefined) continue;
      const event = { event: message.event, data: message.data ?? {}, atMs: Date.now() };
      this.events.push(event);
      this.#onEvent(event);
    }
  }
}

function connectOnce(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
    socket.once('error', () => resolve(undefined));
  });
}
