// What strangers do goes on record with its count, and never faster than the record can take.

import fc from 'fast-check';
import { beforeEach, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import type { Origin } from '#model/principal';
import { STRANGE_KINDS, StrangerReports, WINDOW_MS } from '#tracks/interface/stranger-reports';

interface Told {
  readonly code: string;
  readonly origin: Origin;
  readonly text: string;
}

let clock: VirtualClock;
let told: Told[];
let reports: StrangerReports;

beforeEach(() => {
  clock = new VirtualClock();
  told = [];
  reports = reportsOf(clock, told);
});

function reportsOf(by: VirtualClock, into: Told[]): StrangerReports {
  return new StrangerReports({
    clock: by,
    tell: (code, origin, text) => into.push({ code, origin, text }),
  });
}

const from = (address: string, port = 1_000) =>
  ({ door: 'HTTPS', transport: 'rest', peer: `${address}:${port}`, address }) as const;

/** What the entries together say that they are about. */
function countOf(entries: readonly Told[]): number {
  return entries.reduce((sum, { text }) => {
    const [, times] = /\((\d+) times within \d+ s\)$/.exec(text) ?? [];
    return sum + (times === undefined ? 1 : Number(times));
  }, 0);
}

it('tells the first of a kind at once, with the address and what it was', () => {
  reports.strange('no-tls', from('192.0.2.1'));
  expect(told).toEqual([
    {
      code: 'REQUEST_MALFORMED',
      origin: { transport: 'rest', peer: '192.0.2.1:1000' },
      text: 'HTTPS: sent bytes that are no TLS',
    },
  ]);
});

it('tells what follows as one entry with its count, from the newest port', async () => {
  for (let port = 1; port <= 38; port++) reports.strange('no-tls', from('192.0.2.1', port));
  expect(told).toHaveLength(1);
  await clock.advance(WINDOW_MS);
  expect(told).toHaveLength(2);
  expect(told[1]?.origin.peer).toBe('192.0.2.1:38');
  expect(told[1]?.text).toBe('HTTPS: sent bytes that are no TLS (37 times within 10 s)');
});

it('keeps kinds, doors and addresses apart', () => {
  reports.strange('no-tls', from('192.0.2.1'));
  reports.strange('certificate-foreign', from('192.0.2.1'));
  reports.strange('no-tls', from('192.0.2.2'));
  reports.strange('no-tls', { ...from('192.0.2.1'), door: 'gRPC', transport: 'grpc' });
  expect(told.map(({ code }) => code)).toEqual([
    'REQUEST_MALFORMED',
    'CERTIFICATE_REFUSED',
    'REQUEST_MALFORMED',
    'REQUEST_MALFORMED',
  ]);
});

it('counts a refusal that another part of interface found in the same way', () => {
  const found = fault('ORIGIN_REFUSED', { place: 'Origin of the page', finding: 'is not ours' });
  reports.take(found, { transport: 'websocket', peer: '192.0.2.1:7' }, '192.0.2.1');
  reports.take(found, { transport: 'websocket', peer: '192.0.2.1:8' }, '192.0.2.1');
  expect(told.map(({ text }) => text)).toEqual(['Origin of the page: is not ours']);
});

it('forgets who has been quiet for a while', async () => {
  reports.strange('no-tls', from('192.0.2.1'));
  expect(reports.size).toBe(1);
  await clock.advance(2 * WINDOW_MS);
  expect([reports.size, told.length]).toEqual([0, 1]);
});

it('holds a flood from more addresses than it has room for to a few entries and a bounded table', async () => {
  for (let host = 0; host < 20_000; host++) {
    reports.strange('no-tls', from(`2001:db8:0:${host.toString(16)}::/64`));
  }
  expect(told.length).toBeLessThanOrEqual(40);
  expect(reports.size).toBeLessThanOrEqual(1_100);
  const atOnce = told.length;
  await clock.advance(60_000);
  expect(told.length - atOnce).toBeLessThanOrEqual(31);
  await clock.advance(3_600_000);
  expect(countOf(told)).toBe(20_000);
  expect(told.find(({ origin }) => origin.peer === 'many addresses')?.text).toMatch(/times within/);
  expect(reports.counts.get('no-tls')).toBe(20_000);
});

it('never tells more than its budgets allow, and in the end everything', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          host: fc.nat(4),
          kind: fc.constantFrom(...STRANGE_KINDS),
          times: fc.integer({ min: 1, max: 30 }),
          pauseMs: fc.nat(8_000),
        }),
        { maxLength: 60 },
      ),
      async (happenings) => {
        const own = new VirtualClock();
        const entries: Told[] = [];
        const under = reportsOf(own, entries);
        let happened = 0;
        for (const { host, kind, times, pauseMs } of happenings) {
          for (let time = 0; time < times; time++) under.strange(kind, from(`192.0.2.${host}`));
          happened += times;
          await own.advance(pauseMs);
          const seconds = own.nowMs() / 1000;
          expect(entries.length).toBeLessThanOrEqual(40 + 0.5 * seconds);
          for (let from = 0; from < 5; from++) {
            const of = entries.filter(({ origin }) => origin.peer === `192.0.2.${from}:1000`);
            expect(of.length).toBeLessThanOrEqual(8 + 0.2 * seconds);
          }
        }
        await own.advance(1_200_000);
        expect([countOf(entries), under.size]).toEqual([happened, 0]);
      },
    ),
    { numRuns: 40 },
  );
});

it('tells nothing after it was closed', async () => {
  reports.strange('no-tls', from('192.0.2.1'));
  reports.strange('no-tls', from('192.0.2.1'));
  reports.close();
  reports.strange('no-http', from('192.0.2.1'));
  await clock.advance(60_000);
  expect(told).toHaveLength(1);
});
