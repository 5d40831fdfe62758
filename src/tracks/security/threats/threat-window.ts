// What one person, device or source did lately: counts in buckets of time, with the newest entries that they rest on.
// Invariants: the order of signs inside one bucket changes nothing; a sign counts until the start of its bucket is one whole
// window ago, and not a moment longer; memory is bounded by buckets times signs, whatever comes.

import type { LinearId } from '#model/device';

/** What one audit entry may say against its subject, or of what is usual for it. */
export const SIGNS = [
  'done',
  'changed',
  'unusualDevice',
  'unusualHour',
  'criticalDone',
  'signInFailed',
  'probe',
  'beyondRights',
  'beyondRightsCritical',
  'refused',
  'approvalRefused',
  'anonymous',
  'throttled',
  'handChange',
  'tampered',
] as const;
export type Sign = (typeof SIGNS)[number];

export const BUCKETS = 20;
/** Entries told of for one sign. */
export const ENTRIES_MAX = 16;
const PEOPLE_MAX = 64;
const DEVICES_MAX = 256;

interface Cell {
  readonly bucket: number;
  readonly sign: Sign;
  count: number;
}

interface Seen {
  readonly sequence: number;
  readonly bucket: number;
}

export interface SignSeen {
  readonly bucket: number;
  readonly sequence: number;
  readonly devices: readonly LinearId[];
}

export class ThreatWindow {
  /** Oldest bucket first. */
  #cells: Cell[] = [];
  readonly #totals = new Map<Sign, number>();
  readonly #entries = new Map<Sign, Seen[]>();
  readonly #devices = new Map<Sign, Map<LinearId, number>>();
  /** Who was refused here, and in which bucket last. */
  readonly #people = new Map<string, number>();

  add(sign: Sign, { bucket, sequence, devices }: SignSeen): void {
    this.#count(sign, bucket);
    this.#totals.set(sign, (this.#totals.get(sign) ?? 0) + 1);
    this.#note(sign, { sequence, bucket });
    if (devices.length === 0) return;
    let named = this.#devices.get(sign);
    if (named === undefined) {
      named = new Map();
      this.#devices.set(sign, named);
    }
    for (const device of devices) keepNewest(named, device, bucket, DEVICES_MAX);
  }

  addPerson(person: string, bucket: number): void {
    keepNewest(this.#people, person, bucket, PEOPLE_MAX);
  }

  /** Forgets what is a whole window old; `bucket` is the present one. */
  expire(bucket: number): void {
    const oldest = bucket - BUCKETS;
    let gone = 0;
    for (const cell of this.#cells) {
      if (cell.bucket > oldest) break;
      gone += 1;
      const left = (this.#totals.get(cell.sign) ?? 0) - cell.count;
      if (left > 0) this.#totals.set(cell.sign, left);
      else this.#drop(cell.sign);
    }
    if (gone > 0) this.#cells = gone === this.#cells.length ? [] : this.#cells.slice(gone);
    for (const [person, seen] of this.#people) {
      if (seen <= oldest) this.#people.delete(person);
    }
  }

  get empty(): boolean {
    return this.#cells.length === 0 && this.#people.size === 0;
  }

  count(sign: Sign): number {
    return this.#totals.get(sign) ?? 0;
  }

  get people(): number {
    return this.#people.size;
  }

  /** Sequences of the newest entries of these signs, the newest last; as of the last `expire`. */
  entries(signs: readonly Sign[], bucket: number): readonly number[] {
    const oldest = bucket - BUCKETS;
    const sequences = new Set<number>();
    for (const sign of signs) {
      for (const seen of this.#entries.get(sign) ?? []) {
        if (seen.bucket > oldest) sequences.add(seen.sequence);
      }
    }
    return [...sequences].sort((left, right) => left - right).slice(-ENTRIES_MAX);
  }

  /** Devices that entries of this sign named, in their order. */
  devices(sign: Sign, bucket: number): readonly LinearId[] {
    const oldest = bucket - BUCKETS;
    const named = [...(this.#devices.get(sign) ?? [])].filter(([, seen]) => seen > oldest);
    return named.map(([device]) => device).sort((left, right) => left - right);
  }

  #count(sign: Sign, bucket: number): void {
    // Nearly always the newest bucket; entries from before a restart may come late.
    let at = this.#cells.length - 1;
    for (; at >= 0; at--) {
      const cell = this.#cells[at];
      if (cell === undefined || cell.bucket < bucket) break;
      if (cell.bucket === bucket && cell.sign === sign) {
        cell.count += 1;
        return;
      }
    }
    this.#cells.splice(at + 1, 0, { bucket, sign, count: 1 });
  }

  #note(sign: Sign, seen: Seen): void {
    const kept = this.#entries.get(sign);
    if (kept === undefined) {
      this.#entries.set(sign, [seen]);
      return;
    }
    let at = kept.length;
    while (at > 0 && (kept[at - 1]?.sequence ?? 0) > seen.sequence) at -= 1;
    if (at === kept.length) kept.push(seen);
    else kept.splice(at, 0, seen);
    if (kept.length > ENTRIES_MAX) kept.shift();
  }

  #drop(sign: Sign): void {
    this.#totals.delete(sign);
    this.#entries.delete(sign);
    this.#devices.delete(sign);
  }
}

function keepNewest<K>(map: Map<K, number>, key: K, bucket: number, most: number): void {
  const before = map.get(key);
  if (before === undefined && map.size >= most) {
    const oldest = map.keys().next();
    if (oldest.done !== true) map.delete(oldest.value);
  }
  if (before === undefined || before < bucket) map.set(key, bucket);
}
