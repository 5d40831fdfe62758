import { assert, property, string } from 'fast-check';
import { expect, test } from 'vitest';
import { nearestName, quoted } from '#foundation/nearest';

const NAMES = ['CONTROL', 'STATUS', 'duty', 'speed'];

test('a typing error finds the name that was meant', () => {
  expect(nearestName('dutty', NAMES)).toBe('duty');
  expect(nearestName('CONTORL', NAMES)).toBe('CONTROL');
  expect(nearestName('status', NAMES)).toBe('STATUS');
  expect(nearestName('spede', NAMES)).toBe('speed');
});

test('a name unlike all of them finds none', () => {
  expect(nearestName('temperature', NAMES)).toBeUndefined();
  expect(nearestName('', NAMES)).toBeUndefined();
  expect(nearestName('x'.repeat(1_000_000), NAMES)).toBeUndefined();
});

test('what a stranger sent is always shown short and printable', () => {
  assert(
    property(string({ unit: 'binary', maxLength: 200 }), (text) => {
      const shown = quoted(text);
      expect(shown).toMatch(/^"[\x20-\x7e]*"$/);
      expect(shown.length).toBeLessThan(300);
    }),
  );
});
