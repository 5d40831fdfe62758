// Incidents on record: what threat detection took for an attack, how far it went, and who closed it why.
// Invariants: one open incident for each subject; a level never falls while it is open; what changes counts here at once and
// is on disk with its audit entry; at most 10,000 are kept, closed ones go first, and 1,000 of them open, of which
// addresses give way first.

import type { StatementSync } from 'node:sqlite';
import type { DurableStore } from '#foundation/durable-store';
import type { LinearId } from '#model/device';
import {
  type Incident,
  THREAT_LEVELS,
  type ThreatLevel,
  type ThreatSubject,
} from '#model/incident';
import { AUDIT_CHAIN } from './threat-signs.ts';

export const INCIDENTS_MAX = 10_000;
export const OPEN_MAX = 1_000;

export interface KeptIncident extends Incident {
  /** Of its devices, those that the subject changed, or that are the subject: a refused attempt restricts nobody else. */
  readonly reached: readonly LinearId[];
  /** The account is locked for it, and nobody has unlocked it since. */
  readonly locked: boolean;
}

export function rankOf(level: ThreatLevel): number {
  return THREAT_LEVELS.indexOf(level);
}

function keyOf({ kind, id }: ThreatSubject): string {
  return `${kind} ${id}`;
}

function isAddress({ subject }: KeptIncident): boolean {
  return subject.kind === 'source' && subject.id !== AUDIT_CHAIN;
}

function givesWay(incident: KeptIncident, other: KeptIncident): boolean {
  if (isAddress(incident) !== isAddress(other)) return isAddress(incident);
  const rank = rankOf(incident.level) - rankOf(other.level);
  return rank < 0 || (rank === 0 && incident.changedWallMs < other.changedWallMs);
}

export class IncidentBook {
  readonly #store: DurableStore;
  readonly #insert: StatementSync;
  readonly #open = new Map<string, KeptIncident>();
  readonly #unsaved = new Map<number, KeptIncident>();
  #lastId: number;

  constructor(store: DurableStore) {
    this.#store = store;
    const { database } = store;
    database.exec(`
      CREATE TABLE IF NOT EXISTS threat_incident (
        id INTEGER PRIMARY KEY, open INTEGER NOT NULL, body TEXT NOT NULL
      ) STRICT;
      CREATE INDEX IF NOT EXISTS threat_incident_open ON threat_incident (open, id);
    `);
    this.#insert = database.prepare('INSERT OR REPLACE INTO threat_incident VALUES (?, ?, ?)');
    for (const row of database
      .prepare('SELECT body FROM threat_incident WHERE open = 1 ORDER BY id')
      .all()) {
      const incident = JSON.parse(String(row.body)) as KeptIncident;
      this.#open.set(keyOf(incident.subject), incident);
    }
    const known = database.prepare('SELECT max(id) AS last FROM threat_incident').get();
    this.#lastId = Number(known?.last ?? 0);
  }

  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  openOf(subject: ThreatSubject): KeptIncident | undefined {
    return this.#open.get(keyOf(subject));
  }

  /** The gravest first, and of those the oldest. */
  open(): readonly KeptIncident[] {
    return [...this.#open.values()].sort(
      (left, right) => rankOf(right.level) - rankOf(left.level) || left.id - right.id,
    );
  }

  get openCount(): number {
    return this.#open.size;
  }

  find(id: number): KeptIncident | undefined {
    for (const incident of this.#open.values()) {
      if (incident.id === id) return incident;
    }
    const unsaved = this.#unsaved.get(id);
    if (unsaved !== undefined) return unsaved;
    const row = this.#store.database
      .prepare('SELECT body FROM threat_incident WHERE id = ?')
      .get(id);
    return row === undefined ? undefined : (JSON.parse(String(row.body)) as KeptIncident);
  }

  /** The newest closed ones. */
  closed(limit: number): readonly KeptIncident[] {
    const rows = this.#store.database
      .prepare('SELECT body FROM threat_incident WHERE open = 0 ORDER BY id DESC LIMIT ?')
      .all(Math.max(0, limit));
    return rows.map((row) => JSON.parse(String(row.body)) as KeptIncident);
  }

  /** Counts from now on; on disk with the next `write`. */
  put(incident: KeptIncident): void {
    const key = keyOf(incident.subject);
    if (incident.closedWallMs === 0) this.#open.set(key, incident);
    else if (this.#open.get(key)?.id === incident.id) this.#open.delete(key);
    this.#unsaved.set(incident.id, incident);
  }

  /** What the disk has not taken yet. */
  unsaved(): readonly KeptIncident[] {
    return [...this.#unsaved.values()];
  }

  /** The incident as it is by then; inside a transaction of the store, then `noteSaved` once that is on disk. */
  write(id: number): KeptIncident | undefined {
    const incident = this.#unsaved.get(id);
    if (incident === undefined) return undefined;
    this.#insert.run(id, incident.closedWallMs === 0 ? 1 : 0, JSON.stringify(incident));
    return incident;
  }

  noteSaved(incident: KeptIncident): void {
    if (this.#unsaved.get(incident.id) === incident) this.#unsaved.delete(incident.id);
  }

  /** Deletes the oldest closed ones beyond the bound; inside a transaction of the store. */
  prune(): void {
    // Ids are never used twice: before so many of them there is nothing to count.
    if (this.#lastId <= INCIDENTS_MAX) return;
    const { database } = this.#store;
    const row = database.prepare('SELECT count(*) AS number FROM threat_incident').get();
    const over = Number(row?.number ?? 0) - INCIDENTS_MAX;
    if (over <= 0) return;
    database
      .prepare(
        'DELETE FROM threat_incident WHERE id IN (SELECT id FROM threat_incident WHERE open = 0 ORDER BY id LIMIT ?)',
      )
      .run(over);
  }

  /**
   * The one to give way to another: of the lowest level the one that changed longest ago. Addresses before anything else, whose
   * number is a stranger's to choose: nothing is locked or restricted for them.
   */
  leastGrave(): KeptIncident | undefined {
    let least: KeptIncident | undefined;
    for (const incident of this.#open.values()) {
      if (least === undefined || givesWay(incident, least)) least = incident;
    }
    return least;
  }
}
