// The wall time that expiry is judged by: it goes on with time and never back, whatever the clock of the machine says.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import { WallFloor } from '#tracks/security/identity/wall-floor';

const START = 1_767_225_600_000;
let store: DurableStore;
let clock: VirtualClock;
beforeEach(() => {
  store = new DurableStore(':memory:');
  clock = new VirtualClock(START);
});
afterEach(() => store.close());

/** What the audit chain has as its last entry. */
function recordEntry(body: string): void {
  store.database.exec(
    'CREATE TABLE IF NOT EXISTS audit (sequence INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT;',
  );
  store.database.prepare('INSERT INTO audit (body, hash) VALUES (?, ?)').run(body, 'hash');
}

describe('the wall floor', () => {
  it('is the clock while nothing is on record, and while the clock goes right', async () => {
    const floor = new WallFloor(store, clock);
    expect(floor.wallMs()).toBe(START);
    floor.note(clock.wallMs());
    await clock.advance(5_000);
    expect(floor.wallMs()).toBe(START + 5_000);
    expect(floor.behindMs).toBe(0);
  });

  it.each([
    ['a day back', -86_400_000],
    ['to 1970', -START],
  ])('goes on when the clock is set %s', async (_, byMs) => {
    const floor = new WallFloor(store, clock);
    await clock.advance(1_000);
    floor.note(clock.wallMs());
    clock.jumpWall(byMs);
    expect(floor.wallMs()).toBe(START + 1_000);
    expect(floor.behindMs).toBe(-byMs);
    await clock.advance(60_000);
    expect(floor.wallMs()).toBe(START + 61_000);
    // What is recorded by the wrong clock lowers nothing.
    floor.note(clock.wallMs());
    expect(floor.wallMs()).toBe(START + 61_000);
  });

  it('keeps what was on record while the clock was ahead', () => {
    const floor = new WallFloor(store, clock);
    clock.jumpWall(3_600_000);
    floor.note(clock.wallMs());
    clock.jumpWall(-3_600_000);
    expect(floor.wallMs()).toBe(START + 3_600_000);
  });

  it('starts at the last entry of the audit chain', () => {
    recordEntry(JSON.stringify({ wallMs: START + 1 }));
    recordEntry(JSON.stringify({ wallMs: START + 7_000 }));
    expect(new WallFloor(store, new VirtualClock(0)).wallMs()).toBe(START + 7_000);
  });

  it('starts at what it noted itself where the chain says less', async () => {
    new WallFloor(store, clock).note(START);
    await store.transact(() => undefined);
    expect(new WallFloor(store, new VirtualClock(0)).wallMs()).toBe(START);
  });

  it.each(['no JSON', '{}', '{"wallMs":"soon"}', 'null'])(
    'starts all the same where the last entry was damaged to %s',
    (body) => {
      recordEntry(body);
      expect(new WallFloor(store, clock).wallMs()).toBe(START);
    },
  );
});
