// What the processes are told on their command lines.

import { expect, it } from 'vitest';
import { parseConnections } from '../../../src/bin/command-line.ts';

it('takes the places for connections as total and share of one address', () => {
  expect(parseConnections('768:256')).toEqual({ total: 768, perAddress: 256 });
  expect(parseConnections('1:1')).toEqual({ total: 1, perAddress: 1 });
});

it.each(['', '768', '768:', ':1', '10:11', '10:0', '0:0', '3001:1', '1e3:1', '-5:-5', '5:5:5'])(
  'refuses %j as places for connections, and says what it wants',
  (text) => {
    expect(() => parseConnections(text)).toThrow(/TOTAL:PER-ADDRESS/);
  },
);
