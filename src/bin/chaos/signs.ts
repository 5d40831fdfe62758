// Gathers what the agent saw of an attack: audit entries that name the attacker, incidents about it, and how soon they came.
// Invariants: nothing counts that the agent did not say; what others did meanwhile counts for nothing.

import { performance } from 'node:perf_hooks';
import type { AuditEntry } from '#model/audit-entry';
import type { Observer, SeenIncident } from './observer.ts';

export interface Sign {
  /** What to find, for people: `failed sign-ins`. */
  readonly what: string;
  readonly matches: (entry: AuditEntry) => boolean;
}

/** Entries come after their cause: security writes them in groups. */
const PATIENCE_MS = 8_000;
const SEQUENCES_SHOWN = 3;

export class Signs {
  readonly #observer: Observer;
  readonly #account: string;
  readonly #sources = new Set<string>();
  #beganMs: number | null = null;
  #firstMs: number | null = null;

  constructor(observer: Observer, account: string) {
    this.#observer = observer;
    this.#account = account;
  }

  addSource(address: string): void {
    this.#sources.add(address);
  }

  /** What is sent from here on is the attack. */
  began(): void {
    this.#beganMs ??= performance.now();
  }

  get responseMs(): number | null {
    if (this.#firstMs === null || this.#beganMs === null) return null;
    return Math.max(0, this.#firstMs - this.#beganMs);
  }

  /** Whether the entry is about this exercise: its account, or an address that only its attackers have. */
  isOurs(entry: AuditEntry): boolean {
    if (entry.event === 'CHAOS_STARTED' || entry.event === 'CHAOS_ENDED') return false;
    if (entry.actor === this.#account || entry.details.account === this.#account) return true;
    const { subject } = entry.details;
    if (typeof subject === 'object' && subject !== null && 'id' in subject) {
      const { id } = subject as { readonly id?: unknown };
      if (typeof id === 'string' && (id === this.#account || this.#sources.has(id))) return true;
    }
    const host = entry.origin?.peer.replace(/^ipv4:/, '').replace(/:\d+$/, '') ?? '';
    return this.#sources.has(host);
  }

  /** Each sign as a sentence, found or not; true where all were found. */
  async look(signs: readonly Sign[], patienceMs = PATIENCE_MS): Promise<Looked> {
    const found = (entries: readonly AuditEntry[]) => {
      const ours = entries.filter((entry) => this.isOurs(entry));
      return signs.map((sign) => ours.filter(sign.matches));
    };
    const entries = await this.#observer.entriesOnce(
      (all) => found(all).every((matching) => matching.length > 0),
      patienceMs,
    );
    const evidence: string[] = [];
    let missing = 0;
    for (const [index, matching] of found(entries).entries()) {
      const what = signs[index]?.what ?? '';
      if (matching.length === 0) missing += 1;
      evidence.push(
        matching.length === 0
          ? `NOT on record: ${what}`
          : `${what}: ${counted(matching.length)} on record, ${shown(matching)}`,
      );
      for (const entry of matching) this.note(entry);
    }
    return { all: missing === 0, some: missing < signs.length, evidence, entries };
  }

  /** Counts for the response time. */
  note(entry: AuditEntry): void {
    const atMs = this.#observer.seenAtMs(entry);
    this.#firstMs = this.#firstMs === null ? atMs : Math.min(this.#firstMs, atMs);
  }

  /** Open incidents about the account and the addresses of the exercise. */
  incidents(): Promise<readonly SeenIncident[]> {
    return this.#observer.incidentsAbout([this.#account, ...this.#sources]);
  }

  async incidentSentences(): Promise<readonly string[]> {
    return (await this.incidents()).map(
      ({ id, level, subject, finding }) =>
        `incident ${id} is open: ${level}, ${subject.kind} ${subject.id}: ${finding}`,
    );
  }
}

export interface Looked {
  readonly all: boolean;
  readonly some: boolean;
  readonly evidence: readonly string[];
  readonly entries: readonly AuditEntry[];
}

function counted(count: number): string {
  return count === 1 ? '1 entry' : `${count} entries`;
}

function shown(entries: readonly AuditEntry[]): string {
  const first = entries.slice(0, SEQUENCES_SHOWN).map(({ sequence }) => sequence);
  return `sequence ${first.join(', ')}${entries.length > SEQUENCES_SHOWN ? ' ...' : ''}`;
}

/** Threat detection itself: records alone would be there without it. */
export const INCIDENT: Sign = {
  what: 'an incident of threat detection',
  matches: ({ event }) => event === 'INCIDENT_OPENED',
};

/** An entry with the code of a refusal, whatever the event is called. */
export function refusedWith(...codes: readonly string[]): (entry: AuditEntry) => boolean {
  return ({ details }) => typeof details.code === 'string' && codes.includes(details.code);
}
