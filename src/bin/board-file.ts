// The board for a process: compiled beforehand, or a board file checked here and now.

import { dirname, resolve } from 'node:path';
import { COMPILED_SUFFIX, readCompiledBoard } from '#config/compiled-board';
import type { Outcome } from '#foundation/outcome';
import type { Board } from '#model/board';
import { PROFILE_DIRECTORIES } from './command-line.ts';

export async function loadBoardFile(
  path: string,
  variables: Readonly<Record<string, string>>,
): Promise<Outcome<Board>> {
  if (path.endsWith(COMPILED_SUFFIX)) return readCompiledBoard(path);
  // YAML, schemas and their compiler cost 10 MB and a third of a second: loaded only where they are needed.
  const { loadBoard } = await import('#config/board');
  // A profile beside the board file is found first.
  return loadBoard(path, {
    variables,
    profileDirectories: [dirname(resolve(path)), ...PROFILE_DIRECTORIES],
  });
}
