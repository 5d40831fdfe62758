// What may be said about a fault: a catalogued code, a place and a finding; anything else is a complaint.

import type { Fault } from '#foundation/fault';
import { isFaultCode } from '#foundation/fault-catalogue';
import type { Outcome } from '#foundation/outcome';

/** Null when the input was treated well, else what was wrong. */
export type Complaint = string | null;

/** Of anything that claims to be a fault: an Outcome's, a problem's, an ERROR message's. */
export function judgeFault(
  value: unknown,
  allowed: 'any' | 'no mistake' = 'no mistake',
): Complaint {
  if (typeof value !== 'object' || value === null) return `a fault that is ${typeof value}`;
  const { code, place, finding, consequence } = value as Partial<Record<keyof Fault, unknown>>;
  if (typeof code !== 'string' || !isFaultCode(code))
    return `a fault with the code ${String(code)}`;
  if (allowed === 'no mistake' && code === 'INTERNAL') {
    return `INTERNAL: ${JSON.stringify(value)}`;
  }
  for (const [name, text] of Object.entries({ place, finding, consequence })) {
    if (typeof text !== 'string' || text.trim() === '') return `${code} without a ${name}`;
  }
  return null;
}

export function judgeOutcome(outcome: Outcome<unknown>): Complaint {
  return outcome.ok ? null : judgeFault(outcome.fault);
}

export function describeThrown(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
