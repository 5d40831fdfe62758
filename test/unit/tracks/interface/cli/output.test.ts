// Tables on narrow terminals: nothing is cut, nothing is lost, and nothing stands further right than the terminal is wide.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Output, type OutputFormat, tableText } from '#tracks/interface/cli/output';

const HEAD = ['token', 'name', 'held', 'last fault'];
const ROWS = [
  ['0x8059', 'fan-controller', 'deactivated', 'RANGE_EXCEEDED seen by kernel'],
  ['0x8001', 'boot-security', '', ''],
];

it('is one line for each row where there is room, as for a file', () => {
  expect(tableText(HEAD, ROWS)).toBe(
    'token   name            held         last fault\n' +
      '0x8059  fan-controller  deactivated  RANGE_EXCEEDED seen by kernel\n' +
      '0x8001  boot-security\n',
  );
});

it('has its last columns below each row, with their names, where there is no room beside', () => {
  expect(tableText(HEAD, ROWS, 36)).toBe(
    'token   name            held\n' +
      '0x8059  fan-controller  deactivated\n' +
      '  last fault: RANGE_EXCEEDED seen by\n' +
      '  kernel\n' +
      '0x8001  boot-security\n',
  );
});

it('leaves out columns without a cell before it puts any below', () => {
  const quiet = ROWS.map(([token = '', name = '']) => [token, name, '', '']);
  expect(tableText(HEAD, quiet, 24)).toBe(
    'token   name\n0x8059  fan-controller\n0x8001  boot-security\n',
  );
  expect(tableText(HEAD, quiet, 60)).toContain('last fault');
});

it('leaves out the columns that were named for it, in their order, before it puts any below', () => {
  const narrow = (columns: number) => tableText(HEAD, ROWS, columns, ['name', 'held']);
  expect(narrow(50).split('\n')[0]).toBe('token   held         last fault');
  expect(narrow(24).split('\n')[0]).toBe('token   last fault');
  expect(narrow(120).split('\n')[0]).toContain('name');
});

it('shows every word of every cell, and breaks a line over the edge for one long word alone', () => {
  const word = fc.stringMatching(/^[a-z]{1,30}$/);
  const cell = fc.array(word, { maxLength: 6 }).map((words) => words.join(' '));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(word, cell, cell, cell), { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 20, max: 120 }),
      (rows, columns) => {
        const lines = tableText(['first', 'second', 'third', 'fourth'], rows, columns)
          .trimEnd()
          .split('\n');
        const shown = lines.join(' ').split(/ +/);
        for (const text of rows.flat()) {
          for (const one of text.split(' ')) expect([...shown, '']).toContain(one);
        }
        for (const line of lines.filter(({ length }) => length > columns)) {
          const last = line.split(' ').at(-1) ?? '';
          expect(line.length - last.length).toBeLessThan(columns);
        }
      },
    ),
  );
});

it('has a sentence for people instead of a table without a row, and the data for scripts', () => {
  let printed = '';
  const streams = {
    stdout: (text: string) => {
      printed += text;
    },
    stderr: () => undefined,
  };
  new Output(streams, 'table').data({ all: [] }, ['one'], [], 'there is none');
  expect(printed).toBe('there is none\n');
  printed = '';
  new Output(streams, 'json').data({ all: [] }, ['one'], [], 'there is none');
  expect(JSON.parse(printed)).toEqual({ all: [] });
});

/** ESC and the C1 control that means the same, a bell, a line that seems to end, and marks that turn text around. */
const HOSTILE = [
  '\u001b[2J',
  '\u009b2J',
  '\u009d0;title\u0007',
  'a\rb',
  'a\u2028b',
  'a\u2029b',
  '\u202egnp.exe',
  '\u2066x\u2069',
  '\u200f',
  '\ufeff',
  '\u007f',
] as const;
const STEERING = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/u;

/** Everything that was written, without the line ends between lines. */
function shown(format: OutputFormat, text: string): string {
  const written: string[] = [];
  const take = (part: string) => void written.push(part);
  const output = new Output({ stdout: take, stderr: take }, format);
  output.data({ name: text, [text]: [text] }, ['NAME'], [[text]]);
  output.text({ text }, text);
  output.message(text);
  return written.join('').replaceAll('\n', '');
}

describe('a text from elsewhere', () => {
  it.each(HOSTILE)('steers no terminal: %j', (text) => {
    expect(shown('table', `pump ${text}`)).not.toMatch(STEERING);
    expect(shown('json', `pump ${text}`)).not.toMatch(STEERING);
  });

  it('is the same text again to whoever reads the JSON', () => {
    const any = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...HOSTILE));
    fc.assert(
      fc.property(any, (text) => {
        const parts: string[] = [];
        const streams = { stdout: (part: string) => void parts.push(part), stderr: () => {} };
        new Output(streams, 'json').data({ name: text }, [], []);
        const written = parts.join('');
        expect(JSON.parse(written)).toEqual({ name: text });
        expect(written.replaceAll('\n', '')).not.toMatch(STEERING);
      }),
    );
  });

  it('keeps letters of every script', () => {
    expect(shown('table', 'Lüfter 風扇 مروحة')).toContain('Lüfter 風扇 مروحة');
  });
});
