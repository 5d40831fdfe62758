// Opens, escalates and closes incidents, with what is done by itself and an audit entry for each step.
// Invariants: an incident counts before it is on disk, and is put there together with its audit entry, later where the disk
// does not take it now; LOW and MEDIUM ones close by themselves, the others by a person with a reason.

import type { Canonical } from '#foundation/canonical';
import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import { describeError } from '#foundation/fault';
import { type Outcome, succeed } from '#foundation/outcome';
import {
  type AuditEntry,
  type AuditEventName,
  type AuditRecord,
  blankRecord,
} from '#model/audit-entry';
import type { LinearId } from '#model/device';
import type { Incident, ThreatSubject } from '#model/incident';
import type { Origin } from '#model/principal';
import type { AuditSink } from '../ports.ts';
import { IncidentBook, type KeptIncident, OPEN_MAX, rankOf } from './incident-book.ts';
import type { IncidentResponses } from './incident-responses.ts';

export type IncidentChange = 'opened' | 'escalated' | 'closed';

export interface IncidentsParts {
  readonly clock: Clock;
  readonly store: DurableStore;
  readonly audit: AuditSink;
  readonly responses: IncidentResponses;
  /** LOW and MEDIUM ones close after so long without anything new, milliseconds. */
  readonly quietMs: number;
  /** Told at once, before anything is on disk. */
  readonly onIncident: (incident: Incident, change: IncidentChange) => void;
  /** What it rests on has been looked at, and counts no more. */
  readonly onSettled: (subject: ThreatSubject) => void;
  readonly onError: (error: unknown, where: string) => void;
}

const RESPONSES_MAX = 24;

export class Incidents {
  readonly #parts: IncidentsParts;
  readonly #book: IncidentBook;
  /** When something last counted for an open one, monotonic milliseconds; a restart begins the quiet time anew. */
  readonly #lastSeenMs = new Map<number, number>();
  /** Entries about incidents that the disk did not take. */
  readonly #unrecorded = new Map<number, AuditEventName>();
  #reviewed: ReadonlySet<LinearId> = new Set();
  #restricted: ReadonlySet<LinearId> = new Set();

  constructor(parts: IncidentsParts) {
    this.#parts = parts;
    this.#book = new IncidentBook(parts.store);
    for (const { id } of this.#book.open()) this.#lastSeenMs.set(id, parts.clock.nowMs());
    this.#bookChanged();
  }

  // --- What stands --------------------------------------------------------------------------------

  openOf(subject: ThreatSubject): KeptIncident | undefined {
    return this.#book.openOf(subject);
  }

  /** An incident of HIGH or CRITICAL is open on this device: its risk is two levels higher, and it takes two people. */
  openOn(device: LinearId): boolean {
    return this.#restricted.has(device);
  }

  /** A MEDIUM incident is open on this device: its risk is one level higher. LOW ones are only on record. */
  reviewOn(device: LinearId): boolean {
    return this.#reviewed.has(device);
  }

  /** Everything this account asks for goes on record. */
  watches(account: string): boolean {
    if (this.#book.openCount === 0) return false;
    const incident = this.#book.openOf({ kind: 'person', id: account });
    return incident !== undefined && rankOf(incident.level) >= rankOf('MEDIUM');
  }

  /** Open ones, the gravest first, then the newest closed ones. */
  list(limit: number): readonly Incident[] {
    const open = this.#book.open().slice(0, limit);
    return [...open, ...this.#book.closed(limit - open.length)].map(shown);
  }

  find(id: number): Incident | undefined {
    const found = this.#book.find(id);
    return found === undefined ? undefined : shown(found);
  }

  /** Open ones of HIGH or CRITICAL, the gravest first. */
  grave(): readonly Incident[] {
    if (this.#book.openCount === 0) return [];
    return this.#book
      .open()
      .filter(({ level }) => rankOf(level) >= rankOf('HIGH'))
      .map(shown);
  }

  nextId(): number {
    return this.#book.nextId();
  }

  // --- Opening, escalating, closing ---------------------------------------------------------------

  /** Something counts for it once more. */
  seen(id: number): void {
    this.#lastSeenMs.set(id, this.#parts.clock.nowMs());
  }

  /** More of the same: nothing new is done about it. */
  update(incident: KeptIncident): void {
    this.#put(incident);
  }

  /** It is new, or graver than `standing`, or somebody has to be locked again. */
  raise(incident: KeptIncident, standing: KeptIncident | undefined): void {
    const { clock, responses, onIncident } = this.#parts;
    if (standing === undefined) this.#makeRoom();
    this.#lastSeenMs.set(incident.id, clock.nowMs());
    // It stands before anything is done about it: what is done leaves entries of its own.
    this.#put(incident);
    const response = responses.respond(incident, standing?.level ?? 'NONE');
    const told = [...incident.responses, ...response.told].slice(-RESPONSES_MAX);
    const acted = { ...incident, responses: told, locked: response.locked };
    this.#put(acted);
    onIncident(shown(acted), standing === undefined ? 'opened' : 'escalated');
    const event = standing === undefined ? 'INCIDENT_OPENED' : 'INCIDENT_ESCALATED';
    void this.#record(event, acted);
    response.stopping
      ?.catch((error: unknown) => `the stop failed: ${describeError(error)}`)
      .then((result) => this.#stopped(acted.subject, acted.id, result));
  }

  /** The account that was locked for it has been unlocked: it can be locked again. */
  unlocked(subject: ThreatSubject, by: string): void {
    const incident = this.#book.openOf(subject);
    if (incident?.locked !== true) return;
    const responses = [...incident.responses, `unlocked by ${by}`].slice(-RESPONSES_MAX);
    this.#put({ ...incident, locked: false, responses });
    void this.#writeUnsaved();
  }

  /** Closes it for a person; resolves once that is on record. */
  async close(
    id: number,
    by: string,
    because: string,
    origin: Origin | null,
  ): Promise<Outcome<Incident> | undefined> {
    const incident = this.#book.find(id);
    if (incident === undefined) return undefined;
    if (incident.closedWallMs !== 0) return succeed(shown(incident));
    const closed = this.#closed(incident, by, because);
    const saved = await this.#record('INCIDENT_CLOSED', closed, by, origin);
    if (saved.ok) return succeed(shown(closed));
    // Nobody may believe that it is settled: it stands as before, and whoever was told otherwise hears so.
    if (this.#book.openOf(incident.subject) === undefined) {
      this.#put(incident);
      this.#lastSeenMs.set(id, this.#parts.clock.nowMs());
      this.#parts.onIncident(shown(incident), 'opened');
    }
    return saved;
  }

  /** Closes what has been quiet for long enough, and makes up for what the disk did not take. */
  async sweep(): Promise<void> {
    const { clock, quietMs } = this.#parts;
    const nowMs = clock.nowMs();
    for (const incident of this.#book.open()) {
      const quiet = nowMs - (this.#lastSeenMs.get(incident.id) ?? nowMs) >= quietMs;
      if (!quiet || rankOf(incident.level) >= rankOf('HIGH')) continue;
      const because = `nothing new for ${Math.round(quietMs / 60_000)} minutes`;
      await this.#record('INCIDENT_CLOSED', this.#closed(incident, 'quiet', because));
    }
    for (const [id, event] of [...this.#unrecorded]) {
      this.#unrecorded.delete(id);
      const incident = this.#book.find(id);
      if (incident !== undefined) await this.#record(event, incident);
    }
    await this.#writeUnsaved();
  }

  /** What became of a stop belongs to the incident, whatever happened to it meanwhile. */
  #stopped(subject: ThreatSubject, id: number, result: string): void {
    const incident = this.#book.openOf(subject);
    if (incident?.id !== id) return;
    const responses = [...incident.responses, result].slice(-RESPONSES_MAX);
    this.#put({ ...incident, responses });
    void this.#writeUnsaved();
  }

  #closed(incident: KeptIncident, by: string, because: string): KeptIncident {
    const wallMs = this.#parts.clock.wallMs();
    const closed = {
      ...incident,
      changedWallMs: wallMs,
      closedWallMs: Math.max(1, wallMs),
      closedBy: by,
      closedBecause: because,
    };
    this.#put(closed);
    // What it rests on has been looked at.
    this.#parts.onSettled(incident.subject);
    this.#lastSeenMs.delete(incident.id);
    this.#parts.onIncident(shown(closed), 'closed');
    return closed;
  }

  #makeRoom(): void {
    if (this.#book.openCount < OPEN_MAX) return;
    const least = this.#book.leastGrave();
    if (least === undefined) return;
    const closed = this.#closed(least, 'room', `${OPEN_MAX} graver or newer ones are open`);
    void this.#record('INCIDENT_CLOSED', closed);
  }

  #put(incident: KeptIncident): void {
    this.#book.put(incident);
    if (incident.reached.length > 0) this.#bookChanged();
  }

  #bookChanged(): void {
    const reviewed = new Set<LinearId>();
    const restricted = new Set<LinearId>();
    for (const { level, reached } of this.#book.open()) {
      if (level === 'MEDIUM') for (const device of reached) reviewed.add(device);
      if (rankOf(level) >= rankOf('HIGH')) for (const device of reached) restricted.add(device);
    }
    this.#reviewed = reviewed;
    this.#restricted = restricted;
  }

  // --- On disk ------------------------------------------------------------------------------------

  async #record(
    event: AuditEventName,
    incident: KeptIncident,
    actor = 'security',
    origin: Origin | null = null,
  ): Promise<Outcome<AuditEntry>> {
    const { id } = incident;
    let written: KeptIncident | undefined;
    const entry = await this.#parts.audit.append(recordOf(event, incident, actor, origin), () => {
      written = this.#book.write(id);
      if (event === 'INCIDENT_OPENED') this.#book.prune();
    });
    if (entry.ok && written !== undefined) this.#book.noteSaved(written);
    // One that a person waits for fails before that person; the others are made up for.
    if (!entry.ok && actor === 'security') this.#unrecorded.set(id, event);
    return entry;
  }

  /** Changes that need no entry of their own. */
  async #writeUnsaved(): Promise<void> {
    const { store, onError } = this.#parts;
    const ids = this.#book
      .unsaved()
      .map(({ id }) => id)
      .filter((id) => !this.#unrecorded.has(id));
    if (ids.length === 0) return;
    try {
      const written = await store.transact(() => ids.map((id) => this.#book.write(id)));
      for (const incident of written) if (incident !== undefined) this.#book.noteSaved(incident);
    } catch (error) {
      onError(error, 'incidents');
    }
  }
}

function shown({ reached: _, locked: __, ...incident }: KeptIncident): Incident {
  return incident;
}

function recordOf(
  event: AuditEventName,
  incident: KeptIncident,
  actor: string,
  origin: Origin | null,
): AuditRecord {
  const { id, level, score, subject, devices, finding, closedBy, closedBecause } = incident;
  const { kind } = subject;
  const closed = event === 'INCIDENT_CLOSED';
  const details: { [key: string]: Canonical } = {
    incident: id,
    level,
    score,
    subject: { kind, id: subject.id },
    indicators: incident.indicators.map(
      ({ name, points, entries }): Canonical => ({ name, points, entries }),
    ),
    responses: incident.responses,
  };
  return {
    ...blankRecord(event, actor),
    origin,
    devices,
    decision: closed ? `closed by ${closedBy}` : level,
    reason: closed ? closedBecause : finding,
    result: `incident ${id}: ${level}, ${kind} ${subject.id}, score ${score}`,
    details,
  };
}
