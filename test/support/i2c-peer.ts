// A tiny I2C simulator for tests: chips of 256 bytes with auto-increment on a unix socket, speaking i2c-wire.

import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import {
  encodeI2cResponse,
  type I2cRequest,
  type I2cResponse,
  i2cRequestDecoder,
} from '#drivers/bus/i2c-wire';

/** What the peer does with one request: the usual answer, a changed one, or none. */
export type I2cTrick = (
  usual: I2cResponse,
  request: I2cRequest,
) => I2cResponse | 'silence' | { afterMs: number };

export class I2cPeer {
  readonly path: string;
  readonly chips = new Map<number, Buffer>();
  readonly requests: I2cRequest[] = [];
  /** Used once each, first to last; then answers are as usual. */
  readonly tricks: I2cTrick[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(path: string) {
    this.path = path;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  listen(): Promise<void> {
    rmSync(this.path, { force: true });
    return new Promise((resolve) => this.#server.listen(this.path, resolve));
  }

  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): Promise<void> {
    this.hangUp();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    const decoder = i2cRequestDecoder();
    socket.on('data', (chunk) => {
      for (const request of decoder.push(chunk).messages) this.#answer(socket, request);
    });
  }

  #answer(socket: Socket, request: I2cRequest): void {
    this.requests.push(request);
    const usual = this.#transfer(request);
    const answer = this.tricks.shift()?.(usual, request) ?? usual;
    if (answer === 'silence') return;
    if ('afterMs' in answer) {
      setTimeout(() => socket.writable && socket.write(encodeI2cResponse(usual)), answer.afterMs);
    } else socket.write(encodeI2cResponse(answer));
  }

  #transfer({ id, chip, write, readLength }: I2cRequest): I2cResponse {
    const memory = this.chips.get(chip);
    if (memory === undefined) return { id, status: 'nack', bytes: Buffer.alloc(0) };
    const command = write[0] ?? 0;
    memory.set(write.subarray(1), command);
    return { id, status: 'ok', bytes: memory.subarray(command, command + readLength) };
  }
}
