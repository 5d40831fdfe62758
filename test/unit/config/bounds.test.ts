// Files with more mistakes than anybody can read: refused with the first hundred, and soon.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { checkBoard } from '#config/board';
import { PROBLEMS_MAX } from '#config/problem';
import { checkProfile } from '#config/profile';
import { checkSafetyPolicy } from '#config/safety-policy';

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dsmil-bounds-'));
  file = join(directory, 'any.yaml');
});
afterEach(() => rmSync(directory, { recursive: true }));

const BOARD_HEAD = 'format: 1\nname: any\ngroups: [Zero]\nbuses: []\n';
const CHECKS = [
  ['board', () => checkBoard(file, { profileDirectories: [] }).problems],
  ['profile', () => checkProfile(file).problems],
  ['safety policy', () => checkSafetyPolicy(file).problems],
] as const;

it.each(CHECKS)('refuses a %s with a mistake in each of 2000 lines', (_name, check) => {
  writeFileSync(file, `${BOARD_HEAD}devices: []\n${'}\n'.repeat(2_000)}`);
  expect(check()).toHaveLength(PROBLEMS_MAX);
});

it.each(CHECKS)('refuses a %s with an endless list', (_name, check) => {
  for (const member of ['devices', 'registers', 'conflicts']) {
    writeFileSync(file, `${member}: [${'{},'.repeat(2_000)}]`);
    const finding = 'a list of more than 1024 members';
    expect(check()).toMatchObject([{ path: member, line: 1, finding }]);
  }
});

it('keeps the first hundred problems of a board with three hundred broken devices', () => {
  writeFileSync(file, `${BOARD_HEAD}devices: [${'{},'.repeat(300)}]`);
  const { board, problems } = checkBoard(file, { profileDirectories: [] });
  expect(board).toBeUndefined();
  expect(problems.length).toBeGreaterThan(0);
  expect(problems.length).toBeLessThanOrEqual(PROBLEMS_MAX);
});

it('keeps at most a hundred problems of a profile', () => {
  writeFileSync(file, `registers: [${'{},'.repeat(200)}]`);
  expect(checkProfile(file).problems).toHaveLength(PROBLEMS_MAX);
});
