// The emergency stop as data: who may cause it, what was done, and the latch every process maps.

import type { LinearId } from './device.ts';
import type { EventSource, TrackName } from './track-name.ts';

export const EmergencyPriority = { UNKNOWN: 0, LOW: 1, MEDIUM: 2, HIGH: 3, IMMEDIATE: 4 } as const;
export type EmergencyPriority = (typeof EmergencyPriority)[keyof typeof EmergencyPriority];

/** Longest texts of a cause, characters; a stop is never refused for one that is longer, which is cut. */
export const STOP_REASON_LENGTH_MAX = 4_096;
export const STOP_TRIGGERED_BY_LENGTH_MAX = 128;

export interface StopCause {
  /** Counts up over restarts; 0 until the stop's record has numbered it. */
  readonly id: number;
  /** Devices it stopped; empty for the whole system. */
  readonly devices: readonly LinearId[];
  readonly source: EventSource;
  readonly reason: string;
  readonly priority: EmergencyPriority;
  /** Principal id, `local-console` or the track that tripped by itself. */
  readonly triggeredBy: string;
  readonly wallMs: number;
}

/** `cause.devices` says what stops; empty stops the whole system. */
export interface StopOrder {
  readonly cause: StopCause;
}

/** A person has seen a stop: kept until it is reset. */
export interface StopAcknowledgment {
  readonly stopId: number;
  readonly by: string;
  readonly wallMs: number;
}

/** What the periodic test of the stop path found. */
export interface StopTest {
  readonly ok: boolean;
  readonly finding: string;
  readonly wallMs: number;
  /** From ringing the bell to kernel's answer, milliseconds. */
  readonly durationMs: number;
}

export interface StopReceipt {
  readonly track: TrackName;
  readonly ok: boolean;
  readonly message: string;
  /** Devices now at their safe values. */
  readonly safe: readonly LinearId[];
  /** Devices that did not take their safe values, and why. */
  readonly unsafe: readonly { readonly device: LinearId; readonly finding: string }[];
  readonly durationMs: number;
}

/**
 * One shared word per requesting track and one latched word that kernel alone writes. Who builds kernel has its bell
 * call `stopByLatch` of the kernel track after a request and `bellTested` after a test.
 */
export interface StopLatch {
  /** Any process: asks for the stop and wakes kernel. Never fails, never waits. */
  engage(): void;
  /** True when latched or when any track asked and kernel has not yet seen it. One memory read each. */
  engaged(): boolean;
  /** Kernel only: takes every pending request into the latched word; true when it newly engaged. */
  latch(): boolean;
  /** Kernel only: clears the latched word. */
  release(): void;
  /** Any process: rings the same bell with a mark that engages nothing; kernel's `testStop` answers it. */
  test(): void;
  /** What is wrong with the words themselves, as this process sees them; empty when they are sound. */
  finding(): string;
}
