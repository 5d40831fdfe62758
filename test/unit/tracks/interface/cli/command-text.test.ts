// What the second person has to type: the same words after any POSIX shell has read them, without the first one's identity.

import { execFileSync } from 'node:child_process';
import { array, assert, property, string } from 'fast-check';
import { expect, it } from 'vitest';
import { commandText, impersonal, shellWord } from '#tracks/interface/cli/command-text';

it('is read by a shell as exactly the words it was made of', () => {
  const word = string({ unit: 'grapheme', maxLength: 12 }).filter((text) => !text.includes('\0'));
  assert(
    property(array(word, { minLength: 1, maxLength: 6 }), (words) => {
      const script = `printf '%s\\0' ${words.map(shellWord).join(' ')}`;
      const read = execFileSync('/bin/sh', ['-c', script]).toString().split('\0').slice(0, -1);
      expect(read).toEqual(words);
    }),
    { numRuns: 30 },
  );
});

it('leaves out who the first person is, and nothing else', () => {
  const argv = [
    '--token',
    'secret',
    '-o',
    'json',
    'account',
    'invite',
    'bob',
    '--reason=--token=x',
  ];
  expect(commandText(impersonal(argv))).toBe('dsmil account invite bob --reason=--token=x');
  const plain = ['--socket=/x', '-ojson', 'stop', '--', '--token'];
  expect(impersonal(plain)).toEqual(['stop', '--', '--token']);
});
