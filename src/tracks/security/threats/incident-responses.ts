// What is done by itself when an incident reaches a level: LOW is on record, MEDIUM watches, HIGH locks the person and asks for
// a second one on the devices it changed, CRITICAL stops those devices.
// Invariants: a source is never locked out, for others may share it; a quarantined device is never driven, and where no device
// was reached nothing is stopped; a refused attempt restricts nobody but who made it.

import type { DeviceDescriptor, LinearId } from '#model/device';
import type { ThreatLevel } from '#model/incident';
import { type KeptIncident, rankOf } from './incident-book.ts';

export interface ResponseParts {
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly isQuarantined: (device: DeviceDescriptor) => boolean;
  readonly lockAccount: (account: string, reason: string) => void;
  /** Enabled administrators whose account is not locked. */
  readonly administrators: () => readonly string[];
  /** Drives the devices to their safe values; what became of it, one sentence. */
  readonly stop: (devices: readonly LinearId[], reason: string) => Promise<string>;
}

export interface Response {
  readonly told: readonly string[];
  readonly locked: boolean;
  /** Comes later, with what became of it; null where nothing is stopped. */
  readonly stopping: Promise<string> | null;
}

/** Administrators that it takes to lift such a lock. */
const ADMINISTRATORS_NEEDED = 2;
/** Begins every reason for a lock by threat detection. */
export const LOCKED_BY_INCIDENT = 'incident ';

export class IncidentResponses {
  readonly #parts: ResponseParts;

  constructor(parts: ResponseParts) {
    this.#parts = parts;
  }

  /** `before`: the level up to which everything has been done. */
  respond(incident: KeptIncident, before: ThreatLevel): Response {
    const { level, subject } = incident;
    const told: string[] = [];
    const reaches = (step: ThreatLevel) =>
      rankOf(before) < rankOf(step) && rankOf(level) >= rankOf(step);
    if (reaches('LOW')) told.push('put on record');
    if (reaches('MEDIUM')) told.push(...this.#watch(incident));
    let { locked } = incident;
    const grave = rankOf(level) >= rankOf('HIGH');
    if (grave && subject.kind === 'person' && !locked) {
      told.push(...this.#lock(incident));
      locked = true;
    }
    if (reaches('HIGH')) told.push(...this.#secondPerson(incident));
    const stopping = reaches('CRITICAL') ? this.#stop(incident, told) : null;
    return { told, locked, stopping };
  }

  #watch({ subject, reached }: KeptIncident): readonly string[] {
    const told: string[] = [];
    if (subject.kind === 'person')
      told.push(`everything that ${subject.id} asks for is put on record, reading too`);
    if (subject.kind === 'source')
      told.push('nothing is refused to this source, for others may share it: its limits hold');
    if (reached.length > 0) told.push(`under review: ${this.#names(reached)}`);
    return told;
  }

  #lock({ id, level, subject, finding }: KeptIncident): readonly string[] {
    const { lockAccount, administrators } = this.#parts;
    lockAccount(subject.id, `${LOCKED_BY_INCIDENT}${id} (${level}): ${finding}`);
    const told = [`${subject.id} is locked until two administrators unlock the account`];
    const left = administrators().filter((account) => account !== subject.id);
    if (left.length < ADMINISTRATORS_NEEDED) {
      const who = left.length === 0 ? 'no unlocked administrator is' : `only ${left[0]} is`;
      told.push(`${who} left to unlock accounts: root can, at the console of this machine`);
    }
    return told;
  }

  #secondPerson({ reached }: KeptIncident): readonly string[] {
    if (reached.length === 0) return [];
    return [`two people are needed for every operation on ${this.#names(reached)}`];
  }

  #stop(incident: KeptIncident, told: string[]): Promise<string> | null {
    const { devices, isQuarantined, stop } = this.#parts;
    const affected = incident.reached.filter((id) => {
      const device = devices.get(id);
      return device !== undefined && !isQuarantined(device);
    });
    if (affected.length === 0) {
      told.push('no device was reached: nothing is stopped');
      return null;
    }
    told.push(`stop ordered for ${this.#names(affected)}`);
    return stop(affected, `incident ${incident.id}: ${incident.finding}`);
  }

  #names(ids: readonly LinearId[]): string {
    return ids.map((id) => this.#parts.devices.get(id)?.slug ?? `device ${id}`).join(', ');
  }
}
