// Whatever a board says of a register: its line is one that the safe drive takes, or it is refused before it gets there,
// for one line that is odd would cost all the others.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { safeBusOf } from '#drivers/bus/safe-step';
import type { BusDescription } from '#model/board';
import type { Location } from '#model/bus';
import type { DeviceDescriptor } from '#model/device';
import type { WidthBits } from '#model/register';
import { planHead, planText, safeDrive } from '../../../support/safe-drive.ts';

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'safe-step-'));
  writeFileSync(join(directory, 'window'), Buffer.alloc(0x2000));
  mkdirSync(join(directory, 'sys/class/leds/one'), { recursive: true });
});
afterAll(() => rmSync(directory, { recursive: true }));

const WIDTHS = [8, 16, 32, 64] as const;
const accessTimeoutMs = 100;
const serial = {
  id: 'serial',
  kind: 'serial',
  path: '/dev/none',
  baudRate: 19_200,
  dataBits: 8,
  parity: 'even',
  stopBits: 1,
  accessTimeoutMs,
} as const;

const descriptions = (): readonly BusDescription[] => [
  { id: 'memory', kind: 'memory', path: join(directory, 'window'), origin: 0, accessTimeoutMs },
  { id: 'sysfs', kind: 'sysfs', root: join(directory, 'sys'), accessTimeoutMs },
  { id: 'i2c', kind: 'i2c', adapter: { number: 7 }, accessTimeoutMs },
  serial,
];

const KINDS = { memory: 'memory', sysfs: 'sysfs', i2c: 'i2c', serial: 'modbus' } as const;
const word = (max: number) => fc.oneof(fc.nat({ max }), fc.constantFrom(-1, 0, 1, max, max + 1));
const location: fc.Arbitrary<Location> = fc.oneof(
  fc.record({ kind: fc.constant('memory' as const), address: word(0x2000) }),
  fc.record({
    kind: fc.constant('sysfs' as const),
    directory: fc.constantFrom('path:class/leds/one', 'path:..', 'path:class/none'),
    attribute: fc.constantFrom('brightness', '../x', 'a b', 'x'.repeat(1_100), ''),
  }),
  fc.record({
    kind: fc.constant('i2c' as const),
    chip: word(0x7f),
    command: word(0xff),
    protocol: fc.constantFrom('byte', 'word', 'word-swapped', 'raw'),
  }),
  fc.record({
    kind: fc.constant('modbus' as const),
    unit: word(247),
    table: fc.constantFrom('holding', 'input', 'coil', 'discrete'),
    address: word(0xffff),
  }),
);

describe('the lines of a register', () => {
  it('are taken by the program, or refused before', async () => {
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            location,
            widthBits: fc.constantFrom<WidthBits>(...WIDTHS),
            word: fc.bigInt({ min: -1n, max: 1n << 64n }),
            small: fc.boolean(),
            mask: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
            signed: fc.boolean(),
          }),
          { minLength: 1, maxLength: 60 },
        ),
        async (registers) => {
          const lines = [planHead()];
          const steps: string[] = [];
          for (const [index, description] of descriptions().entries()) {
            const device = {
              id: index,
              busId: description.id,
              window: { address: 0, length: 0x2000 },
            } as unknown as DeviceDescriptor;
            const bus = safeBusOf(description, [device]);
            if (!bus.ok) throw new Error(bus.fault.finding);
            lines.push(`bus ${index} ${bus.value.fields}`);
            const kind = KINDS[description.kind as keyof typeof KINDS];
            for (const one of registers.filter((each) => each.location.kind === kind)) {
              const all = (1n << BigInt(one.widthBits)) - 1n;
              // A register's word, now and then one bit too long for it.
              const chosen =
                one.word < 0n ? one.word : one.word & (one.small ? 1n : (all << 1n) | 1n);
              const { widthBits, signed } = one;
              const cell = {
                device: index,
                place: 'a.b',
                widthBits,
                location: one.location,
                signed,
              };
              const mask = one.mask & all;
              const step = bus.value.step({ cell, word: chosen, mask, expected: chosen & mask });
              if (step.ok) steps.push(`step 800${index} a.b ${index} 100 0 ${step.value}`);
            }
          }
          writeFileSync(join(directory, 'plan'), planText([...lines, 'stage 0', ...steps]), {
            mode: 0o600,
          });
          const drove = await safeDrive(['--check', join(directory, 'plan')]);
          expect([drove.stderr, drove.status]).toEqual(['', 0]);
          taken += steps.length;
        },
      ),
      { numRuns: 60 },
    );
    expect(taken).toBeGreaterThan(0);
  });
});
