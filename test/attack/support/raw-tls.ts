// Bytes over TLS exactly as an attacker sends them, and whatever comes back until the server closes.

import { connect, type TLSSocket } from 'node:tls';
import { eventually } from '../../e2e/support/scene.ts';
import type { AttackScene } from './attack-scene.ts';

export class RawTls {
  readonly #socket: TLSSocket;
  #received = '';
  #closed = false;

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.on('data', (part: Buffer) => {
      this.#received += part.toString('latin1');
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#closed = true;
    });
  }

  static open(scene: AttackScene): Promise<RawTls> {
    const { hostname, port } = new URL(scene.agent.ready.http);
    return new Promise((resolve, reject) => {
      const socket = connect({
        host: hostname,
        port: Number(port),
        servername: 'localhost',
        ca: scene.authority,
      });
      socket.once('error', reject);
      socket.once('secureConnect', () => resolve(new RawTls(socket)));
    });
  }

  /** A WebSocket of the first demonstration person; what was received so far is forgotten. */
  static async upgraded(scene: AttackScene): Promise<RawTls> {
    const raw = await RawTls.open(scene);
    const head = [
      'GET /api/v1/ws HTTP/1.1',
      'Host: localhost',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      `Authorization: Bearer ${scene.token(0)}`,
    ];
    raw.write(Buffer.from(`${head.join('\r\n')}\r\n\r\n`));
    await eventually('the upgrade', () =>
      raw.#received.includes('CONNECTION_ESTABLISHED') ? true : undefined,
    );
    raw.#received = '';
    return raw;
  }

  write(bytes: Buffer): void {
    if (!this.#closed) this.#socket.write(bytes);
  }

  get isOpen(): boolean {
    return !this.#closed;
  }

  /** All that came until the server closed. */
  ended(limitMs = 8_000): Promise<string> {
    return eventually('the end', () => (this.#closed ? this.#received : undefined), limitMs);
  }

  end(): void {
    this.#socket.destroy();
  }
}
