// What an attack may send is counted before it leaves: property tests over any order of requests and connections.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { ScenarioPlan } from '#tracks/security/chaos/scenarios';
import { LimitReached, Limits } from '../../../../src/bin/chaos/limits.ts';
import { sourceAddress } from '../../../../src/bin/chaos/run-exercise.ts';

const PLAN: ScenarioPlan = {
  id: 'brute-force',
  summary: 'tries',
  requestsMax: 10,
  connectionsMax: 3,
  devicesMax: 1,
  durationSecondsMax: 60,
  board: 'any',
  further: ['is kind'],
};

type Step = 'spend' | 'open' | 'close';

it('whatever an attack tries, no more leaves than the plan says, and the report agrees', () => {
  const steps = fc.array(fc.constantFrom<Step>('spend', 'open', 'close'), {
    maxLength: 60,
    size: 'max',
  });
  fc.assert(
    fc.property(steps, (tried) => {
      const limits = new Limits(PLAN, () => 0);
      const open: (() => void)[] = [];
      let sent = 0;
      let most = 0;
      for (const step of tried) {
        try {
          if (step === 'spend') {
            limits.spend();
            sent += 1;
          } else if (step === 'open') {
            open.push(limits.open());
            most = Math.max(most, open.length);
          } else open.pop()?.();
        } catch (error) {
          expect(error).toBeInstanceOf(LimitReached);
        }
      }
      expect(sent).toBeLessThanOrEqual(PLAN.requestsMax);
      expect(most).toBeLessThanOrEqual(PLAN.connectionsMax);
      expect(limits.kept).toBe(true);
      expect(limits.sentences().slice(0, 2)).toEqual([
        `${sent} of at most 10 requests`,
        `${most} of at most 3 connections at once`,
      ]);
    }),
  );
});

it('exactly as many requests leave as the plan says', () => {
  const limits = new Limits(PLAN, () => 0);
  for (let sent = 0; sent < 10; sent++) limits.spend();
  expect([limits.left, limits.kept]).toEqual([0, true]);
  expect(() => limits.spend()).toThrow(LimitReached);
  expect(limits.requests).toBe(10);
});

it('a connection that is closed twice makes room for one', () => {
  const limits = new Limits({ ...PLAN, connectionsMax: 1 }, () => 0);
  const close = limits.open();
  close();
  close();
  limits.open();
  expect(() => limits.open()).toThrow(LimitReached);
});

it('nothing is sent after the time, and a longer one or a device too many is no limit kept', () => {
  let nowMs = 0;
  const limits = new Limits(PLAN, () => nowMs);
  nowMs = 60_000;
  expect(() => limits.spend()).toThrow(LimitReached);
  expect(limits.kept).toBe(true);
  nowMs = 60_001;
  expect(limits.kept).toBe(false);
  const other = new Limits(PLAN, () => 0);
  other.devicesChanged = 2;
  expect(other.kept).toBe(false);
});

it('every exercise has thousands of source addresses of the machine itself, each another one', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (id) => {
      const addresses = Array.from({ length: 400 }, (_, index) => sourceAddress(id, index * 9));
      expect(new Set(addresses).size).toBe(addresses.length);
      for (const address of addresses) {
        const bytes = address.split('.').map(Number);
        expect(bytes[0]).toBe(127);
        expect(bytes.every((byte) => byte >= 0 && byte <= 255)).toBe(true);
        // Neither the network, nor a broadcast, nor where others are.
        expect(bytes[1]).toBeGreaterThanOrEqual(100);
        expect(bytes[3]).toBeGreaterThan(0);
        expect(bytes[3]).toBeLessThan(255);
      }
    }),
    { numRuns: 25 },
  );
});
