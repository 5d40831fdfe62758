// Whether a board is simulated: only what its file itself puts inside the simulator's directory, and never when unsure.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadBoard } from '#config/board';
import { readCompiledBoard, writeCompiledBoard } from '#config/compiled-board';

const PROFILES = join(import.meta.dirname, '../../../drivers/profiles');
const DEFAULT_BOARD = join(PROFILES, 'boards/default.yaml');
const scratch = mkdtempSync(join(tmpdir(), 'board-simulated-'));
afterAll(() => rmSync(scratch, { recursive: true }));

function simulated(change: (text: string) => string, directory = '/run/simulator') {
  const file = join(scratch, 'board.yaml');
  const text = readFileSync(DEFAULT_BOARD, 'utf8');
  const changed = change(text);
  writeFileSync(file, changed);
  const variables = { SIMULATOR: directory };
  const board = loadBoard(file, { variables, profileDirectories: [PROFILES] });
  if (!board.ok) throw new Error(board.fault.internal);
  return board.value.simulated;
}

it('is simulated when every bus lives in the directory of the simulator', () => {
  expect(simulated((text) => text)).toBe('/run/simulator');
});

it('stays simulated when it is compiled', () => {
  const variables = { SIMULATOR: '/run/simulator' };
  const board = loadBoard(DEFAULT_BOARD, { variables, profileDirectories: [PROFILES] });
  if (!board.ok) throw new Error(board.fault.finding);
  const file = join(scratch, 'board.compiled');
  writeCompiledBoard(file, board.value);
  const read = readCompiledBoard(file);
  expect(read.ok && read.value.simulated).toBe('/run/simulator');
});

const PLACE = '$' + '{SIMULATOR}';
it.each([
  ['one bus has a path of its own', `${PLACE}/sys`, '/sys'],
  ['one bus has the very place without the variable', `${PLACE}/memory`, '/run/simulator/memory'],
  ['one bus climbs out of the directory', `${PLACE}/memory`, `${PLACE}/../memory`],
  ['the variable is in the middle of a path', `${PLACE}/memory`, `/real/${PLACE}/memory`],
])('is real when %s', (_, from, to) => {
  expect(simulated((text) => text.replace(from, to))).toBeUndefined();
});

it('is real with one bus more that only real machines have', () => {
  const bus = '  - { id: field, kind: modbus-tcp, host: 127.0.0.1, port: 502 }\n';
  expect(simulated((text) => text.replace('buses:\n', `buses:\n${bus}`))).toBeUndefined();
});

it.each(['/', '/dev', '/sys/class', '/proc/self', '/run/../dev', 'relative'])(
  'is real when the variable is %s',
  (directory) => {
    expect(simulated((text) => text, directory)).toBeUndefined();
  },
);
