import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  BUCKETS,
  ENTRIES_MAX,
  SIGNS,
  type Sign,
  ThreatWindow,
} from '#tracks/security/threats/threat-window';

interface Happening {
  readonly sign: Sign;
  readonly bucket: number;
  readonly sequence: number;
  readonly devices: readonly number[];
  readonly person: string;
}

const happening: fc.Arbitrary<Happening> = fc.record({
  sign: fc.constantFrom(...SIGNS),
  bucket: fc.integer({ min: 0, max: 2 * BUCKETS }),
  sequence: fc.integer({ min: 1, max: 1_000_000 }),
  devices: fc.uniqueArray(fc.integer({ min: 0, max: 83 }), { maxLength: 3 }),
  person: fc.constantFrom('ann', 'ben', 'cleo'),
});
const happenings = fc.uniqueArray(happening, {
  selector: ({ sequence }) => sequence,
  maxLength: 60,
});

function windowOf(all: readonly Happening[], now: number): ThreatWindow {
  const window = new ThreatWindow();
  for (const one of all) {
    window.add(one.sign, one);
    window.addPerson(one.person, one.bucket);
  }
  window.expire(now);
  return window;
}

const picture = (window: ThreatWindow, now: number) => ({
  counts: SIGNS.map((sign) => window.count(sign)),
  entries: SIGNS.map((sign) => window.entries([sign], now)),
  devices: SIGNS.map((sign) => window.devices(sign, now)),
  people: window.people,
});

it('is the same whatever the order inside one bucket', () => {
  const inOneBucket = happenings.map((all) => all.map((one) => ({ ...one, bucket: 7 })));
  const shuffled = inOneBucket.chain((all) =>
    fc.tuple(
      fc.constant(all),
      fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length }),
    ),
  );
  fc.assert(
    fc.property(shuffled, ([all, other]) => {
      expect(picture(windowOf(other, 9), 9)).toEqual(picture(windowOf(all, 9), 9));
    }),
  );
});

it('counts exactly what is in the window, however late it came', () => {
  fc.assert(
    fc.property(happenings, fc.integer({ min: 0, max: 3 * BUCKETS }), (all, now) => {
      const window = windowOf(all, now);
      const counting = all.filter(({ bucket }) => bucket > now - BUCKETS);
      for (const sign of SIGNS) {
        const expected = counting.filter((one) => one.sign === sign);
        expect(window.count(sign)).toBe(expected.length);
      }
      expect(window.people).toBe(new Set(counting.map(({ person }) => person)).size);
      expect(window.empty).toBe(counting.length === 0);
    }),
  );
});

it('counts an entry in the last bucket of its window, and not in the next', () => {
  const one = { sign: 'refused' as const, bucket: 5, sequence: 1, devices: [3], person: 'ann' };
  const last = 5 + BUCKETS - 1;
  expect(windowOf([one], last).count('refused')).toBe(1);
  expect(windowOf([one], last).devices('refused', last)).toEqual([3]);
  expect(windowOf([one], last + 1).count('refused')).toBe(0);
  expect(windowOf([one], last + 1).devices('refused', last + 1)).toEqual([]);
});

it('names the newest entries and no more of them, the newest last', () => {
  const window = new ThreatWindow();
  for (let sequence = 1; sequence <= 100; sequence++) {
    window.add('refused', { bucket: 1, sequence, devices: [] });
  }
  const entries = window.entries(['refused'], 1);
  expect(entries).toHaveLength(ENTRIES_MAX);
  expect(entries.at(-1)).toBe(100);
  expect(entries[0]).toBe(100 - ENTRIES_MAX + 1);
});

it('keeps no more of a flood than its bounds, whoever and whatever is named', () => {
  const window = new ThreatWindow();
  for (let turn = 0; turn < 50_000; turn++) {
    window.add('beyondRights', { bucket: turn % 15, sequence: turn, devices: [turn] });
    window.addPerson(`person-${turn}`, turn % 15);
  }
  window.expire(14);
  expect(window.count('beyondRights')).toBe(50_000);
  expect(window.people).toBe(64);
  expect(window.devices('beyondRights', 14).length).toBeLessThanOrEqual(256);
});
