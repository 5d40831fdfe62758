// The answering process of the link bench: echoes ring frames, unix socket messages or link requests.
// Arguments: `ring` DIRECTORY | `socket` PATH | `link` DIRECTORY.

import { createServer } from 'node:net';
import { join } from 'node:path';
import { POP_EMPTY, Rings } from '#drivers/native/rings';
import { Doorbell } from '#drivers/native/signal';
import { systemClock } from '#foundation/clock';
import { succeed } from '#foundation/outcome';
import { SharedLink } from '#link/shared-link';

const [how = '', where = ''] = process.argv.slice(2);

if (how === 'ring') {
  const own = new Doorbell(join(where, 'one.bell'));
  const peer = new Doorbell(join(where, 'zero.bell'));
  const rings = new Rings({
    path: join(where, 'bench.link'),
    slots: 64,
    side: 1,
    ownTrack: 2,
    peerTrack: 1,
    peerBell: peer.descriptor,
  });
  rings.listen(own.descriptor, () => {
    rings.look();
    for (let size = rings.pop(); size !== POP_EMPTY; size = rings.pop()) {
      if (size < 0) continue;
      rings.receive.copy(rings.send, 0, 0, size);
      rings.push(rings.type, size);
    }
  });
} else if (how === 'socket') {
  createServer((socket) => socket.on('data', (chunk) => socket.write(chunk))).listen(where, () => {
    process.stdout.write('ready\n');
  });
} else {
  const link = new SharedLink({
    directory: where,
    self: 'security',
    peer: 'kernel',
    clock: systemClock,
    onError: (error) => {
      throw error;
    },
  });
  link.serve('echo', async (body) => succeed(body));
}
process.stdout.write('ready\n');
