// The program itself: what it refuses, and what it does on plain files. Its serial lines and its parser have tests of their own.

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PERMANENT_QUARANTINE } from '#model/device';
import { REPOSITORY } from '../../../support/agent.ts';
import {
  ANY_BOARD,
  PLAN_REFUSED,
  planHead,
  planText,
  safeDrive,
} from '../../../support/safe-drive.ts';

const HEAD = planHead();
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
      ...[windowStep(0x40, 64), 'stage 1', windowStep(0x1030, 32, '8001')],
    ];
    const drove = await safeDrive([written(lines)]);
    const long = `0x${'0'.repeat(16)}`;
    expect([drove.status, drove.stderr]).toEqual([
      0,
      '0x8000 safe: a.b: wrote 0x00, read back 0x00; a.b: wrote 0x0000, read back 0x0000; ' +
        `a.b: wrote ${long}, read back ${long}\n` +
        '0x8001 safe: a.b: wrote 0x00000000, read back 0x00000000\n' +
        'dsmil-safe-drive: 0 devices not known to be safe\n',
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
    expect(drove.stderr).toMatch(
      /^0x8006 NOT KNOWN TO BE SAFE: a.pwm1: wrote 255, read back 255; /,
    );
    expect(drove.stderr).toContain('; a.direction: differs: wrote out, read back high\n');
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
      '0x8000 safe: a.b: wrote 0x00000000, read back 0x00000000',
      '0x8001 NOT KNOWN TO BE SAFE: a.b: writing 0x00000000 failed: the window ends before the register: No such device or address',
      '0x8002 NOT KNOWN TO BE SAFE: c.d: writing 0x00000000 failed: the window cannot be opened: No such file or directory',
      '0x8003 NOT KNOWN TO BE SAFE: e.f: not written: there-is-no-such-bus',
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
      '0x8000 NOT KNOWN TO BE SAFE: a.b: writing 0x00000000 failed: the window raised a bus error',
    );
    expect(drove.stderr).toContain('0x8001 safe');
  });
});

it('is done, whatever hangs, before systemd would end it', () => {
  const read = (path: string) => readFileSync(join(REPOSITORY, path), 'utf8');
  const limitMs = /TOTAL_MS_MAX = (\d+)/.exec(read('drivers/native/safe-drive/lane.h'))?.[1];
  const stopS = /^TimeoutStopSec=(\d+)$/m.exec(read('systemd/dsmil-kernel.service'))?.[1];
  const startS = /^TimeoutStartSec=(\d+)$/m.exec(read('systemd/dsmil-safe.service'))?.[1];
  expect(Number(limitMs)).toBeGreaterThan(0);
  for (const seconds of [stopS, startS])
    expect(Number(seconds) * 1_000 - Number(limitMs)).toBeGreaterThanOrEqual(2_000);
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
      ([head = '', ...rest]) => [head.replace(' 2 ', ' 1 '), ...rest],
      'not a plan of version 2',
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
    ...[...PERMANENT_QUARANTINE].map((token): [string, (lines: string[]) => string[], string] => [
      `the permanently quarantined device ${token.toString(16)}`,
      (lines) => [...lines, windowStep(0x30, 32, token.toString(16))],
      'not a device to be driven',
    ]),
    [
      'a permanently quarantined device that is said to be absent',
      (lines) => [...lines, 'absent 800a a.b gone'],
      'not a device to be driven',
    ],
    [
      'a device in two stages',
      (lines) => [...lines, 'stage 1', windowStep(0x30)],
      'a device in two stages',
    ],
    [
      'a device on two buses',
      ([head = '', one = '', ...rest]) => [
        ...[head, one, `bus 1 window 0 ${directory}/window`, ...rest],
        windowStep(0x30).replace(' a.b 0 ', ' a.b 1 '),
      ],
      'a device on two buses',
    ],
    [
      'more buses than there are devices',
      ([head = '', , ...rest]) => [
        head,
        ...Array.from({ length: 129 }, (_, index) => bus.window(index)),
        ...rest,
      ],
      'no bus line',
    ],
    [
      'more stages than there are devices',
      (lines) => [...lines, ...Array.from({ length: 128 }, (_, index) => `stage ${index + 1}`)],
      'no stage line',
    ],
    [
      'more steps than there can be',
      (lines) => [
        ...lines,
        ...Array.from({ length: 16_400 }, () => 'step 8000 a.b 0 1 0 - 8 8 00 00 00'),
      ],
      'no end line',
    ],
    [
      'no digest of its board',
      ([head = '', ...rest]) => [head.replace('a'.repeat(64), 'a'.repeat(63)), ...rest],
      'no digest of a board',
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
    const step = 'step 8000 a.b 0 100 0 0 coil 2 8 00 01 00';
    expect(await refused(written([HEAD, serial, 'stage 0', step]))).toContain('not one unit');
    const chip = 'step 8000 a.b 0 100 0 00 00 byte 8 00 ff 00';
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
    execFileSync('mkfifo', [join(directory, 'pipe')]);
    expect(await refused(join(directory, 'pipe'))).toContain('it is no file');
    expect(await refused('/dev/zero')).toContain('it is no file');
    if (process.getuid?.() !== 0) return;
    chownSync(plan, 61_001, 61_001);
    expect(await refused(plan)).toContain('it belongs to another user');
  });

  it('of an earlier boot, or of another board than the one that is asked for, is refused', async () => {
    const boot = '00000000-0000-4000-8000-000000000000';
    const earlier = HEAD.replace(/ [^ ]+$/, ` ${boot}`);
    expect(await refused(written([earlier, ...right().slice(1)]))).toContain(
      'before the machine started',
    );
    written(right());
    const other = await safeDrive(['--board', 'b'.repeat(64), plan]);
    expect([other.status, other.stderr]).toEqual([
      PLAN_REFUSED,
      expect.stringContaining('it is of another board; no device was touched'),
    ]);
    expect(untouched()).toBe(true);
    expect((await safeDrive(['--check', '--board', ANY_BOARD, plan])).status).toBe(0);
    expect(untouched()).toBe(true);
    expect((await safeDrive(['--board', ANY_BOARD, plan])).status).toBe(0);
  });

  it('is no plan at all: the program says how it is called', async () => {
    expect((await safeDrive([])).status).toBe(255);
    expect((await safeDrive(['--check', plan, plan])).status).toBe(255);
    expect((await safeDrive(['--board', plan])).status).toBe(255);
  });
});
