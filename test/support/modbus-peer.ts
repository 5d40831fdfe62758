// A small Modbus server for tests that speaks bytes by hand, on a pseudo-terminal or a TCP port, and misbehaves on
// request. It shares no code with the driver, its CRC included, so a common mistake cannot hide.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { SerialPort } from 'serialport';

/** What happens in place of the usual answer; `send` may be called later, several times or never. */
export type Trick = (usual: Buffer, send: (bytes: Buffer) => void) => void;

export class ModbusUnits {
  readonly registers = new Map<number, Uint16Array>();
  readonly coils = new Uint8Array(256);
  /** Addresses that the units say they do not have. */
  readonly holes = new Set<number>();
  /** Unit and PDU of every request, in hexadecimal. */
  readonly requests: string[] = [];
  /** Used once each, first to last. */
  readonly tricks: Trick[] = [];

  constructor(units: readonly number[]) {
    for (const unit of units) this.registers.set(unit, new Uint16Array(1024));
  }

  /** The answer's PDU, or undefined when no such unit is on the line. */
  answer(unit: number, pdu: Buffer): Buffer | undefined {
    this.requests.push(`${unit}:${pdu.toString('hex')}`);
    const registers = this.registers.get(unit);
    if (registers === undefined) return undefined;
    const code = pdu.readUInt8(0);
    const address = pdu.readUInt16BE(1);
    const second = pdu.readUInt16BE(3);
    const length = code === 5 || code === 6 ? 1 : second;
    for (let at = address; at < address + length; at++) {
      if (at >= 1024 || this.holes.has(at)) return Buffer.from([code | 0x80, 2]);
    }
    switch (code) {
      case 1:
      case 2: {
        const bytes = Buffer.alloc(Math.ceil(second / 8));
        for (let bit = 0; bit < second; bit++) {
          if (this.coils[address + bit])
            bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (1 << (bit & 7));
        }
        return Buffer.concat([Buffer.from([code, bytes.length]), bytes]);
      }
      case 3:
      case 4: {
        const bytes = Buffer.alloc(second * 2);
        for (let at = 0; at < second; at++)
          bytes.writeUInt16BE(registers[address + at] ?? 0, at * 2);
        return Buffer.concat([Buffer.from([code, bytes.length]), bytes]);
      }
      case 5:
        this.coils[address] = second === 0xff00 ? 1 : 0;
        return pdu;
      case 6:
        registers[address] = second;
        return pdu;
      case 16:
        for (let at = 0; at < second; at++) registers[address + at] = pdu.readUInt16BE(6 + at * 2);
        return pdu.subarray(0, 5);
      default:
        return Buffer.from([code | 0x80, 1]);
    }
  }

  respond(usual: Buffer | undefined, send: (bytes: Buffer) => void): void {
    if (usual === undefined) return;
    const trick = this.tricks.shift();
    if (trick === undefined) send(usual);
    else trick(usual, send);
  }
}

/** Bit by bit, as the flow chart of Serial Line 1.02 section 6.2.2 draws it. */
export function withCrc(bytes: Buffer): Buffer {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      const carry = crc & 1;
      crc >>= 1;
      if (carry === 1) crc ^= 0xa001;
    }
  }
  return Buffer.concat([bytes, Buffer.from([crc & 0xff, crc >> 8])]);
}

/** Two pseudo-terminals joined by socat: what is written to one is read from the other. */
export class TtyPair {
  readonly near: string;
  readonly far: string;
  #socat: ChildProcess | undefined;

  constructor(directory: string) {
    this.near = join(directory, 'near');
    this.far = join(directory, 'far');
  }

  async appear(): Promise<void> {
    const end = (link: string) => `pty,raw,echo=0,link=${link}`;
    this.#socat = spawn('socat', ['-d', '-d', end(this.near), end(this.far)], { stdio: 'ignore' });
    await until(() => existsSync(this.near) && existsSync(this.far));
  }

  /** Both terminals go away, as when an adapter is unplugged. */
  async vanish(): Promise<void> {
    const socat = this.#socat;
    this.#socat = undefined;
    if (socat === undefined) return;
    const ended = new Promise((resolve) => socat.once('exit', resolve));
    socat.kill('SIGTERM');
    await ended;
  }
}

/** Serves units on one end of a pair. */
export class RtuPeer {
  readonly units: ModbusUnits;
  #port: SerialPort | undefined;
  #received: Buffer = Buffer.alloc(0);

  constructor(units: ModbusUnits) {
    this.units = units;
  }

  serve(path: string): Promise<void> {
    const port = new SerialPort({ path, baudRate: 19_200, autoOpen: false });
    this.#port = port;
    this.#received = Buffer.alloc(0);
    port.on('error', () => {});
    port.on('data', (chunk: Buffer) => this.#take(chunk));
    return new Promise((resolve, reject) =>
      port.open((error) => (error ? reject(error) : resolve())),
    );
  }

  /** Writes bytes that nobody asked for. */
  babble(bytes: Buffer): void {
    if (this.#port?.isOpen) this.#port.write(bytes);
  }

  close(): Promise<void> {
    const port = this.#port;
    return new Promise((resolve) => (port?.isOpen ? port.close(() => resolve()) : resolve()));
  }

  #take(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    for (;;) {
      const code = this.#received[1] ?? 0;
      const length = code === 16 ? 9 + (this.#received[6] ?? 255) : 8;
      if (this.#received.length < length) return;
      const frame = this.#received.subarray(0, length);
      this.#received = this.#received.subarray(length);
      const body = frame.subarray(0, -2);
      if (!withCrc(body).equals(frame)) continue;
      const unit = body.readUInt8(0);
      const pdu = this.units.answer(unit, body.subarray(1));
      const usual = pdu && withCrc(Buffer.concat([Buffer.from([unit]), pdu]));
      this.units.respond(usual, (bytes) => this.babble(bytes));
    }
  }
}

/** Serves units on a loopback port. */
export class TcpPeer {
  readonly units: ModbusUnits;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  connections = 0;

  constructor(units: ModbusUnits) {
    this.units = units;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  listen(port = 0): Promise<number> {
    return new Promise((resolve) => {
      this.#server.listen(port, '127.0.0.1', () =>
        resolve((this.#server.address() as AddressInfo).port),
      );
    });
  }

  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): Promise<void> {
    this.hangUp();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #serve(socket: Socket): void {
    this.connections += 1;
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    let received: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 6 && received.length >= 6 + received.readUInt16BE(4)) {
        const frame = received.subarray(0, 6 + received.readUInt16BE(4));
        received = received.subarray(frame.length);
        const pdu = this.units.answer(frame.readUInt8(6), frame.subarray(7));
        if (pdu === undefined) continue;
        const head = Buffer.from(frame.subarray(0, 7));
        head.writeUInt16BE(pdu.length + 1, 4);
        this.units.respond(
          Buffer.concat([head, pdu]),
          (bytes) => socket.writable && socket.write(bytes),
        );
      }
    });
  }
}

export async function until(condition: () => boolean, forMs = 5_000): Promise<void> {
  const endMs = Date.now() + forMs;
  while (!condition()) {
    if (Date.now() > endMs) throw new Error('the condition did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
