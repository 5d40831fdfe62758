// What the simulation takes for a permitted write, and what not.

import { beforeEach, describe, expect, it } from 'vitest';
import { SimulatedHardware } from '#drivers/bus/simulated/hardware';
import { VirtualClock } from '#foundation/clock';
import { OperationType } from '#model/operation';
import { planOf, type WriteStep } from '#model/plan';
import { type Handed, Ledger, type OperationTrack } from './ledger.ts';
import { benchBoard } from './simulation.ts';

const VALVE = 0;
const MASK = 0xffff_ffffn;
const AUTHORIZATION = {
  operationId: 'op',
  basis: '',
  grantedTo: ['alice'],
  expiresAtMs: 1_000,
  keyId: '0123456789abcdef',
  signature: 'signed',
};

function step(register: string, value: bigint): WriteStep {
  return {
    kind: 'write',
    device: VALVE,
    register,
    widthBits: 32,
    mask: MASK,
    value,
    settleUs: 0,
    expect: { mask: MASK, value },
    irreversible: false,
  };
}

const plan = planOf(OperationType.WRITE, [step('CONFIG', 5n), step('DATA', 6n)], 100);
const authorization = { ...AUTHORIZATION, planDigest: plan.digest };

let ledger: Ledger;
let operation: OperationTrack;
beforeEach(() => {
  const clock = new VirtualClock();
  ledger = new Ledger(new SimulatedHardware({ board: benchBoard(), clock, seed: 1 }));
  expect(ledger.planned(plan)).toBeNull();
  const prepared = ledger.preparing('op', plan.digest, 0);
  if (prepared === null) throw new Error('the plan is not known');
  operation = prepared;
});

function handed(register: string, word: bigint, changes: Partial<Handed> = {}): Handed {
  const place = { device: VALVE, register, word, before: 1n, atMs: 10, stopped: false };
  return { ...place, operation, ...changes };
}

describe('a write', () => {
  it('is explained by the next step of a plan that security signed, once', () => {
    ledger.granted(authorization);
    expect(ledger.opens(operation, 'commit', authorization, 10)).toBeNull();
    expect(ledger.explain(handed('DATA', 6n))).toBeNull();
    expect(ledger.explain(handed('CONFIG', 5n))).toBe('forward');
    expect(ledger.explain(handed('CONFIG', 5n))).toBeNull();
    expect(ledger.explain(handed('DATA', 6n))).toBe('forward');
  });

  it.each([
    ['nobody signed for', false, 10],
    ['was signed for a time that is over', true, 1_000],
  ])('of a plan that %s is explained by nothing', (_, signed, atMs) => {
    if (signed) ledger.granted(authorization);
    expect(ledger.opens(operation, 'commit', authorization, atMs)).not.toBeNull();
    expect(ledger.explain(handed('CONFIG', 5n))).toBeNull();
    expect(ledger.explain(handed('CONTROL', 0n))).toBe('safe');
  });

  it('of what stood before is a rollback, and of anything else is not', () => {
    ledger.granted(authorization);
    ledger.opens(operation, 'commit', authorization, 10);
    ledger.explain(handed('CONFIG', 5n));
    expect(ledger.explain(handed('CONFIG', 2n))).toBeNull();
    expect(ledger.explain(handed('CONFIG', 1n))).toBe('undo');
  });

  it('to a stopped device is a safe value or nothing', () => {
    ledger.granted(authorization);
    ledger.opens(operation, 'commit', authorization, 10);
    expect(ledger.explain(handed('CONFIG', 5n, { stopped: true }))).toBeNull();
    expect(ledger.explain(handed('CONTROL', 0n, { stopped: true }))).toBe('safe');
  });
});
