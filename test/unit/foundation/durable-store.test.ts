// Grouped durable commits on a real database file, on a full disk that is really full.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DurableStore, losesStore } from '#foundation/durable-store';

let directory: string;
let store: DurableStore;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-store-'));
  store = new DurableStore(join(directory, 'test.db'));
  store.database.exec('CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT');
});

afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

function insert(id: number, text = 'x') {
  return store.transact((database) => {
    database.prepare('INSERT INTO note (id, text) VALUES (?, ?)').run(id, text);
    return id;
  });
}

/** What another process would find in the file. */
function idsOnDisk(): number[] {
  const other = new DatabaseSync(join(directory, 'test.db'), { readOnly: true });
  const rows = other.prepare('SELECT id FROM note ORDER BY id').all();
  other.close();
  return rows.map((row) => Number(row.id));
}

describe('the durable store', () => {
  it('commits everything asked for in one turn with one flush, each with its own result', async () => {
    const results = await Promise.all([1, 2, 3, 4, 5].map((id) => insert(id)));
    expect(results).toEqual([1, 2, 3, 4, 5]);
    expect(store.flushes).toBe(1);
    await insert(6);
    expect(store.flushes).toBe(2);
    expect(idsOnDisk()).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('keeps no more writers waiting than one group holds, however many come in one turn', async () => {
    const all = Promise.all(Array.from({ length: 10_000 }, (_, index) => insert(index + 1)));
    // Before the turn of the loop ends.
    expect(store.flushes).toBe(2);
    expect(idsOnDisk()).toHaveLength(8_192);
    expect(await all).toHaveLength(10_000);
    expect(store.flushes).toBe(3);
  });

  it('resolves only once another reader of the file can see the row', async () => {
    const pending = insert(1);
    expect(idsOnDisk()).toEqual([]);
    await pending;
    expect(idsOnDisk()).toEqual([1]);
  });

  it('undoes and rejects only the writer that throws, with all of its rows', async () => {
    await insert(1);
    const settled = await Promise.allSettled([
      insert(2),
      store.transact((database) => {
        database.exec("INSERT INTO note (id, text) VALUES (3, 'lost')");
        database.exec("INSERT INTO note (id, text) VALUES (1, 'twice')");
      }),
      insert(4),
    ]);
    expect(settled.map((one) => one.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(idsOnDisk()).toEqual([1, 2, 4]);
    expect(store.flushes).toBe(2);
  });

  it('keeps no row of what a full database rejected, and works again when there is room', async () => {
    await insert(1);
    const { page_count: pages } = store.database.prepare('PRAGMA page_count').get() as {
      page_count: number;
    };
    store.database.exec(`PRAGMA max_page_count = ${pages}`);
    const wide = 'x'.repeat(20_000);
    const settled = await Promise.allSettled([insert(2, wide), insert(3, wide)]);
    for (const one of settled) {
      expect(one.status === 'rejected' && String(one.reason)).toMatch(/full/);
    }
    expect(idsOnDisk()).toEqual([1]);
    expect(store.database.isTransaction).toBe(false);
    store.database.exec('PRAGMA max_page_count = 1000000');
    await insert(4, wide);
    expect(idsOnDisk()).toEqual([1, 4]);
  });

  it('rejects the whole group with one error when the commit itself cannot be made', async () => {
    await insert(1);
    const other = new DatabaseSync(join(directory, 'test.db'));
    other.exec('BEGIN IMMEDIATE');
    const settled = await Promise.allSettled([insert(2), insert(3)]);
    expect(settled.map((one) => one.status)).toEqual(['rejected', 'rejected']);
    other.exec('ROLLBACK');
    other.close();
    expect(idsOnDisk()).toEqual([1]);
    await insert(4);
    expect(idsOnDisk()).toEqual([1, 4]);
  });

  it('writes what still waits when it is closed', async () => {
    const second = new DurableStore(join(directory, 'test.db'));
    const pending = second.transact((database) => {
      database.exec("INSERT INTO note (id, text) VALUES (9, 'last')");
    });
    second.close();
    await pending;
    expect(idsOnDisk()).toEqual([9]);
  });
});

describe('after an I/O error', () => {
  const failing = (errcode: number) =>
    store.transact(() => {
      throw Object.assign(new Error('the disk said no'), { errcode });
    });

  it('the store is lost for good: whoever keeps it hears that first, and nothing more is acknowledged', async () => {
    store.close();
    const heard: unknown[] = [];
    store = new DurableStore(join(directory, 'test.db'), { onLost: (error) => heard.push(error) });
    await insert(1);
    // SQLITE_IOERR_FSYNC.
    const settled = await Promise.allSettled([insert(2), failing(1_034), insert(3)]);
    expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(heard).toHaveLength(1);
    await expect(insert(4)).rejects.toThrow('the disk said no');
    expect(heard).toHaveLength(1);
    expect(idsOnDisk()).toEqual([1]);
  });

  it.each([
    ['a full disk', 13, false],
    ['an index of the log that could not grow', 4_874, false],
    ['a broken constraint', 1_555, false],
    ['a failed write', 778, true],
    ['a failed flush', 1_034, true],
    ['a damaged file', 11, true],
  ])('%s (%i) loses it: %o', (_, errcode, lost) => {
    expect(losesStore(Object.assign(new Error(), { errcode }))).toBe(lost);
  });
});
