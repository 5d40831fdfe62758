// A two-phase commit as it stands on disk, and how one that was interrupted is settled.

import type { Authorization } from './authorization.ts';
import type { EffectOutcome, RegisterReading } from './operation.ts';
import type { RegisterPlan } from './plan.ts';
import type { TrackName } from './track-name.ts';

/**
 * Where a transaction is. Only DECIDED and RECORDED are states of the disk: before DECIDED a restart finds nothing and
 * nothing was written (presumed abort), between the two it finds an open transaction and settles it.
 */
export const TRANSACTION_STATES = [
  /** Participants are asked for their votes; kernel reads what the writes would replace. */
  'PREPARING',
  /** All voted yes; nothing on disk yet. */
  'PREPARED',
  /** Intent, plan, votes, prior contents and the decision to commit are on disk; kernel has not been asked. */
  'DECIDED',
  /** Kernel was asked to commit and has not answered. */
  'COMMITTING',
  /** Kernel's receipt is here, its outcome not yet on disk. */
  'COMMITTED',
  /** The outcome and its audit entry are on disk. */
  'RECORDED',
] as const;
export type TransactionState = (typeof TRANSACTION_STATES)[number];

/** An answer that never came counts as no; whoever may have promised is told of the abort all the same. */
export const VOTES = ['notAsked', 'yes', 'no'] as const;
export type Vote = (typeof VOTES)[number];
export type Votes = Readonly<Record<TrackName, Vote>>;

export const NO_VOTES: Votes = { kernel: 'notAsked', security: 'notAsked', interface: 'notAsked' };

/** The only name in the `grantedTo` of an authorization that settles a transaction; it opens no commit. */
export const RECOVERY_GRANTEE = 'recovery';

/** Asks kernel what became of a decided transaction, and to undo it where only part of it stands. */
export interface RecoveryRequest {
  readonly operationId: string;
  readonly plan: RegisterPlan;
  /** Register contents before the writes, from prepare. */
  readonly priors: readonly RegisterReading[];
  /** Signed for this operation and this plan, granted to `recovery`. */
  readonly authorization: Authorization;
}

/** `none` of a commit means that not one write was made; a recovered transaction never says `stopped`. */
export type RecoveredOutcome = Exclude<EffectOutcome, 'stopped'>;
