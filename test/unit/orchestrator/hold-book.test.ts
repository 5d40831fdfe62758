// The holds on record: they count at once, outlive a restart, and end only when the disk says so.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DurableStore } from '#foundation/durable-store';
import type { DeviceHold, HoldKind } from '#model/hold';
import { HoldBook } from '#orchestrator/hold-book';

let directory: string;
let store: DurableStore;
let book: HoldBook;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-holds-'));
  open();
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

function open(): void {
  store = new DurableStore(join(directory, 'agent.db'));
  book = new HoldBook(store);
}

function restart(): void {
  store.close();
  open();
}

function hold(device: number, kind: HoldKind = 'in-doubt', reason = 'a test'): DeviceHold {
  return { device, kind, reason, sinceWallMs: 1_000 };
}

const failing = (write: () => void) =>
  store
    .transact(() => {
      write();
      throw new Error('disk full');
    })
    .catch(() => undefined);

describe('a hold', () => {
  it('counts before it is on disk, and is there after a restart', async () => {
    const writing = book.add([hold(1), hold(2, 'quarantined')]);
    expect(book.has(1, 'in-doubt')).toBe(true);
    await writing;
    restart();
    expect(book.all()).toEqual([hold(1), hold(2, 'quarantined')]);
    expect(book.of(2)).toEqual([hold(2, 'quarantined')]);
  });

  it('is written when it is said again after the disk refused it beside an entry', async () => {
    await failing(() => book.addBeside([hold(1)]));
    expect(book.has(1, 'in-doubt')).toBe(true);
    await store.transact(() => book.addBeside([hold(1)]));
    await failing(() => book.addBeside([hold(2)]));
    await book.add([hold(2)]);
    restart();
    expect(book.all()).toEqual([hold(1), hold(2)]);
  });

  it('keeps its first reason and time', async () => {
    await book.add([hold(1)]);
    await book.add([{ ...hold(1, 'in-doubt', 'later'), sinceWallMs: 9_000 }]);
    restart();
    expect(book.all()).toEqual([hold(1)]);
  });

  it('that the disk did not take still counts, and is written with the next one', async () => {
    await failing(() => book.addBeside([hold(1)]));
    expect(book.has(1, 'in-doubt')).toBe(true);
    await book.add([hold(2)]);
    restart();
    expect(book.all().map(({ device }) => device)).toEqual([1, 2]);
  });

  it('ends when it is lifted, and only that one', async () => {
    await book.add([hold(1), hold(1, 'stopped'), hold(2)]);
    await book.lift(1, 'in-doubt');
    restart();
    expect(book.all()).toEqual([hold(1, 'stopped'), hold(2)]);
  });

  it('that could not be lifted durably is still a hold', async () => {
    await book.add([hold(1)]);
    store.database.exec(
      "CREATE TRIGGER full BEFORE DELETE ON device_hold BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    );
    await expect(book.lift(1, 'in-doubt')).rejects.toThrow('disk full');
    expect(book.has(1, 'in-doubt')).toBe(true);
  });

  it('is taken up again when the transaction that was to lift it did not happen', async () => {
    await book.add([hold(1, 'deactivated'), hold(2, 'deactivated')]);
    await failing(() => book.liftAllBeside('deactivated'));
    book.reread();
    expect(book.all().map(({ device }) => device)).toEqual([1, 2]);
    await failing(() => book.liftBeside(1, 'deactivated'));
    book.reread();
    expect(book.has(1, 'deactivated')).toBe(true);
  });

  it('of a kind that this program does not know keeps the device in doubt', async () => {
    store.database.exec("INSERT INTO device_hold VALUES (3, 'strange', 'from elsewhere', 1)");
    restart();
    expect(book.has(3, 'in-doubt')).toBe(true);
  });
});

describe('an open transaction', () => {
  it('holds its devices until it is settled, without a record of its own', () => {
    book.unsettled('operation-1', [1, 2], 1_000);
    const reason = 'operation operation-1 is not settled yet';
    expect(book.standing()).toEqual([hold(1, 'in-doubt', reason), hold(2, 'in-doubt', reason)]);
    expect(book.doubt(1)).toMatchObject({ reason });
    expect(book.unsettledOn(2)).toBe('operation-1');
    expect(book.all()).toEqual([]);
    book.settled('operation-1');
    expect(book.standing()).toEqual([]);
    expect(book.doubt(1)).toBeUndefined();
  });

  it('leaves to a device what others hold it for', async () => {
    await book.add([hold(1, 'in-doubt', 'told to a person')]);
    book.unsettled('operation-1', [1], 2_000);
    book.unsettled('operation-2', [1], 3_000);
    expect(book.standing()).toEqual([hold(1, 'in-doubt', 'told to a person')]);
    book.settled('operation-1');
    expect(book.unsettledOn(1)).toBe('operation-2');
    book.settled('operation-2');
    expect(book.doubt(1)).toMatchObject({ reason: 'told to a person' });
  });
});
