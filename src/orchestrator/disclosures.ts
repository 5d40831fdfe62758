// Who was told the risk of which plan, as what and when: a confirmation is worth something only after that.
// Invariants: the last telling counts, also when it was of a lower risk; what is forgotten has to be told again.

import type { Clock } from '#foundation/clock';
import type { RiskLevel } from '#model/risk';
import type { Disclosed } from './ports.ts';

/** Plans remembered for one person; the one told longest ago gives way. */
const PLANS_MAX = 64;
/** People remembered; the one told longest ago gives way. */
const PEOPLE_MAX = 256;

interface Told {
  readonly risk: RiskLevel;
  readonly atMs: number;
}

export class Disclosures {
  readonly #clock: Clock;
  readonly #told = new Map<string, Map<string, Told>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** An answer that carries this plan's risk goes to this person now. */
  tell(person: string, planDigest: string, risk: RiskLevel): void {
    const plans = this.#told.get(person) ?? new Map<string, Told>();
    this.#told.delete(person);
    this.#told.set(person, plans);
    plans.delete(planDigest);
    plans.set(planDigest, { risk, atMs: this.#clock.nowMs() });
    dropOldest(plans, PLANS_MAX);
    dropOldest(this.#told, PEOPLE_MAX);
  }

  of(person: string, planDigest: string): Disclosed | undefined {
    const told = this.#told.get(person)?.get(planDigest);
    if (told === undefined) return undefined;
    return { risk: told.risk, ageMs: this.#clock.nowMs() - told.atMs };
  }
}

function dropOldest(kept: Map<string, unknown>, maximum: number): void {
  const oldest = kept.keys().next();
  if (kept.size > maximum && oldest.done !== true) kept.delete(oldest.value);
}
