// The local socket: the same REST application for whoever may open the file, with the identity the kernel vouches for.
// Invariants: mode 0660; the peer is read once when it connects (SO_PEERCRED, unix(7)); no peer, no connection.
// Faults: CONFIG_INVALID when the socket cannot be made or another agent answers on it.

import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { basename } from 'node:path';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { listenOn } from '../listen.ts';
import { http } from '../node-http.ts';
import {
  answerBadRequest,
  closeServer,
  HEADERS_MAX,
  HTTP_BOUNDS,
  HTTP_TIMES,
  isNoHttp,
} from '../rest/http-server.ts';
import type { RestApp } from '../rest/rest-app.ts';

/** Reads SO_PEERCRED of a connected unix socket; the composition root passes the native one in. */
export type PeerCredentialsReader = (
  socket: Socket,
) => Outcome<{ readonly uid: number; readonly gid: number; readonly pid: number }>;

const CONNECTIONS_MAX = 64;
const PROBE_MS = 500;

export class LocalServer {
  readonly server: Server;
  readonly #path: string;

  constructor(app: RestApp, path: string, readPeer: PeerCredentialsReader) {
    this.#path = path;
    this.server = http.createServer({ ...HTTP_TIMES, ...HTTP_BOUNDS }, app.serve);
    this.server.maxHeadersCount = HEADERS_MAX;
    this.server.maxConnections = CONNECTIONS_MAX;
    const users = new WeakMap<object, string>();
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      const user = users.get(socket);
      if (user !== undefined && isNoHttp(error)) {
        const from = { transport: 'local', peer: user, address: user } as const;
        app.service.strangers.strange('no-http', { door: 'local socket', ...from });
      }
      answerBadRequest(error, socket);
    });
    this.server.prependListener('connection', (socket: Socket) => {
      const peer = readPeer(socket);
      if (!peer.ok) {
        socket.destroy();
        return;
      }
      users.set(socket, `uid ${peer.value.uid}`);
      app.peers.addLocal(socket, { kind: 'local', ...peer.value });
    });
  }

  async listen(): Promise<Outcome<void>> {
    const place = `local socket ${basename(this.#path)}`;
    const free = await this.#makeRoom(place);
    if (!free.ok) return free;
    // The file must never be open to others, not even between bind and chmod.
    const before = process.umask(0o117);
    let listening: Outcome<void>;
    try {
      listening = await listenOn(this.server, { path: this.#path }, place);
    } finally {
      process.umask(before);
    }
    if (listening.ok) chmodSync(this.#path, 0o660);
    return listening;
  }

  async close(): Promise<void> {
    await closeServer(this.server);
  }

  /** Removes the file a dead agent left behind; a live one is left alone. */
  async #makeRoom(place: string): Promise<Outcome<void>> {
    try {
      if (!lstatSync(this.#path).isSocket()) {
        return refuse(
          fault('CONFIG_INVALID', { place, finding: 'a file that is no socket is there' }),
        );
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return succeed(undefined);
      const finding = 'cannot be looked at';
      return refuse(fault('CONFIG_INVALID', { place, finding, internal: describeError(error) }));
    }
    if (await answers(this.#path)) {
      return refuse(fault('CONFIG_INVALID', { place, finding: 'another agent answers on it' }));
    }
    unlinkSync(this.#path);
    return succeed(undefined);
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const finish = (live: boolean): void => {
      socket.destroy();
      resolve(live);
    };
    socket.setTimeout(PROBE_MS, () => finish(true));
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
}
