// The host's services that Node does not offer: who is behind a local socket, readiness, pseudo-terminals.
// Faults: INTERNAL for a call that the kernel refuses; its errno is in `internal`.

import type { Socket } from 'node:net';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { addon } from './addon.ts';

/** SO_PEERCRED of unix(7): the ids at the time of connect(2); `pid` is 0 when it is not visible from here. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** A raw pseudo-terminal (pty(7)); whoever opens `path` is the other end. */
export interface PseudoTerminal {
  /** The controlling end. */
  readonly fd: number;
  /**
   * A descriptor of the other end that nobody reads: while it is open, reads from `fd` wait when the last client
   * closes, and once it is closed they fail with EIO as on a line that was pulled out.
   */
  readonly peerFd: number;
  readonly path: string;
}

interface NativeHost {
  peerCredentials(fd: number): PeerCredentials;
  sendNotification(address: string, text: string): void;
  openPseudoTerminal(): PseudoTerminal;
}

const native = addon as NativeHost;

/** Who connected to a unix socket. The socket must be open; an internet socket is refused. */
export function peerCredentials(socket: Socket): Outcome<PeerCredentials> {
  // Node keeps the descriptor of a socket in its handle and offers no public way to it.
  const handle = (socket as unknown as { readonly _handle?: { readonly fd?: number } })._handle;
  return peerCredentialsOf(handle?.fd ?? -1);
}

export function peerCredentialsOf(fd: number): Outcome<PeerCredentials> {
  return attempt('local socket', 'the peer does not show who it is', () =>
    native.peerCredentials(fd),
  );
}

/**
 * Tells the service manager, as sd_notify(3): assignments separated by newlines, such as `READY=1` or `WATCHDOG=1`.
 * False when no manager asked (NOTIFY_SOCKET is unset); never waits.
 */
export function sdNotify(text: string, address = process.env.NOTIFY_SOCKET): Outcome<boolean> {
  if (address === undefined || address === '') return succeed(false);
  return attempt('service manager', 'it did not take the notification', () => {
    native.sendNotification(address, text);
    return true;
  });
}

export function openPseudoTerminal(): Outcome<PseudoTerminal> {
  return attempt('pseudo-terminal', 'none can be opened', () => native.openPseudoTerminal());
}

function attempt<T>(place: string, finding: string, call: () => T): Outcome<T> {
  try {
    return succeed(call());
  } catch (error) {
    return refuse(fault('INTERNAL', { place, finding, internal: describeError(error) }));
  }
}
