// What an attack is: it is given the ground it happens on, attacks the running agent through its real doors, and says what it found.
// Invariants: what was noticed is asked of the agent, never assumed; everything sent passes the limits; whatever was
// changed is put back before it returns, however it ends.

import type { Exercise } from '#model/exercise';
import type { ScenarioPlan } from '#tracks/security/chaos/scenarios';
import type { Doors } from '../doors-file.ts';
import type { Attacker } from './attacker.ts';
import type { Limits } from './limits.ts';
import type { Observer } from './observer.ts';
import type { Signs } from './signs.ts';

export interface Ground {
  readonly exercise: Exercise;
  readonly plan: ScenarioPlan;
  readonly doors: Doors;
  /** As who started the exercise: audit chain, events and incidents. */
  readonly observer: Observer;
  readonly limits: Limits;
  readonly signs: Signs;
  /** The n-th attacker, each at a source address of its own. */
  attacker(index: number): Attacker;
  readonly progress: (step: string) => void;
  /** The person breaks it off, or its time is over. */
  readonly signal: AbortSignal;
}

export interface Findings {
  readonly detected: boolean;
  /** Each a sentence, the weightiest first. */
  readonly evidence: readonly string[];
  /** From the first attack to the first sign of it; null when there was none. */
  readonly responseMs: number | null;
  readonly contained: boolean;
  readonly containment: string;
}

export interface Attack {
  readonly scenario: ScenarioPlan['id'];
  run(ground: Ground): Promise<Findings>;
}
