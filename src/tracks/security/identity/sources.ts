// How often one source of the network, or one local user, may present what is worth nothing. What is worth something is never
// asked about here, but for passwords: looking whether one is right costs too much.
// Invariants: the same source on every transport and console; showing the same thing again counts once, so that a panel whose
// session is over does not lock its own machine out; at most 4,096 sources, the longest quiet forgotten first.

import type { Clock } from '#foundation/clock';
import { type Fault, fault } from '#foundation/fault';
import type { Origin } from '#model/principal';

export const SOURCE_FAILURES_MAX = 20;
export const SOURCE_WINDOW_MS = 600_000;
const SOURCES_MAX = 4_096;

export class Sources {
  readonly #clock: Clock;
  /** When each source presented what: times in order, by digest of the thing. */
  readonly #failures = new Map<string, Map<string, number>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#failures.size;
  }

  /** Why this source has to wait; null when it need not. */
  refusal(origin: Origin): Fault | null {
    const failures = this.#recent(sourceOf(origin));
    if (failures.size < SOURCE_FAILURES_MAX) return null;
    const finding = `${failures.size} failed sign-ins came from here in ${SOURCE_WINDOW_MS / 60_000} minutes`;
    // The oldest first: each failure begins its wait anew and moves to the end.
    const [oldestMs = this.#clock.nowMs()] = failures.values();
    const retryAfterMs = Math.max(0, oldestMs + SOURCE_WINDOW_MS - this.#clock.nowMs());
    return fault('RATE_LIMITED', { place: 'sign-in', finding, retryAfterMs });
  }

  /** True when the source has to wait from now on. `what`: names the thing presented without giving it away. */
  failed(origin: Origin, what: string): boolean {
    const source = sourceOf(origin);
    const failures = this.#recent(source);
    const before = failures.size;
    if (before < SOURCE_FAILURES_MAX || failures.has(what)) {
      failures.delete(what);
      failures.set(what, this.#clock.nowMs());
    }
    this.#failures.delete(source);
    const longestQuiet = this.#failures.keys().next();
    if (this.#failures.size >= SOURCES_MAX && longestQuiet.done !== true)
      this.#failures.delete(longestQuiet.value);
    this.#failures.set(source, failures);
    return failures.size >= SOURCE_FAILURES_MAX && before < SOURCE_FAILURES_MAX;
  }

  #recent(source: string): Map<string, number> {
    const failures = this.#failures.get(source) ?? new Map<string, number>();
    const oldestMs = this.#clock.nowMs() - SOURCE_WINDOW_MS;
    for (const [what, atMs] of failures) if (atMs <= oldestMs) failures.delete(what);
    if (failures.size === 0) this.#failures.delete(source);
    return failures;
  }
}

/**
 * `127.0.0.1` of `127.0.0.1:40312` and of `[::ffff:127.0.0.1]:40312`, the first 64 bits of an IPv6 address, for one subscriber
 * has them all (RFC 6177); what is no address, as `uid 0`, stands for itself.
 */
export function sourceOf({ peer }: Origin): string {
  const text = peer.replace(/^(ipv4|ipv6):/, '');
  const host = /^\[(.+)\](?::\d+)?$/.exec(text)?.[1] ?? text.replace(/:\d+$/, '');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)?.[1];
  if (mapped !== undefined) return mapped;
  return host.includes(':') ? prefixOf(host) : host;
}

/** First four groups, however the address was shortened (RFC 5952). */
function prefixOf(address: string): string {
  const [head = '', tail] = address.toLowerCase().split('%')[0]?.split('::') ?? [];
  const groups = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = tail === undefined ? 0 : Math.max(0, 8 - groups.length - last.length);
  const whole = [...groups, ...Array.from({ length: missing }, () => '0'), ...last];
  return `${whole
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}
