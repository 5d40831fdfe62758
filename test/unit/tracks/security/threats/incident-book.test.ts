import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DurableStore } from '#foundation/durable-store';
import type { ThreatLevel } from '#model/incident';
import { BaselineBook, PERSONS_MAX } from '#tracks/security/threats/baseline-book';
import {
  INCIDENTS_MAX,
  IncidentBook,
  type KeptIncident,
  OPEN_MAX,
} from '#tracks/security/threats/incident-book';
import { NO_BASELINE } from '#tracks/security/threats/threat-baseline';
import { ThreatBench } from './threat-bench.ts';

let directory: string;
let store: DurableStore;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-incidents-'));
  store = new DurableStore(join(directory, 'agent.db'));
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

function incident(id: number, changes: Partial<KeptIncident> = {}): KeptIncident {
  return {
    id,
    subject: { kind: 'source', id: `10.0.0.${id}` },
    devices: [],
    reached: [],
    locked: false,
    actor: 'unknown',
    level: 'LOW',
    score: 30,
    finding: 'finding',
    indicators: [],
    responses: [],
    openedWallMs: 1,
    changedWallMs: id,
    closedWallMs: 0,
    closedBy: '',
    closedBecause: '',
    ...changes,
  };
}

async function save(book: IncidentBook, ...incidents: readonly KeptIncident[]) {
  for (const one of incidents) book.put(one);
  await store.transact(() => {
    for (const { id } of incidents) {
      const written = book.write(id);
      if (written !== undefined) book.noteSaved(written);
    }
    book.prune();
  });
}

it('keeps what is open over a restart, and never gives an id twice', async () => {
  const book = new IncidentBook(store);
  expect([book.nextId(), book.nextId()]).toEqual([1, 2]);
  await save(book, incident(1), incident(2, { closedWallMs: 5, closedBy: 'bob' }));
  const again = new IncidentBook(store);
  expect(again.open().map(({ id }) => id)).toEqual([1]);
  expect(again.closed(9).map(({ id }) => id)).toEqual([2]);
  expect(again.nextId()).toBe(3);
  expect(again.find(2)).toMatchObject({ closedBy: 'bob' });
  expect(again.find(3)).toBeUndefined();
});

it('shows the gravest first, and of those the oldest', () => {
  const book = new IncidentBook(store);
  const levels: readonly ThreatLevel[] = ['LOW', 'CRITICAL', 'MEDIUM', 'CRITICAL', 'HIGH'];
  for (const [index, level] of levels.entries()) book.put(incident(index + 1, { level }));
  expect(book.open().map(({ id }) => id)).toEqual([2, 4, 5, 3, 1]);
  expect(book.leastGrave()?.id).toBe(1);
});

it('lets no number of addresses, however grave, push out a person, a device or the audit chain', () => {
  const book = new IncidentBook(store);
  book.put(incident(1, { subject: { kind: 'person', id: 'alice' }, level: 'HIGH' }));
  book.put(incident(2, { subject: { kind: 'source', id: 'audit chain' }, level: 'CRITICAL' }));
  book.put(incident(3, { subject: { kind: 'device', id: '9' } }));
  book.put(incident(4, { level: 'CRITICAL', changedWallMs: 5 }));
  book.put(incident(5, { level: 'CRITICAL', changedWallMs: 4 }));
  expect(book.leastGrave()?.id).toBe(5);
  for (const id of [4, 5]) book.put(incident(id, { closedWallMs: 6 }));
  expect(book.leastGrave()?.id).toBe(3);
});

it('is bounded on disk: the oldest closed ones go, open ones stay', async () => {
  const book = new IncidentBook(store);
  const many = Array.from({ length: INCIDENTS_MAX + 50 }, () => {
    const id = book.nextId();
    return incident(id, id <= 10 ? {} : { closedWallMs: 5 });
  });
  await save(book, ...many);
  const count = store.database.prepare('SELECT count(*) AS number FROM threat_incident').get();
  expect(count?.number).toBe(INCIDENTS_MAX);
  const again = new IncidentBook(store);
  expect(again.openCount).toBe(10);
  expect(again.find(60)).toBeUndefined();
  expect(again.find(61)).toBeDefined();
});

it('has no more than a thousand open: the least grave one gives way, on record', async () => {
  const bench = new ThreatBench();
  const entry = await bench.add('AUTHENTICATION_FAILED', 'unknown');
  await bench.add('QUARANTINE_PROBE', 'alice', { devices: [9] });
  for (let index = 0; index < OPEN_MAX + 5; index++) {
    const origin = { transport: 'rest' as const, peer: `10.1.${index >> 8}.${index & 255}:5` };
    for (let turn = 0; turn < 3; turn++) bench.monitor.observe({ ...entry, origin });
  }
  await bench.clock.advance(1);
  const shown = bench.monitor.incidents.list(2_000);
  expect(shown.filter(({ closedWallMs }) => closedWallMs === 0)).toHaveLength(OPEN_MAX);
  expect(shown[0]).toMatchObject({ level: 'CRITICAL', subject: { id: 'alice' } });
  const closed = bench.chain.read(1, 5_000).filter(({ event }) => event === 'INCIDENT_CLOSED');
  expect(closed).toHaveLength(6);
  expect(closed[0]).toMatchObject({ decision: 'closed by room' });
  bench.close();
});

it('remembers what is usual for no more people than its bound, and reads the others again', async () => {
  const book = new BaselineBook(store);
  for (let person = 0; person < PERSONS_MAX + 10; person++) {
    book.put(`person-${person}`, { ...NO_BASELINE, operations: person });
  }
  expect(book.size).toBe(PERSONS_MAX);
  expect(book.of('person-3').operations).toBe(3);
  await book.save();
  expect(new BaselineBook(store).of('person-3').operations).toBe(3);
  expect(new BaselineBook(store).of('nobody')).toEqual(NO_BASELINE);
});
