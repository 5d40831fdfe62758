// Asks this process's own server through its own local socket, as any technician's command would.

import { REST_BASE } from '#model/operation-table';
import { http } from '#tracks/interface/node-http';

/** Calls back when the server answered, or closed the connection because it has too many: it serves either way. */
export function askOwnSocket(socketPath: string, limitMs: number, answered: () => void): void {
  let connected = false;
  const call = http.request(
    { socketPath, path: `${REST_BASE}/health`, agent: false, timeout: limitMs },
    (response) => {
      response.resume();
      answered();
    },
  );
  call.on('socket', (socket) =>
    socket.once('connect', () => {
      connected = true;
    }),
  );
  call.on('timeout', () => {
    connected = false;
    call.destroy();
  });
  call.on('error', () => {
    if (connected) answered();
  });
  call.end();
}
