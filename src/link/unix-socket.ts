// Unix stream sockets by path, and nothing else: the only way to `node:net` for processes that serve no network.
// Invariants: every address given to `node:net` here is an absolute path (unix(7)), never a host or a port, so that
// whoever reaches this file can neither listen on nor call a network (test/tidy/imports.test.ts relies on it).
// Faults: CONFIG_INVALID when the socket cannot be made or somebody answers on it; TRACK_UNAVAILABLE when nobody does.

import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { basename, isAbsolute } from 'node:path';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';

const PROBE_MS = 500;

export interface PathServer {
  close(): Promise<void>;
}

/**
 * Waits for connections on a socket file of exactly this mode. A file that a dead process left behind is replaced; one on
 * which somebody answers is left alone.
 */
export async function listenOnPath(
  path: string,
  mode: number,
  onConnection: (socket: Socket) => void,
): Promise<Outcome<PathServer>> {
  const place = `console ${basename(path)}`;
  if (!isAbsolute(path)) {
    return refuse(fault('CONFIG_INVALID', { place, finding: 'its path is not absolute' }));
  }
  const free = await makeRoom(path, place);
  if (!free.ok) return free;
  const server = createServer(onConnection);
  return new Promise((resolve) => {
    server.once('error', (error) => {
      const internal = describeError(error);
      const finding = 'the socket cannot be made';
      resolve(refuse(fault('CONFIG_INVALID', { place, finding, internal })));
    });
    server.once('listening', () => {
      server.on('error', () => undefined);
      const close = () => new Promise<void>((closed) => server.close(() => closed()));
      resolve(succeed({ close }));
    });
    // The file is made within this call, and must never be open to others, not even until its mode is set.
    const before = process.umask(0o777 & ~mode);
    try {
      server.listen({ path });
      chmodSync(path, mode);
    } catch {
      // Not made: the error event says why.
    } finally {
      process.umask(before);
    }
  });
}

/** A connection, or why there is none within `limitMs`. */
export function connectToPath(path: string, limitMs: number): Promise<Outcome<Socket>> {
  const place = `console ${basename(path)}`;
  if (!isAbsolute(path)) {
    return Promise.resolve(
      refuse(fault('TRACK_UNAVAILABLE', { place, finding: 'its path is not absolute' })),
    );
  }
  return new Promise((resolve) => {
    const socket = createConnection({ path });
    const no = (finding: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(refuse(fault('TRACK_UNAVAILABLE', { place, finding })));
    };
    const timer = setTimeout(() => no('takes no connection'), limitMs);
    socket.once('error', (error: NodeJS.ErrnoException) => no(whyNot(error)));
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.removeAllListeners('error');
      resolve(succeed(socket));
    });
  });
}

function whyNot(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ENOENT':
      return 'does not exist (ENOENT)';
    case 'ECONNREFUSED':
      return 'nobody listens on it (ECONNREFUSED)';
    case 'EACCES':
      return 'is not open to this user (EACCES)';
    default:
      return `cannot be reached (${error.code ?? error.message})`;
  }
}

async function makeRoom(path: string, place: string): Promise<Outcome<void>> {
  try {
    if (!lstatSync(path).isSocket()) {
      const finding = 'a file that is no socket is there';
      return refuse(fault('CONFIG_INVALID', { place, finding }));
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return succeed(undefined);
    const finding = 'cannot be looked at';
    return refuse(fault('CONFIG_INVALID', { place, finding, internal: describeError(error) }));
  }
  const answered = await connectToPath(path, PROBE_MS);
  if (answered.ok) {
    answered.value.destroy();
    return refuse(fault('CONFIG_INVALID', { place, finding: 'another process answers on it' }));
  }
  try {
    unlinkSync(path);
  } catch (error) {
    const finding = 'the file of a dead process cannot be removed';
    return refuse(fault('CONFIG_INVALID', { place, finding, internal: describeError(error) }));
  }
  return succeed(undefined);
}
