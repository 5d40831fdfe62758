// The record of stops: numbers and acknowledgments over restarts, and that no bound ever lets something go.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import { EmergencyPriority, type StopCause } from '#model/stop';
import { HoldBook } from '#orchestrator/hold-book';
import { StopRecord } from '#orchestrator/stop-record';

let directory: string;
let clock: VirtualClock;
let open: Opened[];

interface Opened {
  readonly store: DurableStore;
  readonly holds: HoldBook;
  readonly record: StopRecord;
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'stop-record-'));
  clock = new VirtualClock();
  open = [];
});
afterEach(() => {
  for (const { store } of open) store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** As after a restart of the process: whatever is on disk, and nothing else. */
function start(file = 'agent.db'): Opened {
  const store = new DurableStore(join(directory, file));
  const holds = new HoldBook(store);
  const onError = (error: unknown) => {
    throw error;
  };
  const opened = { store, holds, record: new StopRecord({ store, holds, clock, onError }) };
  open.push(opened);
  return opened;
}

function cause(devices: readonly number[], reason = 'smoke'): StopCause {
  return {
    id: 0,
    devices,
    source: 'interface',
    reason,
    priority: EmergencyPriority.HIGH,
    triggeredBy: 'alice',
    wallMs: clock.wallMs(),
  };
}

function add(record: StopRecord, devices: readonly number[], reason?: string): StopCause {
  const numbered = record.number(cause(devices, reason));
  record.add(numbered);
  return numbered;
}

describe('the record of stops', () => {
  it('survives a restart with its causes, their devices, acknowledgments and holds', async () => {
    const first = start();
    add(first.record, [3, 4]);
    add(first.record, []);
    await first.record.acknowledge('alice');
    const next = start();
    expect(next.record.causes()).toEqual(first.record.causes());
    expect(next.record.causes().map(({ id, devices }) => [id, devices])).toEqual([
      [1, [3, 4]],
      [2, []],
    ]);
    expect(next.record.acknowledgments()).toEqual(first.record.acknowledgments());
    expect(next.holds.all().map(({ device, kind }) => [device, kind])).toEqual([
      [3, 'stopped'],
      [4, 'stopped'],
    ]);
    await next.record.acknowledge('alice');
    expect(next.record.acknowledgments()).toHaveLength(2);
  });

  it('holds the devices of its causes also when the disk did not take the holds', async () => {
    const { store, record } = start();
    add(record, [3]);
    await record.acknowledge('alice');
    store.database.exec('DELETE FROM device_hold');
    expect(start().holds.has(3, 'stopped')).toBe(true);
  });

  it('counts its numbers up over restarts, also over a reset', async () => {
    const first = start();
    const known = add(first.record, []);
    await first.record.clear([]);
    expect(first.record.causes()).toEqual([]);
    const next = start();
    expect(next.record.causes()).toEqual([]);
    expect(add(next.record, []).id).toBe(2);
    expect(next.record.knows(known)).toBe(true);
  });

  it('ends causes, acknowledgments and holds together, and puts the deactivated on record beside', async () => {
    const { record, holds } = start();
    add(record, [3]);
    await record.acknowledge('alice');
    const hold = { device: 3, kind: 'deactivated', reason: 'reset', sinceWallMs: 1 } as const;
    await record.clear([hold]);
    const next = start();
    expect([next.record.causes(), next.record.acknowledgments()]).toEqual([[], []]);
    expect(next.holds.all()).toEqual([hold]);
    expect(holds.all()).toEqual([hold]);
  });

  it('keeps everything when the disk does not take the reset', async () => {
    const { store, record, holds } = start();
    add(record, [3]);
    await record.acknowledge('alice');
    store.database.exec('ALTER TABLE stop_counter RENAME TO elsewhere');
    await expect(record.clear([])).rejects.toThrow();
    expect(record.causes()).toHaveLength(1);
    expect(record.acknowledgments()).toHaveLength(1);
    expect(holds.has(3, 'stopped')).toBe(true);
    store.database.exec('ALTER TABLE elsewhere RENAME TO stop_counter');
    const next = start();
    expect([next.record.causes().length, next.holds.has(3, 'stopped')]).toEqual([1, true]);
  });

  it('keeps a stop that comes while a reset is being written', async () => {
    const { record } = start();
    add(record, [3]);
    const clearing = record.clear([]);
    const late = add(record, [5], 'late');
    await clearing;
    await record.acknowledge('alice');
    const next = start();
    expect(next.record.causes()).toEqual([late]);
    expect(next.holds.all().map(({ device }) => device)).toEqual([5]);
    expect(next.record.knows(late)).toBe(true);
  });

  it('takes up causes of the first versions as stops of the whole system', () => {
    const { store } = start();
    const old = { source: 'kernel', reason: 'old', priority: 4, triggeredBy: 'kernel', wallMs: 1 };
    store.database
      .prepare('INSERT INTO stop_cause (position, cause) VALUES (0, ?)')
      .run(JSON.stringify(old));
    expect(start().record.causes()).toMatchObject([{ id: 0, devices: [], reason: 'old' }]);
  });

  it('lets nothing go that was stopped, however many causes come', async () => {
    const stops = fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 83 }), { maxLength: 3 }), {
      minLength: 30,
      maxLength: 60,
    });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(stops, async (scopes) => {
        run += 1;
        const { record } = start(`run-${run}.db`);
        for (const devices of scopes) add(record, devices);
        await record.acknowledge('alice');
        for (const { record: kept } of [{ record }, start(`run-${run}.db`)]) {
          const causes = kept.causes();
          const whole = causes.some(({ devices }) => devices.length === 0);
          expect(causes.length).toBeLessThanOrEqual(32);
          expect(whole).toBe(scopes.some((devices) => devices.length === 0));
          // A stop of the whole system covers every device anyway.
          const held = new Set(causes.flatMap(({ devices }) => devices));
          if (!whole) expect(scopes.flat().filter((device) => !held.has(device))).toEqual([]);
          expect(causes[0]?.id).toBe(1);
          expect(causes.at(-1)?.id).toBe(scopes.length);
        }
      }),
      { numRuns: 15 },
    );
  });
});
