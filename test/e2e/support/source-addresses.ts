// Where calls come from: any address of 127.0.0.0/8, and any local user, because limits are kept for each of them.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, statSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join as place } from 'node:path';
import type { ReadyFile } from '../../support/agent.ts';

let count = 0;

/** An address that nobody in this test file has called from. */
export function freshAddress(): string {
  count += 1;
  return `127.77.${count >> 8}.${count & 0xff || 1}`;
}

/** Both ends live and die together. */
function join(near: Socket, far: Socket): void {
  near.pipe(far).pipe(near);
  for (const [end, other] of [
    [near, far],
    [far, near],
  ] as const) {
    end.on('error', () => other.destroy());
    end.on('close', () => other.destroy());
  }
}

/** A port of this machine whose connections reach the agent from `from`: for clients that cannot choose their own. */
export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(port: number, from: string) {
    this.#server = createServer((near) => {
      const far = connect({ host: '127.0.0.1', port, localAddress: from });
      this.#sockets.add(near);
      join(near, far);
    });
  }

  static async open(port: number, from: string): Promise<Relay> {
    const relay = new Relay(port, from);
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Other local users before the agent's socket; root alone can be them. */
export class LocalUsers {
  readonly #child: ChildProcess;
  readonly #directory: string;
  #uid = 60_000;

  private constructor(child: ChildProcess, directory: string) {
    this.#child = child;
    this.#directory = directory;
  }

  static readonly possible = process.getuid?.() === 0;

  static async open(ready: ReadyFile): Promise<LocalUsers> {
    // The directories of a test are its own; on an appliance the group of people may pass.
    for (let at = dirname(ready.socket); at !== tmpdir() && at !== '/'; at = dirname(at))
      chmodSync(at, statSync(at).mode | 0o011);
    const child = fork(new URL('local-user.ts', import.meta.url), [ready.socket]);
    return new LocalUsers(child, dirname(ready.stateDirectory));
  }

  /** A socket whose connections reach the agent's from a user that nobody here has been. */
  async socket(): Promise<string> {
    this.#uid += 1;
    const uid = this.#uid;
    const path = place(this.#directory, `u${uid}`);
    const listening = new Promise<void>((resolve) => {
      const hear = (told: unknown): void => {
        if (told !== uid) return;
        this.#child.off('message', hear);
        resolve();
      };
      this.#child.on('message', hear);
    });
    this.#child.send({ uid, path });
    await listening;
    return path;
  }

  async close(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}
