// What was decided, on disk before metal is touched: so that a restart finds every operation that may have had an effect.
// Invariants: an operation is open here from its decision until its outcome is durable; the outcome is written in the
// same transaction as its audit entry.

import { type Canonical, canonicalText } from '#foundation/canonical';
import type { DurableStore } from '#foundation/durable-store';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { EffectOutcome, Intent, RegisterReading } from '#model/operation';
import type { RegisterPlan } from '#model/plan';

/** An operation whose commit had been decided when the process ended. */
export interface OpenOperation {
  readonly operationId: string;
  readonly planDigest: string;
  readonly devices: readonly number[];
  /** Canonical text of the prior register contents. */
  readonly priors: string;
}

export class Journal {
  readonly #store: DurableStore;

  constructor(store: DurableStore) {
    this.#store = store;
    store.database.exec(`
      CREATE TABLE IF NOT EXISTS journal (
        operation_id TEXT PRIMARY KEY, plan_digest TEXT NOT NULL, devices TEXT NOT NULL,
        intent TEXT NOT NULL, steps TEXT NOT NULL, priors TEXT NOT NULL, outcome TEXT
      ) STRICT;
      CREATE INDEX IF NOT EXISTS journal_open ON journal (operation_id) WHERE outcome IS NULL;
    `);
  }

  /** Durable when it resolves: only then may the commit begin. */
  async decide(
    intent: Intent,
    plan: RegisterPlan,
    priors: readonly RegisterReading[],
  ): Promise<Outcome<void>> {
    const devices = [...new Set(plan.steps.map((step) => step.device))];
    const row = [
      intent.operationId,
      plan.digest,
      JSON.stringify(devices),
      text({ type: intent.type, targets: intent.targets, justification: intent.justification }),
      text(plan.steps),
      text(priors.map(({ device, register, value }) => ({ device, register, value }))),
    ];
    try {
      await this.#store.transact((database) => {
        database
          .prepare(
            'INSERT INTO journal (operation_id, plan_digest, devices, intent, steps, priors) VALUES (?, ?, ?, ?, ?, ?)',
          )
          .run(...row);
      });
      return succeed(undefined);
    } catch (error) {
      return refuse(
        fault('AUDIT_UNAVAILABLE', {
          place: 'journal',
          finding: 'the decision could not be made durable',
          internal: describeError(error),
        }),
      );
    }
  }

  /** Closes an operation; to be called inside the transaction of its audit entry. */
  close(operationId: string, outcome: EffectOutcome): void {
    this.#store.database
      .prepare('UPDATE journal SET outcome = ? WHERE operation_id = ?')
      .run(outcome, operationId);
  }

  /** Operations decided before the last end of the process whose outcome nobody wrote down. */
  open(): readonly OpenOperation[] {
    const rows = this.#store.database
      .prepare(
        'SELECT operation_id, plan_digest, devices, priors FROM journal WHERE outcome IS NULL',
      )
      .all();
    return rows.map((row) => ({
      operationId: String(row.operation_id),
      planDigest: String(row.plan_digest),
      devices: JSON.parse(String(row.devices)) as number[],
      priors: String(row.priors),
    }));
  }
}

function text(value: unknown): string {
  return canonicalText(value as Canonical);
}
