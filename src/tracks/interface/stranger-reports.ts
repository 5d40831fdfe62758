// What strangers do at the doors before anybody knows who they are, put on record without letting them fill the record.
// Invariants: the first of a kind from an address is told at once, what follows within ten seconds as one entry with its
// count; each address and all together have a budget of entries, and what is over it is counted until there is room again;
// every text is one of ours, and nothing that a stranger sent is repeated.

import type { Cancel, Clock } from '#foundation/clock';
import { type Fault, fault } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import type { Origin, Transport } from '#model/principal';
import { RateLimiter } from './rate-limiter.ts';

/** What came that is foreign to a door, with the code under which threat detection counts it. */
const STRANGE = {
  'no-tls': ['REQUEST_MALFORMED', 'sent bytes that are no TLS'],
  'plain-http': ['REQUEST_MALFORMED', 'sent HTTP without TLS'],
  'tls-failed': ['REQUEST_MALFORMED', 'sent a TLS handshake that cannot be finished'],
  'other-protocol': ['REQUEST_MALFORMED', 'asked for a protocol that is not spoken here'],
  'handshake-slow': ['REQUEST_MALFORMED', 'did not finish its TLS handshake in time'],
  'no-http': ['REQUEST_MALFORMED', 'sent bytes that are no HTTP'],
  'no-http2': ['REQUEST_MALFORMED', 'broke the rules of HTTP/2'],
  'no-websocket': ['REQUEST_MALFORMED', 'broke the rules of WebSocket'],
  'certificate-foreign': [
    'CERTIFICATE_REFUSED',
    'showed a certificate that the authority of this appliance did not sign',
  ],
  'certificate-revoked': ['CERTIFICATE_REFUSED', 'showed a certificate that was revoked'],
  'certificate-expired': ['CERTIFICATE_REFUSED', 'showed a certificate that has expired'],
  'certificate-early': ['CERTIFICATE_REFUSED', 'showed a certificate that is not valid yet'],
  'certificate-unfit': ['CERTIFICATE_REFUSED', 'showed a certificate that is not good for this'],
  'certificate-nameless': [
    'CERTIFICATE_REFUSED',
    'showed a certificate of this appliance that does not name exactly one account',
  ],
  'address-full': ['RATE_LIMITED', 'holds as many connections as one address may'],
  'doors-full': ['RATE_LIMITED', 'came while every place for a connection was taken'],
  displaced: ['RATE_LIMITED', 'held places without an identity until others needed them'],
} as const satisfies Readonly<Record<string, readonly [FaultCode, string]>>;

export type StrangeKind = keyof typeof STRANGE;

export const STRANGE_KINDS = Object.keys(STRANGE) as readonly StrangeKind[];

/** Which door, and from where: `ADDRESS:PORT` and the key of the limits. */
export interface Stranger {
  readonly door: string;
  readonly transport: Transport;
  readonly peer: string;
  readonly address: string;
}

export interface StrangerReportsParts {
  readonly clock: Clock;
  /** Puts one entry on record with security. */
  readonly tell: (code: FaultCode, origin: Origin, text: string) => void;
}

interface Known {
  readonly code: FaultCode;
  readonly text: string;
  readonly address: string;
  /** Of the newest one. */
  origin: Origin;
  /** Since the last entry. */
  untold: number;
  /** When the first of those came. */
  sinceMs: number;
  toldAtMs: number;
}

export const WINDOW_MS = 10_000;
const SWEEP_EVERY_MS = WINDOW_MS / 2;
const KNOWN_MAX = 1_024;
/** Entries of one address over all kinds, and of everybody. */
const PER_ADDRESS = { perSecond: 0.2, burst: 8 };
const TOGETHER = { perSecond: 0.5, burst: 40 };
/** Whose address has no place in the table any more. */
const MANY = 'many addresses';

export class StrangerReports {
  readonly #clock: Clock;
  readonly #tell: StrangerReportsParts['tell'];
  readonly #perAddress: RateLimiter;
  readonly #together: RateLimiter;
  readonly #known = new Map<string, Known>();
  readonly #counts = new Map<StrangeKind, number>();
  #cancel: Cancel | null = null;
  #closed = false;

  constructor({ clock, tell }: StrangerReportsParts) {
    this.#clock = clock;
    this.#tell = tell;
    this.#perAddress = new RateLimiter(clock, PER_ADDRESS);
    this.#together = new RateLimiter(clock, TOGETHER);
  }

  /** How often each kind was seen at a door since the start. */
  get counts(): ReadonlyMap<StrangeKind, number> {
    return this.#counts;
  }

  /** Addresses and kinds that are being counted. */
  get size(): number {
    return this.#known.size;
  }

  /** Something foreign at a door; the answer is what to say of it in a log. */
  strange(kind: StrangeKind, { door, transport, peer, address }: Stranger): Fault {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    const [code, finding] = STRANGE[kind];
    const found = fault(code, { place: door, finding });
    this.take(found, { transport, peer }, address);
    return found;
  }

  /** A refusal of somebody without an identity; place and finding must be texts of ours. */
  take({ code, place, finding }: Fault, origin: Origin, address: string): void {
    if (this.#closed) return;
    const text = `${place}: ${finding}`;
    const nowMs = this.#clock.nowMs();
    const known =
      this.#find(code, text, address, origin) ?? this.#find(code, text, MANY, manyOf(origin));
    if (known === undefined) return;
    if (known.untold === 0) known.sinceMs = nowMs;
    known.origin = known.address === address ? origin : known.origin;
    known.untold += 1;
    if (nowMs - known.toldAtMs >= WINDOW_MS) this.#report(known, nowMs);
    this.#cancel ??= this.#clock.after(SWEEP_EVERY_MS, () => this.#sweep());
  }

  /** Nothing more is told. */
  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  #find(code: FaultCode, text: string, address: string, origin: Origin): Known | undefined {
    const key = `${address} ${code} ${text}`;
    const known = this.#known.get(key);
    // Room for the few entries about many addresses is always kept.
    if (known !== undefined || (this.#known.size >= KNOWN_MAX && address !== MANY)) return known;
    const made: Known = {
      ...{ code, text, address, origin, untold: 0, sinceMs: 0 },
      toldAtMs: Number.NEGATIVE_INFINITY,
    };
    this.#known.set(key, made);
    return made;
  }

  #report(known: Known, nowMs: number): void {
    const { address, code, origin, untold, sinceMs, text } = known;
    if (this.#together.exhausted('all') || !this.#perAddress.take(address).admitted) return;
    this.#together.take('all');
    known.toldAtMs = nowMs;
    known.untold = 0;
    const seconds = Math.ceil((nowMs - sinceMs) / 1000);
    this.#tell(code, origin, untold === 1 ? text : `${text} (${untold} times within ${seconds} s)`);
  }

  #sweep(): void {
    this.#cancel = null;
    const nowMs = this.#clock.nowMs();
    for (const [key, known] of this.#known) {
      if (nowMs - known.toldAtMs < WINDOW_MS) continue;
      if (known.untold > 0) this.#report(known, nowMs);
      else this.#known.delete(key);
    }
    if (this.#known.size > 0) this.#cancel = this.#clock.after(SWEEP_EVERY_MS, () => this.#sweep());
  }
}

function manyOf({ transport }: Origin): Origin {
  return { transport, peer: MANY };
}
