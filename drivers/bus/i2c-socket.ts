// An I2C adapter on a unix socket, where a simulator answers combined transfers as in i2c-wire.ts.
//
// Invariants: one transfer in flight; an answer counts only with the id of that transfer, others are stray.
// Faults: errno names as a kernel adapter gives them: ENXIO for NACK, EAGAIN for lost arbitration, ETIMEDOUT from
// the simulator's own clock, ENOTCONN when the connection ended before the answer.

import { createConnection, type Socket } from 'node:net';
import { describeError } from '#foundation/fault';
import { type I2cAdapter, type Transfer, transferFailed, transferred } from './i2c-adapter.ts';
import { encodeI2cRequest, type I2cResponse, i2cResponseDecoder } from './i2c-wire.ts';

interface Open {
  readonly id: number;
  readonly readLength: number;
  readonly resolve: (result: Transfer<Buffer>) => void;
}

export class SocketI2cAdapter implements I2cAdapter {
  readonly #path: string;
  #socket: Socket | undefined;
  #open: Open | undefined;
  #lastId = 0;
  #strayAnswers = 0;

  constructor(path: string) {
    this.#path = path;
  }

  async open(): Promise<Transfer<void>> {
    await this.close();
    return this.#connect();
  }

  async readByte(chip: number, command: number): Promise<Transfer<number>> {
    const bytes = await this.#transfer(chip, [command], 1);
    return bytes.ok ? transferred(bytes.value.readUInt8(0)) : bytes;
  }

  writeByte(chip: number, command: number, value: number): Promise<Transfer<void>> {
    return this.#send(chip, [command, value]);
  }

  async readWord(chip: number, command: number): Promise<Transfer<number>> {
    const bytes = await this.#transfer(chip, [command], 2);
    return bytes.ok ? transferred(bytes.value.readUInt16LE(0)) : bytes;
  }

  writeWord(chip: number, command: number, value: number): Promise<Transfer<void>> {
    return this.#send(chip, [command, value & 0xff, value >> 8]);
  }

  readBlock(chip: number, command: number, length: number): Promise<Transfer<Buffer>> {
    return this.#transfer(chip, [command], length);
  }

  writeBlock(chip: number, command: number, bytes: Buffer): Promise<Transfer<void>> {
    return this.#send(chip, [command, ...bytes]);
  }

  abandon(): void {
    this.#lose('the transfer was abandoned');
  }

  strayAnswers(): number {
    return this.#strayAnswers;
  }

  async close(): Promise<void> {
    this.#lose('the adapter was closed');
  }

  async #send(chip: number, write: readonly number[]): Promise<Transfer<void>> {
    const result = await this.#transfer(chip, write, 0);
    return result.ok ? transferred(undefined) : result;
  }

  async #transfer(
    chip: number,
    write: readonly number[],
    readLength: number,
  ): Promise<Transfer<Buffer>> {
    if (this.#socket === undefined) {
      const connected = await this.#connect();
      if (!connected.ok) return connected;
    }
    const socket = this.#socket;
    if (socket === undefined) return transferFailed('ENOTCONN', 'the connection ended at once');
    this.#lastId = (this.#lastId + 1) & 0xffff;
    const id = this.#lastId;
    return new Promise((resolve) => {
      this.#open = { id, readLength, resolve };
      socket.write(encodeI2cRequest({ id, chip, write: Buffer.from(write), readLength }));
    });
  }

  #connect(): Promise<Transfer<void>> {
    return new Promise((resolve) => {
      const socket = createConnection(this.#path);
      const decoder = i2cResponseDecoder();
      socket.on('connect', () => {
        this.#socket = socket;
        resolve(transferred(undefined));
      });
      socket.on('data', (chunk) => {
        const { messages, broken } = decoder.push(chunk);
        for (const message of messages) this.#answer(message);
        if (broken !== null) socket.destroy(new Error(broken));
      });
      socket.on('error', (error: NodeJS.ErrnoException) => {
        resolve(transferFailed(error.code ?? 'EPROTO', describeError(error)));
        if (this.#socket === socket) this.#lose(error.message);
      });
      socket.on('close', () => {
        resolve(transferFailed('ENOTCONN', 'the simulator closed the connection'));
        if (this.#socket === socket) this.#lose('the simulator closed the connection');
      });
    });
  }

  #answer(response: I2cResponse): void {
    const open = this.#open;
    if (open?.id !== response.id) {
      this.#strayAnswers += 1;
      return;
    }
    this.#open = undefined;
    switch (response.status) {
      case 'ok': {
        const right = response.bytes.length === open.readLength;
        const detail = `${response.bytes.length} of ${open.readLength} bytes came`;
        open.resolve(
          right ? transferred(Buffer.from(response.bytes)) : transferFailed('EPROTO', detail),
        );
        return;
      }
      case 'nack':
        open.resolve(transferFailed('ENXIO', 'NACK'));
        return;
      case 'arbitration-lost':
        open.resolve(transferFailed('EAGAIN', 'arbitration lost'));
        return;
      case 'timeout':
        open.resolve(transferFailed('ETIMEDOUT', 'the adapter gave up'));
        return;
    }
  }

  #lose(detail: string): void {
    const socket = this.#socket;
    const open = this.#open;
    this.#socket = undefined;
    this.#open = undefined;
    socket?.destroy();
    open?.resolve(transferFailed('ENOTCONN', detail));
  }
}
