// Incidents: what was tried that must not be tried, on which device, by whom; they raise the risk of what follows.

import type { Clock } from '#foundation/clock';
import type { LinearId } from '#model/device';

export interface Incident {
  readonly id: number;
  readonly device: LinearId;
  readonly actor: string;
  readonly finding: string;
  readonly openedWallMs: number;
}

/** Incidents kept at once; the oldest gives way. */
const INCIDENTS_MAX = 1_000;

export class Threats {
  readonly #clock: Clock;
  readonly #incidents: Incident[] = [];
  #count = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  open(device: LinearId, actor: string, finding: string): Incident {
    const incident = {
      id: ++this.#count,
      device,
      actor,
      finding,
      openedWallMs: this.#clock.wallMs(),
    };
    this.#incidents.push(incident);
    if (this.#incidents.length > INCIDENTS_MAX) this.#incidents.shift();
    return incident;
  }

  openOn(device: LinearId): boolean {
    return this.#incidents.some((incident) => incident.device === device);
  }

  all(): readonly Incident[] {
    return this.#incidents;
  }
}
