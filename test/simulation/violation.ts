// A broken invariant of a simulated run: which one, when, and what was found.

export const INVARIANTS = {
  I1: 'after a stop nothing but safe values reaches a stopped device until it is released',
  I2: 'every write is a step of an authorized plan, its rollback, a recovery undo or a safe value',
  I3: 'every transaction ends committed, rolled back, stopped, or in doubt with its devices held',
  I4: 'every operation that wrote has an audit entry that agrees with the metal; the chain verifies',
  I5: 'every reachable device is at its safe values soon after a stop, and when a receipt says so',
  I6: 'quarantined devices are never read or written',
  I7: 'nothing that was acknowledged is lost',
  I8: 'nothing is thrown or rejected that nobody expects',
} as const;
export type Invariant = keyof typeof INVARIANTS;

export interface Violation {
  readonly invariant: Invariant;
  readonly atMs: number;
  readonly finding: string;
}
