import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { DurableStore } from '#foundation/durable-store';
import { DeviceHistory, LINES_PER_DEVICE_MAX } from '#orchestrator/device-history';

let directory: string;
let store: DurableStore;
let clock: VirtualClock;
let errors: unknown[];
let history: DeviceHistory;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-history-'));
  store = new DurableStore(join(directory, 'agent.db'));
  clock = new VirtualClock();
  errors = [];
  history = new DeviceHistory(store, clock, (error) => errors.push(error));
});

afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

const rows = () =>
  Number(store.database.prepare('SELECT count(*) AS n FROM device_history').get()?.n);

it('shows a line at once and puts it on disk within a second, many in one group', async () => {
  for (let line = 0; line < 50; line++) history.add(1, 'power', `${line}`, `${line + 1}`);
  expect(history.of(1, 3).map(({ to }) => to)).toEqual(['50', '49', '48']);
  expect(rows()).toBe(0);
  const { flushes } = store;
  await clock.advance(1_000);
  expect(rows()).toBe(50);
  expect(store.flushes).toBe(flushes + 1);
  expect(history.of(1, 3).map(({ to }) => to)).toEqual(['50', '49', '48']);
});

it('puts what waits before what is written, newest first, each device for itself', async () => {
  history.add(1, 'status', 'a', 'b');
  history.add(2, 'status', 'x', 'y');
  await clock.advance(1_000);
  history.add(1, 'status', 'b', 'c');
  expect(history.of(1, 10)).toEqual([
    { device: 1, wallMs: clock.wallMs(), what: 'status', from: 'b', to: 'c' },
    { device: 1, wallMs: clock.wallMs() - 1_000, what: 'status', from: 'a', to: 'b' },
  ]);
  expect(history.of(1, 1).map(({ to }) => to)).toEqual(['c']);
  expect(history.of(2, 10)).toHaveLength(1);
});

it('survives a restart', async () => {
  history.add(1, 'holds', 'none', 'in-doubt');
  await history.write();
  const again = new DeviceHistory(store, clock, () => undefined);
  expect(again.of(1, 10).map(({ to }) => to)).toEqual(['in-doubt']);
});

it('keeps the last thousand lines of a device, and all of the others', async () => {
  history.add(2, 'status', 'x', 'y');
  for (let line = 0; line < LINES_PER_DEVICE_MAX + 30; line++) {
    history.add(1, 'status', '', String(line));
  }
  await clock.advance(1_000);
  expect(rows()).toBe(LINES_PER_DEVICE_MAX + 1);
  const lines = history.of(1, 5_000);
  expect(lines).toHaveLength(LINES_PER_DEVICE_MAX);
  expect(lines.at(-1)?.to).toBe('30');
  expect(history.of(2, 10)).toHaveLength(1);
});

it('keeps lines that the disk does not take for the next time, up to its bound', async () => {
  store.database.exec('ALTER TABLE device_history RENAME TO elsewhere');
  history.add(1, 'status', 'a', 'b');
  await clock.advance(1_000);
  expect(errors).toHaveLength(1);
  store.database.exec('ALTER TABLE elsewhere RENAME TO device_history');
  history.add(1, 'status', 'b', 'c');
  await clock.advance(1_000);
  expect(history.of(1, 10).map(({ to }) => to)).toEqual(['c', 'b']);
  for (let line = 0; line < 5_000; line++) history.add(1, 'status', '', String(line));
  expect(history.lost).toBe(5_000 - 4_096);
});
