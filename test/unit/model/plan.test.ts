// A plan's digest covers everything that reaches metal, and nothing else.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OperationType } from '#model/operation';
import { devicesOf, planDigest, planOf, type RegisterStep, writesOf } from '#model/plan';
import { writeStep } from '../../support/kernel-bench.ts';

const WRITE = writeStep(1, 'DATA', 5n, { settleUs: 10, expect: { mask: 0xffn, value: 5n } });
const READ: RegisterStep = { kind: 'read', device: 1, register: 'DATA', widthBits: 32 };
const digestOf = (...steps: readonly RegisterStep[]) => planDigest(OperationType.WRITE, steps);

describe('a plan digest', () => {
  it.each([
    ['device', { ...WRITE, device: 2 }],
    ['register', { ...WRITE, register: 'CONFIG' }],
    ['width', { ...WRITE, widthBits: 64 }],
    ['mask', { ...WRITE, mask: 0xfn }],
    ['value', { ...WRITE, value: 6n }],
    ['settle time', { ...WRITE, settleUs: 11 }],
    ['expected bits', { ...WRITE, expect: { mask: 0xfn, value: 5n } }],
    ['expected value', { ...WRITE, expect: { mask: 0xffn, value: 4n } }],
    ['absence of an expectation', { ...WRITE, expect: null }],
    ['reversibility', { ...WRITE, irreversible: true }],
    ['kind', READ],
  ] as const)('changes with the %s of a step', (_, changed) => {
    expect(digestOf(changed)).not.toBe(digestOf(WRITE));
  });

  it('changes with device, register and width of a read', () => {
    const variants = [{ device: 2 }, { register: 'X' }, { widthBits: 8 as const }];
    const digests = variants.map((change) => digestOf({ ...READ, ...change }));
    expect(new Set([...digests, digestOf(READ)]).size).toBe(4);
  });

  it('changes with the type, the order and the number of steps', () => {
    const other = writeStep(1, 'CONFIG', 1n);
    const digests = [
      planDigest(OperationType.CONFIG, [WRITE, other]),
      digestOf(WRITE, other),
      digestOf(other, WRITE),
      digestOf(WRITE),
      digestOf(WRITE, WRITE),
      digestOf(),
    ];
    expect(new Set(digests).size).toBe(digests.length);
  });

  it('does not change with the time bound, the order of members or anything beside the plan', () => {
    const reordered = Object.fromEntries(Object.entries(WRITE).reverse()) as typeof WRITE;
    const decorated = { ...WRITE, remark: 'for people' };
    expect(digestOf(reordered)).toBe(digestOf(WRITE));
    expect(digestOf(decorated)).toBe(digestOf(WRITE));
    expect(planOf(OperationType.WRITE, [WRITE], 1).digest).toBe(
      planOf(OperationType.WRITE, [WRITE], 9_999).digest,
    );
  });

  it('is equal for equal plans and different for different ones', () => {
    const word = fc.bigInt({ min: 0n, max: 0xffff_ffffn });
    const step = fc
      .record({ device: fc.nat(83), register: fc.string(), value: word })
      .map(({ device, register, value }) => writeStep(device, register, value));
    const steps = fc.array(step, { maxLength: 4 });
    const text = (list: readonly RegisterStep[]) =>
      JSON.stringify(list, (_, value) => (typeof value === 'bigint' ? `${value}n` : value));
    fc.assert(
      fc.property(steps, steps, (left, right) => {
        expect(digestOf(...left) === digestOf(...right)).toBe(text(left) === text(right));
      }),
    );
  });
});

describe('a plan', () => {
  it('names each device once, and its writes without its reads', () => {
    const plan = planOf(OperationType.WRITE, [WRITE, READ, { ...WRITE, device: 7 }], 1);
    expect(devicesOf(plan)).toEqual([1, 7]);
    expect(writesOf(plan)).toHaveLength(2);
  });
});
