// The other side of a link in a process of its own, for tests: serves a few methods until it is killed.
// Arguments: directory, own track, peer track, mode (`serve`, `engage` or `crash-handler`).

import { systemClock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { refuse, succeed } from '#foundation/outcome';
import { MessageType } from '#link/link';
import { SharedLink } from '#link/shared-link';
import { SharedStopLatch } from '#link/stop-latch';
import type { TrackName } from '#model/track-name';

const [directory = '', self = '', peer = '', mode = 'serve'] = process.argv.slice(2);

if (mode === 'engage') {
  const latch = new SharedStopLatch({ directory, self: self as TrackName });
  latch.engage();
  latch.close();
} else {
  const link = new SharedLink({
    directory,
    self: self as TrackName,
    peer: peer as TrackName,
    clock: systemClock,
    onError: (error, where) => process.stderr.write(`${where}: ${String(error)}\n`),
  });
  link.serve('echo', async (body) => succeed(body));
  link.serve('never', () => new Promise(() => undefined));
  link.serve('refuse', async () =>
    refuse(
      fault('INTERLOCK_OPEN', { place: 'door', finding: 'open', internal: 'ENOENT: /secret' }),
    ),
  );
  link.onNotice('ping', (body) => link.notify(MessageType.EVENT, 'pong', body));
  link.onNotice('exit', () => link.close());
  process.stdout.write('ready\n');
}
