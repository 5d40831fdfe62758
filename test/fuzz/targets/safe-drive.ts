// Plans of the safe drive, damaged, before its own reader in C under AddressSanitizer and UndefinedBehaviorSanitizer. What is
// taken is looked at again by the reader itself; what is damaged and whose check no longer fits must be refused.

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { canWatch, compileWatched, planText } from '../../support/safe-drive.ts';
import { damageBytes } from '../byte-mutators.ts';
import type { FuzzBench, FuzzTarget } from '../fuzz.ts';
import type { FuzzRandom } from '../random.ts';
import type { Complaint } from '../verdict.ts';

/** Of no machine: the reader takes any. */
const HEAD = `dsmil-safe-drive 2 ${'a'.repeat(64)} 00000000-0000-4000-8000-000000000000`;
const PLANS: readonly (readonly string[])[] = [
  [HEAD],
  [
    HEAD,
    'bus 0 window 1 /dev/none',
    'bus 1 sysfs /none',
    'bus 2 i2c /dev/i2c-99',
    'bus 3 serial 9600 8 e 1 /dev/none',
    'bus 4 i2c-socket /none/i2c.sock',
    'stage 0',
    'step 8000 a.b 0 100 5 4096 4100 32 00000000 ffffffff 00000000',
    'step 8001 a.b 1 100 0 8 ff ff ff number 255 /none/pwm1',
    'step 8001 a.c 1 100 0 8 01 ff 01 direction out /none/gpio7/direction',
    'step 8002 a.b 2 100 0 20 00 byte 8 01 ff 01',
    'step 8002 a.c 2 100 0 20 05 word-swapped 16 0102 0f0f 0102',
    'stage 1',
    'step 8003 a.b 3 100 0 1 coil 2 8 00 01 00',
    'step 8003 a.c 3 5000 5000 247 holding 65532 64 0102030405060708 ffffffffffffffff 0102030405060708',
    'step 8010 a.b 4 100 0 77 ff raw 32 01020304 00000000 00000000',
    'absent 8004 a.b gone',
  ],
  [
    HEAD,
    'bus 0 window 0 /sys/bus/pci/devices/0000:00:04.0/resource2',
    ...Array.from({ length: 40 }, (_, stage) => [
      `stage ${stage}`,
      `step 80${Math.floor(stage / 10)}${stage % 10 === 9 ? 'b' : stage % 10} a.r 0 50 0 - ${stage * 8} 64 ${'0'.repeat(16)} ${'f'.repeat(16)} ${'0'.repeat(16)}`,
    ]).flat(),
  ].filter((line) => !/ (8009|800b|801b|802b) /.test(line)),
];
const DICTIONARY = [
  ...['bus ', 'stage ', 'step ', 'absent ', 'end ', 'window', 'sysfs', 'i2c', 'i2c-socket'],
  ...['serial', 'byte', 'word', 'word-swapped', 'raw', 'holding', 'coil', 'number', 'direction'],
  ...['8009', '800a', '8029', '800c', '8070', '-', '-1', '0', '00', '1', '8', '64', '128', '129'],
  ...['4096', '16384', '65535', '65536', '9223372036854775807', '18446744073709551615', '/'],
  ...['/..', '/../', '//', ' ', '  ', '\n', '\n\n', '\r\n', '\0', '\t'],
];

const check = (text: string): string => {
  const last = text.lastIndexOf('\n', text.length - 2);
  const lines = text.slice(0, Math.max(0, last)).split('\n');
  return planText(lines);
};

/** Whole lines in another order, twice, or gone; and one field in place of another. */
function damageLines(text: string, random: FuzzRandom): string {
  const lines = text.split('\n');
  for (let left = 1 + random.below(3); left > 0; left--) {
    const at = random.below(lines.length);
    const other = random.below(lines.length);
    const line = lines[at] ?? '';
    switch (random.below(4)) {
      case 0:
        lines.splice(at, 1);
        break;
      case 1:
        lines.splice(other, 0, line);
        break;
      case 2: {
        // Far more of one kind than any machine has.
        const many = Array.from({ length: 1 + random.below(200) }, () => line);
        lines.splice(other, 0, ...many);
        break;
      }
      default: {
        const fields = line.split(' ');
        const from = (lines[other] ?? '').split(' ');
        fields[random.below(fields.length)] = random.once(2)
          ? random.pick(DICTIONARY)
          : (from[random.below(from.length)] ?? '');
        lines[at] = fields.join(' ');
      }
    }
  }
  return lines.join('\n');
}

/** The reader's process, started again after an end. */
class Reader {
  readonly #program: string;
  #child: ChildProcessByStdio<Writable, Readable, Readable> | undefined;
  #errors = '';
  #heard: (line: string | null) => void = () => {};
  #rest = '';

  constructor(program: string) {
    this.#program = program;
  }

  /** What it says of the plan, or null when it ended instead. */
  ask(plan: Buffer): Promise<string | null> {
    const child = this.#child ?? this.#start();
    const length = Buffer.alloc(4);
    length.writeUInt32LE(plan.length);
    return new Promise((resolve) => {
      this.#heard = resolve;
      child.stdin.write(Buffer.concat([length, plan]));
    });
  }

  lastWords(): string {
    return this.#errors.slice(0, 4_000);
  }

  async close(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.stdin.end();
    await ended;
  }

  #start() {
    const child = spawn(this.#program, [], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    this.#errors = '';
    this.#rest = '';
    child.stdin.on('error', () => {});
    child.stderr.on('data', (part: Buffer) => {
      this.#errors += part;
    });
    child.stdout.on('data', (part: Buffer) => {
      const lines = (this.#rest + part).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) this.#heard(line);
    });
    child.once('close', () => {
      this.#child = undefined;
      this.#heard(null);
    });
    return child;
  }
}

async function judge(reader: Reader, input: Buffer): Promise<Complaint> {
  const said = await reader.ask(input);
  if (said === null) return `the reader ended: ${reader.lastWords()}`;
  if (said === 'taken') {
    const text = input.toString('latin1');
    return check(text) === text ? null : 'a plan was taken whose last line does not confirm it';
  }
  return /^refused [a-z0-9I][ a-zA-Z0-9-]+$/.test(said) ? null : `the reader said ${said}`;
}

const target: FuzzTarget = {
  name: 'safe-drive-plan',
  runs: 1_500,
  open: async (): Promise<FuzzBench> => {
    const directory = mkdtempSync(join(tmpdir(), 'fuzz-plan-'));
    const program = join(directory, 'reader');
    if (!compileWatched('reader', program)) throw new Error('the reader was not compiled');
    const reader = new Reader(program);
    const corpus = PLANS.map((lines) => Buffer.from(planText(lines)));
    for (const plan of corpus) {
      if ((await reader.ask(plan)) !== 'taken') throw new Error('a right plan was refused');
    }
    return {
      corpus,
      mutate: (input, random) => {
        if (random.once(2)) {
          const damaged = damageLines(input.toString('latin1'), random);
          return Buffer.from(random.once(8) ? damaged : check(damaged), 'latin1');
        }
        const damaged = damageBytes(input, { random, corpus, dictionary: DICTIONARY });
        return random.once(3) ? damaged : Buffer.from(check(damaged.toString('latin1')), 'latin1');
      },
      check: (input) => judge(reader, input),
      close: async () => {
        await reader.close();
        rmSync(directory, { recursive: true });
      },
    };
  },
};

/** None on a machine without a compiler that has the sanitizers. */
export const safeDrivePlan: readonly FuzzTarget[] = canWatch() ? [target] : [];
