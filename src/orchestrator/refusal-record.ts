// Puts refusals on record without letting whoever earns them fill the record: what is over a budget is counted, and told in
// one entry for all of it.
// Invariants: nothing but refusals comes this way, so that no stop and no operation waits behind it; each subject, all people
// and all strangers have a budget of their own; entries that wait for the disk are bounded, and so is what is remembered.

import type { Clock } from '#foundation/clock';
import type { Outcome } from '#foundation/outcome';
import { type AuditEntry, type AuditRecord, blankRecord } from '#model/audit-entry';
import type { Origin } from '#model/principal';

export interface RefusalRecordParts {
  readonly clock: Clock;
  readonly append: (record: AuditRecord) => Promise<Outcome<AuditEntry>>;
  /** What stands for everything that comes from the same place, whatever its port. */
  readonly sourceOf: (origin: Origin) => string;
}

interface Budget {
  readonly perSecond: number;
  readonly burst: number;
}

type Kind = 'person' | 'stranger';

interface Bucket {
  readonly budget: Budget;
  tokens: number;
  atMs: number;
}

/** Far above what people and panels do by mistake, also when many of them share an address. */
const EACH: Readonly<Record<Kind, Budget>> = {
  person: { perSecond: 4, burst: 512 },
  stranger: { perSecond: 1, burst: 512 },
};
const TOGETHER: Readonly<Record<Kind, Budget>> = {
  person: { perSecond: 16, burst: 4_096 },
  stranger: { perSecond: 2, burst: 2_048 },
};
/** Subjects of each kind; those that come when all places are taken share one. */
const SUBJECTS_MAX = 1_024;
const MANY = 'many others';
/** Entries that the disk has not taken yet. */
export const WAITING_MAX = 256;
export const TELL_EVERY_MS = 10_000;
/** Subjects named in one entry, the busiest first. */
const NAMED_MAX = 8;

/** Actor of what nobody knows did. */
const NOBODY = 'unknown';

export class RefusalRecord {
  readonly #parts: RefusalRecordParts;
  readonly #buckets: Readonly<Record<Kind, Map<string, Bucket>>> = {
    person: new Map(),
    stranger: new Map(),
  };
  readonly #together: Readonly<Record<Kind, Bucket>>;
  /** Refusals without an entry since the last one that told of them, by subject. */
  readonly #untold = new Map<string, number>();
  #sinceMs = 0;
  #waiting = 0;

  constructor(parts: RefusalRecordParts) {
    this.#parts = parts;
    const nowMs = parts.clock.nowMs();
    this.#together = {
      person: bucketOf(TOGETHER.person, nowMs),
      stranger: bucketOf(TOGETHER.stranger, nowMs),
    };
  }

  /** Subjects that are remembered. */
  get size(): number {
    return this.#buckets.person.size + this.#buckets.stranger.size + this.#untold.size;
  }

  /** The entry, or null where it was only counted. */
  async put(record: AuditRecord): Promise<Outcome<AuditEntry> | null> {
    const kind: Kind = record.actor === NOBODY ? 'stranger' : 'person';
    const subject = kind === 'person' ? record.actor : this.#sourceOf(record.origin);
    if (this.#waiting >= WAITING_MAX || !this.#take(kind, subject)) {
      this.#count(subject);
      return null;
    }
    this.#waiting += 1;
    try {
      return await this.#parts.append(record);
    } finally {
      this.#waiting -= 1;
    }
  }

  #sourceOf(origin: Origin | null): string {
    return origin === null ? NOBODY : this.#parts.sourceOf(origin);
  }

  #take(kind: Kind, subject: string): boolean {
    const nowMs = this.#parts.clock.nowMs();
    const all = this.#together[kind];
    const own = this.#bucket(kind, subject, nowMs);
    fill(all, nowMs);
    fill(own, nowMs);
    if (own.tokens < 1 || all.tokens < 1) return false;
    own.tokens -= 1;
    all.tokens -= 1;
    return true;
  }

  #bucket(kind: Kind, subject: string, nowMs: number): Bucket {
    const buckets = this.#buckets[kind];
    const known = buckets.get(subject);
    if (known !== undefined) return known;
    if (buckets.size >= SUBJECTS_MAX) forgetFull(buckets, nowMs);
    const name = buckets.size >= SUBJECTS_MAX ? MANY : subject;
    const made = buckets.get(name) ?? bucketOf(EACH[kind], nowMs);
    buckets.set(name, made);
    return made;
  }

  #count(subject: string, refusals = 1): void {
    const { clock } = this.#parts;
    if (this.#untold.size === 0) {
      this.#sinceMs = clock.nowMs();
      clock.after(TELL_EVERY_MS, () => void this.#tell());
    }
    const name = this.#untold.has(subject) || this.#untold.size < SUBJECTS_MAX ? subject : MANY;
    this.#untold.set(name, (this.#untold.get(name) ?? 0) + refusals);
  }

  async #tell(): Promise<void> {
    const { append, clock } = this.#parts;
    const counts = [...this.#untold].sort(([, left], [, right]) => right - left);
    this.#untold.clear();
    const named = counts.slice(0, NAMED_MAX).map(([subject, count]) => `${count} of ${subject}`);
    const rest = counts.length - named.length;
    if (rest > 0) named.push(`others of ${rest} more`);
    const refusals = counts.reduce((sum, [, count]) => sum + count, 0);
    const seconds = Math.ceil((clock.nowMs() - this.#sinceMs) / 1_000);
    const result = `${refusals} refusals within ${seconds} s have no entry of their own: ${named.join(', ')}`;
    const told = await append({
      ...blankRecord('OPERATION_REFUSED', 'security'),
      result,
      details: { code: 'RATE_LIMITED', refusals },
    });
    // The disk did not take it: they are told with those that come next.
    if (!told.ok) for (const [subject, count] of counts) this.#count(subject, count);
  }
}

function bucketOf(budget: Budget, atMs: number): Bucket {
  return { budget, tokens: budget.burst, atMs };
}

function fill(bucket: Bucket, nowMs: number): void {
  const { perSecond, burst } = bucket.budget;
  bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) * perSecond) / 1_000);
  bucket.atMs = nowMs;
}

/** Forgets those that a fresh one would not differ from. */
function forgetFull(buckets: Map<string, Bucket>, nowMs: number): void {
  for (const [subject, bucket] of buckets) {
    fill(bucket, nowMs);
    if (bucket.tokens >= bucket.budget.burst) buckets.delete(subject);
  }
}
