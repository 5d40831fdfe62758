// Why the system is stopped, kept over restarts and reboots until two people have reset it.

import type { DurableStore } from '#foundation/durable-store';
import type { StopCause } from '#model/stop';

export class StopRecord {
  readonly #store: DurableStore;

  constructor(store: DurableStore) {
    this.#store = store;
    store.database.exec(
      'CREATE TABLE IF NOT EXISTS stop_cause (position INTEGER PRIMARY KEY, cause TEXT NOT NULL) STRICT;',
    );
  }

  causes(): readonly StopCause[] {
    return this.#store.database
      .prepare('SELECT cause FROM stop_cause ORDER BY position')
      .all()
      .map((row) => JSON.parse(String(row.cause)) as StopCause);
  }

  /** Replaces the causes; rejects when they could not be made durable. */
  keep(causes: readonly StopCause[]): Promise<void> {
    return this.#store.transact((database) => {
      database.exec('DELETE FROM stop_cause');
      const insert = database.prepare('INSERT INTO stop_cause (position, cause) VALUES (?, ?)');
      for (const [position, cause] of causes.entries()) insert.run(position, JSON.stringify(cause));
    });
  }
}
