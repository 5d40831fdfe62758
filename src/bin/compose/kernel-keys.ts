// Tells kernel, over their own link and at every meeting, under which keys authorizations of this process count.
// Invariants: while kernel answers it is told until it has taken them; a message is sent before any request signed with
// its keys, and links keep their order.

import type { Cancel, Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Link } from '#link/link';
import type { AuthorizationKeys } from '#model/authorization';
import type { KernelTrack } from '#model/track';

const OFFER_LIMIT_MS = 2_000;
const AGAIN_MS = 200;

export interface KernelKeysParts {
  readonly clock: Clock;
  readonly link: Link;
  readonly kernel: KernelTrack;
  readonly keys: () => AuthorizationKeys;
}

export class KernelKeys {
  readonly #parts: KernelKeysParts;
  #again: Cancel | null = null;

  constructor(parts: KernelKeysParts) {
    this.#parts = parts;
    const { link } = parts;
    link.onPeer((state) => {
      if (state === 'up') void this.#tell();
    });
    if (link.peerState === 'up') void this.#tell();
  }

  /** For a change of keys: a kernel that is not there hears of them when it comes, one that does not answer is waited for. */
  async offer(keys: AuthorizationKeys): Promise<Outcome<void>> {
    const { clock, kernel, link } = this.#parts;
    if (link.peerState === 'absent' || link.peerState === 'lost') return succeed(undefined);
    if (link.peerState === 'silent') {
      const finding = 'does not answer now, and would not know the new key';
      return refuse(fault('TRACK_UNAVAILABLE', { place: 'kernel track', finding }));
    }
    const taken = await kernel.trust(keys, Deadline.after(clock, OFFER_LIMIT_MS));
    // Perhaps it took them and the answer was lost: what holds in the end is told again.
    if (!taken.ok) this.#later();
    return taken;
  }

  async #tell(): Promise<void> {
    const { clock, kernel, keys } = this.#parts;
    const taken = await kernel.trust(keys(), Deadline.after(clock, OFFER_LIMIT_MS));
    if (!taken.ok) this.#later();
  }

  #later(): void {
    this.#again?.();
    this.#again = this.#parts.clock.after(AGAIN_MS, () => {
      this.#again = null;
      if (this.#parts.link.peerState === 'up') void this.#tell();
    });
  }
}
