// A fault: one catalogue code, the place, what was found there and what follows from it.

import { FAULT_CATALOGUE, type FaultCode } from './fault-catalogue.ts';

/** Whether a register may have been written before the fault; no failure is reported without it. */
export type Metal = 'untouched' | 'touched' | 'unknown';

export interface Fault {
  readonly code: FaultCode;
  /** Where, in the operator's words: `fan-controller.duty`, `bus serial-0`, `board.yaml:12:5`. */
  readonly place: string;
  /** What was found there, with units. */
  readonly finding: string;
  /** What follows for the person or the device. */
  readonly consequence: string;
  readonly metal: Metal;
  /** When the same request would be taken again, milliseconds from now; absent where nobody knows. */
  readonly retryAfterMs?: number;
  /** For the log of this machine only (errno, path); never sent over the network. */
  readonly internal?: string;
}

export interface FaultDetails {
  readonly place: string;
  readonly finding: string;
  readonly consequence?: string;
  readonly metal?: Metal;
  readonly retryAfterMs?: number;
  readonly internal?: string;
}

/** Makes a fault; without a consequence the catalogue's sentence for the code stands in. */
export function fault(code: FaultCode, details: FaultDetails): Fault {
  const base = {
    code,
    place: details.place,
    finding: details.finding,
    consequence: details.consequence ?? FAULT_CATALOGUE[code].sentence,
    metal: details.metal ?? 'untouched',
    ...(details.retryAfterMs === undefined ? {} : { retryAfterMs: details.retryAfterMs }),
  } as const;
  return details.internal === undefined ? base : { ...base, internal: details.internal };
}

/** The sentence a person reads: `place: finding; consequence`. */
export function describeFault(value: Fault): string {
  return `${value.place}: ${value.finding}; ${value.consequence}`;
}

/** The errno name (`EIO`) and message of a thrown system error, for `internal`. */
export function describeError(error: unknown): string {
  if (error instanceof Error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === undefined ? error.message : `${code}: ${error.message}`;
  }
  return String(error);
}

/** Carries a fault through code that can only throw (streams, third-party callbacks). */
export class FaultError extends Error {
  readonly fault: Fault;
  constructor(value: Fault) {
    super(describeFault(value));
    this.name = 'FaultError';
    this.fault = value;
  }
}
