// Who was told which risk: by person and plan, the last telling, and never without a bound.

import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '#foundation/clock';
import { RiskLevel } from '#model/risk';
import { Disclosures } from '#orchestrator/disclosures';

const { LOW, MODERATE, HIGH } = RiskLevel;
let clock: VirtualClock;
let disclosures: Disclosures;

beforeEach(() => {
  clock = new VirtualClock();
  disclosures = new Disclosures(clock);
});

describe('a disclosure', () => {
  it('is of one plan to one person, and ages', async () => {
    disclosures.tell('alice', 'plan-1', HIGH);
    await clock.advance(1_500);
    expect(disclosures.of('alice', 'plan-1')).toEqual({ risk: HIGH, ageMs: 1_500 });
    expect(disclosures.of('alice', 'plan-2')).toBeUndefined();
    expect(disclosures.of('bob', 'plan-1')).toBeUndefined();
  });

  it('is replaced by a later one, also of a lower risk: the person remembers the last', async () => {
    disclosures.tell('alice', 'plan-1', HIGH);
    await clock.advance(10);
    disclosures.tell('alice', 'plan-1', LOW);
    expect(disclosures.of('alice', 'plan-1')).toEqual({ risk: LOW, ageMs: 0 });
  });

  it('gives way after sixty-four newer ones to the same person, and to nobody else', () => {
    disclosures.tell('bob', 'plan-0', MODERATE);
    for (let count = 0; count <= 64; count++) disclosures.tell('alice', `plan-${count}`, MODERATE);
    expect(disclosures.of('alice', 'plan-0')).toBeUndefined();
    expect(disclosures.of('alice', 'plan-1')).toBeDefined();
    expect(disclosures.of('bob', 'plan-0')).toBeDefined();
  });

  it('to the person told longest ago gives way after two hundred and fifty-six people', () => {
    disclosures.tell('alice', 'plan', HIGH);
    disclosures.tell('bob', 'plan', HIGH);
    disclosures.tell('alice', 'other plan', HIGH);
    for (let count = 0; count < 255; count++) disclosures.tell(`person-${count}`, 'plan', HIGH);
    expect(disclosures.of('alice', 'plan')).toBeDefined();
    expect(disclosures.of('bob', 'plan')).toBeUndefined();
  });

  it('is never said to have been made to somebody who was not told exactly that', () => {
    const person = fc.constantFrom('alice', 'bob', 'carol');
    const plan = fc.constantFrom('plan-1', 'plan-2', 'plan-3');
    const risk = fc.constantFrom(LOW, MODERATE, HIGH);
    fc.assert(
      fc.property(fc.array(fc.tuple(person, plan, risk), { maxLength: 60 }), (tellings) => {
        const told = new Disclosures(clock);
        const last = new Map<string, RiskLevel>();
        for (const [who, what, how] of tellings) {
          told.tell(who, what, how);
          last.set(`${who} ${what}`, how);
        }
        for (const who of ['alice', 'bob', 'carol', 'dave'])
          for (const what of ['plan-1', 'plan-2', 'plan-3'])
            expect(told.of(who, what)?.risk).toBe(last.get(`${who} ${what}`));
      }),
    );
  });
});
