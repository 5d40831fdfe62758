// Sysfs registers on real trees: values, stable names, boundaries and genuine kernel errors.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SysfsBus } from '#drivers/bus/sysfs';
import { parseLocator } from '#drivers/bus/sysfs-locator';
import { formatAttribute, parseAttribute } from '#drivers/bus/sysfs-text';
import { type Clock, systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import type { Outcome } from '#foundation/outcome';
import type { Cell } from '#model/bus';
import type { WidthBits } from '#model/register';

let root = '';
let bus: SysfsBus;
const soon = () => Deadline.after(systemClock, 2_000);

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sysfs-'));
  bus = busAt(root);
});
afterEach(async () => {
  await bus.close();
  rmSync(root, { recursive: true });
});

function busAt(at: string): SysfsBus {
  return new SysfsBus(
    { id: 'sysfs-0', kind: 'sysfs', root: at, accessTimeoutMs: 100 },
    systemClock,
  );
}

function file(path: string, text: string): string {
  const whole = join(root, path);
  mkdirSync(dirname(whole), { recursive: true });
  writeFileSync(whole, text);
  return whole;
}

function link(path: string, target: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  symlinkSync(target, join(root, path));
}

function cell(directory: string, attribute: string, widthBits: WidthBits = 32): Cell {
  return {
    device: 6,
    place: `part.${attribute}`,
    widthBits,
    location: { kind: 'sysfs', directory, attribute },
  };
}

function faultOf(outcome: Outcome<unknown>) {
  if (outcome.ok) throw new Error(`expected a fault, got ${String(outcome.value)}`);
  return outcome.fault;
}

describe('attribute text', () => {
  const widths = fc.constantFrom<WidthBits>(8, 16, 32, 64);
  const placed = widths.chain((width) =>
    fc.tuple(fc.constant(width), fc.bigInt({ min: 0n, max: 2n ** BigInt(width) - 1n })),
  );

  test('every word survives being written and read back, signed or unsigned', () => {
    fc.assert(
      fc.property(placed, fc.constantFrom('signed', 'unsigned'), ([width, word], signedness) => {
        const bytes = Buffer.from(formatAttribute(word, width, signedness));
        expect(parseAttribute(bytes, bytes.length, width)).toBe(word);
      }),
    );
  });

  test('no text is ever rounded into a word', () => {
    fc.assert(
      fc.property(fc.bigInt(), widths, (value, width) => {
        const bytes = Buffer.from(`${value}\n`);
        const fits = value < 2n ** BigInt(width) && value >= -(2n ** BigInt(width - 1));
        const expected = fits ? BigInt.asUintN(width, value) : 'string';
        const word = parseAttribute(bytes, bytes.length, width);
        expect(typeof word === 'bigint' ? word : 'string').toBe(expected);
      }),
    );
  });

  test.each([
    ['42\n', 42n],
    ['-1\n', 0xffffffffn],
    ['+7', 7n],
    ['0x1F\nrest\n', 31n],
    ['  12  \n', 12n],
    ['007\n', 7n],
  ])('%j reads as %s', (text, word) => {
    expect(parseAttribute(Buffer.from(text), text.length, 32)).toBe(word);
  });

  test.each(['', '\n', 'on\n', '1.5\n', '4294967296\n', '-2147483649\n', '1 2\n', '0x\n', '--1\n'])(
    '%j is no 32-bit number',
    (text) => {
      expect(typeof parseAttribute(Buffer.from(text), text.length, 32)).toBe('string');
    },
  );
});

describe('locators', () => {
  test('the first colon divides, since LED names hold colons of their own', () => {
    expect(parseLocator('leds:platform::kbd_backlight')).toEqual({
      kind: 'leds',
      name: 'platform::kbd_backlight',
    });
    expect(parseLocator('hwmon:jc42@3-0018')).toEqual({
      kind: 'hwmon',
      name: 'jc42',
      device: '3-0018',
    });
    expect(parseLocator('gpio:gpio-mxc/14')).toEqual({
      kind: 'gpio-chip',
      label: 'gpio-mxc',
      offset: 14,
    });
    expect(parseLocator('gpio:512')).toEqual({ kind: 'gpio', line: 512 });
  });

  test.each([
    '',
    'leds:',
    'path:../etc',
    'path:/etc',
    'path:a//b',
    'hwmon:a/b',
    'thermal:..',
    'gpio:x',
    'usb:1',
    'leds:..',
  ])('%j is no locator', (text) => {
    expect(parseLocator(text)).toBeUndefined();
  });
});

describe('sysfs bus', () => {
  test('finds each class by its stable name and reads a value', async () => {
    file('class/hwmon/hwmon0/name', 'lm75\n');
    file('class/hwmon/hwmon0/temp1_input', '1000\n');
    file('devices/i2c-1/1-004a/hwmon/hwmon7/name', 'jc42\n');
    file('devices/i2c-1/1-004a/hwmon/hwmon7/temp1_input', '-2500\n');
    link('class/hwmon/hwmon7', '../../devices/i2c-1/1-004a/hwmon/hwmon7');
    link('devices/i2c-1/1-004a/hwmon/hwmon7/device', '../../../1-004a');
    file('class/thermal/thermal_zone3/type', 'cpu-thermal\n');
    file('class/thermal/thermal_zone3/temp', '45000\n');
    file('class/leds/red:alarm/brightness', '255\n');
    file('class/power_supply/BAT0/status', 'Discharging\n');
    file('class/gpio/gpiochip512/label', 'sim-bank\n');
    file('class/gpio/gpiochip512/base', '512\n');
    file('class/gpio/gpiochip512/ngpio', '8\n');
    file('class/gpio/gpio515/value', '1\n');
    const cells = [
      cell('hwmon:lm75', 'temp1_input'),
      cell('hwmon:jc42@1-004a', 'temp1_input'),
      cell('thermal:cpu-thermal', 'temp'),
      cell('leds:red:alarm', 'brightness', 8),
      cell('power_supply:BAT0', 'status', 8),
      cell('gpio:sim-bank/3', 'value', 8),
      cell('path:class/thermal/thermal_zone3', 'temp'),
    ];
    const words = (await bus.readMany(cells, soon())).map((outcome) =>
      outcome.ok ? outcome.value : outcome.fault,
    );
    expect(words).toEqual([1000n, BigInt(2 ** 32 - 2500), 45000n, 255n, 2n, 1n, 45000n]);
  });

  test('sees a changed value through the same open file, time after time', async () => {
    const path = file('class/leds/a/brightness', '1\n');
    for (const value of [1n, 20n, 3n, 255n, 0n]) {
      writeFileSync(path, `${value}\n`);
      expect(await bus.read(cell('leds:a', 'brightness', 8), soon())).toEqual({ ok: true, value });
    }
    expect(bus.counters()).toMatchObject({ reads: 5, otherFailures: 0, resynchronizations: 0 });
  });

  test('writes one signed decimal, and an unsigned one where the register says so', async () => {
    const path = file('class/leds/a/brightness', '1\n');
    await bus.write(cell('leds:a', 'brightness'), 0xffffff85n, soon());
    expect(readFileSync(path, 'utf8')).toBe('-123\n');
    await bus.write({ ...cell('leds:a', 'brightness', 8), signed: false }, 200n, soon());
    expect(readFileSync(path, 'utf8').split('\n')[0]).toBe('200');
    const tooWide = faultOf(await bus.write(cell('leds:a', 'brightness', 8), 256n, soon()));
    expect(tooWide).toMatchObject({ code: 'VALUE_TOO_WIDE', metal: 'untouched' });
  });

  test('turns a GPIO line to output at the level it has', async () => {
    const direction = file('class/gpio/gpio5/direction', 'in\n');
    file('class/gpio/gpio5/value', '1\n');
    const cellOfDirection = cell('gpio:5', 'direction', 8);
    expect(await bus.read(cellOfDirection, soon())).toEqual({ ok: true, value: 0n });
    expect(await bus.write(cellOfDirection, 1n, soon())).toEqual({ ok: true, value: undefined });
    expect(readFileSync(direction, 'utf8')).toBe('high\n');
    expect(await bus.read(cellOfDirection, soon())).toEqual({ ok: true, value: 1n });
  });

  test('exports a GPIO line that has no directory yet, and says so when none appears', async () => {
    const exported = file('class/gpio/export', '');
    const fault = faultOf(await bus.read(cell('gpio:9', 'value', 8), soon()));
    expect(readFileSync(exported, 'utf8')).toBe('9\n');
    expect(fault).toMatchObject({
      code: 'BUS_ABSENT',
      finding: 'GPIO line 9 was exported and did not appear',
    });
    file('class/gpio/gpio9/value', '0\n');
    expect(await bus.read(cell('gpio:9', 'value', 8), soon())).toEqual({ ok: true, value: 0n });
  });

  test('text that is no number of the width is named, clipped and not believed', async () => {
    file('class/leds/a/brightness', `${'bright '.repeat(30)}\n`);
    file('class/leds/b/brightness', '256\n');
    const noNumber = faultOf(await bus.read(cell('leds:a', 'brightness', 8), soon()));
    expect(noNumber.code).toBe('BUS_CORRUPT');
    expect(noNumber.finding).toMatch(
      /^read "bright bright .*\.\.\.", which is no number of 8 bits$/,
    );
    const tooWide = faultOf(await bus.read(cell('leds:b', 'brightness', 8), soon()));
    expect(tooWide.finding).toBe('read "256", which is no number of 8 bits');
    expect(bus.counters().corruptAnswers).toBe(2);
  });

  test('an empty attribute is opened once more before it is reported', async () => {
    file('class/leds/a/brightness', '');
    const fault = faultOf(await bus.read(cell('leds:a', 'brightness'), soon()));
    expect(fault).toMatchObject({ code: 'BUS_CORRUPT', finding: 'read an empty text' });
    expect(bus.counters().resynchronizations).toBe(1);
  });

  test('a device that came back under another number is found again', async () => {
    const first = file('class/hwmon/hwmon0/name', 'fan\n');
    file('class/hwmon/hwmon0/pwm1', '');
    file('class/hwmon/hwmon5/pwm1', '77\n');
    const pwm = cell('hwmon:fan', 'pwm1', 8);
    expect((await bus.read(pwm, soon())).ok).toBe(false);
    rmSync(dirname(first), { recursive: true });
    file('class/hwmon/hwmon5/name', 'fan\n');
    expect(await bus.read(pwm, soon())).toEqual({ ok: true, value: 77n });
  });

  test('genuine kernel errors keep their meaning', async () => {
    link('class/leds/a/brightness', '/proc/self/mem');
    link('class/leds/full/brightness', '/dev/full');
    link('class/leds/denied/brightness', '/proc/self/oom_score');
    mkdirSync(join(root, 'class/leds/a/trigger'));
    const broken = faultOf(await bus.read(cell('leds:a', 'brightness'), soon()));
    expect(broken).toMatchObject({
      code: 'BUS_IO',
      finding: 'read failed: input/output error',
      metal: 'untouched',
    });
    const full = faultOf(await bus.write(cell('leds:full', 'brightness'), 1n, soon()));
    expect(full).toMatchObject({
      code: 'BUS_IO',
      finding: 'write failed: ENOSPC',
      metal: 'unknown',
    });
    const denied = faultOf(await bus.write(cell('leds:denied', 'brightness'), 1n, soon()));
    expect(denied).toMatchObject({ metal: expect.stringMatching(/untouched|unknown/) });
    expect(faultOf(await bus.read(cell('leds:a', 'trigger'), soon())).code).toBe('BUS_ABSENT');
    expect(faultOf(await bus.read(cell('leds:a', 'missing'), soon())).code).toBe('BUS_ABSENT');
    expect(faultOf(await bus.read(cell('leds:missing', 'brightness'), soon())).code).toBe(
      'BUS_ABSENT',
    );
  });

  test('a value that the kernel refuses leaves the metal untouched', async () => {
    bus = busAt('/proc');
    const fault = faultOf(await bus.write(cell('path:self', 'oom_score_adj'), 5_000n, soon()));
    expect(fault).toMatchObject({ code: 'BUS_EXCEPTION', metal: 'untouched' });
    expect(fault.finding).toBe('write failed: the kernel driver refused the value');
  });

  test('nothing outside the root is reached', async () => {
    mkdirSync(join(root, 'class/leds'), { recursive: true });
    symlinkSync('/proc/self', join(root, 'class/leds/escape'));
    expect(faultOf(await bus.read(cell('leds:escape', 'oom_score'), soon()))).toMatchObject({
      code: 'BUS_PERMISSION',
      finding: 'its directory leads outside the sysfs root',
    });
    for (const [directory, attribute] of [
      ['path:../proc/self', 'oom_score'],
      ['path:class/leds', '../../../proc/uptime'],
      ['path:class/leds', '..'],
    ] as const) {
      expect(faultOf(await bus.read(cell(directory, attribute), soon())).code).toBe(
        'CONFIG_INVALID',
      );
    }
  });

  test('two devices of one name are told apart or refused', async () => {
    file('class/hwmon/hwmon0/name', 'nct\n');
    file('class/hwmon/hwmon1/name', 'nct\n');
    const fault = faultOf(await bus.read(cell('hwmon:nct', 'pwm1'), soon()));
    expect(fault).toMatchObject({
      code: 'BUS_ABSENT',
      finding: 'there are 2 of hwmon chip nct; name its device after @',
    });
  });

  test('a quarantined device is not touched, whoever asks', async () => {
    const path = file('class/leds/a/brightness', '1\n');
    const quarantined = { ...cell('leds:a', 'brightness'), device: 9 };
    expect(faultOf(await bus.write(quarantined, 5n, soon())).code).toBe('DEVICE_QUARANTINED');
    expect(faultOf(await bus.read(quarantined, soon())).code).toBe('DEVICE_QUARANTINED');
    expect(readFileSync(path, 'utf8')).toBe('1\n');
  });

  test('an absent root is a fault, and opens once it is there', async () => {
    const late = join(root, 'late');
    bus = busAt(late);
    expect(faultOf(await bus.open(soon())).code).toBe('BUS_ABSENT');
    mkdirSync(late);
    expect(await bus.open(soon())).toEqual({ ok: true, value: undefined });
  });

  test('a kernel call that outlives its deadline keeps its attribute closed until it returns', async () => {
    const path = file('class/leds/a/brightness', '8\n');
    // Every timer is due at once, so the call in the thread pool always loses against the deadline.
    const hurried: Clock = {
      ...systemClock,
      after: (_delayMs, call) => {
        let cancelled = false;
        queueMicrotask(() => cancelled || call());
        return () => {
          cancelled = true;
        };
      },
    };
    bus = new SysfsBus({ id: 'sysfs-0', kind: 'sysfs', root, accessTimeoutMs: 1 }, hurried);
    const brightness = cell('leds:a', 'brightness', 8);
    const late = faultOf(await bus.write(brightness, 9n, soon()));
    expect(late).toMatchObject({ code: 'BUS_TIMEOUT', metal: 'unknown' });
    const closed = faultOf(await bus.write(brightness, 10n, soon()));
    expect(closed).toMatchObject({
      code: 'BUS_TIMEOUT',
      metal: 'untouched',
      consequence: 'nothing was sent',
    });
    await expect.poll(() => bus.counters().resynchronizations).toBe(1);
    expect(readFileSync(path, 'utf8')).toBe('9\n');
    await bus.write(brightness, 11n, soon());
    await expect.poll(() => readFileSync(path, 'utf8')).toBe('11\n');
  });
});
