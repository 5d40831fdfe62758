// Token buckets by key, one limiter for all transports: so many requests a second, with a burst.
// Invariants: at most `keysMax` buckets; the fullest, longest unused ones go first, so a flood of
// new keys cannot empty the bucket of one that is being limited.

import type { Clock } from '#foundation/clock';

export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

export type Admission =
  | { readonly admitted: true }
  /** `first` in this limit's window: worth a record; the following ones are only counted. */
  | { readonly admitted: false; readonly occurrence: 'first' | 'repeated' };

interface Bucket {
  tokens: number;
  atMs: number;
  reportedAtMs: number;
}

const REPORT_EVERY_MS = 10_000;

export class RateLimiter {
  readonly #clock: Clock;
  readonly #limit: RateLimit;
  readonly #keysMax: number;
  readonly #buckets = new Map<string, Bucket>();
  #refused = 0;

  constructor(clock: Clock, limit: RateLimit, keysMax = 4096) {
    this.#clock = clock;
    this.#limit = limit;
    this.#keysMax = keysMax;
  }

  get refused(): number {
    return this.#refused;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Whether the key has no token left; takes none. */
  exhausted(key: string): boolean {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return false;
    this.#fill(bucket, this.#clock.nowMs());
    return bucket.tokens < 1;
  }

  /** Milliseconds until the key has a token again; 0 when it has one now. */
  waitMs(key: string): number {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return 0;
    this.#fill(bucket, this.#clock.nowMs());
    return (Math.max(0, 1 - bucket.tokens) / this.#limit.perSecond) * 1000;
  }

  /** Takes one token for the key. */
  take(key: string): Admission {
    const nowMs = this.#clock.nowMs();
    const bucket = this.#buckets.get(key) ?? this.#add(key, nowMs);
    this.#fill(bucket, nowMs);
    if (bucket.tokens >= 1) {
      bucket.tokens -= 1;
      return { admitted: true };
    }
    this.#refused += 1;
    const first = nowMs - bucket.reportedAtMs >= REPORT_EVERY_MS;
    if (first) bucket.reportedAtMs = nowMs;
    return { admitted: false, occurrence: first ? 'first' : 'repeated' };
  }

  #fill(bucket: Bucket, nowMs: number): void {
    const { perSecond, burst } = this.#limit;
    bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) * perSecond) / 1000);
    bucket.atMs = nowMs;
  }

  #add(key: string, nowMs: number): Bucket {
    if (this.#buckets.size >= this.#keysMax) this.#makeRoom(nowMs);
    const bucket = {
      tokens: this.#limit.burst,
      atMs: nowMs,
      reportedAtMs: Number.NEGATIVE_INFINITY,
    };
    this.#buckets.set(key, bucket);
    return bucket;
  }

  /** Forgets a quarter of the buckets, those that a fresh bucket would differ from least. */
  #makeRoom(nowMs: number): void {
    const { perSecond, burst } = this.#limit;
    const missing = (bucket: Bucket) =>
      burst - Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) * perSecond) / 1000);
    const byNeed = [...this.#buckets].sort(([, left], [, right]) => missing(left) - missing(right));
    for (const [key] of byNeed.slice(0, Math.ceil(this.#keysMax / 4))) this.#buckets.delete(key);
  }
}
