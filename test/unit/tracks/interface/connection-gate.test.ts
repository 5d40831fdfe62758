// Places at the network doors: counted exactly, bounded for each address, and never all with one crowd of strangers.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConnectionGate } from '#tracks/interface/connection-gate';

interface Guest {
  readonly address: string;
  readonly peer: string;
  readonly leave: () => void;
  proved: boolean;
  cut: boolean;
}

/** A gate and everybody who is inside by its word. */
class House {
  readonly gate: ConnectionGate;
  readonly inside = new Set<Guest>();
  #ports = 0;

  constructor(total: number, perAddress: number) {
    this.gate = new ConnectionGate({ total, perAddress });
  }

  enter(address: string, port = ++this.#ports): Guest | 'address' | 'doors' {
    const peer = `${address}:${port}`;
    const guest: Guest = { address, peer, proved: false, cut: false, leave: () => undefined };
    const cut = (): void => {
      guest.cut = true;
      this.inside.delete(guest);
    };
    const answer = this.gate.ask({ address, peer, cut });
    if (!answer.admitted) return answer.full;
    Object.assign(guest, { leave: answer.leave });
    this.inside.add(guest);
    return guest;
  }

  admit(address: string, port?: number): Guest {
    const guest = this.enter(address, port);
    if (typeof guest === 'string') throw new Error(`refused: ${guest}`);
    return guest;
  }

  prove(guest: Guest): void {
    this.gate.prove(guest.peer);
    guest.proved = true;
  }

  leave(guest: Guest): void {
    guest.leave();
    this.inside.delete(guest);
  }
}

type Step =
  | { readonly kind: 'enter'; readonly address: number }
  | { readonly kind: 'leave' | 'leaveTwice' | 'prove' | 'lateLeave'; readonly which: number };

const entering: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('enter' as const),
  address: fc.nat(5),
});
const leaving: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(...(['leave', 'leaveTwice', 'prove', 'lateLeave'] as const)),
  which: fc.nat(40),
});
const steps = fc.array(
  fc.oneof({ arbitrary: entering, weight: 2 }, { arbitrary: leaving, weight: 1 }),
  {
    maxLength: 120,
  },
);

it('counts exactly who is inside, whatever comes, goes, is cut and goes twice', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 12 }),
      steps,
      (total, perAddress, walk) => {
        const house = new House(total, perAddress);
        const cut: Guest[] = [];
        const check = (): void => {
          const inside = [...house.inside];
          const { known, strangers, addresses } = house.gate.counts;
          expect(house.gate.open).toBe(inside.length);
          expect(known).toBe(inside.filter(({ proved }) => proved).length);
          expect(strangers).toBe(inside.length - known);
          expect(addresses).toBe(new Set(inside.map(({ address }) => address)).size);
          expect(inside.length).toBeLessThanOrEqual(total);
          for (const { address } of inside) {
            const here = inside.filter((guest) => guest.address === address).length;
            expect(house.gate.openOf(address)).toBe(here);
            expect(here).toBeLessThanOrEqual(perAddress);
          }
        };
        for (const step of walk) {
          const before = [...house.inside];
          if (step.kind === 'enter') house.enter(`192.0.2.${step.address}`);
          else {
            const guest = before[step.which % Math.max(1, before.length)];
            const gone = cut[step.which % Math.max(1, cut.length)];
            if (step.kind === 'lateLeave') gone?.leave();
            else if (guest === undefined) continue;
            else if (step.kind === 'prove') house.prove(guest);
            else {
              house.leave(guest);
              if (step.kind === 'leaveTwice') guest.leave();
            }
          }
          for (const guest of before) {
            if (!guest.cut) continue;
            expect(guest.proved).toBe(false);
            cut.push(guest);
          }
          check();
        }
        for (const guest of [...house.inside]) house.leave(guest);
        for (const guest of cut) guest.leave();
        check();
        expect(house.gate.open).toBe(0);
      },
    ),
    { numRuns: 200 },
  );
});

describe('one address', () => {
  it('is refused its next place, and given one again when another is free', () => {
    const house = new House(10, 2);
    const first = house.admit('192.0.2.1');
    house.admit('192.0.2.1');
    expect(house.enter('192.0.2.1')).toBe('address');
    expect(house.gate.counts.refusedForAddress).toBe(1);
    house.admit('192.0.2.2');
    house.leave(first);
    house.admit('192.0.2.1');
  });

  it('that fills every place by itself keeps nobody else out, and is refused itself', () => {
    const house = new House(4, 4);
    const flood = Array.from({ length: 4 }, () => house.admit('192.0.2.1'));
    const operator = house.admit('192.0.2.2');
    expect(flood.map(({ cut }) => cut)).toEqual([true, false, false, false]);
    expect(house.enter('192.0.2.1')).toBe('doors');
    expect([operator.cut, house.gate.counts.displaced]).toEqual([false, 1]);
  });
});

describe('many addresses', () => {
  it('that fill every place give theirs to a newcomer, the oldest first', () => {
    const house = new House(4, 4);
    const crowd = [1, 2, 3, 4].map((host) => house.admit(`192.0.2.${host}`));
    const operator = house.admit('198.51.100.1');
    expect(crowd.map(({ cut }) => cut)).toEqual([true, false, false, false]);
    house.prove(operator);
    for (let host = 0; host < 50; host++) house.enter(`203.0.113.${host}`);
    expect(operator.cut).toBe(false);
  });

  it('that have all proved who they are lose no place to a stranger', () => {
    const house = new House(3, 2);
    const people = [1, 2, 3].map((host) => house.admit(`192.0.2.${host}`));
    for (const person of people) house.prove(person);
    expect(house.enter('198.51.100.1')).toBe('doors');
    expect(people.some(({ cut }) => cut)).toBe(false);
    expect(house.gate.counts).toMatchObject({ known: 3, strangers: 0, refusedForTotal: 1 });
  });
});

it('knows both of two connections that share address and port at two doors', () => {
  const house = new House(2, 2);
  const [https, grpc] = [house.admit('192.0.2.1', 40_000), house.admit('192.0.2.1', 40_000)];
  house.gate.prove(https.peer);
  expect(house.gate.counts.known).toBe(2);
  expect(house.enter('192.0.2.2')).toBe('doors');
  house.leave(grpc);
  expect(house.gate.counts).toMatchObject({ known: 1, strangers: 0 });
});
