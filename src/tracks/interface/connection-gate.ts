// Who may hold a connection at a network door: so many in all, so many from one address, asked before TLS costs anything.
// Invariants: what was admitted is counted until it leaves, once; a connection that proved an identity is never cut for
// another; with every place taken a newcomer takes that of a stranger from the address that holds the most of them, so
// that one crowd of strangers keeps nobody else out, and an address that holds the most itself is refused.

export interface ConnectionLimits {
  /** Of all network doors together. */
  readonly total: number;
  /** Of one address, or of one /64 of IPv6; loopback is an address like any other. */
  readonly perAddress: number;
}

export interface Newcomer {
  /** The key of the limits, see `networkOf`. */
  readonly address: string;
  /** Address and port: names the connection while it is open. */
  readonly peer: string;
  /** Closes the connection at once, to make room for another. */
  readonly cut: () => void;
}

export type GateAnswer =
  /** `leave` when the connection is closed; any further call does nothing. */
  | { readonly admitted: true; readonly leave: () => void; readonly displaced: Newcomer | null }
  | { readonly admitted: false; readonly full: 'address' | 'doors' };

export interface GateCounts {
  /** Open connections that have proved an identity, and those that have not. */
  readonly known: number;
  readonly strangers: number;
  readonly addresses: number;
  /** Since the start. */
  readonly refusedForAddress: number;
  readonly refusedForTotal: number;
  readonly displaced: number;
}

interface Place {
  readonly newcomer: Newcomer;
  known: boolean;
  here: boolean;
}

interface AddressPlaces {
  open: number;
  /** The oldest first. */
  readonly strangers: Set<Place>;
}

export class ConnectionGate {
  readonly limits: ConnectionLimits;
  readonly #addresses = new Map<string, AddressPlaces>();
  /** By address and port, which connections through two doors may share. */
  readonly #places = new Map<string, Set<Place>>();
  #open = 0;
  #known = 0;
  #refusedForAddress = 0;
  #refusedForTotal = 0;
  #displaced = 0;

  constructor(limits: ConnectionLimits) {
    this.limits = limits;
  }

  get open(): number {
    return this.#open;
  }

  get counts(): GateCounts {
    return {
      known: this.#known,
      strangers: this.#open - this.#known,
      addresses: this.#addresses.size,
      refusedForAddress: this.#refusedForAddress,
      refusedForTotal: this.#refusedForTotal,
      displaced: this.#displaced,
    };
  }

  openOf(address: string): number {
    return this.#addresses.get(address)?.open ?? 0;
  }

  /** Takes a place for the newcomer, or says what is full. */
  ask(newcomer: Newcomer): GateAnswer {
    const held = this.#addresses.get(newcomer.address);
    if ((held?.open ?? 0) >= this.limits.perAddress) {
      this.#refusedForAddress += 1;
      return { admitted: false, full: 'address' };
    }
    let displaced: Newcomer | null = null;
    if (this.#open >= this.limits.total) {
      const victim = this.#strangerToDisplace(held?.strangers.size ?? 0);
      if (victim === null) {
        this.#refusedForTotal += 1;
        return { admitted: false, full: 'doors' };
      }
      this.#displaced += 1;
      displaced = victim.newcomer;
      this.#leave(victim);
      displaced.cut();
    }
    const place: Place = { newcomer, known: false, here: true };
    const places = this.#addresses.get(newcomer.address) ?? { open: 0, strangers: new Set() };
    this.#addresses.set(newcomer.address, places);
    places.open += 1;
    places.strangers.add(place);
    this.#places.set(newcomer.peer, (this.#places.get(newcomer.peer) ?? new Set()).add(place));
    this.#open += 1;
    return { admitted: true, displaced, leave: () => this.#leave(place) };
  }

  /** Whoever is at this address and port has proved an identity; the connection may be gone already. */
  prove(peer: string): void {
    for (const place of this.#places.get(peer) ?? []) {
      if (place.known) continue;
      place.known = true;
      this.#known += 1;
      this.#addresses.get(place.newcomer.address)?.strangers.delete(place);
    }
  }

  /** The oldest stranger of the address with the most of them, where that is more than the newcomer's has. */
  #strangerToDisplace(own: number): Place | null {
    let most: ReadonlySet<Place> | null = null;
    for (const { strangers } of this.#addresses.values()) {
      if (strangers.size > (most?.size ?? own)) most = strangers;
    }
    const [oldest] = most ?? [];
    return oldest ?? null;
  }

  #leave(place: Place): void {
    // A displaced connection has left already when its socket closes.
    if (!place.here) return;
    place.here = false;
    this.#open -= 1;
    if (place.known) this.#known -= 1;
    const { address, peer } = place.newcomer;
    const named = this.#places.get(peer);
    named?.delete(place);
    if (named?.size === 0) this.#places.delete(peer);
    const places = this.#addresses.get(address);
    if (places === undefined) return;
    places.strangers.delete(place);
    places.open -= 1;
    if (places.open === 0) this.#addresses.delete(address);
  }
}
