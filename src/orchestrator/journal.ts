// What was decided, on disk before metal is touched: so that a restart finds every operation that may have had an effect.
// Invariants: a transaction is open here from its decision until its outcome is durable; the outcome is written once, in
// the same transaction as its audit entry; a row that cannot be believed is open too, and said to be damaged.

import type { StatementSync } from 'node:sqlite';
import type { DurableStore } from '#foundation/durable-store';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { EffectOutcome } from '#model/operation';
import { type Decision, readRow, storedRow, type UnsettledTransaction } from './journal-row.ts';

/** Settled rows kept for whoever examines the disk; the audit chain has them all. */
const SETTLED_ROWS_KEPT = 10_000;

export class Journal {
  readonly #store: DurableStore;
  // Compiled once: every operation with writes runs them.
  readonly #insert: StatementSync;
  readonly #close: StatementSync;
  readonly #forget: StatementSync;
  readonly #tell: StatementSync;
  readonly #open: StatementSync;

  constructor(store: DurableStore) {
    this.#store = store;
    const { database } = store;
    database.exec(`
      CREATE TABLE IF NOT EXISTS transaction_journal (
        sequence INTEGER PRIMARY KEY, operation_id TEXT NOT NULL UNIQUE, plan_digest TEXT NOT NULL,
        devices TEXT NOT NULL, decision TEXT NOT NULL, row_digest TEXT NOT NULL, told TEXT, outcome TEXT
      ) STRICT;
      CREATE INDEX IF NOT EXISTS transaction_open ON transaction_journal (sequence) WHERE outcome IS NULL;
    `);
    this.#insert = database.prepare(
      'INSERT INTO transaction_journal (operation_id, plan_digest, devices, decision, row_digest) VALUES (?, ?, ?, ?, ?)',
    );
    this.#close = database.prepare(
      'UPDATE transaction_journal SET outcome = ? WHERE operation_id = ? AND outcome IS NULL RETURNING sequence',
    );
    this.#forget = database.prepare(
      'DELETE FROM transaction_journal WHERE sequence <= ? AND outcome IS NOT NULL',
    );
    this.#tell = database.prepare(
      "UPDATE transaction_journal SET told = 'in-doubt' WHERE operation_id = ?",
    );
    this.#open = database.prepare(
      'SELECT operation_id, plan_digest, devices, decision, row_digest, told FROM transaction_journal WHERE outcome IS NULL ORDER BY sequence',
    );
  }

  /** Durable when it resolves: only then may the commit begin. */
  async decide(decision: Decision): Promise<Outcome<void>> {
    try {
      const row = storedRow(decision);
      await this.#store.transact(() => {
        const { operation_id, plan_digest, devices, decision: text, row_digest } = row;
        this.#insert.run(operation_id, plan_digest, devices, text, row_digest);
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

  /** Closes a transaction, for the first time only; to be called inside the transaction of its audit entry. */
  close(operationId: string, outcome: EffectOutcome): void {
    const closed = this.#close.get(outcome, operationId);
    if (closed !== undefined) this.#forget.run(Number(closed.sequence) - SETTLED_ROWS_KEPT);
  }

  /** A person is told that it is in doubt; to be called inside the transaction of the audit entry that says so. */
  tell(operationId: string): void {
    this.#tell.run(operationId);
  }

  /** Transactions that were decided and whose outcome nobody wrote down, in the order of their decisions. */
  open(): readonly UnsettledTransaction[] {
    return this.#open.all().map(readRow);
  }
}
