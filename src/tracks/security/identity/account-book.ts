// The durable record of accounts: who there is and what each may do.
// Invariants: ids are never deleted; what is in memory is what is on disk.

import type { DurableStore } from '#foundation/durable-store';
import type { AccountRecord } from '#model/account';
import { ClearanceLevel, type Principal } from '#model/principal';
import type { AccountPort } from '../ports.ts';

export class AccountBook implements AccountPort {
  readonly #store: DurableStore;
  readonly #accounts = new Map<string, AccountRecord>();

  constructor(store: DurableStore) {
    this.#store = store;
    store.database.exec(
      'CREATE TABLE IF NOT EXISTS account (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;',
    );
    for (const row of store.database.prepare('SELECT body FROM account ORDER BY id').all()) {
      const record = JSON.parse(String(row.body)) as AccountRecord;
      this.#accounts.set(record.id, record);
    }
  }

  account(id: string): AccountRecord | undefined {
    return this.#accounts.get(id);
  }

  all(): readonly AccountRecord[] {
    return [...this.#accounts.values()];
  }

  /** Writes the record; to be called inside a transaction of the store, then `noteSaved` once it is on disk. */
  write(record: AccountRecord): void {
    this.#store.database
      .prepare('INSERT OR REPLACE INTO account (id, body) VALUES (?, ?)')
      .run(record.id, JSON.stringify(record));
  }

  /** The record is on disk: it counts from now on. */
  noteSaved(record: AccountRecord): void {
    this.#accounts.set(record.id, record);
  }

  /** Both at once, in a transaction of its own. */
  async save(record: AccountRecord): Promise<void> {
    await this.#store.transact(() => this.write(record));
    this.noteSaved(record);
  }
}

export function principalOf(record: AccountRecord): Principal {
  const { id, name, kind, clearance, compartments, devices, underReview } = record;
  return {
    id,
    name,
    kind,
    clearance: ClearanceLevel[clearance],
    compartments,
    devices,
    underReview,
  };
}
