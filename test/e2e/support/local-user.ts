// A process of its own that is root and connects to a unix socket as whichever user its parent names (credentials(7)).

import { connect, createServer } from 'node:net';

const [agent = ''] = process.argv.slice(2);

function relayAs(uid: number, path: string): void {
  const server = createServer((near) => {
    // connect(2) happens before this returns, and is what the other end learns the user from (SO_PEERCRED).
    process.seteuid?.(uid);
    const far = connect(agent);
    process.seteuid?.(0);
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  });
  server.listen(path, () => process.send?.(uid));
}

process.on('message', ({ uid, path }: { uid: number; path: string }) => relayAs(uid, path));
process.on('disconnect', () => process.exit(0));
