// The result of anything that may be refused or may fail: a value, or a fault from the catalogue.

import type { Fault } from './fault.ts';

export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly fault: Fault };

export function succeed<T>(value: T): Outcome<T> {
  return { ok: true, value };
}

export function refuse(fault: Fault): { readonly ok: false; readonly fault: Fault } {
  return { ok: false, fault };
}
