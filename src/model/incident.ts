// What threat detection found: scores with their reasons, and incidents that open, escalate and close.

import type { LinearId } from './device.ts';

export const THREAT_LEVELS = ['NONE', 'LOW', 'MEDIUM', 'HIGH', 'CRITICAL'] as const;
export type ThreatLevel = (typeof THREAT_LEVELS)[number];

/** Whom or what the window is about. */
export type ThreatSubjectKind = 'person' | 'device' | 'source';

export interface ThreatSubject {
  readonly kind: ThreatSubjectKind;
  /** Account id, decimal linear id, or address without port. */
  readonly id: string;
}

/** One reason for a score. */
export interface ThreatIndicator {
  /** `rate`, `unusual-device`, `unusual-hour`, `critical-group`, `failed-authentication`, `quarantine-probe` ... */
  readonly name: string;
  readonly points: number;
  /** What was seen, in one sentence with its numbers. */
  readonly finding: string;
  /** Audit entries it rests on, the newest last; at most 16. */
  readonly entries: readonly number[];
}

export interface ThreatReport {
  readonly subject: ThreatSubject;
  readonly score: number;
  readonly level: ThreatLevel;
  readonly windowMs: number;
  readonly indicators: readonly ThreatIndicator[];
}

export interface Incident {
  readonly id: number;
  readonly subject: ThreatSubject;
  readonly devices: readonly LinearId[];
  readonly actor: string;
  readonly level: ThreatLevel;
  readonly score: number;
  readonly finding: string;
  readonly indicators: readonly ThreatIndicator[];
  /** What was done about it by itself, each a sentence. */
  readonly responses: readonly string[];
  readonly openedWallMs: number;
  readonly changedWallMs: number;
  /** 0 while it is open. */
  readonly closedWallMs: number;
  /** Account id, or `quiet` when it closed by itself. */
  readonly closedBy: string;
  readonly closedBecause: string;
}
