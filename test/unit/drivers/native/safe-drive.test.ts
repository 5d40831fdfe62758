// The program itself: what it refuses, what it does on plain files and a pseudo-terminal, and that no bytes make it crash.

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openPseudoTerminal, type PseudoTerminal } from '#drivers/native/host';
import { REPOSITORY } from '../../../support/agent.ts';
import { PLAN_REFUSED, planText, safeDrive } from '../../../support/safe-drive.ts';

const HEAD = `dsmil-safe-drive 1 ${'a'.repeat(64)}`;
const WINDOW_BYTES = 0x2000;

let directory: string;
let plan: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drive-'));
  plan = join(directory, 'plan');
  writeFileSync(join(directory, 'window'), Buffer.alloc(WINDOW_BYTES, 0xff));
  mkdirSync(join(directory, 'sys'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const bus = {
  window: (index: number) => `bus ${index} window 0 ${directory}/window`,
  sysfs: (index: number) => `bus ${index} sysfs ${directory}/sys`,
};
const windowStep = (position: number, width = 32, token = '8000') => {
  const zeros = '0'.repeat(width / 4);
  const ones = 'f'.repeat(width / 4);
  return `step ${token} a.b 0 100 0 - ${position} ${width} ${zeros} ${ones} ${zeros}`;
};

function written(lines: readonly string[]): string {
  writeFileSync(plan, planText(lines), { mode: 0o600 });
  return plan;
}

const words = () => readFileSync(join(directory, 'window'));
const untouched = () => words().every((byte) => byte === 0xff);

describe('a right plan', () => {
  it('writes windows at their exact width, and nothing beside them', async () => {
    const lines = [
      ...[HEAD, bus.window(0), 'stage 0', windowStep(0x10, 8), windowStep(0x20, 16)],
      ...['stage 1', windowStep(0x1030), windowStep(0x40, 64)],
    ];
    const drove = await safeDrive([written(lines)]);
    expect([drove.status, drove.stderr]).toEqual([
      0,
      '0x8000 safe (4 values)\ndsmil-safe-drive: 0 devices not known to be safe\n',
    ]);
    const wanted = Buffer.alloc(WINDOW_BYTES, 0xff);
    wanted.fill(0, 0x10, 0x11).fill(0, 0x20, 0x22).fill(0, 0x40, 0x48).fill(0, 0x1030, 0x1034);
    expect(words().equals(wanted)).toBe(true);
  });

  it('writes sysfs attributes as their driver wants them, and keeps the level of a line', async () => {
    const attribute = (name: string, text: string) =>
      writeFileSync(join(directory, 'sys', name), text);
    const step = (name: string, form: string, text: string, width: number, word: string) =>
      `step 8006 a.${name} 0 100 0 ${width} ${word} ${'f'.repeat(width / 4)} ${word} ${form} ${text} ${directory}/sys/${name}`;
    attribute('pwm1', '12\n');
    attribute('offset', '5\n');
    attribute('mode', 'enabled\n');
    attribute('direction', 'in\n');
    attribute('value', '1\n');
    const drove = await safeDrive([
      written([
        ...[HEAD, bus.sysfs(0), 'stage 0'],
        ...[step('pwm1', 'number', '255', 8, 'ff'), step('offset', 'number', '-5', 16, 'fffb')],
        ...[
          step('mode', 'word', 'disabled', 8, '00'),
          step('direction', 'direction', 'out', 8, '01'),
        ],
      ]),
    ]);
    const shown = (name: string) =>
      readFileSync(join(directory, 'sys', name), 'utf8').split('\n')[0];
    expect(['pwm1', 'offset', 'mode'].map(shown)).toEqual(['255', '-5', 'disabled']);
    // A plain file shows what was written; a GPIO line shows `out`.
    expect(shown('direction')).toBe('high');
    expect(drove.stderr).toContain(
      '0x8006 NOT KNOWN TO BE SAFE: a.direction: wrote out, read back high',
    );
  });

  it('says how many devices are not known to be safe, and why', async () => {
    const drove = await safeDrive([
      written([
        ...[HEAD, bus.window(0), `bus 1 window 0 ${directory}/gone`, 'stage 0'],
        ...[windowStep(0x10), windowStep(WINDOW_BYTES, 32, '8001')],
        'step 8002 c.d 1 100 0 - 0 32 00000000 ffffffff 00000000',
        'absent 8003 e.f there-is-no-such-bus',
      ]),
    ]);
    expect(drove.status).toBe(3);
    expect(drove.stderr.split('\n').slice(0, -1)).toEqual([
      '0x8000 safe (1 values)',
      '0x8001 NOT KNOWN TO BE SAFE: a.b: the window ends before the register: No such device or address',
      '0x8002 NOT KNOWN TO BE SAFE: c.d: the window cannot be opened: No such file or directory',
      '0x8003 NOT KNOWN TO BE SAFE: e.f: there-is-no-such-bus',
      'dsmil-safe-drive: 3 devices not known to be safe',
    ]);
    expect(words().length).toBe(WINDOW_BYTES);
  });

  it('survives a window that is cut off under its mapping', async () => {
    // A whole page is mapped; the register behind the end of the file raises SIGBUS.
    writeFileSync(join(directory, 'window'), Buffer.alloc(0x1000, 0xff));
    const lines = [HEAD, bus.window(0), 'stage 0'];
    lines.push(
      'step 8000 a.b 0 100 0 0 8192 32 00000000 ffffffff 00000000',
      windowStep(0x10, 32, '8001'),
    );
    const drove = await safeDrive([written(lines)]);
    expect([drove.status, drove.signal]).toEqual([1, null]);
    expect(drove.stderr).toContain(
      '0x8000 NOT KNOWN TO BE SAFE: a.b: the window raised a bus error',
    );
    expect(drove.stderr).toContain('0x8001 safe');
  });
});

describe('a serial line', () => {
  /** Unit 1, coil 2 off; its answer repeats it (Modbus Application Protocol 1.1b3 section 6.5). */
  const FRAME = '0105000200006c0a';
  let terminal: PseudoTerminal;

  beforeEach(() => {
    const opened = openPseudoTerminal();
    if (!opened.ok) throw new Error(opened.fault.finding);
    terminal = opened.value;
  });

  const lines = (timeoutMs: number) => [
    ...[HEAD, `bus 0 serial 115200 8 n 1 ${terminal.path}`, bus.window(1), 'stage 0'],
    `step 8010 pump.run 0 ${timeoutMs} 0 ${FRAME} ${FRAME}`,
    'step 8000 a.b 1 100 0 - 16 32 00000000 ffffffff 00000000',
  ];

  async function heard(): Promise<string> {
    let text = '';
    const bytes = Buffer.alloc(64);
    while (text.length < FRAME.length) {
      try {
        text += bytes.toString('hex', 0, readSync(terminal.fd, bytes));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
    return text;
  }

  it('is safe once the unit answered with every byte', async () => {
    const driving = safeDrive([written(lines(2_000))]);
    expect(await heard()).toBe(FRAME);
    writeSync(terminal.fd, Buffer.from(`00${FRAME}`, 'hex'));
    expect(await driving).toMatchObject({ status: 0 });
  });

  it('is not when the unit refuses', async () => {
    const driving = safeDrive([written(lines(200))]);
    for (let turn = 0; turn < 2; turn++) {
      expect(await heard()).toBe(FRAME);
      writeSync(terminal.fd, Buffer.from('0185040000', 'hex'));
    }
    const drove = await driving;
    expect(drove.status).toBe(1);
    expect(drove.stderr).toContain(
      '0x8010 NOT KNOWN TO BE SAFE: pump.run: the unit refused with exception 4',
    );
  });

  it('that stays silent keeps nobody waiting beyond its time, and the others are safe', async () => {
    const drove = await safeDrive([written(lines(150))]);
    expect(drove.status).toBe(1);
    expect(drove.stderr).toContain('0x8010 NOT KNOWN TO BE SAFE: pump.run: no answer');
    expect(drove.stderr).toContain('0x8000 safe');
    expect(drove.ms).toBeGreaterThan(290);
  });
});

describe('an odd plan', () => {
  async function refused(path: string): Promise<string> {
    const drove = await safeDrive([path]);
    expect([drove.status, drove.signal]).toEqual([PLAN_REFUSED, null]);
    expect(drove.stderr).toMatch(/; no device was touched\n$/);
    expect(untouched()).toBe(true);
    return drove.stderr;
  }
  const right = () => [HEAD, bus.window(0), 'stage 0', windowStep(0x10), windowStep(0x20)];

  it.each<[string, (lines: string[]) => string[], string]>([
    [
      'another version',
      ([, ...rest]) => ['dsmil-safe-drive 2 x', ...rest],
      'not a plan of version 1',
    ],
    ['an unknown line', (lines) => [...lines, 'print hello'], 'no such line'],
    [
      'a step before a stage',
      ([head = '', one = '', , ...rest]) => [head, one, ...rest],
      'a step before the first stage',
    ],
    [
      'a bus that is not there',
      (lines) => lines.map((line) => line.replace('a.b 0 ', 'a.b 1 ')),
      'no such bus',
    ],
    [
      'two spaces',
      (lines) => lines.map((line) => line.replace('stage 0', 'stage  0')),
      'an empty field',
    ],
    [
      'a leading zero',
      (lines) => lines.map((line) => line.replace('- 16 ', '- 016 ')),
      'no window step',
    ],
    [
      'a register off its boundary',
      (lines) => lines.map((line) => line.replace('- 16 ', '- 18 ')),
      'boundary of its width',
    ],
    [
      'an odd width',
      (lines) => lines.map((line) => line.replace(' 32 ', ' 24 ')),
      'no window step',
    ],
    [
      'a value that is too wide',
      (lines) => lines.map((line) => line.replace('00000000 f', '000000000 f')),
      'no window step',
    ],
    [
      'an expectation outside its mask',
      (lines) => lines.map((line) => line.replace('ffffffff 00000000', '0000000f 000000f0')),
      'no window step',
    ],
    [
      'a position beyond all files',
      (lines) => lines.map((line) => line.replace('- 16 ', '- 18446744073709551615 ')),
      'no window step',
    ],
    [
      'no time-out',
      (lines) => lines.map((line) => line.replace('0 100 0', '0 0 0')),
      'no time-out',
    ],
    [
      'a time-out of an hour',
      (lines) => lines.map((line) => line.replace('0 100 0', '0 3600000 0')),
      'no time-out',
    ],
    [
      'a relative path',
      (lines) => lines.map((line) => line.replace('window 0 /', 'window 0 ')),
      'no absolute path',
    ],
    [
      'a path that leads up',
      (lines) => lines.map((line) => line.replace('/window', '/../window')),
      'no absolute path',
    ],
    [
      'a permanently quarantined device',
      (lines) => lines.map((line) => line.replace('8000', '8009')),
      'not a device to be driven',
    ],
    [
      'another permanently quarantined device',
      (lines) => lines.map((line) => line.replace('8000', '8029')),
      'not a device to be driven',
    ],
    [
      'a device that no board has',
      (lines) => lines.map((line) => line.replace('8000', '800c')),
      'not a device to be driven',
    ],
    [
      'a byte that is no character',
      (lines) => lines.map((line) => line.replace('a.b', 'a\u0001b')),
      'no business in a plan',
    ],
  ])('with %s is refused as a whole', async (_what, spoil, finding) => {
    expect(await refused(written(spoil(right())))).toContain(finding);
  });

  it('with an attribute outside its tree, a broadcast or a reserved chip is refused', async () => {
    const sysfs = `step 8000 a.b 0 100 0 8 00 ff 00 number 0 ${directory}/window`;
    expect(await refused(written([HEAD, bus.sysfs(0), 'stage 0', sysfs]))).toContain(
      'outside the root',
    );
    const serial = `bus 0 serial 9600 8 n 1 ${directory}/window`;
    const frame = '0005000200006c0a';
    const step = `step 8000 a.b 0 100 0 ${frame} ${frame}`;
    expect(await refused(written([HEAD, serial, 'stage 0', step]))).toContain('to one unit');
    const chip = 'step 8000 a.b 0 100 0 00 0000';
    const i2c = `bus 0 i2c ${directory}/window`;
    expect(await refused(written([HEAD, i2c, 'stage 0', chip]))).toContain(
      'a reserved chip address',
    );
  });

  it('that was cut short or changed anywhere is refused', async () => {
    const text = planText(right());
    for (const length of [0, 1, 40, text.length - 12, text.length - 1]) {
      writeFileSync(plan, text.slice(0, length), { mode: 0o600 });
      await refused(plan);
    }
    writeFileSync(plan, text.replace('00000000 ffffffff', '00000001 ffffffff'), { mode: 0o600 });
    expect(await refused(plan)).toContain('the checksum is wrong');
  });

  it("that others may write, that is a link or not there, or that is somebody else's, is refused", async () => {
    written(right());
    chmodSync(plan, 0o620);
    expect(await refused(plan)).toContain('others may write it');
    chmodSync(plan, 0o600);
    symlinkSync(plan, join(directory, 'linked'));
    await refused(join(directory, 'linked'));
    expect(await refused(join(directory, 'nowhere'))).toContain('No such file or directory');
    await refused(directory);
    if (process.getuid?.() !== 0) return;
    chownSync(plan, 61_001, 61_001);
    expect(await refused(plan)).toContain('it belongs to another user');
  });

  it('is no plan at all: the program says how it is called', async () => {
    expect((await safeDrive([])).status).toBe(255);
    expect((await safeDrive(['--check', plan, plan])).status).toBe(255);
  });
});

describe('any bytes', () => {
  let scratch: string;
  let program: string;

  // The same sources, watched for every byte read or written where none belongs.
  beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), 'drive-fuzz-'));
    program = join(scratch, 'watched');
    const folder = join(REPOSITORY, 'drivers/native/safe-drive');
    const sources = readdirSync(folder).filter((name) => name.endsWith('.c'));
    execFileSync('cc', [
      ...['-std=c11', '-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'],
      ...sources.map((name) => join(folder, name)),
      ...['-o', program],
    ]);
  }, 60_000);
  afterAll(() => rmSync(scratch, { recursive: true }));

  async function endures(content: Buffer | string): Promise<number | null> {
    writeFileSync(plan, content, { mode: 0o600 });
    const drove = await safeDrive(['--check', plan], program);
    expect([
      drove.signal,
      drove.stderr.includes('Sanitizer') || drove.stderr.includes('runtime error'),
    ]).toEqual([null, false]);
    return drove.status;
  }

  it('are refused without a crash', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => {
        expect(await endures(Buffer.from(bytes))).toBe(PLAN_REFUSED);
      }),
      { numRuns: 60 },
    );
  });

  it('in lines that are confirmed by the last one are taken or refused without a crash', async () => {
    const token = fc.oneof(
      fc.constantFrom(
        'bus',
        'step',
        'absent',
        'stage',
        'end',
        'window',
        'sysfs',
        'i2c',
        'serial',
        'i2c-socket',
      ),
      fc.constantFrom(
        '0',
        '1',
        '-',
        '8',
        '32',
        '64',
        '100',
        'n',
        'number',
        '8000',
        '00000000',
        'ffffffff',
        '/a/b',
        '/a',
      ),
      fc.stringMatching(/^[!-~]{1,12}$/),
      fc.nat().map(String),
      fc.bigInt({ min: 0n, max: 2n ** 70n }).map((value) => value.toString(16)),
    );
    const line = fc.array(token, { minLength: 1, maxLength: 16 }).map((parts) => parts.join(' '));
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 8 }), async (lines) => {
        expect([0, PLAN_REFUSED]).toContain(await endures(planText([HEAD, ...lines])));
      }),
      { numRuns: 120 },
    );
  });

  it('in place of one field of a right plan are taken or refused without a crash', async () => {
    const right = [
      ...[
        HEAD,
        `bus 0 window 1 /dev/none`,
        'bus 1 sysfs /none',
        'bus 2 i2c /dev/i2c-99',
        'bus 3 serial 9600 8 e 1 /dev/none',
      ],
      'stage 0',
      'step 8000 a.b 0 100 5 4096 4100 32 00000000 ffffffff 00000000',
      'step 8001 a.b 1 100 0 8 ff ff ff number 255 /none/pwm1',
      'step 8002 a.b 2 100 0 20 0001',
      'step 8003 a.b 3 100 0 0105000200006c0a 0105000200006c0a',
      'absent 8004 a.b gone',
    ];
    expect(await endures(planText(right))).toBe(0);
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: right.length - 1 }),
        fc.nat({ max: 12 }),
        fc.oneof(
          fc.stringMatching(/^[!-~]{0,90}$/),
          fc.nat().map(String),
          fc.constantFrom('-1', '', '0x0', '99999999999999999999999'),
        ),
        async (at, field, text) => {
          const parts = (right[at] ?? '').split(' ');
          parts[field % parts.length] = text;
          const spoiled = right.map((line, index) => (index === at ? parts.join(' ') : line));
          expect([0, PLAN_REFUSED]).toContain(await endures(planText(spoiled)));
        },
      ),
      { numRuns: 120 },
    );
  });

  it('is driven by the watched program as by the other', async () => {
    const lines = [HEAD, bus.window(0), 'stage 0', windowStep(0x10), windowStep(0x20, 64)];
    const drove = await safeDrive([written(lines)], program);
    expect([drove.status, drove.stderr]).toEqual([
      0,
      '0x8000 safe (2 values)\ndsmil-safe-drive: 0 devices not known to be safe\n',
    ]);
  });
});
