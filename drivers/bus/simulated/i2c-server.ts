// The simulated I2C adapter: serves the chips of one bus on a unix socket in the wire format of the client driver.
// Faults: a malformed frame ends that connection only; a stuck bus answers `timeout` after the SMBus 35 ms.

import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { encodeI2cResponse, type I2cRequest, i2cRequestDecoder } from '#drivers/bus/i2c-wire';
import type { Clock } from '#foundation/clock';
import type { I2cSlaves } from './i2c-slaves.ts';
import type { Mechanism } from './mechanism.ts';

/** Ttimeout,max of SMBus 3.2 table 2: how long a slave may hold the clock before the controller gives up. */
const CLOCK_STRETCH_MS_MAX = 35;
const CONNECTIONS_MAX = 16;

export class I2cServer implements Mechanism {
  readonly #path: string;
  readonly #slaves: I2cSlaves;
  readonly #clock: Clock;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(path: string, slaves: I2cSlaves, clock: Clock) {
    this.#path = path;
    this.#slaves = slaves;
    this.#clock = clock;
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  open(): Promise<void> {
    rmSync(this.#path, { force: true });
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#path, () => {
        chmodSync(this.#path, 0o660);
        resolve();
      });
    });
  }

  flush(): void {}

  touched(): readonly string[] {
    return [];
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    rmSync(this.#path, { force: true });
  }

  #serve(socket: Socket): void {
    const decoder = i2cRequestDecoder();
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      const { messages, broken } = decoder.push(chunk);
      for (const request of messages) this.#answer(socket, request);
      if (broken !== null) socket.destroy();
    });
  }

  #answer(socket: Socket, request: I2cRequest): void {
    const { status, bytes } = this.#slaves.transfer(request);
    const frame = encodeI2cResponse({ id: request.id, status, bytes });
    const send = (): void => {
      if (!socket.destroyed) socket.write(frame);
    };
    if (status === 'timeout') this.#clock.after(CLOCK_STRETCH_MS_MAX, send);
    else send();
  }
}
