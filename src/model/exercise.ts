// Chaos exercises: attacks that people start against their own appliance to see what it notices.

export interface ChaosScenario {
  /** `brute-force`. */
  readonly id: string;
  readonly summary: string;
  /** What it will not exceed, each a sentence. */
  readonly limits: readonly string[];
  readonly durationSecondsMax: number;
}

/** A permitted exercise: who attacks as whom, until when. */
export interface Exercise {
  readonly id: string;
  readonly scenario: string;
  readonly startedBy: string;
  readonly endsAtWallMs: number;
  /** An account of the lowest rights made for this exercise; gone when it ends. */
  readonly account: string;
  /** Token of that account, good until the end. */
  readonly token: string;
}

export interface ExerciseReport {
  readonly scenario: string;
  readonly detected: boolean;
  /** How it showed: audit entries, events, refusals; each a sentence. */
  readonly evidence: readonly string[];
  /** From the first attack to the first sign of it; null when there was none. */
  readonly responseMs: number | null;
  readonly contained: boolean;
  readonly containment: string;
  readonly limitsKept: boolean;
  readonly limits: readonly string[];
}
