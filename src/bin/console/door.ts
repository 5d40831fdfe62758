// A door for people at this machine: a unix socket whose every connection is one bounded link with a known user.
// Invariants: who connects is what the operating system says (SO_PEERCRED, unix(7)), never what the messages say; the
// number of connections and the life of each are bounded.

import { type PeerCredentials, peerCredentials } from '#drivers/native/host';
import type { Clock } from '#foundation/clock';
import type { Outcome } from '#foundation/outcome';
import type { Link } from '#link/link';
import { SocketLink } from '#link/socket-link';
import { listenOnPath } from '#link/unix-socket';
import type { TrackName } from '#model/track-name';

export interface ConsoleDoorParts {
  readonly path: string;
  /** Of the socket file: who may knock at all. */
  readonly mode: number;
  readonly self: TrackName;
  readonly clock: Clock;
  readonly admits: (peer: PeerCredentials) => boolean;
  /** Serves one client; what it returns is called once when the client is gone. */
  readonly serve: (link: Link, peer: PeerCredentials) => () => void;
  readonly onError: (error: unknown, where: string) => void;
  /** For the log of this machine. */
  readonly onNote: (detail: object, message: string) => void;
}

export interface ConsoleDoor {
  /** Takes no more clients and closes the connections of those that are there. */
  close(): Promise<void>;
}

export const CONSOLE_CONNECTIONS_MAX = 8;
/** One command needs at most half a minute. */
const CONNECTION_MS_MAX = 120_000;
const FRAMES_PER_SECOND_MAX = 200;

export async function openConsoleDoor(parts: ConsoleDoorParts): Promise<Outcome<ConsoleDoor>> {
  const { clock, self, onError, onNote } = parts;
  const open = new Set<Link>();
  const server = await listenOnPath(parts.path, parts.mode, (socket) => {
    const peer = peerCredentials(socket);
    const refused = !peer.ok
      ? 'does not show who it is'
      : open.size >= CONSOLE_CONNECTIONS_MAX
        ? `${open.size} consoles are open already`
        : parts.admits(peer.value)
          ? null
          : `uid ${peer.value.uid} may not use it`;
    if (!peer.ok || refused !== null) {
      onNote({ peer: peer.ok ? peer.value : null, finding: refused }, 'console refused');
      socket.destroy();
      return;
    }
    let leave: () => void = () => undefined;
    const cancelLife = clock.after(CONNECTION_MS_MAX, () => link.close());
    const link = new SocketLink({
      stream: socket,
      self,
      // Nothing that only this machine's log may hold goes out here either.
      peer: 'interface',
      clock,
      onError,
      framesPerSecondMax: FRAMES_PER_SECOND_MAX,
      onEnd: (finding) => {
        cancelLife();
        open.delete(link);
        leave();
        onNote({ peer: peer.value, finding }, 'console closed');
      },
    });
    open.add(link);
    onNote({ peer: peer.value }, 'console opened');
    leave = parts.serve(link, peer.value);
  });
  if (!server.ok) return server;
  const close = async () => {
    for (const link of [...open]) link.close();
    await server.value.close();
  };
  return { ok: true, value: { close } };
}
