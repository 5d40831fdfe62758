// Lines of standard input and secrets of a terminal: whatever the pieces, nothing is lost, echoed or left raw.

import { EventEmitter } from 'node:events';
import { array, assert, asyncProperty, constantFrom, nat, string } from 'fast-check';
import { expect, it } from 'vitest';
import { LINE_LENGTH_MAX, Prompt } from '#tracks/interface/cli/prompt';
import { pipe } from './cli-bench.ts';

/** A terminal whose modes and output can be looked at. */
class Terminal extends EventEmitter {
  readonly isTTY = true;
  readonly modes: boolean[] = [];
  flowing = false;
  setRawMode(raw: boolean): void {
    this.modes.push(raw);
  }
  resume(): void {
    this.flowing = true;
  }
  pause(): void {
    this.flowing = false;
  }
  type(text: string): void {
    this.emit('data', Buffer.from(text));
  }
}

function atTerminal() {
  const terminal = new Terminal();
  let shown = '';
  const prompt = new Prompt(
    () => terminal,
    (text) => {
      shown += text;
    },
  );
  return { terminal, prompt, shown: () => shown };
}

it('takes a secret key by key, with erasing and cursor keys, and shows none of it', async () => {
  const { terminal, prompt, shown } = atTerminal();
  const asked = prompt.ask('Password: ', 'hidden');
  for (const key of [
    'x',
    '\x15',
    'p',
    'ä',
    '\u{1F600}',
    '\x7f',
    '\x1b[',
    'D',
    '\x1bOA',
    '\x07',
    'w',
  ])
    terminal.type(key);
  expect(terminal.modes).toEqual([true]);
  terminal.type('\r');
  expect(await asked).toEqual({ ok: true, value: 'päw' });
  expect(shown()).toBe('Password: \n');
  expect(terminal.modes).toEqual([true, false]);
  expect(terminal.flowing).toBe(false);
});

it('keeps what was typed ahead for the next question', async () => {
  const { terminal, prompt } = atTerminal();
  const first = prompt.ask('One: ', 'hidden');
  terminal.type('one\rtwo\r\nthree');
  expect(await first).toEqual({ ok: true, value: 'one' });
  expect(await prompt.ask('Two: ', 'hidden')).toEqual({ ok: true, value: 'two' });
  const third = prompt.ask('Three: ', 'shown');
  terminal.type('!\n');
  expect(await third).toEqual({ ok: true, value: 'three!' });
});

it.each([
  ['Ctrl-C', '\x03', 'broken off'],
  ['Ctrl-D', '\x04', 'has ended'],
])('gives up a secret at %s and leaves the terminal as it was', async (_key, key, text) => {
  const { terminal, prompt } = atTerminal();
  const asked = prompt.ask('Password: ', 'hidden');
  terminal.type(`secr${key}`);
  expect(await asked).toMatchObject({
    ok: false,
    fault: { finding: expect.stringContaining(text) },
  });
  expect(terminal.modes).toEqual([true, false]);
});

it('bounds a line, at a terminal and in a pipe', async () => {
  const long = 'x'.repeat(LINE_LENGTH_MAX + 1);
  const { terminal, prompt } = atTerminal();
  const asked = prompt.ask('Password: ', 'hidden');
  terminal.type(long);
  expect(await asked).toMatchObject({ ok: false, fault: { code: 'REQUEST_TOO_LARGE' } });
  const piped = new Prompt(
    () => pipe(`${long}\n`),
    () => undefined,
  );
  expect(await piped.ask('', 'hidden')).toMatchObject({ ok: false });
});

it('asks a pipe nothing and says when it has ended', async () => {
  let shown = '';
  const prompt = new Prompt(
    () => pipe('one\n\nlast'),
    (text) => {
      shown += text;
    },
  );
  const lines = [];
  for (let at = 0; at < 4; at += 1) lines.push(await prompt.ask('Line: ', 'hidden'));
  expect(lines.map((line) => (line.ok ? line.value : line.fault.finding))).toEqual([
    'one',
    '',
    'last',
    'standard input has ended',
  ]);
  expect(shown).toBe('');
});

it('reads the same lines however the bytes are cut, in either mode', async () => {
  const line = string({ unit: 'grapheme', maxLength: 12 }).filter((text) => !/\p{Cc}/u.test(text));
  const ends = constantFrom('\n', '\r', '\r\n');
  const cuts = array(nat(80), { maxLength: 8 });
  const modes = constantFrom('shown', 'hidden');
  await assert(
    asyncProperty(
      array(line, { minLength: 1, maxLength: 5 }),
      ends,
      cuts,
      modes,
      async (lines, end, at, mode) => {
        const { terminal, prompt } = atTerminal();
        const bytes = Buffer.from(lines.map((one) => one + end).join(''));
        const places = [0, ...at.filter((place) => place < bytes.length), bytes.length];
        const sorted = places.sort((one, other) => one - other);
        const read: string[] = [];
        const reading = (async () => {
          for (const _line of lines) {
            const answer = await prompt.ask('? ', mode);
            if (answer.ok) read.push(answer.value);
          }
        })();
        for (const [index, place] of sorted.entries()) {
          const next = sorted[index + 1] ?? place;
          if (next > place) terminal.emit('data', bytes.subarray(place, next));
          await Promise.resolve();
        }
        await reading;
        expect(read).toEqual(lines);
      },
    ),
  );
});
