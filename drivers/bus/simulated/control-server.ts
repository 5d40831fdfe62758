// The control socket: newline-delimited JSON requests, one answer line each, in order.
// Faults: a line that is no JSON gets an answer and the connection goes on; a line without end closes it.

import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { ControlDesk } from './control-desk.ts';
import { CONTROL_LINE_MAX, type ControlAnswer } from './control-protocol.ts';

const CONNECTIONS_MAX = 32;

export class ControlServer {
  readonly #path: string;
  readonly #desk: ControlDesk;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(path: string, desk: ControlDesk) {
    this.#path = path;
    this.#desk = desk;
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  open(): Promise<void> {
    rmSync(this.#path, { force: true });
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#path, () => {
        chmodSync(this.#path, 0o600);
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    rmSync(this.#path, { force: true });
  }

  #serve(socket: Socket): void {
    let rest = '';
    this.#sockets.add(socket);
    socket.setEncoding('utf8');
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line.trim() !== '') socket.write(`${JSON.stringify(this.#answer(line))}\n`);
      }
      if (rest.length <= CONTROL_LINE_MAX) return;
      const error = `a line is longer than ${CONTROL_LINE_MAX} characters`;
      socket.end(`${JSON.stringify({ ok: false, error })}\n`);
      rest = '';
    });
  }

  #answer(line: string): ControlAnswer & { readonly id?: unknown } {
    let request: unknown;
    try {
      request = JSON.parse(line);
    } catch {
      return { ok: false, error: 'the line is no JSON' };
    }
    const answer = this.#desk.answer(request);
    // An id, when given, comes back so that a script may match answers to requests.
    const id =
      request !== null && typeof request === 'object' && 'id' in request ? request.id : undefined;
    return id === undefined ? answer : { id, ...answer };
  }
}
